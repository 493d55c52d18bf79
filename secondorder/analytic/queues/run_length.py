"""How long to simulate: the customers that a single run of M/M/1 needs for a given precision."""

import numpy as np

from secondorder.analytic.arguments import Real, fraction, plain, positive, stable


def asymptotic_variance(*, arrival_rate: Real, service_rate: Real) -> Real:
    """Asymptotic variance in s^2 of the mean wait in M/M/1: ``rho (2 + 5 rho - 4 rho^2 + rho^3) / (mu^2 (1-rho)^4)``.

    ``n Var[mean of n successive waits]`` for many customers ``n``: the waits' own variance and all
    their covariances. *Exact*. Rates in 1/s; both broadcast. Errors: ``Unstable`` where ``rho =
    arrival_rate/service_rate >= 1``, ``InputError``.

    *Source*: Daley, The serial correlation coefficients of waiting times in a stationary single
    server queue (1968); Whitt, Planning queueing simulations (1989).

    >>> round(asymptotic_variance(arrival_rate=0.8, service_rate=1.0), 6)
    1976.0
    """
    mu = positive("service_rate", service_rate)
    rho = stable(arrival_rate, 1 / mu)
    return plain(rho * (2 + 5 * rho - 4 * rho**2 + rho**3) / (mu**2 * (1 - rho) ** 4))


def customers_needed(
    *, arrival_rate: Real, service_rate: Real, relative_half_width: Real = 0.01, confidence: Real = 0.95
) -> Real:
    """Customers of one run after which the mean wait of M/M/1 is known to a relative half-width.

    ``(z / relative_half_width)^2 sigma^2 / E[W]^2``, ``z`` the normal quantile of the confidence,
    ``sigma^2`` the ``asymptotic_variance``. *Approximation*: the mean of a long run as normal, from
    a stationary start. *Valid when* the answer is many relaxation times. Rates in 1/s, the others
    between 0 and 1; all broadcast; not rounded. Errors: ``Unstable`` where ``rho >= 1``,
    ``InputError``.

    *Source*: Whitt, Planning queueing simulations (1989), section 2.

    >>> round(customers_needed(arrival_rate=0.8, service_rate=1.0))
    4744202
    """
    from scipy.special import ndtri

    mu = positive("service_rate", service_rate)
    rho = stable(arrival_rate, 1 / mu)
    z = ndtri((1 + fraction("confidence", confidence)) / 2)
    variance = asymptotic_variance(arrival_rate=arrival_rate, service_rate=mu)
    wait = rho / (mu * (1 - rho))
    return plain((z / positive("relative_half_width", relative_half_width)) ** 2 * variance / wait**2)


def relaxation_time(*, arrival_rate: Real, service_rate: Real) -> Real:
    """Time in s in which M/M/1 forgets its past by a factor e: ``1 / (mu (1 - sqrt(rho))^2)``.

    *Exact* as the slowest rate of decay of the transient. A batch of a batch-means interval should
    last about 100 of them. Rates in 1/s; both broadcast. Errors: ``Unstable`` where ``rho >= 1``,
    ``InputError``.

    *Source*: Morse 1955; Abate and Whitt, Transient behavior of the M/M/1 queue (1987).

    >>> round(relaxation_time(arrival_rate=0.25, service_rate=1.0), 9)
    4.0
    """
    mu = positive("service_rate", service_rate)
    return plain(1 / (mu * (1 - np.sqrt(stable(arrival_rate, 1 / mu))) ** 2))
