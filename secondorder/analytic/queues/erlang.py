"""Erlang's B and C: the probability that all servers are busy, with calls lost or queued.

``offered_load`` is ``arrival_rate / service_rate``, the mean number of servers that the
requests would keep busy if there were no limit (erlang).
"""

import math

from secondorder.analytic.arguments import Real, Whole, each, fraction, positive, stable, whole


def erlang_b(offered_load: Real, servers: Whole) -> Real:
    """Probability that a request finds all servers busy and is lost (M/G/c/c).

    ``B_0 = 1``, ``B_k = a B_{k-1} / (k + a B_{k-1})``, ``a`` the offered load: stable for
    thousands of servers. *Exact*, and the same for every service law of that mean. *Valid
    when* arrivals are Poisson. ``offered_load`` in erlang, ``servers`` whole and at least 1;
    both broadcast. Errors: ``InputError``.

    *Source*: Erlang 1917; insensitivity: Sevast'yanov 1957. The recursion: Jagerman, Some
    properties of the Erlang loss function (1974).

    >>> round(erlang_b(8.0, 10), 9)
    0.121661064
    """
    return each(_blocking, positive("offered_load", offered_load), whole("servers", servers))


def erlang_c(offered_load: Real, servers: Whole) -> Real:
    """Probability that a request finds all servers busy and waits (M/M/c).

    ``C = B / (1 - rho (1 - B))``, ``rho = a/c``. *Exact*. *Valid when* arrivals are Poisson,
    service is exponential and ``rho < 1``. ``offered_load`` in erlang, ``servers`` whole; both
    broadcast. Errors: ``Unstable`` where ``rho >= 1``, ``InputError``.

    *Source*: Erlang 1917; Kleinrock, Queueing Systems I (1975), section 3.5.

    >>> round(erlang_c(1.6, 2), 9)
    0.711111111
    """
    load = positive("offered_load", offered_load)
    stable(load, 1.0, servers)
    return each(_waiting, load, whole("servers", servers))


def servers_for_blocking(offered_load: Real, blocking: Real) -> Real:
    """Least number of servers that loses at most a fraction ``blocking`` of the requests.

    ``min {c : B(c, a) <= blocking}`` along the recursion of ``erlang_b``. *Exact*, insensitive
    to the service law. ``offered_load`` in erlang, ``0 < blocking < 1``; both broadcast, the
    answer is a whole number kept as a float. Errors: ``InputError``.

    *Source*: as ``erlang_b``.

    >>> servers_for_blocking(8.0, 0.01)
    15.0
    """
    return each(_least_blocking, positive("offered_load", offered_load), fraction("blocking", blocking))


def servers_for_wait(offered_load: Real, prob_wait: Real) -> Real:
    """Least number of servers with which at most a fraction ``prob_wait`` of the requests waits.

    ``min {c > a : C(c, a) <= prob_wait}``. *Exact* for M/M/c. ``offered_load`` in erlang,
    ``0 < prob_wait < 1``; both broadcast, the answer is a whole number kept as a float.
    Errors: ``InputError``.

    *Source*: as ``erlang_c``.

    >>> servers_for_wait(100.0, 0.2)
    111.0
    """
    return each(_least_waiting, positive("offered_load", offered_load), fraction("prob_wait", prob_wait))


def _blocking(load: float, servers: int) -> float:
    blocked = 1.0
    for k in range(1, servers + 1):
        blocked = load * blocked / (k + load * blocked)
    return blocked


def _waiting(load: float, servers: int) -> float:
    blocked = _blocking(load, servers)
    return blocked / (1 - load / servers * (1 - blocked))


def _least_blocking(load: float, target: float) -> float:
    blocked, servers = 1.0, 0
    while blocked > target:
        servers += 1
        blocked = load * blocked / (servers + load * blocked)
    return float(servers)


def _least_waiting(load: float, target: float) -> float:
    servers = math.floor(load) + 1
    blocked = _blocking(load, servers)
    while blocked / (1 - load / servers * (1 - blocked)) > target:
        servers += 1
        blocked = load * blocked / (servers + load * blocked)
    return float(servers)
