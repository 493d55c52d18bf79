"""Ratios of totals over sections: means, rates and shares."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from secondorder.errors import InputError
from secondorder.simulate.statistics.controls import Control, spread_of
from secondorder.simulate.statistics.intervals import Interval, student_quantile


def ratio_interval(
    numerators: npt.ArrayLike,
    denominators: npt.ArrayLike,
    confidence: float = 0.95,
    *,
    controls: Sequence[Control] = (),
) -> Interval:
    """``sum(y)/sum(x)`` over sections, with Student's interval by the delta method.

    The mean of a value is the ratio of its sum ``y`` to the count ``x``; a throughput that of a count to a time.
    ``se = sqrt(sum (y_i - r x_i)^2 n/(n - 1)) / sum(x)`` with ``n - 1`` degrees of freedom. ``controls``, one per
    section, take out the luck that they explain: see ``controls.spread_of``.

    *Valid when* sections are independent and alike; for equal ``x`` it is the Student interval of their means.
    Errors: ``InputError`` for fewer than two sections, or where all ``x`` are 0. *Source*: Law 2015, section 9.5.3.

    >>> found = ratio_interval([1.0, 2.0, 3.0], [1.0, 1.0, 1.0])
    >>> round(found.low, 3), found.mean, round(found.high, 3)
    (-0.484, 2.0, 4.484)
    """
    above, below = np.asarray(numerators, float), np.asarray(denominators, float)
    number, total = len(above), float(np.cumsum(below)[-1])
    if number < 2:
        raise InputError("sections", given=number, expected="at least 2, for an interval")
    if not total:
        raise InputError("denominators", given="none above 0", expected="a total above 0")
    ratio = float(np.cumsum(above)[-1]) / total
    weights = np.maximum(below, 0) / total
    means = np.divide(above, below, out=np.full(number, ratio), where=below != 0)
    spread = spread_of(means, weights, controls)
    half = student_quantile(confidence, spread.degrees) * spread.error
    ratio -= spread.luck
    return Interval(ratio, ratio - half, ratio + half)
