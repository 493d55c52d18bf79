"""One request at a time with a limit on its answer: how clipping the longest ones shortens the wait of all."""

from typing import NamedTuple

import numpy as np

from secondorder.analytic.arguments import one, one_whole
from secondorder.errors import Unstable


class Clipped(NamedTuple):
    """Utilisation, share of the answers that are clipped, and mean wait in s before service."""

    utilisation: float
    clipped_share: float
    mean_wait: float


def clipped(*, arrival_rate: float, per_token: float, most: int, mu: float = 7.0, sigma: float = 0.7) -> Clipped:
    """One server whose service takes ``per_token`` seconds for each of ``min(N, most)`` tokens.

    ``N = ceil(lognormal(mu, sigma))``; ``W = rate E[S^2]/(2 (1 - rho))`` (Pollaczek and Khinchine). *Exact*. Errors:
    ``Unstable``. *Source*: Yang, Jiao and Xu, arXiv 2407.05347 (2024).

    >>> [round(x, 3) for x in clipped(arrival_rate=1 / 40, per_token=0.0225, most=1_600)]
    [0.609, 0.295, 22.34]
    >>> [round(x, 3) for x in clipped(arrival_rate=1 / 40, per_token=0.0225, most=3_000)]
    [0.734, 0.075, 55.365]
    """
    from scipy.special import ndtr

    rate, seconds = one("arrival_rate", arrival_rate), one("per_token", per_token)
    tokens = np.arange(1, one_whole("most", most) + 1)
    below = ndtr((np.log(tokens) - mu) / one("sigma", sigma))
    weights = np.diff(below, prepend=0.0)
    weights[-1] += 1 - below[-1]
    mean, second = (float(weights @ (seconds * tokens) ** order) for order in (1, 2))
    if rate * mean >= 1:
        raise Unstable(f"utilisation {rate * mean:.4g}; use fewer tokens or an arrival rate below {1 / mean:.4g}/s")
    return Clipped(rate * mean, float(1 - below[-1]), rate * second / (2 * (1 - rate * mean)))
