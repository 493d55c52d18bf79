"""Step time models as data for the kernels: the very floats of ``scenarios.steptime``."""

from typing import TYPE_CHECKING

import numpy as np

from secondorder.quantities import si
from secondorder.scenarios.steptime import Affine, Engine, Roofline, Table
from secondorder.simulate.kernels.step_seconds import AFFINE, ROOFLINE, TABLE, Floats, StepTimes

if TYPE_CHECKING:
    from secondorder.scenarios.serving import Serving

NOTHING = np.zeros(0)


def step_times(scenario: "Serving") -> StepTimes | None:
    """The step time of a scenario as data; None where the kernels do not know the model."""
    model = scenario.step_time
    if type(model) is Roofline:
        return _roofline(model, scenario.engine, scenario.max_num_batched_tokens)
    if type(model) is Affine:
        return _affine(model)
    if type(model) is Table:
        return _table(model)
    return None


def _times(
    kind: int,
    numbers: list[float],
    weights: Floats = NOTHING,
    prefill: tuple[Floats, Floats] = (NOTHING, NOTHING),
    decode: tuple[Floats, Floats, Floats] = (NOTHING, NOTHING, NOTHING),
) -> StepTimes:
    return StepTimes(kind, np.array(numbers), weights, *prefill, *decode)


def _roofline(model: Roofline, engine: Engine, most: int) -> StepTimes:
    transformer, device, ranks = engine.model, engine.accelerator, engine.tensor_parallel_size
    speed = device.peak_flops(engine.precision) * model.compute_efficiency * ranks
    bandwidth = si(device.memory_bandwidth) * model.memory_efficiency * ranks
    fixed, per_token = model._fixed_and_communication(engine)
    flops = (
        transformer.flops_per_token, transformer.prefill_flops_per_pair, transformer.flops_per_pair,
        transformer.flops_per_row,
    )  # fmt: skip
    numbers = [each / speed for each in flops]
    numbers += [engine.kv_bytes_per_token / bandwidth, per_token, fixed]
    counts = range(1, 2) if transformer.experts is None else range(most + 1)
    weights = [transformer.touched_bytes(tokens, engine.precision) / bandwidth for tokens in counts]
    return _times(ROOFLINE, numbers, np.array(weights))


def _affine(model: Affine) -> StepTimes:
    numbers = [
        model.per_step, model.per_prefill_step, model.per_prefill_token, model.per_prefill_pair, model.per_decode,
        model.per_context_token,
    ]  # fmt: skip
    return _times(AFFINE, numbers)


def _table(model: Table) -> StepTimes:
    prefill, decode = np.array(model.prefill), np.array(model.decode)
    grids = np.unique(decode[:, 0]), np.unique(decode[:, 1]), np.ascontiguousarray(decode[:, 2])
    return _times(TABLE, [], prefill=(prefill[:, 0].copy(), prefill[:, 1].copy()), decode=grids)
