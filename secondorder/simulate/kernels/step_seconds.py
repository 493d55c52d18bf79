"""The time of a step as data, and its evaluation in a kernel, to the same bit as ``scenarios.steptime``."""

from typing import NamedTuple

import numpy as np

from secondorder.arrays import Floats
from secondorder.simulate.kernels.compilation import inlined

ROOFLINE, AFFINE, TABLE, MEASURED = range(4)


class StepTimes(NamedTuple):
    """A step time model of one of four kinds.

    ``numbers``: of a roofline ``token, prefill_pair, decode_pair, row, cached, per_token, fixed``; of an affine model
    ``step, prefill_step, token, pair, decode, context``; of a measured roofline ``prefill_pair, cached, row, decode,
    prefill_step``. ``weights``: seconds to read the weights that a step touches, by its number of tokens (for a
    measured roofline, all that depends on that number alone); one value where the number does not matter. ``tokens``
    and ``prefill``, ``sequences``, ``contexts`` and ``decode``: the grids of a table. ``elsewhere``: whether prompts
    are computed elsewhere (``scenarios.effects.serving.PrefillElsewhere``).
    """

    kind: int
    numbers: Floats
    weights: Floats
    tokens: Floats
    prefill: Floats
    sequences: Floats
    contexts: Floats
    decode: Floats
    elsewhere: int = 0


@inlined
def roofline(times: StepTimes, P: int, A: int, C: int, D: int, K: int, S: int) -> float:
    c, tokens = times.numbers, P + D
    compute = c[0] * tokens + c[1] * A + c[2] * K + c[3] * S
    weights = times.weights[tokens] if times.weights.size > 1 else times.weights[0]
    memory = weights + c[4] * (C + K + tokens)
    slower = compute if compute > memory else memory
    return float(slower + c[5] * tokens + c[6])


@inlined
def measured(times: StepTimes, P: int, A: int, C: int, D: int, K: int, S: int) -> float:
    c = times.numbers
    attention = c[0] * A + c[1] * (C + K)
    prefills = 1 if P > 0 else 0
    rows = c[2] * S + c[3] * D + c[4] * prefills
    return float(times.weights[P + D] + attention + rows)


@inlined
def affine(times: StepTimes, P: int, A: int, C: int, D: int, K: int) -> float:
    c = times.numbers
    prefills = 1 if P > 0 else 0
    return float(c[0] + c[1] * prefills + c[2] * P + c[3] * A + c[4] * D + c[5] * (C + K))


@inlined
def interpolated(x: float, low: int, axis: Floats, left: float, right: float) -> float:
    """As ``np.interp``: between the values at two neighbours on an axis, ``x`` at or after the first."""
    if axis[low] == x:
        return left
    return float((right - left) / (axis[low + 1] - axis[low]) * (x - axis[low]) + left)


@inlined
def below(x: float, axis: Floats) -> int:
    """The last point of an axis that is not past ``x``."""
    low, high = 0, axis.size
    while high - low > 1:
        middle = (low + high) // 2
        if axis[middle] <= x:
            low = middle
        else:
            high = middle
    return low


@inlined
def prefill_table(times: StepTimes, tokens: float) -> float:
    low, values = below(tokens, times.tokens), times.prefill
    return interpolated(tokens, low, times.tokens, values[low], values[min(low + 1, values.size - 1)])


@inlined
def decode_row(times: StepTimes, row: int, context: float) -> float:
    low, start, size = below(context, times.contexts), row * times.contexts.size, times.contexts.size
    left, right = times.decode[start + low], times.decode[start + min(low + 1, size - 1)]
    return interpolated(context, low, times.contexts, left, right)


@inlined
def decode_table(times: StepTimes, batch: float, context: float) -> float:
    low = below(batch, times.sequences)
    left = decode_row(times, low, context)
    right = decode_row(times, min(low + 1, times.sequences.size - 1), context)
    return interpolated(batch, low, times.sequences, left, right)


@inlined
def inside(x: float, axis: Floats) -> bool:
    return bool(axis[0] <= x <= axis[-1])


@inlined
def table(times: StepTimes, P: int, D: int, K: int) -> float:
    """Time of a step from a table; NaN outside its grids."""
    cache = 0.0
    if D > 0:
        batch, context = max(float(D), 1.0), K / D
        if not (inside(batch, times.sequences) and inside(context, times.contexts)):
            return np.nan
        cache = decode_table(times, batch, context)
    if P == 0:
        return cache
    if not inside(P + D, times.tokens):
        return np.nan
    if D > 0:
        cache -= decode_table(times, max(float(D), 1.0), times.contexts[0])
    return prefill_table(times, float(P + D)) + cache


@inlined
def duration(times: StepTimes, P: int, A: int, C: int, D: int, K: int, S: int) -> int:
    """Duration of a step in whole picoseconds; -1 where the model has no time for it."""
    if times.elsewhere:
        P, A, C, D, K = 0, 0, 0, S, K + C  # noqa: N806
    if times.kind == ROOFLINE:
        seconds = roofline(times, P, A, C, D, K, S)
    elif times.kind == AFFINE:
        seconds = affine(times, P, A, C, D, K)
    elif times.kind == MEASURED:
        seconds = measured(times, P, A, C, D, K, S)
    else:
        seconds = table(times, P, D, K)
        if np.isnan(seconds):
            return -1
    return int(np.rint(seconds * 1e12))
