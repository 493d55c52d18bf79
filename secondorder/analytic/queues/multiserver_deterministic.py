"""M/D/c: Poisson arrivals, a constant service time, identical ``servers``, first come first served.

Over any span of one service time D, what was in service leaves and what came stays:
``X(t + D) = max(X(t) - c, 0) + Poisson(lambda D)``. The stationary law of that chain is the law of
the number in the system at any moment, and gives the law of the wait.
"""

from functools import lru_cache

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
    stable,
    whole,
)
from secondorder.analytic.queues.bulk_service_chain import stationary_law
from secondorder.analytic.queues.transform_inversion import quantile


def mean_wait(*, arrival_rate: Real, mean_service: Real, servers: Whole = 1) -> Real:
    """Mean wait in s: ``E[max(X - c, 0)] / arrival_rate``, ``X`` the stationary chain of the module.

    *Exact*, computed without cancellation; with one server it is Pollaczek-Khinchine at scv 0.
    ``arrival_rate`` in 1/s, ``mean_service`` (the constant D) in s, ``servers`` whole; all
    broadcast. Errors: ``Unstable`` where ``rho = arrival_rate mean_service / servers >= 1``,
    ``InputError``, also where ``rho`` is above about 0.9999.

    *Source*: Crommelin 1932; Tijms, A First Course in Stochastic Models (2003), section 9.6.2.

    >>> round(mean_wait(arrival_rate=1.6, mean_service=1.0, servers=2), 9)
    0.903283879
    """
    rate, service = positive("arrival_rate", arrival_rate), positive("mean_service", mean_service)
    stable(rate, service, servers)
    return each(_mean_wait, rate, service, whole("servers", servers))


def wait_tail(t: Real, *, arrival_rate: float, mean_service: float, servers: int = 1) -> Real:
    """``P(wait > t)`` as a sum of positive terms.

    With ``(k-1) D <= t < k D`` and ``u = k D - t``: ``sum_{j < kc} Pois(j; lambda u) P(X - c > kc - 1 - j)
    + P(Pois(lambda u) >= kc)``. The alternating series of Erlang for one server gives the same
    number and loses all digits in floating point. *Exact*. ``t`` in s, any shape;
    ``arrival_rate`` in 1/s, ``mean_service`` (the constant D) in s, one queue at a time. Errors:
    ``Unstable`` where ``rho >= 1``, ``InputError``.

    *Source*: Franx, A simple solution for the M/D/c waiting time distribution (2001).

    >>> round(wait_tail(0.0, arrival_rate=0.8, mean_service=1.0), 9)
    0.8
    """
    waiting, service = _law(arrival_rate, mean_service, servers)
    return plain(_tail(non_negative("t", t), waiting, arrival_rate, service, servers))


def wait_quantile(p: Real, *, arrival_rate: float, mean_service: float, servers: int = 1) -> Real:
    """The wait in s that a fraction ``p`` of the requests does not exceed: root of ``wait_tail(t) = 1 - p``.

    *Exact*. ``0 < p < 1``, any shape; ``arrival_rate`` in 1/s, ``mean_service`` (the constant D)
    in s, one queue at a time. Errors: ``Unstable`` where ``rho >= 1``, ``InputError``.
    *Source*: inverse of ``wait_tail``.

    >>> round(wait_quantile(0.99, arrival_rate=0.8, mean_service=1.0), 6)
    10.355887
    """
    waiting, service = _law(arrival_rate, mean_service, servers)
    level = fraction("p", p)
    found = quantile(
        lambda t: _tail(t, waiting, arrival_rate, service, servers), level, np.full_like(level, service / servers)
    )
    return plain(found)


def response_tail(t: Real, *, arrival_rate: float, mean_service: float, servers: int = 1) -> Real:
    """``P(wait + service > t)``: 1 for ``t < D``, else ``P(wait > t - D)``.

    *Exact*. ``t`` in s, any shape; ``arrival_rate`` in 1/s, ``mean_service`` (the constant D) in
    s, one queue at a time. Errors: ``Unstable`` where ``rho >= 1``, ``InputError``.
    *Source*: as ``wait_tail``.

    >>> response_tail(0.5, arrival_rate=0.8, mean_service=1.0)
    1.0
    """
    after = non_negative("t", t) - one("mean_service", mean_service)
    waited = wait_tail(np.maximum(after, 0), arrival_rate=arrival_rate, mean_service=mean_service, servers=servers)
    return plain(np.where(after < 0, 1.0, waited))


def response_quantile(p: Real, *, arrival_rate: float, mean_service: float, servers: int = 1) -> Real:
    """The response in s that a fraction ``p`` of the requests does not exceed: ``wait_quantile + D``.

    *Exact*. ``0 < p < 1``, any shape; ``arrival_rate`` in 1/s, ``mean_service`` (the constant D)
    in s, one queue at a time. Errors: ``Unstable`` where ``rho >= 1``, ``InputError``.
    *Source*: as ``wait_tail``.

    >>> round(response_quantile(0.99, arrival_rate=0.8, mean_service=1.0), 6)
    11.355887
    """
    wait = wait_quantile(p, arrival_rate=arrival_rate, mean_service=mean_service, servers=servers)
    return plain(wait + mean_service)


@lru_cache(maxsize=64)
def _number(load: float, servers: int) -> Floats:
    """The law of the number in the system."""
    return stationary_law(np.full(servers + 1, load), servers)


def _mean_wait(rate: float, service: float, servers: int) -> float:
    law = _number(rate * service, servers)
    return float(np.arange(law.size - servers) @ law[servers:]) / rate


def _law(arrival_rate: float, mean_service: float, servers: int) -> tuple[Floats, float]:
    """``P(X - c > m)`` for m = 0, 1, ..., and D."""
    rate, service = one("arrival_rate", arrival_rate), one("mean_service", mean_service)
    count = one_whole("servers", servers)
    stable(rate, service, count)
    law = _number(rate * service, count)
    return np.cumsum(law[::-1])[::-1][count + 1 :], service


def _tail(t: Floats, waiting: Floats, rate: float, service: float, servers: int) -> Floats:
    found = [_tail_at(float(time), waiting, rate, service, servers) for time in t.reshape(-1)]
    return np.reshape(found, t.shape)


def _tail_at(t: float, waiting: Floats, rate: float, service: float, servers: int) -> float:
    from scipy.special import gammainc, gammaln, xlogy

    spans = int(t // service) + 1
    mean, room = rate * max(spans * service - t, 0.0), spans * servers
    j = np.arange(max(0, room - waiting.size), room)  # beyond them, P(X - c > kc - 1 - j) is 0
    arriving = np.exp(xlogy(j, mean) - mean - gammaln(j + 1))
    return float(arriving @ waiting[room - 1 - j] + (gammainc(room, mean) if mean > 0 else 0.0))
