"""Elastic data parallelism: the work lost while replicas heal, and the time lost while the others regroup.

Each of ``replicas`` is up for an exponential time of mean ``lifetime`` and then down for ``heal``, independently of
the others. All times in s.
"""

import math

import numpy as np

from secondorder.analytic.arguments import non_negative, one, one_whole
from secondorder.arrays import Floats


def up_share(*, lifetime: float, heal: float) -> float:
    """Share of time in which a replica is up: ``m / (m + h)``.

    *Exact* for any laws with these means. Errors: ``InputError``. *Source*: alternating renewal; Cox, Renewal theory
    (1962), section 7.2.

    >>> up_share(lifetime=9000.0, heal=1000.0)
    0.9
    """
    m, h = one("lifetime", lifetime), float(non_negative("heal", heal))
    return m / (m + h)


def running(*, replicas: int, lifetime: float, heal: float, regroup: float, fewest: int = 1) -> tuple[float, float]:
    """Share of time in which the replicas work, and the mean share of them that is up then.

    A change of replicas makes the others regroup, again if the next one comes before that is over; with fewer than
    ``fewest`` up nobody works. A replica has been up without a change for the time ``p`` to regroup with probability
    ``alpha = a e^(-p/m)``, and down with ``beta = (1 - a)(1 - p/h)``: of ``N`` replicas ``k`` are up and none has
    changed with ``C(N, k) alpha^k beta^(N-k)``. *Exact* in the long run for exponential lifetimes and any law of the
    heal that lasts at least ``p``. Errors: ``InputError``.

    *Source*: independent alternating renewal processes in balance; Cox, Renewal theory (1962), chapter 7.

    >>> share, up = running(replicas=2, lifetime=9000.0, heal=1000.0, regroup=0.0)
    >>> round(share, 6), round(up, 6)
    (0.99, 0.909091)
    """
    from scipy.stats import binom

    n, least, p = one_whole("replicas", replicas), one_whole("fewest", fewest), float(non_negative("regroup", regroup))
    a, m, h = up_share(lifetime=lifetime, heal=heal), float(lifetime), float(heal)
    steady_up = a * math.exp(-p / m)
    steady_down = (1 - a) * max(0.0, 1 - p / h) if h > 0 else 0.0
    steady = steady_up + steady_down
    k = np.arange(least, n + 1)
    each: Floats = binom.pmf(k, n, steady_up / steady) * steady**n
    share = float(each.sum())
    return share, float((each * k).sum()) / n / share if share > 0 else 0.0


def too_few(*, replicas: int, up: float, fewest: int) -> float:
    """Share of time with fewer than ``fewest`` of the replicas up, each with probability ``up``: binomial.

    *Exact*. Errors: ``InputError``. *Source*: independent replicas in balance; Cox, Renewal theory (1962), chapter 7.

    >>> round(too_few(replicas=2, up=0.9, fewest=2), 6)
    0.19
    """
    from scipy.stats import binom

    return float(binom.cdf(one_whole("fewest", fewest) - 1, one_whole("replicas", replicas), up))


def wait_for_node(*, replicas: int, lifetime: float, repair: float, spares: int, crews: int | None = None) -> float:
    """Mean time in s that a replica which has failed waits for a node; most do not wait.

    Birth and death of the nodes in repair: of ``k`` there are ``max(0, k - S)`` for whom no spare was left, and these
    replicas do not fail; ``min(k, crews)`` are repaired at once. The mean number that waits, over the rate of failures
    (Little). *Exact* for exponential lifetimes and repairs where nothing else keeps a replica down.
    Errors: ``InputError``. *Source*: machine-repairman model with spares; Feller I (1968), chapter XVII.

    >>> round(wait_for_node(replicas=1, lifetime=3600.0, repair=7200.0, spares=4), 2)   # as spares of one run
    137.14
    """
    n, shelf = one_whole("replicas", replicas), one_whole("spares", spares, 0)
    rate, mean = 1 / one("lifetime", lifetime), one("repair", repair)
    k = np.arange(n + shelf + 1)
    waiting = np.maximum(0, k - shelf)
    births = (n - waiting) * rate
    deaths = (k if crews is None else np.minimum(k, one_whole("crews", crews))) / mean
    logs = np.concatenate([[0.0], np.cumsum(np.log(births[:-1]) - np.log(deaths[1:]))])
    share = np.exp(logs - np.logaddexp.reduce(logs))
    return float((share * waiting).sum() / (share * births).sum())


def all_down(*, replicas: int, lifetime: float, heal: float, horizon: float) -> float:
    """How often all replicas are down at once in a time, on average: ``N a (1 - a)^(N-1) T / m``.

    *Exact* in the long run. Errors: ``InputError``. *Source*: rate of the last replica's failures, the others down.

    >>> all_down(replicas=2, lifetime=100.0, heal=100.0, horizon=100.0)
    0.5
    """
    n, m = one_whole("replicas", replicas), one("lifetime", lifetime)
    a = up_share(lifetime=m, heal=heal)
    return float(n * a * (1 - a) ** (n - 1) * one("horizon", horizon) / m)
