"""M^X/G/1: bulks of customers come at exponential gaps to one server, first come, first served."""

from secondorder.analytic.arguments import Floats, Real, non_negative, plain, positive, stable


def mean_wait(*, arrival_rate: Real, mean_service: Real, service_scv: Real, ahead: Real) -> Real:
    """``W = rate E[S^2] / (2 (1 - rho)) + b E[S] / (1 - rho)``, ``b = E[X (X - 1)] / (2 E[X])``.

    A bulk waits like one customer whose service is that of the whole bulk; a customer then waits for those of its bulk
    who go first. *Exact*. *Valid when* bulks are Poisson, sizes and services independent, ``rho = rate E[S] < 1``.
    ``arrival_rate`` of customers in 1/s, ``mean_service`` in s, ``ahead`` the ``b``; all broadcast. Errors:
    ``Unstable``, ``InputError``.

    *Source*: Burke, Delays in single-server queues with batch input, Operations Research 23(4), 1975; Chaudhry and
    Templeton, A First Course in Bulk Queues (1983), section 3.1.

    >>> round(float(mean_wait(arrival_rate=0.8, mean_service=1.0, service_scv=1.0, ahead=1.5)), 9)      # bulks of four
    11.5
    """
    rate, service, scv, first = (
        positive("arrival_rate", arrival_rate),
        positive("mean_service", mean_service),
        non_negative("service_scv", service_scv),
        non_negative("ahead", ahead),
    )
    rho = stable(rate, service)
    own = rate * service**2 * (1 + scv) / 2
    return plain((own + first * service) / (1 - rho))


def prob_wait(*, arrival_rate: Real, mean_service: Real, mean_size: Real) -> Real:
    """``1 - (1 - rho) / E[X]``: only the first customer of a bulk that finds the server idle does not wait.

    *Exact*, see ``mean_wait``. ``mean_size`` of a bulk, at least 1. Errors: ``Unstable``, ``InputError``.

    *Source*: Chaudhry and Templeton (1983), section 3.1.

    >>> round(prob_wait(arrival_rate=0.8, mean_service=1.0, mean_size=4.0), 9)
    0.95
    """
    rho: Floats = stable(positive("arrival_rate", arrival_rate), positive("mean_service", mean_service))
    return plain(1 - (1 - rho) / positive("mean_size", mean_size))
