"""Spare nodes: how often a run has to wait for a repair.

Each failure sends a node to repair and takes a spare; with none left the run waits for a repair. No
failure strikes a run that waits. ``repair`` is the mean time of one repair in s; ``crews`` repair one node each,
as many as it takes where none are given.
"""

import math

import numpy as np

from secondorder.analytic.arguments import Real, Whole, each, non_negative, one, one_whole, plain, positive, whole
from secondorder.analytic.queues.erlang import erlang_b
from secondorder.errors import InfeasibleError, InputError


def availability(*, mtbf: Real, repair: Real, spares: Whole) -> Real:
    """Share of time in which the run has all its nodes, crews unlimited: ``1 - B(S + 1, r/M)``.

    ``B`` is Erlang's loss formula, ``M = m/N`` the time between failures of ``N`` nodes, ``r`` the repair, ``S``
    spares: the ``S + 1`` nodes that may be in repair are the servers, a failure that cannot strike is a lost call.
    *Exact* for any law of the repair. *Valid when* failures are Poisson and no other downtime follows them. Times
    in s; broadcast. Errors: ``InputError``. *Source*: Erlang 1917; Barlow and Proschan, Mathematical theory of
    reliability (1965).

    >>> round(availability(mtbf=3600.0, repair=7200.0, spares=4), 6)
    0.963303
    """
    load = positive("repair", repair) / positive("mtbf", mtbf)
    return plain(1 - np.asarray(erlang_b(load, whole("spares", spares, 0) + 1)))


def availability_with_crews(*, mtbf: Real, repair: Real, spares: Whole, crews: Whole) -> Real:
    """The same with ``crews`` that repair one node each: a birth-death chain of the nodes down.

    ``B_0 = 1``, ``B_k = a_k B_{k-1} / (1 + a_k B_{k-1})`` with ``a_k = r / (M min(k, crews))``, and ``1 - B_{S+1}``.
    *Exact*. *Valid when* failures are Poisson, repairs exponential, and no other downtime follows. Times in s;
    broadcast. Errors: ``InputError``. *Source*: the machine-repairman model; Feller I (1968), chapter XVII.

    >>> round(availability_with_crews(mtbf=3600.0, repair=1800.0, spares=4, crews=1), 6)
    0.984127
    """
    load = positive("repair", repair) / positive("mtbf", mtbf)
    return each(_available, load, whole("spares", spares, 0), whole("crews", crews))


def _available(load: float, spares: int, crews: int) -> float:
    blocked = 1.0
    for down in range(1, spares + 2):
        ratio = load / min(down, crews) * blocked
        blocked = ratio / (1 + ratio)
    return 1 - blocked


def head_start(*, mtbf: float, repair: float, spares: int, crews: int | None = None) -> float:
    """Time in s that a run waits less than in the long run because no node is in repair at its start.

    ``M B sum_k C_k (1 - C_k) / pi_k`` over ``k = 0 ... S``: ``pi_k`` the share of time with ``k`` nodes in repair,
    ``C_k`` with at most ``k``, ``B = 1 - C_S``. *Exact* in the limit of a long run, a bound for a shorter one.
    *Valid when* failures are Poisson, repairs exponential, and no other downtime follows. Times in s.
    Errors: ``InputError``.

    *Source*: deviation of a birth-death chain: mean times to its last state from 0 and in balance; Keilson 1979.

    >>> round(head_start(mtbf=3600.0, repair=3600.0, spares=0), 6)   # two states: half of the relaxation time of 1800 s
    900.0
    """
    m, shelf = one("mtbf", mtbf), one_whole("spares", spares, 0)
    staff = shelf + 1 if crews is None else one_whole("crews", crews)
    load = one("repair", repair) / m
    down = np.arange(1, shelf + 2)
    share = np.concatenate([[0.0], np.cumsum(np.log(load / np.minimum(down, staff)))])  # in logarithms
    share -= np.logaddexp.reduce(share)
    upto, beyond = np.logaddexp.accumulate(share)[:-1], np.logaddexp.accumulate(share[::-1])[::-1][1:]
    return float(m * np.exp(upto + beyond + share[-1] - share[:-1]).sum())


