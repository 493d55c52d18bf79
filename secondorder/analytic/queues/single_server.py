"""M/G/1: Poisson arrivals, any service law, one server, first come first served.

The mean needs two moments of the service, the variance three, and a quantile the whole law:
one of ``laws``, or anything with its ``moment(k)`` in s^k and its ``laplace(s)``.
"""

from collections.abc import Callable
from typing import Protocol

import numpy as np
import numpy.typing as npt

from secondorder.analytic.arguments import Floats, Real, fraction, non_negative, one, plain, positive, stable
from secondorder.analytic.queues import multiserver
from secondorder.analytic.queues.transform_inversion import Transform, checked, euler, quantile
from secondorder.arrays import Complexes


class ServiceLaw(Protocol):
    """What a quantile needs to know of the service."""

    def moment(self, k: int) -> float:
        """``E[S^k]`` in s^k."""

    def laplace(self, s: npt.ArrayLike) -> Complexes:
        """``E[exp(-s S)]``, complex ``s`` in 1/s."""


def mean_wait(*, arrival_rate: Real, mean_service: Real, service_scv: Real) -> Real:
    """Mean wait in s (Pollaczek-Khinchine): ``rho E[S] (1 + scv) / (2 (1 - rho))``.

    *Exact*, for any order of service that does not look at the service times. ``arrival_rate``
    in 1/s, ``mean_service`` in s, ``service_scv`` its squared coefficient of variation; all
    broadcast. Errors: ``Unstable`` where ``rho = arrival_rate mean_service >= 1``, ``InputError``.

    *Source*: Pollaczek 1930, Khinchine 1932; Kleinrock, Queueing Systems I (1975), section 5.6.

    >>> round(mean_wait(arrival_rate=0.8, mean_service=1.0, service_scv=4.0), 9)
    10.0
    """
    rho = stable(arrival_rate, mean_service)
    service, scv = positive("mean_service", mean_service), non_negative("service_scv", service_scv)
    return plain(rho * service * (1 + scv) / (2 * (1 - rho)))


def mean_response(*, arrival_rate: Real, mean_service: Real, service_scv: Real) -> Real:
    """Mean response (wait and service) in s: ``mean_wait + mean_service``.

    *Exact*. ``arrival_rate`` in 1/s, ``mean_service`` in s, ``service_scv`` without unit; all
    broadcast. Errors: ``Unstable`` where ``rho >= 1``, ``InputError``. *Source*: as ``mean_wait``.

    >>> round(mean_response(arrival_rate=0.5, mean_service=1.0, service_scv=0.0), 9)
    1.5
    """
    wait = mean_wait(arrival_rate=arrival_rate, mean_service=mean_service, service_scv=service_scv)
    return plain(wait + positive("mean_service", mean_service))


def wait_second_moment(*, arrival_rate: Real, mean_service: Real, second_moment: Real, third_moment: Real) -> Real:
    """``E[W^2]`` of the wait in s^2: ``2 E[W]^2 + arrival_rate E[S^3] / (3 (1 - rho))``.

    *Exact* for first come first served. ``arrival_rate`` in 1/s, the service's first three
    moments in s, s^2, s^3; all broadcast. Errors: ``Unstable`` where ``rho >= 1``, ``InputError``.

    *Source*: Takács 1962; Kleinrock, Queueing Systems I (1975), section 5.7.

    >>> round(wait_second_moment(arrival_rate=0.5, mean_service=1.0, second_moment=2.0, third_moment=6.0), 9)
    4.0
    """
    rho, rate = stable(arrival_rate, mean_service), positive("arrival_rate", arrival_rate)
    second, third = positive("second_moment", second_moment), positive("third_moment", third_moment)
    wait = rate * second / (2 * (1 - rho))
    return plain(2 * wait**2 + rate * third / (3 * (1 - rho)))


def wait_tail(t: Real, *, arrival_rate: float, service: ServiceLaw, tolerance: float = 1e-4) -> Real:
    """``P(wait > t)``, inverted from ``W*(s) = (1-rho) s / (s - lambda + lambda S*(s))``.

    *Exact formula, numerical inversion*: about 1e-8 for a smooth service law; where its own estimate
    of the relative error exceeds ``tolerance`` the answer is refused. *Valid when* the service law is
    smooth; for a constant use ``multiserver_deterministic``. ``t`` in s, any shape; ``arrival_rate`` in
    1/s, one queue at a time. Errors: ``Unstable`` where ``rho >= 1``, ``InputError``, also where
    the inversion does not reach the tail or meets a jump.

    *Source*: Pollaczek-Khinchine transform, Kleinrock I (1975), section 5.7; Abate and Whitt 1995.

    >>> from secondorder.laws import Exponential
    >>> round(wait_tail(2.0, arrival_rate=0.8, service=Exponential("1 s")), 7)
    0.536256
    """
    return plain(_checked(_wait(arrival_rate, service), non_negative("t", t), tolerance))


