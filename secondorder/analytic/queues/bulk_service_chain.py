"""The Markov chain of a queue that is emptied by up to ``down`` at a time, with Poisson arrivals in between.

``X' = max(X - down, 0) + A``, ``A`` Poisson of mean ``means[X]`` (the last of them for ``X >= down``).
M/D/c (at spacing D) and the batch server (at the ends of services) are built on it.
"""

import math

import numpy as np

from secondorder.analytic.arguments import Floats
from secondorder.errors import InputError

LONGEST = 400_000


def stationary_law(means: Floats, down: int) -> Floats:
    """Probabilities of 0, 1, 2, ... up to where the tail is below about 1e-18.

    States are eliminated from the top down without a subtraction (Grassmann, Taksar and Heyman 1985), so each
    probability keeps its own digits, also in the tail. *Exact* apart from the cut of the tail. ``means`` has
    ``down + 1`` entries; the last is below ``down``. Errors: ``InputError`` where the load is so close to 1 that the
    chain exceeds 400,000 states.

    >>> bool(abs(stationary_law(np.array([0.5, 0.5]), 1)[0] - 0.5) < 1e-12)
    True
    """
    # steps up that are kept: far into the tail of what arrives, and past ``down``, where waits begin
    above = max(math.ceil(means.max() + 10 * math.sqrt(means.max())) + 20, down + 40)
    size = _levels(float(means[-1]) / down) + down + above
    if size > LONGEST:
        given = f"utilisation {means[-1] / down:.8g}"
        raise InputError("arrival_rate", given=given, expected="a load whose chain has at most 400,000 states")
    width = down + above + 1
    # band[i, j - i + down] is the probability of a step from i to j
    band = np.zeros((size, width))
    for i in range(down):
        band[i, down - i :] = _poisson(float(means[i]), width - down + i)
    band[down:] = _poisson(float(means[-1]), width)
    least = _eliminate(band.reshape(-1), size, width, down, above)
    return _substitute(band.reshape(-1), size, width, down, above, least)


def _levels(load: float) -> int:
    """Levels over which a geometric tail of ratio ``1/z``, ``load (z - 1) = ln z``, ``z > 1``, falls below 1e-18."""
    from scipy.special import lambertw

    ratio = -float(lambertw(-load * math.exp(-load), -1).real) / load
    return math.ceil(42 / math.log(ratio)) if ratio > 1 + 1e-9 else LONGEST + 1


def _poisson(mean: float, count: int) -> Floats:
    from scipy.special import gammaln

    k = np.arange(count)
    return np.asarray(np.exp(k * math.log(mean) - mean - gammaln(k + 1)))


def _above(flat: Floats, n: int, width: int, above: int) -> Floats:
    """A view of the steps from the states ``n - above`` ... ``n - 1`` (or from 0 on), one a row.

    Column ``down`` is the step to n, column ``k`` the one to ``n - down + k``: in the flat band,
    the step to one state lies ``width - 1`` further for each next state.
    """
    rows = min(above, n)
    return flat[n * width - rows * (width - 1) : n * width].reshape(rows, width - 1)


def _eliminate(flat: Floats, size: int, width: int, down: int, above: int) -> int:
    """Fold each state, from the last, into the steps among those below it; returns the least state with any weight."""
    for n in range(size - 1, 0, -1):
        lower = flat[n * width : n * width + down]
        falling = lower.sum()
        if falling < 1e-100:  # nor does the rest of the chain fall below n, in floating point
            return n
        block = _above(flat, n, width, above)
        block[:, down] /= falling
        block[:, :down] += np.outer(block[:, down], lower)
    return 0


def _substitute(flat: Floats, size: int, width: int, down: int, above: int, least: int) -> Floats:
    law = np.zeros(size)
    law[least] = 1
    for n in range(least + 1, size):
        block = _above(flat, n, width, above)
        law[n] = law[n - len(block) : n] @ block[:, down]
        if law[n] > 1e100:
            law[: n + 1] *= 1e-100
    return np.asarray(law / law.sum())
