"""Processor sharing: one server whose speed is shared equally by all requests present.

The mean response does not depend on the service law (M/G/1-PS). Its quantile does; for
exponential service it follows from the response of a request of known size (M/M/1-PS).
"""

import math

import numpy as np

from secondorder.analytic.arguments import Floats, Real, fraction, non_negative, one, plain, positive, stable
from secondorder.analytic.queues.transform_inversion import checked, euler, quantile
from secondorder.arrays import Complexes


def mean_response(*, arrival_rate: Real, mean_service: Real) -> Real:
    """Mean response in s: ``E[S] / (1 - rho)``.

    *Exact* for every service law of that mean. *Valid when* arrivals are Poisson.
    ``arrival_rate`` in 1/s, ``mean_service`` (the time alone) in s; both broadcast. Errors:
    ``Unstable`` where ``rho = arrival_rate mean_service >= 1``, ``InputError``.

    *Source*: Sakata, Noguchi and Oizumi 1971; Kleinrock, Queueing Systems II (1976), section 4.4.

    >>> round(mean_response(arrival_rate=0.8, mean_service=1.0), 9)
    5.0
    """
    return plain(positive("mean_service", mean_service) / (1 - stable(arrival_rate, mean_service)))


def mean_response_given_size(size: Real, *, arrival_rate: Real, mean_service: Real) -> Real:
    """Mean response in s of a request that would take ``size`` alone: ``size / (1 - rho)``.

    *Exact* for every service law. *Valid when* arrivals are Poisson. ``size`` and
    ``mean_service`` in s, ``arrival_rate`` in 1/s; all broadcast. Errors: ``Unstable`` where
    ``rho >= 1``, ``InputError``. *Source*: as ``mean_response``.

    >>> round(mean_response_given_size(3.0, arrival_rate=0.8, mean_service=1.0), 9)
    15.0
    """
    return plain(non_negative("size", size) / (1 - stable(arrival_rate, mean_service)))


def response_tail(t: Real, *, arrival_rate: float, service_rate: float) -> Real:
    """``P(response > t)`` of M/M/1-PS.

    With ``r`` the smaller root of ``lambda r^2 - (lambda + mu + s) r + mu = 0`` and
    ``q = rho (1-r)^2/(1-rho r)^2``, the transform of the response is

    ``(1-rho)(1-rho r^2)/(1-rho r)^2 sum_k q^k mu / (mu + s + lambda (1-r) + k (mu/r - lambda r))``,

    the transform given the size, averaged over exponential sizes; its alternative, the
    phase-type law of a tagged request among n others, needs to cut n. *Exact formula, numerical
    inversion*: relative error about 1e-8; refused where its estimate exceeds 1e-4. ``t`` in s, any
    shape; rates in 1/s, one queue at a time. Errors: ``Unstable`` where ``rho >= 1``, ``InputError``.

    *Source*: Coffman, Muntz and Trotter, Waiting time distributions for processor-sharing
    systems (1970); Abate and Whitt 1995.

    >>> round(response_tail(12.44554073, arrival_rate=0.5, service_rate=1.0), 8)
    0.01
    """
    times = non_negative("t", t)
    return plain(checked(*_tail(times, *_rates(arrival_rate, service_rate)), times, 1e-4))


def response_quantile(p: Real, *, arrival_rate: float, service_rate: float) -> Real:
    """The response in s that a fraction ``p`` does not exceed in M/M/1-PS: root of ``response_tail(t) = 1 - p``.

    *Exact formula, numerical inversion*: see ``response_tail``. ``0 < p < 1``, any shape; rates
    in 1/s, one queue at a time. Errors: ``Unstable`` where ``rho >= 1``, ``InputError``.
    *Source*: inverse of ``response_tail``.

    >>> round(response_quantile(0.99, arrival_rate=0.5, service_rate=1.0), 5)
    12.44554
    """
    rates, level = _rates(arrival_rate, service_rate), fraction("p", p)
    found = quantile(lambda t: _tail(t, *rates)[0], level, np.full_like(level, 1 / (rates[1] - rates[0])))
    checked(*_tail(found, *rates), found, 1e-4)
    return plain(found)


def _rates(arrival_rate: float, service_rate: float) -> tuple[float, float]:
    rate, mu = one("arrival_rate", arrival_rate), one("service_rate", service_rate)
    stable(rate, 1 / mu)
    return rate, mu


def _tail(t: Floats, rate: float, mu: float) -> tuple[Floats, Floats]:
    value, error = euler(lambda s: (1 - _transform(s, rate, mu)) / s, np.where(t > 0, t, 1.0))
    return np.where(t > 0, value, 1.0), np.where(t > 0, error, 0.0)


def _transform(s: Complexes, rate: float, mu: float) -> Complexes:
    rho = rate / mu
    total = rate + mu + s
    r = 2 * mu / (total + np.sqrt(total * total - 4 * rate * mu))
    q = rho * (1 - r) ** 2 / (1 - rho * r) ** 2
    power, found = np.ones_like(s), np.zeros_like(s)
    for k in range(math.ceil(math.log(1e-17) / math.log(rho)) + 1):
        found += power * mu / (mu + s + rate * (1 - r) + k * (mu / r - rate * r))
        power = power * q
        if np.abs(power).max() < 1e-17:
            break
    return (1 - rho) * (1 - rho * r * r) / (1 - rho * r) ** 2 * found