def wait_quantile(p: Real, *, arrival_rate: float, service: ServiceLaw, tolerance: float = 1e-4) -> Real:
    """The wait in s that a fraction ``p`` of the requests does not exceed: root of ``wait_tail(t) = 1 - p``.

    *Exact formula, numerical inversion*: see ``wait_tail``. ``0 < p < 1``, any shape;
    ``arrival_rate`` in 1/s, one queue at a time. Errors: ``Unstable`` where ``rho >= 1``,
    ``InputError``. *Source*: inverse of ``wait_tail``.

    >>> from secondorder.laws import Exponential
    >>> round(wait_quantile(0.99, arrival_rate=0.5, service=Exponential("1 s")), 5)
    7.82405
    """
    return _quantile(_wait(arrival_rate, service), p, service, tolerance)


def response_tail(t: Real, *, arrival_rate: float, service: ServiceLaw, tolerance: float = 1e-4) -> Real:
    """``P(wait + service > t)``, inverted from ``W*(s) S*(s)``.

    *Exact formula, numerical inversion*: see ``wait_tail``. ``t`` in s, any shape;
    ``arrival_rate`` in 1/s, one queue at a time. Errors: ``Unstable`` where ``rho >= 1``,
    ``InputError``. *Source*: as ``wait_tail``.

    >>> from secondorder.laws import Exponential
    >>> round(response_tail(3.0, arrival_rate=0.5, service=Exponential("1 s")), 7)
    0.2231302
    """
    return plain(_checked(_response(arrival_rate, service), non_negative("t", t), tolerance))


def response_quantile(p: Real, *, arrival_rate: float, service: ServiceLaw, tolerance: float = 1e-4) -> Real:
    """The response in s that a fraction ``p`` of the requests does not exceed: root of ``response_tail(t) = 1 - p``.

    *Exact formula, numerical inversion*: see ``wait_tail``. ``0 < p < 1``, any shape;
    ``arrival_rate`` in 1/s, one queue at a time. Errors: ``Unstable`` where ``rho >= 1``,
    ``InputError``. *Source*: inverse of ``response_tail``.

    >>> from secondorder.laws import LogNormal
    >>> round(response_quantile(0.99, arrival_rate=0.5, service=LogNormal("1 s", scv=4)), 4)
    31.5714
    """
    return _quantile(_response(arrival_rate, service), p, service, tolerance)


def scaled_wait_quantile(p: Real, *, arrival_rate: Real, mean_service: Real, service_scv: Real) -> Real:
    """The first-order shortcut: the M/M/1 quantile of the wait times ``(1 + scv) / 2``.

    *Approximation that breaks*, kept for contrast: it scales the quantile as if the law of the
    wait kept its shape. ``0 < p < 1``, ``arrival_rate`` in 1/s, ``mean_service`` in s,
    ``service_scv`` without unit; all broadcast. Errors: ``Unstable`` where ``rho >= 1``,
    ``InputError``. *Source*: engineering practice; the mean scales so (Pollaczek-Khinchine).

    >>> round(scaled_wait_quantile(0.99, arrival_rate=0.8, mean_service=1.0, service_scv=4.0), 6)
    54.775333
    """
    service, scv = positive("mean_service", mean_service), non_negative("service_scv", service_scv)
    return plain(multiserver.wait_quantile(p, arrival_rate=arrival_rate, service_rate=1 / service) * (1 + scv) / 2)


Tail = Callable[[Floats], tuple[Floats, Floats]]


def _wait(arrival_rate: float, service: ServiceLaw) -> Tail:
    """``t`` to the value and the error of ``P(wait > t)``, for ``t > 0``; at 0 the exact ``rho``."""
    rate, mean = one("arrival_rate", arrival_rate), service.moment(1)
    rho = float(stable(rate, mean))

    def transform(s: Complexes) -> Complexes:
        residual = (1 - service.laplace(s)) / (s * mean)
        return rho * (1 - residual) / (s * (1 - rho * residual))

    return lambda t: _inverted(transform, t, rho)


def _response(arrival_rate: float, service: ServiceLaw) -> Tail:
    rate, mean = one("arrival_rate", arrival_rate), service.moment(1)
    rho = float(stable(rate, mean))

    def transform(s: Complexes) -> Complexes:
        served = service.laplace(s)
        residual = (1 - served) / (s * mean)
        return (1 - (1 - rho) * served / (1 - rho * residual)) / s

    return lambda t: _inverted(transform, t, 1.0)


def _inverted(transform: Transform, t: Floats, at_zero: float) -> tuple[Floats, Floats]:
    value, error = euler(transform, np.where(t > 0, t, 1.0))
    return np.where(t > 0, value, at_zero), np.where(t > 0, error, 0.0)


def _checked(tail: Tail, t: Floats, tolerance: float) -> Floats:
    return checked(*tail(t), t, tolerance)


def _quantile(tail: Tail, p: Real, service: ServiceLaw, tolerance: float) -> Real:
    level = fraction("p", p)
    found = quantile(lambda t: tail(t)[0], level, np.full_like(level, service.moment(1)))
    _checked(tail, found, tolerance)
    return plain(found)
