"""Failures cause attempts, and attempts cause failures: where the two are in balance.

Retries are load. Where more attempts fail more often, there may be several balances: a good one, one that no
system stays at, and a bad one that lasts after its cause is gone (a retry storm).
"""

import math
from collections.abc import Callable

import numpy as np

from secondorder.analytic.arguments import one
from secondorder.analytic.queues import multiserver_finite

GRID = 20_000
"""Points between the fewest and the most attempts at which the balance is looked for."""


def attempts_mean(failing: float, retries: int) -> float:
    """Attempts of a request: ``1 + p + ... + p^r``, each failing with the same probability ``p``.

    *Exact* for independent attempts. ``retries``: further attempts at most. *Source*: a geometric sum.

    >>> attempts_mean(0.5, 2), attempts_mean(1.0, 3)
    (1.75, 4.0)
    """
    return math.fsum(failing**k for k in range(retries + 1))


def balances(*, rate: float, retries: int, failing: Callable[[float], float]) -> tuple[float, ...]:
    """Rates of attempts ``a`` at which ``a = rate (1 + p(a) + ... + p(a)^r)``, in 1/s, from the lowest on.

    The first is stable, and so is every second one after it: a system that starts between two of them ends at the
    stable one. Balances that lie between the same two points of a grid of 20,000 are missed. *Approximation*: attempts
    are taken for Poisson, which they become as the pause before a retry grows. ``rate`` of requests in 1/s;
    ``failing``: the probability that an attempt fails while ``a`` come in a second. Errors: ``InputError``.

    *Source*: Cohen, Basic problems of telephone traffic theory and the influence of repeated calls, Philips
    Telecommunication Review 18 (1957), for blocked calls; Bronson et al., Metastable failures in distributed systems,
    HotOS 2021, for the bad balance.

    >>> late = lambda a: math.exp(-(1 - a) * 8) if a < 1 else 1.0      # M/M/1 at 1/s, a deadline of 8 s
    >>> [round(a, 3) for a in balances(rate=0.5, retries=3, failing=late)]
    [0.51, 0.908, 2.0]
    >>> [round(a, 3) for a in balances(rate=0.2, retries=3, failing=late)]      # all attempts together are too few
    [0.2]
    """
    offered = one("rate", rate)
    grid = offered * np.linspace(1.0, retries + 1.0, GRID + 1)

    def excess(attempts: float) -> float:
        return offered * attempts_mean(failing(attempts), retries) - attempts

    values = np.array([excess(float(a)) for a in grid])
    between = np.flatnonzero(values[:-1] * values[1:] < 0)
    found = [*grid[values == 0], *(_crossing(excess, grid[place], grid[place + 1]) for place in between)]
    return tuple(sorted(float(a) for a in found))


def _crossing(function: Callable[[float], float], low: float, high: float) -> float:
    rising = function(high) > 0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if (function(middle) > 0) == rising else (middle, high)
    return float((low + high) / 2)


def refused(*, service_rate: float, servers: int, room: int) -> Callable[[float], float]:
    """The probability that an attempt finds ``room`` others in M/M/c/K, as a function of the rate of attempts.

    *Exact* for Poisson attempts. ``service_rate`` in 1/s. *Source*: Kleinrock, Queueing Systems I (1975), section 3.6.

    >>> round(refused(service_rate=1.0, servers=1, room=2)(1.0), 6)
    0.333333
    """
    mu = one("service_rate", service_rate)

    def share(attempts: float) -> float:
        law = multiserver_finite.law(arrival_rate=attempts, service_rate=mu, servers=servers, capacity=room)
        return float(law[-1])

    return share


def late(*, service_rate: float, deadline: float) -> Callable[[float], float]:
    """The probability that an attempt at M/M/1 takes longer than ``deadline``, as a function of the rate of attempts.

    ``exp(-(mu - a) d)`` below ``mu``, and 1 from there on. *Exact* for Poisson attempts that are served to the end
    though nobody waits any more. ``service_rate`` in 1/s, ``deadline`` in s. *Source*: Kleinrock (1975), section 5.6.

    >>> round(late(service_rate=1.0, deadline=8.0)(0.5), 6), late(service_rate=1.0, deadline=8.0)(1.2)
    (0.018316, 1.0)
    """
    mu, most = one("service_rate", service_rate), one("deadline", deadline)
    return lambda attempts: math.exp(-(mu - attempts) * most) if attempts < mu else 1.0
