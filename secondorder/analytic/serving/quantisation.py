"""Quantisation: what smaller weights, a smaller cache and faster arithmetic each change.

Decoding waits for bytes, so it gains at most what the bytes shrink by; prefill waits for arithmetic, so it gains what
the rate grows by, which is nothing where only the weights are stored smaller. Part of a step is neither (the host,
the links), and gains nothing.
"""

import numpy as np

from secondorder.analytic.arguments import Real, non_negative, plain, positive
from secondorder.analytic.serving.idle import idle
from secondorder.analytic.serving.ladder import ladder
from secondorder.analytic.serving.saturation import demand, saturation
from secondorder.answers.answer import Answer
from secondorder.answers.estimate import Claim, Rung, rung
from secondorder.fleets.accelerators import bytes_per_value
from secondorder.scenarios.quantisation import Quantisation

BYTES, RATES, ALONE = "ratio of the bytes of a step", "ratio of the arithmetic rates", "idle engine"
BALANCE = "balance of slots and tokens"


def decode_bound(*, weights: Real, cache: Real, weights_after: Real, cache_after: Real) -> Real:
    """The most that a decode step can gain: ``(W + K) / (W' + K')``, bytes read before over bytes read after.

    *Bound* from above for a step that waits for memory; the host's share of a step, and arithmetic where it binds,
    keep it below. Bytes; all broadcast. Errors: ``InputError``. *Source*: roofline (Williams et al. 2009).

    >>> decode_bound(weights=16e9, cache=0.0, weights_after=4e9, cache_after=0.0)
    4.0
    >>> decode_bound(weights=16e9, cache=16e9, weights_after=4e9, cache_after=16e9)      # a cache left as it was
    1.6
    """
    before = positive("weights", weights) + non_negative("cache", cache)
    return plain(before / (positive("weights_after", weights_after) + non_negative("cache_after", cache_after)))


def step_bytes(scenario: Quantisation, *, batch: float, context: float) -> tuple[float, float, float, float]:
    """Bytes of a decode step of ``batch`` sequences: weights and cache, before and after. *Exact* for the shape."""
    serving, after = scenario.serving, scenario.quantised
    model = serving.model
    tokens = batch * (context + 1)  # read, and the new one written
    more = bytes_per_value(scenario.kept_precision) - bytes_per_value(scenario.weight_precision)
    weights_after = model.touched_bytes(batch, scenario.weight_precision) + more * model.head_parameters
    return (
        float(model.touched_bytes(batch, serving.precision)),
        tokens * serving.placement.kv_bytes_per_token,
        float(weights_after),
        tokens * after.placement.kv_bytes_per_token,
    )


def solve_quantisation(scenario: Quantisation) -> Answer:
    """The ladder of the quantised service, what it takes in memory, and its gains over the service as it is.

    ``decode_speedup``: order 0 the bound by bytes, order 1 of one sequence on the step time. ``prefill_speedup``:
    order 0 the ratio of the rates, order 1 of a prompt alone; with another number of accelerators both are of all
    together. ``saturation_speedup``: of the highest rates of a replica. Errors: ``Unstable`` past the saturation of the
    quantised service (that of the service as it is does not matter), as ``ladder``.
    """
    before, after = scenario.serving, scenario.quantised
    loaded = ladder(after)
    rows = list(loaded.estimates)
    context = demand(before).decode_context
    weights, cache, weights_after, cache_after = step_bytes(scenario, batch=1.0, context=context)
    bound = decode_bound(weights=weights, cache=cache, weights_after=weights_after, cache_after=cache_after)
    part = before.accelerator
    ranks = scenario.ranks / before.tensor_parallel_size
    faster = ranks * part.peak_flops(scenario.compute_precision) / part.peak_flops(before.precision)
    ideal = (Claim.BOUND, "from above") if ranks == 1 else (Claim.APPROXIMATION, "links are not counted")
    alone, alone_after = idle(before), idle(after)
    rows += [
        _row("weight_bytes", scenario.weight_bytes, "byte", "parameters times bytes", 0),
        _row("kv_bytes_per_token", after.placement.kv_bytes_per_token, "byte", "shape of the cache", 0),
        _row("kv_tokens", float(after.kv_tokens), "token", "what the weights leave", 0),
        _row("kv_tokens_gain", after.kv_tokens / before.kv_tokens, "", "what the weights leave", 0),
        _row("decode_speedup", ranks * float(bound), "", BYTES, 0, *ideal),
    ]
    if before.offered.mean_output > 1:
        steps = [
            float(np.nansum(one.tpot * one.weight) / one.weight[np.isfinite(one.tpot)].sum())
            for one in (alone, alone_after)
        ]
        rows.append(_row("decode_speedup", steps[0] / steps[1], "", ALONE, 1))
    gain = float(alone.ttft @ alone.weight) / float(alone_after.ttft @ alone_after.weight)
    rows += [
        _row("prefill_speedup", faster, "", RATES, 0, ideal[0], f"{ideal[1]}, where prompts are long"),
        _row("prefill_speedup", gain, "", ALONE, 1),
        _row("saturation_speedup", saturation(after).rate / saturation(before).rate, "", BALANCE, 2),
    ]
    weighed = f"weights in {scenario.weight_precision}, arithmetic in {scenario.compute_precision}"
    return Answer(scenario=scenario.name, estimates=tuple(rows), how=f"{loaded.how}; {weighed}")


def _row(
    metric: str, amount: float, unit: str, source: str, order: int, claim: Claim = Claim.APPROXIMATION, note: str = ""
) -> Rung:
    return rung(metric, amount, unit, source, order, note, claim=claim)
