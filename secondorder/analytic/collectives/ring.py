"""A ring without barriers, as a max-plus recursion: ``T_i(k) = max(T_i(k-1), T_{i-1}(k-1)) + X_i(k)``.

``X_i(k)``: the hop to rank ``i`` in stage ``k``, independent, of mean ``h``. A rank waits for its neighbour only,
so that the delay of one spreads by a rank a stage. The alpha-beta model says ``h`` a stage; a barrier after each
stage says ``E[max of n]``: both are bounds, wrong in opposite directions.
"""

import numpy as np

from secondorder.analytic.arguments import Floats, Real, Whole, non_negative, plain, positive, whole
from secondorder.analytic.collectives import stragglers
from secondorder.errors import InputError
from secondorder.laws import Service

APPROXIMATE_TO = 0.5
"""Coefficient of variation up to which ``approximate_stage_cost`` was compared with simulations; normal hops to 0.2,
where that law ends."""


def exponential_stage_cost(*, ranks: Whole) -> Real:
    """Steady cost of a stage in mean hops, with exponential hops: ``2 - 1/n``.

    *Exact*. The ring is a closed cycle of ``n`` exponential servers with ``n`` customers: each of its
    ``C(2n-1, n)`` states is as likely as any other, and a server is busy for ``n/(2n-1)`` of the time. *Valid
    when* stages are many (``lead``). ``ranks`` whole, from 2, any shape. Errors: ``InputError``.
    *Source*: Gordon and Newell, Closed queuing systems with exponential servers (1967), section 3.

    >>> [round(exponential_stage_cost(ranks=n), 4) for n in (2, 8, 64)]
    [1.5, 1.875, 1.9844]
    """
    return plain(2 - 1 / whole("ranks", ranks, least=2))


def uneven_exponential_stage_cost(*, means: Floats) -> float:
    """Steady time of a stage in s, with exponential hops of different means: ``1 / throughput`` of the cycle.

    By mean value analysis: ``W_i = means_i (1 + Q_i)``, ``X = k / sum W``, ``Q_i = X W_i`` for ``k = 1 ... n``.
    *Exact*. *Valid when* stages are many. ``means`` (n): of the hop to each rank, in s. Errors: ``InputError``.
    *Source*: Gordon and Newell 1967; Reiser and Lavenberg, Mean-value analysis (1980).

    >>> round(uneven_exponential_stage_cost(means=np.ones(8)), 12)
    1.875
    """
    hop = positive("means", means)
    if hop.ndim != 1 or len(hop) < 2:
        raise InputError("means", given=f"an array of shape {hop.shape}", expected="one of each of at least 2 ranks")
    inside, speed = np.zeros(len(hop)), 0.0
    for customers in range(1, len(hop) + 1):
        visit = hop * (1 + inside)
        speed = customers / float(visit.sum())
        inside = speed * visit
    return 1 / speed


def lead(*, ranks: Whole) -> Real:
    """Upper bound in mean hops of how much later the last rank ends than the steady cost predicts: ``sqrt(n)``.

    *Approximation*: with exponential hops ``0.6 sqrt(n)`` to ``sqrt(n)`` was measured for 8 to 128 ranks, from a common
    start; less with less jitter. It is spent once, however many stages follow. ``ranks`` whole, any shape. Errors:
    ``InputError``. *Source*: measured; the root is that of the stationary profile, Kriecherbauer and Krug 2010.

    >>> lead(ranks=64)
    8.0
    """
    return plain(np.sqrt(whole("ranks", ranks)))


def two_ranks_stage_cost(*, law: Service) -> float:
    """Cost in s of a stage of two ranks: ``E[max of 2]``.

    *Exact* for any law and from the first stage on: both begin a stage when the later one has done the one
    before. Errors: ``InputError``. *Source*: the recursion of the module.

    >>> from secondorder.laws import Exponential
    >>> round(two_ranks_stage_cost(law=Exponential("2 s")), 9)
    3.0
    """
    return float(stragglers.of_law(law, count=2))


def stage_cost_bounds(*, law: Service, ranks: Whole) -> tuple[float, Real]:
    """Bounds in s of the cost of a stage: the mean hop (alpha-beta), and ``E[max of n]`` (a barrier a stage).

    *Bounds* for any law. ``ranks`` whole, any shape. Errors: ``InputError``. *Source*: a path that stays at one
    rank, and monotony of the recursion; Baccelli, Cohen, Olsder and Quadrat 1992, section 8.2.

    >>> from secondorder.laws import Exponential
    >>> low, high = stage_cost_bounds(law=Exponential("1 s"), ranks=64)
    >>> low, round(high, 3)
    (1.0, 4.744)
    """
    return law.moment(1), stragglers.of_law(law, count=ranks)


def approximate_stage_cost(*, scv: Real, ranks: Whole) -> Real:
    """Steady cost of a stage in mean hops, from two moments: ``1 + sqrt(scv) (1 - 1/n)``.

    *Approximation*: linear in the coefficient of variation between no jitter and exponential hops, where it is exact.
    Within 2.5 % of simulated hops, 3 to 256 ranks: lognormal and gamma with a cv up to 0.5, normal up to 0.2. All
    broadcast. Errors: ``InputError``. *Source*: measured.

    >>> round(approximate_stage_cost(scv=0.04, ranks=64), 4)  # simulated 1.181
    1.1969
    """
    return plain(1 + np.sqrt(non_negative("scv", scv)) * (1 - 1 / whole("ranks", ranks, least=2)))


def slow_link(*, factors: Floats) -> float:
    """How many times longer the ring takes with links that are always slow: the largest of ``factors``.

    *Exact* without jitter: the slowest path stays at the rank behind that link. An array. Errors: ``InputError``.
    *Source*: the recursion of the module.

    >>> slow_link(factors=np.array([1.0, 2.0, 1.0]))
    2.0
    """
    return float(positive("factors", factors).max())
