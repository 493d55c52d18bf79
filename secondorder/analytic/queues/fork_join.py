"""Fork-join: each arrival is split into one task for each of n queues, and is done when the last of them is.

``H_n = 1 + 1/2 + ... + 1/n``; ``1/(mu - lambda)`` is the response of one queue alone.
"""

import numpy as np

from secondorder.analytic.arguments import Floats, Real, Whole, plain, positive, stable, whole


def mean_response_two(*, arrival_rate: Real, service_rate: Real) -> Real:
    """Mean response in s of two queues: ``(12 - rho)/8 / (mu - lambda)``.

    *Exact*. *Valid when* arrivals are Poisson, services exponential and independent. Rates in
    1/s; both broadcast. Errors: ``Unstable`` where ``rho = arrival_rate/service_rate >= 1``,
    ``InputError``.

    *Source*: Flatto and Hahn 1984; Nelson and Tantawi, Approximate analysis of fork/join
    synchronization in parallel queues (1988).

    >>> mean_response_two(arrival_rate=0.5, service_rate=1.0)
    2.875
    """
    rho, mu = _queue(arrival_rate, service_rate)
    return plain((12 - rho) / 8 / (mu * (1 - rho)))


def mean_response(*, arrival_rate: Real, service_rate: Real, queues: Whole) -> Real:
    """Mean response in s of n queues: ``[H_n/H_2 + (4/11)(1 - H_n/H_2) rho] (12 - rho)/8 / (mu - lambda)``.

    *Approximation* (error below 5 % for n up to 32, beyond it an extrapolation), exact for n = 2;
    n = 1 is M/M/1. *Valid when*
    arrivals are Poisson, services exponential and independent. Rates in 1/s, ``queues`` (n)
    whole; all broadcast. Errors: ``Unstable`` where ``rho >= 1``, ``InputError``.

    *Source*: Nelson and Tantawi 1988, scaling fitted to simulations.

    >>> round(mean_response(arrival_rate=0.5, service_rate=1.0, queues=32), 6)
    6.887186
    """
    rho, mu = _queue(arrival_rate, service_rate)
    n = whole("queues", queues)
    ratio = _harmonic(n) / 1.5
    many = (ratio + 4 / 11 * (1 - ratio) * rho) * (12 - rho) / 8
    return plain(np.where(n == 1, 1.0, many) / (mu * (1 - rho)))


def mean_response_bound(*, arrival_rate: Real, service_rate: Real, queues: Whole) -> Real:
    """Upper bound in s of the mean response of n queues: ``H_n / (mu - lambda)``.

    *Bound*: the mean of the largest of n independent M/M/1 responses; the queues share their
    arrivals, which makes them associated. *Valid when* as ``mean_response``, any n. Rates in 1/s,
    ``queues`` (n) whole; all broadcast. Errors: ``Unstable`` where ``rho >= 1``, ``InputError``.

    *Source*: Nelson and Tantawi 1988; Baccelli, Makowski and Shwartz 1989.

    >>> mean_response_bound(arrival_rate=0.5, service_rate=1.0, queues=2)
    3.0
    """
    rho, mu = _queue(arrival_rate, service_rate)
    return plain(_harmonic(whole("queues", queues)) / (mu * (1 - rho)))


def _queue(arrival_rate: Real, service_rate: Real) -> tuple[Floats, Floats]:
    mu = positive("service_rate", service_rate)
    return stable(arrival_rate, 1 / mu), mu


def _harmonic(n: Whole) -> Floats:
    from scipy.special import digamma

    return np.asarray(digamma(np.asarray(n) + 1.0) + np.euler_gamma)