def most_available(*, mtbf: Real, repair: Real, spares: Whole, crews: Whole | None = None) -> Real:
    """An upper bound on the availability from means alone: ``min(1, (S + 1) M / r, crews M / r)``.

    Repairs take ``A r / M`` nodes out on average (Little), no more than ``S + 1`` are out, and no more than
    ``crews`` in the hands of a crew. *Bound*, reached for many spares. Times in s; broadcast. Errors:
    ``InputError``. *Source*: Little 1961.

    >>> most_available(mtbf=3600.0, repair=7200.0, spares=0)
    0.5
    """
    places = whole("spares", spares, 0) + 1
    served = places if crews is None else np.minimum(places, whole("crews", crews))
    return plain(np.minimum(served * positive("mtbf", mtbf) / positive("repair", repair), 1.0))


def spares_needed(*, mtbf: float, repair: float, target: float, crews: int | None = None) -> int:
    """Least number of spares with an availability of at least ``target``.

    Along the recursion of ``availability_with_crews``, or of Erlang's formula. Times in s, ``0 < target < 1``.
    Errors: ``InputError``; ``InfeasibleError`` where no number of spares helps, because the crews are too few.

    >>> spares_needed(mtbf=3600.0, repair=7200.0, target=0.999)
    7
    """
    load = one("repair", repair) / one("mtbf", mtbf)
    limit = math.inf if crews is None else one_whole("crews", crews)
    if not 0 < target < 1:
        raise InputError("target", given=target, expected="a share between 0 and 1, both excluded")
    if target >= limit / load:
        raise InfeasibleError(
            f"{limit} crews with repairs of {repair:.6g} s keep up with {limit / load:.6g} of the failures: "
            f"no number of spares gives an availability of {target:.6g}; use at least {math.floor(load) + 1} crews"
        )
    blocked, down = 1.0, 0
    while True:
        down += 1
        ratio = load / min(down, limit) * blocked
        blocked = ratio / (1 + ratio)
        if 1 - blocked >= target:
            return down - 1


def wait_for_repair(
    *,
    mtbf: float,
    repair: float,
    spares: int,
    crews: int | None = None,
    detection: float = 0.0,
    replacement: float = 0.0,
) -> float:
    """Mean time in s that a failure makes the run wait for a repair; 0 for most failures.

    The chain of the nodes in repair, seen whenever the run starts: it runs for an exponential time, stands still for
    the ``detection``, sends a node to repair, waits if none is left, and stands still for the ``replacement``; repairs
    go on all the while. *Exact* for Poisson failures and exponential repairs; without downtime it is ``M (1/A - 1)``
    of the ``availability`` ``A``, whatever the law of the repair if crews are unlimited. All in s.
    Errors: ``InputError``.

    *Source*: embedded Markov chain; Kulkarni, Modeling and analysis of stochastic systems (1995).

    >>> round(wait_for_repair(mtbf=3600.0, repair=7200.0, spares=4), 2)   # 3600 s (1 / 0.963303 - 1)
    137.14
    """
    from scipy.linalg import expm

    m, r, shelf = one("mtbf", mtbf), one("repair", repair), one_whole("spares", spares, 0)
    staff = shelf + 1 if crews is None else min(one_whole("crews", crews), shelf + 1)
    early, late = float(non_negative("detection", detection)), float(non_negative("replacement", replacement))
    rates = np.minimum(np.arange(shelf + 1), staff) / r
    repairs = np.diag(rates[1:], -1) - np.diag(rates)  # from k nodes in repair to k - 1
    at_strike = np.linalg.inv(np.eye(shelf + 1) - m * repairs) @ expm(early * repairs)
    taken = np.eye(shelf + 1, k=1)
    taken[shelf, shelf] = 1.0  # one more, of which one comes back before the run goes on
    chain = at_strike @ taken @ expm(late * repairs)
    balance = np.vstack([(chain.T - np.eye(shelf + 1))[:-1], np.ones(shelf + 1)])
    start = np.linalg.solve(balance, np.eye(shelf + 1)[-1])
    return float((start @ at_strike)[shelf]) * r / staff
