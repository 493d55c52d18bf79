"""Smallest volume first: how close it is to the best order of requests that are all released at once."""

import numpy as np
import numpy.typing as npt

from secondorder.analytic.arguments import Floats, Real, fraction, plain, positive


def volume(prompt: Real, output: Real) -> Real:
    """Tokens held over the steps of a request: ``s o + (o^2 + o)/2``.

    >>> volume(10, 4)
    50.0
    """
    s, o = positive("prompt", prompt), positive("output", output)
    return plain(s * o + (o**2 + o) / 2)


def least_completion_sum(volumes: npt.ArrayLike, *, memory: float) -> float:
    """The least sum of completion times, in steps, that any order can have: ``(1/M) sum_j sum_(i<=j) vol_(i)``.

    Volumes ascend: by the time that ``j`` requests have ended, the cache has held their volumes. *Bound* from below;
    *valid when* all are released at once. *Source*: Kong et al., arXiv 2606.22327 (2026), by its abstract.

    >>> least_completion_sum([50, 30, 20], memory=10)
    17.0
    """
    ascending: Floats = np.sort(positive("volumes", np.asarray(volumes, float)))
    return float(ascending.cumsum().sum() / positive("memory", memory))


def competitive_ratio(largest_share: Real) -> Real:
    """Upper bound of the sum of completion times of smallest volume first over that of the best order: ``1 + 2/(1 -
    alpha)``.

    ``alpha``: the largest peak of a request over the memory. *Bound*. *Source*: as for ``least_completion_sum``.

    >>> round(competitive_ratio(0.125), 3)
    3.286
    """
    return plain(1 + 2 / (1 - fraction("largest_share", largest_share)))
