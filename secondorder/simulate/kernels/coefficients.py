"""Step time models as data for the kernels: the very floats of ``scenarios.steptime``."""

from collections.abc import Sequence

import numpy as np

from secondorder.arrays import Floats
from secondorder.scenarios.effects.serving import PrefillElsewhere
from secondorder.scenarios.measured_roofline import MeasuredCoefficients, measured_seconds, seconds_by_tokens
from secondorder.scenarios.serving import Serving
from secondorder.scenarios.steptime import (
    AffineCoefficients,
    RooflineCoefficients,
    StepFunction,
    StepSeconds,
    TableCoefficients,
    affine_seconds,
    roofline_seconds,
    table_seconds,
    weight_seconds,
)
from secondorder.simulate.kernels.serving.state import PICO
from secondorder.simulate.kernels.step_seconds import AFFINE, MEASURED, ROOFLINE, TABLE, StepTimes

NOTHING = np.zeros(0)


def step_times(scenario: Serving) -> StepTimes | None:
    """The step time of a scenario as data; None where the kernels do not know the function."""
    if isinstance(step_time := scenario.step_time, PrefillElsewhere):
        both = _times_of(step_time.step_time.seconds(scenario.placement), scenario.settings.max_num_seqs)
        return None if both is None else both._replace(elsewhere=1)
    return _times_of(scenario.step_seconds, scenario.settings.max_num_batched_tokens)


def shortest_step(times: StepTimes) -> int:
    """A time in ps that no step is shorter than: that of one token with nothing before it; 0 where none is known.

    Sums of rounded numbers, none negative, do not fall as a number grows: no step is shorter by a rounding either.
    """
    c, by_tokens = times.numbers, times.weights[1:] if len(times.weights) > 1 else times.weights
    if times.elsewhere or min(c.min(initial=0.0), by_tokens.min(initial=0.0)) < 0:
        return 0
    if times.kind == ROOFLINE:
        seconds = max(c[0], by_tokens.min() + c[4]) + c[5] + c[6]
    elif times.kind == AFFINE:
        seconds = c[0] + min(c[1] + c[2], c[4])
    elif times.kind == MEASURED:
        seconds = by_tokens.min()
    else:
        decode = times.decode.reshape(len(times.sequences), len(times.contexts))
        further = (decode - decode[:, :1]).min()  # what decodes add to a prefill
        seconds = min(decode.min(), times.prefill.min() + further) * (1 - 1e-9)
    return max(0, int(seconds / PICO))


def _times_of(step: StepSeconds, most: int) -> StepTimes | None:
    """The same for steps over at most this many tokens."""
    if not isinstance(step, StepFunction):
        return None
    known, c = step.function, step.coefficients
    if known is roofline_seconds and isinstance(c, RooflineCoefficients):
        return _roofline(c, most)
    if known is measured_seconds and isinstance(c, MeasuredCoefficients):
        return _measured(c, most)
    if known is affine_seconds and isinstance(c, AffineCoefficients):
        return _times(AFFINE, c)
    if known is table_seconds and isinstance(c, TableCoefficients):
        return _times(TABLE, (), NOTHING, c.tokens, c.prefill, c.sequences, c.contexts, c.decode.ravel())
    return None


def _times(kind: int, numbers: Sequence[float], *arrays: Floats) -> StepTimes:
    filled = [np.array(array, float) for array in arrays] + [NOTHING] * (6 - len(arrays))
    weights, tokens, prefill, sequences, contexts, decode = filled
    return StepTimes(kind, np.array(numbers, float), weights, tokens, prefill, sequences, contexts, decode)


def _roofline(c: RooflineCoefficients, most: int) -> StepTimes:
    numbers = (
        c.per_token, c.per_prefill_pair, c.per_decode_pair, c.per_row, c.per_cached_token, c.per_token_on_links,
        c.fixed,
    )  # fmt: skip
    counts = range(most + 1) if c.weights.experts else range(1)
    return _times(ROOFLINE, numbers, np.array([weight_seconds(c.weights, tokens) for tokens in counts]))


def _measured(c: MeasuredCoefficients, most: int) -> StepTimes:
    numbers = (c.per_prefill_pair, c.per_cached_token, c.per_row, c.per_decode, c.per_prefill_step)
    return _times(MEASURED, numbers, np.array([seconds_by_tokens(c, tokens) for tokens in range(most + 1)]))
