"""M/M/c/K: an M/M/c queue with room for ``capacity`` requests, waiting and in service; the rest is lost.

A truncated birth-death process: ``pi(n) ~ a^n / n!`` up to ``c`` servers, then ``rho`` times the
one before. It has a steady state at any load.
"""

from collections.abc import Callable

import numpy as np

from secondorder.analytic.arguments import (
    Floats,
    Real,
    Whole,
    each,
    fraction,
    non_negative,
    one,
    one_whole,
    plain,
    positive,
    whole,
)
from secondorder.analytic.queues.transform_inversion import quantile
from secondorder.errors import InputError


def law(*, arrival_rate: float, service_rate: float, servers: int, capacity: int) -> Floats:
    """Probabilities of 0, 1, ..., ``capacity`` requests in the system.

    ``pi(n) = pi(n-1) arrival_rate / (min(n, servers) service_rate)``, scaled to sum 1. *Exact*,
    also at overload. Rates in 1/s, ``1 <= servers <= capacity``; one queue at a time, the answer
    has ``capacity + 1`` entries. Errors: ``InputError``.

    *Source*: Kleinrock, Queueing Systems I (1975), section 3.2 with a finite room.

    >>> law(arrival_rate=1.0, service_rate=1.0, servers=1, capacity=3)
    array([0.25, 0.25, 0.25, 0.25])
    """
    rate, mu = one("arrival_rate", arrival_rate), one("service_rate", service_rate)
    c = one_whole("servers", servers)
    if one_whole("capacity", capacity) < c:
        raise InputError("capacity", given=capacity, expected=f"at least the {c} servers")
    logs = np.cumsum(np.log(rate / (np.minimum(np.arange(1, capacity + 1), c) * mu)))
    weights = np.exp(np.concatenate([[0.0], logs]) - max(0.0, float(logs.max())))
    return np.asarray(weights / weights.sum())


def blocking(*, arrival_rate: Real, service_rate: Real, servers: Whole, capacity: Whole) -> Real:
    """Probability that a request is lost: ``pi(capacity)``, as Poisson arrivals see time averages.

    *Exact*. Rates in 1/s, ``1 <= servers <= capacity``; all broadcast. Errors: ``InputError``.
    *Source*: ``law``; Wolff, Poisson arrivals see time averages (1982).

    >>> round(blocking(arrival_rate=0.9, service_rate=1.0, servers=1, capacity=10), 9)
    0.050813731
    """
    return _of_law(lambda pi, *_: float(pi[-1]), arrival_rate, service_rate, servers, capacity)


def throughput(*, arrival_rate: Real, service_rate: Real, servers: Whole, capacity: Whole) -> Real:
    """Rate of the requests that are served, in 1/s: ``arrival_rate (1 - blocking)``.

    *Exact*. Rates in 1/s, ``1 <= servers <= capacity``; all broadcast. Errors: ``InputError``.
    *Source*: ``law``.

    >>> throughput(arrival_rate=1.0, service_rate=1.0, servers=1, capacity=3)
    0.75
    """
    return _of_law(lambda pi, rate, *_: rate * float(pi[:-1].sum()), arrival_rate, service_rate, servers, capacity)


def mean_wait(*, arrival_rate: Real, service_rate: Real, servers: Whole, capacity: Whole) -> Real:
    """Mean wait of the requests that are not lost, in s: ``sum (n-c)^+ pi(n) / throughput``.

    *Exact* (Little's law on the accepted rate). Rates in 1/s, ``1 <= servers <= capacity``; all
    broadcast. Errors: ``InputError``. *Source*: ``law``; Little 1961.

    >>> round(mean_wait(arrival_rate=0.9, service_rate=1.0, servers=1, capacity=10), 9)
    3.646600672
    """
    return _of_law(_mean_wait, arrival_rate, service_rate, servers, capacity)


def mean_response(*, arrival_rate: Real, service_rate: Real, servers: Whole, capacity: Whole) -> Real:
    """Mean response of the requests that are not lost, in s: ``mean_wait + 1 / service_rate``.

    *Exact*. Rates in 1/s, ``1 <= servers <= capacity``; all broadcast. Errors: ``InputError``.
    *Source*: ``law``; Little 1961.

    >>> round(mean_response(arrival_rate=1.0, service_rate=1.0, servers=1, capacity=3), 9)
    2.0
    """
    return _of_law(lambda *q: _mean_wait(*q) + 1 / q[2], arrival_rate, service_rate, servers, capacity)


def wait_tail(t: Real, *, arrival_rate: float, service_rate: float, servers: int, capacity: int) -> Real:
    """``P(wait > t)`` of a request that is not lost.

    It meets ``n < capacity`` others with probability ``pi(n)/(1 - pi(capacity))`` and waits, if
    ``n >= c``, for ``n - c + 1`` departures at rate ``c mu``: a mixture of Erlang laws. *Exact*.
    ``t`` in s, any shape; rates in 1/s, one queue at a time. Errors: ``InputError``.

    *Source*: Gross and Harris, Fundamentals of Queueing Theory, section 2.4.

    >>> round(wait_tail(0.0, arrival_rate=1.0, service_rate=1.0, servers=1, capacity=3), 9)
    0.666666667
    """
    return plain(_tail(arrival_rate, service_rate, servers, capacity)(non_negative("t", t)))


def wait_quantile(p: Real, *, arrival_rate: float, service_rate: float, servers: int, capacity: int) -> Real:
    """The wait in s that a fraction ``p`` of the requests that are not lost does not exceed.

    Root of ``wait_tail(t) = 1 - p``. *Exact*, solved to 1e-14. ``0 < p < 1``, any shape; rates in
    1/s, one queue at a time. Errors: ``InputError``. *Source*: inverse of ``wait_tail``.

    >>> round(wait_quantile(0.5, arrival_rate=1.0, service_rate=1.0, servers=1, capacity=2), 9)
    0.0
    """
    level = fraction("p", p)
    scale = np.full_like(level, 1 / one("service_rate", service_rate))
    return plain(quantile(_tail(arrival_rate, service_rate, servers, capacity), level, scale))


def _tail(rate: float, mu: float, c: int, capacity: int) -> Callable[[Floats], Floats]:
    from scipy.special import gammaincc

    met = law(arrival_rate=rate, service_rate=mu, servers=c, capacity=capacity)[:-1]
    met = met / met.sum()
    return lambda t: np.asarray(gammaincc(np.arange(1, capacity - c + 1), c * mu * t[..., None]) @ met[c:])


def _mean_wait(pi: Floats, rate: float, mu: float, c: int) -> float:
    waiting = np.maximum(np.arange(pi.size) - c, 0)
    return float(waiting @ pi) / (rate * float(pi[:-1].sum()))


def _of_law(
    measure: Callable[[Floats, float, float, int], float],
    arrival_rate: Real,
    service_rate: Real,
    servers: Whole,
    capacity: Whole,
) -> Real:
    def solve(rate: float, mu: float, c: int, room: int) -> float:
        return measure(law(arrival_rate=rate, service_rate=mu, servers=c, capacity=room), rate, mu, c)

    return each(
        solve,
        positive("arrival_rate", arrival_rate),
        positive("service_rate", service_rate),
        whole("servers", servers),
        whole("capacity", capacity),
    )
