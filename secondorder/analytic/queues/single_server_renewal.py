"""GI/M/1: independent gaps between arrivals of any law, exponential service, one server.

An arrival finds n in the system with probability ``(1 - sigma) sigma^n``, where ``sigma`` solves
``sigma = A*(mu (1 - sigma))``, ``A*`` the transform of the gap. ``gap`` is one of
``laws``, or anything with its ``moment(k)`` in s^k and its ``laplace(s)``.
"""

import math

import numpy as np

from secondorder.analytic.arguments import Real, fraction, non_negative, one, plain, stable
from secondorder.analytic.queues.single_server import ServiceLaw
from secondorder.errors import InputError


def prob_wait(*, gap: ServiceLaw, service_rate: float) -> float:
    """Probability that a request waits: ``sigma``, the root in (0, 1) of ``sigma = A*(mu (1 - sigma))``.

    *Exact*. ``gap`` the law between arrivals, ``service_rate`` in 1/s; one queue at a time.
    Errors: ``Unstable`` where ``rho = 1/(E[gap] service_rate) >= 1``, ``InputError``.

    *Source*: Kleinrock, Queueing Systems I (1975), section 6.3 (G/M/1).

    >>> from secondorder.laws import Exponential
    >>> round(prob_wait(gap=Exponential("1.25 s"), service_rate=1.0), 12)
    0.8
    """
    return 1 - _free(gap, service_rate)


def mean_wait(*, gap: ServiceLaw, service_rate: float) -> float:
    """Mean wait in s: ``sigma / (mu (1 - sigma))``.

    *Exact*. ``gap`` the law between arrivals, ``service_rate`` in 1/s; one queue at a time.
    Errors: ``Unstable`` where ``rho >= 1``, ``InputError``. *Source*: as ``prob_wait``.

    >>> from secondorder.laws import Hyperexponential
    >>> round(mean_wait(gap=Hyperexponential("1.25 s", scv=4), service_rate=1.0), 2)
    9.82
    """
    free = _free(gap, service_rate)
    return (1 - free) / (service_rate * free)


def mean_response(*, gap: ServiceLaw, service_rate: float) -> float:
    """Mean response in s: ``1 / (mu (1 - sigma))``.

    *Exact*. ``gap`` the law between arrivals, ``service_rate`` in 1/s; one queue at a time.
    Errors: ``Unstable`` where ``rho >= 1``, ``InputError``. *Source*: as ``prob_wait``.

    >>> from secondorder.laws import Exponential
    >>> round(mean_response(gap=Exponential("2 s"), service_rate=1.0), 9)
    2.0
    """
    return 1 / (service_rate * _free(gap, service_rate))


def wait_tail(t: Real, *, gap: ServiceLaw, service_rate: float) -> Real:
    """``P(wait > t) = sigma exp(-mu (1 - sigma) t)``.

    *Exact*. ``t`` in s, any shape; ``gap`` the law between arrivals, ``service_rate`` in 1/s; one
    queue at a time. Errors: ``Unstable`` where ``rho >= 1``, ``InputError``. *Source*: as ``prob_wait``.

    >>> from secondorder.laws import Exponential
    >>> round(wait_tail(2.0, gap=Exponential("1.25 s"), service_rate=1.0), 6)
    0.536256
    """
    free = _free(gap, service_rate)
    return plain((1 - free) * np.exp(-service_rate * free * non_negative("t", t)))


def wait_quantile(p: Real, *, gap: ServiceLaw, service_rate: float) -> Real:
    """The wait in s that a fraction ``p`` does not exceed: ``max(0, ln(sigma/(1-p)) / (mu (1-sigma)))``.

    *Exact*. ``0 < p < 1``, any shape; ``gap`` the law between arrivals, ``service_rate`` in 1/s;
    one queue at a time. Errors: ``Unstable`` where ``rho >= 1``, ``InputError``.
    *Source*: inverse of ``wait_tail``.

    >>> from secondorder.laws import Exponential
    >>> round(wait_quantile(0.99, gap=Exponential("2 s"), service_rate=1.0), 6)
    7.824046
    """
    free = _free(gap, service_rate)
    return plain(np.log(np.maximum((1 - free) / (1 - fraction("p", p)), 1)) / (service_rate * free))


def response_tail(t: Real, *, gap: ServiceLaw, service_rate: float) -> Real:
    """``P(wait + service > t) = exp(-mu (1 - sigma) t)``.

    *Exact*. ``t`` in s, any shape; ``gap`` the law between arrivals, ``service_rate`` in 1/s; one
    queue at a time. Errors: ``Unstable`` where ``rho >= 1``, ``InputError``. *Source*: as ``prob_wait``.

    >>> from secondorder.laws import Exponential
    >>> round(response_tail(3.0, gap=Exponential("2 s"), service_rate=1.0), 9)
    0.22313016
    """
    return plain(np.exp(-service_rate * _free(gap, service_rate) * non_negative("t", t)))


def response_quantile(p: Real, *, gap: ServiceLaw, service_rate: float) -> Real:
    """The response in s that a fraction ``p`` of the requests does not exceed: ``-ln(1-p) / (mu (1-sigma))``.

    *Exact*. ``0 < p < 1``, any shape; ``gap`` the law between arrivals, ``service_rate`` in 1/s;
    one queue at a time. Errors: ``Unstable`` where ``rho >= 1``, ``InputError``.
    *Source*: inverse of ``response_tail``.

    >>> from secondorder.laws import Exponential
    >>> round(response_quantile(0.99, gap=Exponential("2 s"), service_rate=1.0), 6)
    9.21034
    """
    return plain(-np.log(1 - fraction("p", p)) / (service_rate * _free(gap, service_rate)))


def _free(gap: ServiceLaw, service_rate: float) -> float:
    """``1 - sigma``, the root in (0, 1) of ``1 - A*(mu x) = x``; 0 is always a root and is not the one."""
    from scipy.optimize import brentq

    mu = one("service_rate", service_rate)
    rho = float(stable(1 / gap.moment(1), 1 / mu))

    def excess(x: float) -> float:
        return 1 - float(gap.laplace(mu * x).real) - x

    low = 1.0
    while excess(low) <= 0:
        low /= 2
        if low < 1e-12:
            given = f"utilisation {rho:.6g}, sigma above 1 - 1e-12"
            raise InputError("gap", given=given, expected="a queue further from saturation")
    return float(brentq(excess, low, min(1.0, 2 * low), xtol=1e-300, rtol=4 * math.ulp(1.0)))
