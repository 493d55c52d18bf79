"""G/G/1 by two moments: formulas for the mean wait from the spread of gaps and services alone.

``ca2`` and ``cs2`` are the squared coefficients of variation of the gap between arrivals and of
the service, ``rho = arrival_rate mean_service``. Two moments do not determine the mean wait:
one function is a bound, the others are approximations. For H2/M/1 at rho 0.8 and ca2 4 the exact
mean is 9.82 services; Kingman says 10, Kraemer and Langenbach-Belz 9.28, Marchal 11.3.
"""

import numpy as np

from secondorder.analytic.arguments import Floats, Real, non_negative, plain, positive, stable


def kingman(*, arrival_rate: Real, mean_service: Real, arrival_scv: Real, service_scv: Real) -> Real:
    """Mean wait in s by Kingman's formula: ``rho/(1-rho) (ca2 + cs2)/2 E[S]``.

    *Approximation*, exact in heavy traffic and for M/G/1. *Valid when* gaps are independent and
    ``rho`` is near 1. ``arrival_rate`` in 1/s, ``mean_service`` in s, the scv without unit; all
    broadcast. Errors: ``Unstable`` where ``rho >= 1``, ``InputError``.

    *Source*: Kingman, The single server queue in heavy traffic (1961).

    >>> round(kingman(arrival_rate=0.8, mean_service=1.0, arrival_scv=0.5, service_scv=2.0), 9)
    5.0
    """
    rho, service, ca2, cs2 = _queue(arrival_rate, mean_service, arrival_scv, service_scv)
    return plain(_kingman(rho, service, ca2, cs2))


def kingman_bound(*, arrival_rate: Real, mean_service: Real, arrival_scv: Real, service_scv: Real) -> Real:
    """Upper bound of the mean wait in s: ``lambda (Var[A] + Var[S]) / (2 (1-rho))``.

    That is ``E[S] (ca2/rho + rho cs2) / (2 (1-rho))``. *Bound*: no GI/G/1 queue waits longer on
    average. *Valid when* gaps are independent. ``arrival_rate`` in 1/s, ``mean_service`` in s,
    the scv without unit; all broadcast. Errors: ``Unstable`` where ``rho >= 1``, ``InputError``.

    *Source*: Kingman, Some inequalities for the queue GI/G/1 (1962).

    >>> round(kingman_bound(arrival_rate=0.8, mean_service=1.0, arrival_scv=0.5, service_scv=2.0), 9)
    5.5625
    """
    rho, service, ca2, cs2 = _queue(arrival_rate, mean_service, arrival_scv, service_scv)
    return plain(_kingman_bound(rho, service, ca2, cs2))


def klb(*, arrival_rate: Real, mean_service: Real, arrival_scv: Real, service_scv: Real) -> Real:
    """Mean wait in s by Kraemer and Langenbach-Belz: Kingman's formula times ``g``.

    ``g = exp(-2 (1-rho) (1-ca2)^2 / (3 rho (ca2+cs2)))`` for ``ca2 <= 1``, else
    ``exp(-(1-rho) (ca2-1) / (ca2 + 4 cs2))``. *Approximation*, exact for M/G/1. *Valid when* gaps
    are independent; made for ``ca2 <= 1``. ``arrival_rate`` in 1/s, ``mean_service`` in s, the
    scv without unit; all broadcast. Errors: ``Unstable`` where ``rho >= 1``, ``InputError``.

    *Source*: Kraemer and Langenbach-Belz, Approximate formulae for the delay in the queueing
    system GI/G/1, 8th International Teletraffic Congress (1976).

    >>> round(klb(arrival_rate=0.8, mean_service=1.0, arrival_scv=4.0, service_scv=1.0), 6)
    9.277435
    """
    rho, service, ca2, cs2 = _queue(arrival_rate, mean_service, arrival_scv, service_scv)
    return plain(_kingman(rho, service, ca2, cs2) * klb_factor(rho, ca2, cs2))


def marchal(*, arrival_rate: Real, mean_service: Real, arrival_scv: Real, service_scv: Real) -> Real:
    """Mean wait in s by Marchal's formula: Kingman's bound, scaled to be exact for M/G/1.

    ``rho^2 (1 + cs2)/(1 + rho^2 cs2)`` times ``kingman_bound``. *Approximation*. *Valid when* gaps
    are independent and the service is not far from exponential. ``arrival_rate`` in 1/s,
    ``mean_service`` in s, the scv without unit; all broadcast. Errors: ``Unstable`` where
    ``rho >= 1``, ``InputError``.

    *Source*: Marchal, An approximate formula for waiting time in single server queues (1976).

    >>> round(marchal(arrival_rate=0.8, mean_service=1.0, arrival_scv=0.5, service_scv=2.0), 6)
    4.684211
    """
    rho, service, ca2, cs2 = _queue(arrival_rate, mean_service, arrival_scv, service_scv)
    return plain(_kingman_bound(rho, service, ca2, cs2) * rho**2 * (1 + cs2) / (1 + rho**2 * cs2))


def klb_factor(rho: Floats, ca2: Floats, cs2: Floats) -> Floats:
    """``g`` of ``klb``; 1 where nothing varies, as Kingman's formula is 0 there."""
    spread = np.where(ca2 + cs2 > 0, ca2 + cs2, 1.0)
    regular = np.exp(-2 * (1 - rho) * (1 - ca2) ** 2 / (3 * rho * spread))
    bursty = np.exp(-(1 - rho) * (np.maximum(ca2, 1) - 1) / (np.maximum(ca2, 1) + 4 * cs2))
    return np.asarray(np.where(ca2 + cs2 > 0, np.where(ca2 <= 1, regular, bursty), 1.0))


def _kingman(rho: Floats, service: Floats, ca2: Floats, cs2: Floats) -> Floats:
    return np.asarray(rho / (1 - rho) * (ca2 + cs2) / 2 * service)


def _kingman_bound(rho: Floats, service: Floats, ca2: Floats, cs2: Floats) -> Floats:
    return np.asarray(service * (ca2 / rho + rho * cs2) / (2 * (1 - rho)))


def _queue(
    arrival_rate: Real, mean_service: Real, arrival_scv: Real, service_scv: Real
) -> tuple[Floats, Floats, Floats, Floats]:
    return (
        stable(arrival_rate, mean_service),
        positive("mean_service", mean_service),
        non_negative("arrival_scv", arrival_scv),
        non_negative("service_scv", service_scv),
    )
