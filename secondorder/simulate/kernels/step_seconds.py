"""The time of a step as data, and its evaluation in a kernel, to the same bit as ``scenarios.steptime``."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from secondorder.simulate.kernels.compilation import inlined

Floats = npt.NDArray[np.float64]

ROOFLINE, AFFINE, TABLE = range(3)


class StepTimes(NamedTuple):
    """A step time model of one of three kinds.

    ``numbers``: of a roofline ``token, prefill_pair, decode_pair, row, cached, per_token, fixed``; of an affine
    model ``step, prefill_step, token, pair, decode, context``. ``weights``: seconds to read the weights that a
    step over so many tokens touches, one value where their number does not matter. ``tokens`` and ``prefill``,
    ``sequences``, ``contexts`` and ``decode``: the grids of a table.
    """

    kind: int
    numbers: Floats
    weights: Floats
    tokens: Floats
    prefill: Floats
    sequences: Floats
    contexts: Floats
    decode: Floats


@inlined
def roofline(times: StepTimes, P: int, A: int, C: int, D: int, K: int, S: int) -> float:  # noqa: N803
    c, tokens = times.numbers, P + D
    compute = c[0] * tokens + c[1] * A + c[2] * K + c[3] * S
    weights = times.weights[tokens] if times.weights.size > 1 else times.weights[0]
    memory = weights + c[4] * (C + K + tokens)
    slower = compute if compute > memory else memory
    return slower + c[5] * tokens + c[6]  # type: ignore[no-any-return]


@inlined
def affine(times: StepTimes, P: int, A: int, C: int, D: int, K: int) -> float:  # noqa: N803
    c = times.numbers
    prefills = 1 if P > 0 else 0
    return c[0] + c[1] * prefills + c[2] * P + c[3] * A + c[4] * D + c[5] * (C + K)  # type: ignore[no-any-return]


@inlined
def interpolated(x: float, axis: Floats, values: Floats) -> float:
    """As ``np.interp`` of a number inside the axis."""
    low = np.searchsorted(axis, x, side="right") - 1
    if low == axis.size - 1 or axis[low] == x:
        return values[low]  # type: ignore[no-any-return]
    slope = (values[low + 1] - values[low]) / (axis[low + 1] - axis[low])
    return slope * (x - axis[low]) + values[low]  # type: ignore[no-any-return]


@inlined
def decode_table(times: StepTimes, batch: float, context: float) -> float:
    column = np.empty(times.sequences.size)
    for row in range(column.size):
        column[row] = interpolated(context, times.contexts, times.decode[row * times.contexts.size :][: times.contexts.size])
    return interpolated(batch, times.sequences, column)


@inlined
def inside(x: float, axis: Floats) -> bool:
    return axis[0] <= x <= axis[-1]  # type: ignore[no-any-return]


@inlined
def table(times: StepTimes, P: int, D: int, K: int) -> float:  # noqa: N803
    """NaN outside the grids."""
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
    return interpolated(P + D, times.tokens, times.prefill) + cache


@inlined
def duration(times: StepTimes, P: int, A: int, C: int, D: int, K: int, S: int) -> int:  # noqa: N803
    """Of a step in whole picoseconds; -1 where the model has no time for it."""
    if times.kind == ROOFLINE:
        seconds = roofline(times, P, A, C, D, K, S)
    elif times.kind == AFFINE:
        seconds = affine(times, P, A, C, D, K)
    else:
        seconds = table(times, P, D, K)
        if np.isnan(seconds):
            return -1
    return np.int64(np.rint(seconds * 1e12))
