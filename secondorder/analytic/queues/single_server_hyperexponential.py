"""M/H2/1: Poisson arrivals, hyperexponential service of two kinds with balanced means, by partial fractions.

Short and long services of means ``m1 < m2`` carry half of the work each. The wait of those that
wait is again a mixture of two exponential times, of rates ``r1 > r2``, the roots of
``r^2 - (a + b)(1 - rho/2) r + a b (1 - rho) = 0``, ``a = 1/m1``, ``b = 1/m2``, with weights
``w1 = (1 - rho)(a b - (a + b) r1/2) / (r1 (r2 - r1))`` and ``w2 = 1 - w1``.
"""

import numpy as np

from secondorder.analytic.arguments import Floats, Real, fraction, non_negative, plain, positive, stable
from secondorder.analytic.queues import multiserver
from secondorder.analytic.queues.transform_inversion import quantile
from secondorder.errors import InputError


def wait_tail(t: Real, *, arrival_rate: Real, mean_service: Real, service_scv: Real) -> Real:
    """``P(wait > t) = rho (w1 e^{-r1 t} + w2 e^{-r2 t})``, the roots and weights of the module.

    *Exact*. ``t`` and ``mean_service`` in s, ``arrival_rate`` in 1/s, ``service_scv >= 1``; all
    broadcast. Errors: ``Unstable`` where ``rho = arrival_rate mean_service >= 1``, ``InputError``.

    *Source*: partial fractions of the Pollaczek-Khinchine transform; Kleinrock, Queueing
    Systems I (1975), section 5.7.

    >>> round(wait_tail(0.0, arrival_rate=0.5, mean_service=1.0, service_scv=4.0), 9)
    0.5
    """
    waits, weights, rates, *_ = _roots(arrival_rate, mean_service, service_scv)
    return plain(waits * _mixture(non_negative("t", t), weights, rates))


def wait_quantile(p: Real, *, arrival_rate: Real, mean_service: Real, service_scv: Real) -> Real:
    """The wait in s that a fraction ``p`` of the requests does not exceed: root of ``wait_tail(t) = 1 - p``.

    *Exact*, solved to 1e-14. ``0 < p < 1``, ``mean_service`` in s, ``arrival_rate`` in 1/s,
    ``service_scv >= 1``; all broadcast. Errors: ``Unstable`` where ``rho >= 1``, ``InputError``.
    *Source*: inverse of ``wait_tail``.

    >>> round(wait_quantile(0.99, arrival_rate=0.5, mean_service=1.0, service_scv=4.0), 6)
    24.108704
    """
    waits, weights, rates, *_ = _roots(arrival_rate, mean_service, service_scv)
    level, scale = np.broadcast_arrays(fraction("p", p), 1 / rates[1])
    return plain(quantile(lambda t: waits * _mixture(t, weights, rates), level, scale))


def response_tail(t: Real, *, arrival_rate: Real, mean_service: Real, service_scv: Real) -> Real:
    """``P(wait + service > t)``: the wait's mixture, convolved with the service's term by term.

    *Exact*. ``t`` and ``mean_service`` in s, ``arrival_rate`` in 1/s, ``service_scv >= 1``; all
    broadcast. Errors: ``Unstable`` where ``rho = arrival_rate mean_service >= 1``, ``InputError``.
    *Source*: as ``wait_tail``.

    >>> round(response_tail(3.0, arrival_rate=0.5, mean_service=1.0, service_scv=1.0), 9)
    0.22313016
    """
    queue = _roots(arrival_rate, mean_service, service_scv)
    return plain(_response(non_negative("t", t), *queue))


def response_quantile(p: Real, *, arrival_rate: Real, mean_service: Real, service_scv: Real) -> Real:
    """The response in s that a fraction ``p`` of the requests does not exceed: root of ``response_tail(t) = 1 - p``.

    *Exact*, solved to 1e-14. ``0 < p < 1``, ``mean_service`` in s, ``arrival_rate`` in 1/s,
    ``service_scv >= 1``; all broadcast. Errors: ``Unstable`` where ``rho >= 1``, ``InputError``.
    *Source*: inverse of ``response_tail``.

    >>> round(response_quantile(0.99, arrival_rate=0.5, mean_service=1.0, service_scv=4.0), 6)
    25.860726
    """
    queue = _roots(arrival_rate, mean_service, service_scv)
    level, scale = np.broadcast_arrays(fraction("p", p), 1 / queue[2][1])
    return plain(quantile(lambda t: _response(t, *queue), level, scale))


Pair = tuple[Floats, Floats]


def _roots(arrival_rate: Real, mean_service: Real, service_scv: Real) -> tuple[Floats, Pair, Pair, Pair, Pair]:
    """``rho``; weights and rates of the wait's two terms; weights and rates of the service's."""
    rho, mean = stable(arrival_rate, mean_service), positive("mean_service", mean_service)
    scv = non_negative("service_scv", service_scv)
    if (scv < 1).any():
        raise InputError(
            "service_scv", given=scv.min(), expected="at least 1", remedy="use single_server with erlang or gamma"
        )
    p = (1 + np.sqrt((scv - 1) / (scv + 1))) / 2
    long = 1 / (2 * p * (scv + 1))  # 1 - p, without the difference
    fast, slow = 2 * p / mean, 2 * long / mean
    middle, product = (fast + slow) / 2, fast * slow
    half = middle * (1 - rho / 2)
    big = half + np.sqrt(half * half - product * (1 - rho))
    small = product * (1 - rho) / big
    weight = (1 - rho) * (product - middle * big) / (big * (small - big))
    return rho, (weight, 1 - weight), (big, small), (p, long), (fast, slow)


def _mixture(t: Floats, weights: Pair, rates: Pair) -> Floats:
    return np.asarray(weights[0] * np.exp(-rates[0] * t) + weights[1] * np.exp(-rates[1] * t))


def _response(t: Floats, waits: Floats, weights: Pair, rates: Pair, kinds: Pair, services: Pair) -> Floats:
    both = [
        weight * kind * multiserver.two_exponentials_tail(t, rate, service)
        for weight, rate in zip(weights, rates, strict=True)
        for kind, service in zip(kinds, services, strict=True)
    ]
    return np.asarray((1 - waits) * _mixture(t, kinds, services) + waits * sum(both))
