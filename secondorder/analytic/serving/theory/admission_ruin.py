"""Ruin of an admission: the cache fills up before any request inside has ended."""

import numpy as np

from secondorder.analytic.arguments import Real, Whole, plain, positive, whole


def probability(*, mean_output: Real, headroom: Whole, residents: Whole) -> Real:
    """Probability that ``residents`` fill ``headroom`` tokens before the first of them ends.

    ``(1 - 1/m)^(k floor(H/k))``: each of ``k`` holds a token more with each step, and remaining outputs are geometric
    of mean ``m``. *Exact* for memoryless outputs and a cache of single tokens. *Source*: by hand; T10 of
    ``docs/theory.md``.

    >>> round(probability(mean_output=256, headroom=512, residents=16), 4)
    0.1348
    >>> round(probability(mean_output=256, headroom=512, residents=100), 4)
    0.1413
    """
    k = whole("residents", residents)
    steps = whole("headroom", headroom) // k
    return plain((1 - 1 / positive("mean_output", mean_output)) ** (k * steps))


def approximate(*, mean_output: Real, headroom: Real) -> Real:
    """The same as ``e^(-H/m)``: the number of residents cancels.

    *Approximation*; *valid when* ``k`` divides ``H`` or is much smaller.

    >>> round(approximate(mean_output=256, headroom=512), 4)
    0.1353
    """
    return plain(np.exp(-positive("headroom", headroom) / positive("mean_output", mean_output)))
