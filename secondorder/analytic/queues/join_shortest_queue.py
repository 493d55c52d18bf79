"""The supermarket model: each arrival joins the shortest of ``choices`` queues picked at random, out of very many."""

import numpy as np

from secondorder.analytic.arguments import (
    Real,
    Whole,
    each,
    non_negative,
    one,
    one_whole,
    plain,
    positive,
    stable,
    whole,
)


def mean_response(*, arrival_rate: Real, service_rate: Real, choices: Whole = 2) -> Real:
    """Mean response in s: ``(1/mu) sum_{i >= 1} rho^((d^i - d)/(d - 1))``.

    *Approximation* for a finite number of servers, exact as they grow; with ``d = 1`` choice it is
    M/M/1. *Valid when* arrivals are Poisson at ``arrival_rate`` a server, services exponential
    and servers many. ``arrival_rate`` (of one server) and ``service_rate`` in 1/s, ``choices``
    (d) whole; all broadcast. Errors: ``Unstable`` where ``rho = arrival_rate/service_rate >= 1``,
    ``InputError``.

    *Source*: Vvedenskaya, Dobrushin and Karpelevich 1996; Mitzenmacher, The power of two choices
    in randomized load balancing (2001), section 3.

    >>> round(mean_response(arrival_rate=0.9, service_rate=1.0, choices=2), 9)
    2.614057377
    """
    mu = positive("service_rate", service_rate)
    rho = stable(arrival_rate, 1 / mu)
    return plain(np.asarray(each(_mean_response, rho, whole("choices", choices))) / mu)


def queue_tail(length: Whole, *, arrival_rate: Real, service_rate: Real, choices: Whole = 2) -> Real:
    """Fraction of the servers with at least ``length`` requests: ``rho^((d^length - 1)/(d - 1))``.

    *Approximation* for a finite number of servers, exact as they grow. *Valid when* as
    ``mean_response``. ``length`` whole, at least 0; ``arrival_rate`` (of one server) and
    ``service_rate`` in 1/s, ``choices`` (d) whole; all broadcast. Errors: ``Unstable`` where
    ``rho >= 1``, ``InputError``.

    *Source*: as ``mean_response``.

    >>> round(queue_tail(2, arrival_rate=0.5, service_rate=1.0, choices=2), 9)
    0.125
    """
    rho = stable(arrival_rate, 1 / positive("service_rate", service_rate))
    return each(lambda load, d, i: load ** _exponent(d, i), rho, whole("choices", choices), whole("length", length, 0))


def wait_tail(t: Real, *, arrival_rate: float, service_rate: float, choices: int = 2) -> Real:
    """``P(wait > t)``: an arrival that finds i in the queue it joins waits for i exponential services.

    It finds at least ``i`` with probability ``s_i^d``, ``s_i`` the fraction of ``queue_tail``:
    ``sum_{i >= 0} s_{i+1}^d e^{-mu t} (mu t)^i / i!``. *Approximation*, exact as the servers grow.
    *Valid when* as ``mean_response``, first come first served. ``t`` in s, any shape;
    ``arrival_rate`` (of one server) and ``service_rate`` in 1/s; one queue at a time. Errors:
    ``Unstable`` where ``rho >= 1``, ``InputError``.

    *Source*: as ``mean_response``.

    >>> round(wait_tail(0.0, arrival_rate=0.9, service_rate=1.0, choices=2), 9)    # all of the picked are busy
    0.81
    """
    times, mu = non_negative("t", t), one("service_rate", service_rate)
    rho, d = float(stable(one("arrival_rate", arrival_rate), 1 / mu)), one_whole("choices", choices)
    if d == 1:
        return plain(rho * np.exp(-mu * (1 - rho) * times))
    term, found, i = np.exp(-mu * times), np.zeros_like(times), 0
    while (met := rho ** (d * _exponent(d, i + 1))) > 1e-18:
        found = found + met * term
        i += 1
        term = term * mu * times / i
    return plain(found)


def _exponent(d: int, i: int) -> float:
    """``(d^i - 1)/(d - 1)``, cut where ``rho`` to that power has long been 0."""
    if d == 1:
        return float(i)
    return float((d**i - 1) // (d - 1)) if i * np.log2(d) < 1000 else 2.0**1000


def _mean_response(rho: float, d: int) -> float:
    if d == 1:
        return 1 / (1 - rho)
    total, i = 0.0, 1
    while (term := rho ** (d * _exponent(d, i - 1))) > 1e-18 * (total + 1):
        total, i = total + term, i + 1
    return total
