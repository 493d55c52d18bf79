"""The Markov chain of a queue emptied by up to ``down`` at a time, between which Poisson arrivals come.

``X' = max(X - down, 0) + A``, ``A`` Poisson of mean ``means[X]`` (the last of them for ``X >= down``).
It carries M/D/c (at spacing D) and the batch server (at the ends of services).
"""

import math

import numpy as np

from secondorder.analytic.arguments import Floats
from secondorder.errors import InputError

LONGEST = 400_000


def stationary_law(means: Floats, down: int) -> Floats:
    """Probabilities of 0, 1, 2, ... up to where the tail is below about 1e-18.

    States are eliminated from the top down without a subtraction (Grassmann, Taksar and Heyman
    1985), so each probability keeps its own digits, also in the tail. *Exact* but for the cut
    of the tail. ``means`` has ``down + 1`` entries; the last is below ``down``. Errors:
    ``InputError`` where the load is so close to 1 that the chain exceeds 400,000 states.

    >>> bool(abs(stationary_law(np.array([0.5, 0.5]), 1)[0] - 0.5) < 1e-12)
    True
    """
    above = int(np.ceil(means.max() + 10 * math.sqrt(means.max()) + 20))
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
    _eliminate(band.reshape(-1), size, width, down, above)
    return _substitute(band.reshape(-1), size, width, down, above)


def _levels(load: float) -> int:
    """Levels over which a geometric tail of ratio ``1/z``, ``load (z - 1) = ln z``, ``z > 1``, falls below 1e-18."""
    from scipy.special import lambertw

    ratio = -float(lambertw(-load * math.exp(-load), -1).real) / load
    return math.ceil(42 / math.log(ratio)) if ratio > 1 + 1e-9 else LONGEST + 1


def _poisson(mean: float, count: int) -> Floats:
    from scipy.special import gammaln

    k = np.arange(count)
    return np.asarray(np.exp(k * math.log(mean) - mean - gammaln(k + 1)))


def _eliminate(flat: Floats, size: int, width: int, down: int, above: int) -> None:
    """Fold each state n, from the last, into the steps among those below it."""
    back, step = np.arange(1, above + 1)[:, None], np.arange(down)
    into = (back - back * width + down)[:, 0]  # where the step from n - back to n lies, counted from n's row
    fold = back - back * width + step  # and where the step from n - back to n - down + step lies
    for n in range(size - 1, 0, -1):
        start, rows = n * width, min(above, n)
        lower = flat[start : start + down]
        arriving = into[:rows] + start
        flat[arriving] /= lower.sum()
        flat[fold[:rows] + start] += np.outer(flat[arriving], lower)


def _substitute(flat: Floats, size: int, width: int, down: int, above: int) -> Floats:
    back = np.arange(above, 0, -1)
    into = back - back * width + down
    law = np.zeros(size)
    law[0] = 1
    for n in range(1, size):
        rows = min(above, n)
        law[n] = law[n - rows : n] @ flat[n * width + into[-rows:]]
        if law[n] > 1e200:
            law[: n + 1] *= 1e-200
    return np.asarray(law / law.sum())
