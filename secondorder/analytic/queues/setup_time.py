"""M/G/1 with set-up: a server that found nothing to do must warm up before it serves again."""

from secondorder.analytic.arguments import Real, non_negative, plain, positive, stable


def mean_wait(
    *,
    arrival_rate: Real,
    mean_service: Real,
    service_scv: Real,
    mean_setup: Real,
    setup_scv: Real = 0.0,
) -> Real:
    """Mean wait in s: Pollaczek-Khinchine plus ``(2 E[D] + lambda E[D^2]) / (2 (1 + lambda E[D]))``.

    ``E[D^2] = E[D]^2 (1 + scv)``. *Exact*: the first arrival to an empty system starts the set-up
    ``D``, the others wait with it. *Valid when* arrivals are Poisson and set-ups independent.
    ``arrival_rate`` (lambda) in 1/s; ``mean_service``, ``mean_setup`` in s; ``service_scv``,
    ``setup_scv`` without unit (0: constant, 1: exponential); all broadcast. Errors: ``Unstable``
    where ``rho = arrival_rate mean_service >= 1``, ``InputError``.

    *Source*: Welch, On a generalized M/G/1 queuing process in which the first customer of each
    busy period receives exceptional service (1964).

    >>> round(mean_wait(arrival_rate=0.5, mean_service=1.0, service_scv=1.0, mean_setup=5.0), 9)
    4.214285714
    """
    rho, rate = stable(arrival_rate, mean_service), positive("arrival_rate", arrival_rate)
    service, scv = positive("mean_service", mean_service), non_negative("service_scv", service_scv)
    setup = non_negative("mean_setup", mean_setup)
    second = setup**2 * (1 + non_negative("setup_scv", setup_scv))
    without = rho * service * (1 + scv) / (2 * (1 - rho))
    return plain(without + (2 * setup + rate * second) / (2 * (1 + rate * setup)))


def mean_response(
    *,
    arrival_rate: Real,
    mean_service: Real,
    service_scv: Real,
    mean_setup: Real,
    setup_scv: Real = 0.0,
) -> Real:
    """Mean response (wait, with the set-up in it, and service) in s: ``mean_wait + mean_service``.

    *Exact*. Arguments, shapes and errors as ``mean_wait``. *Source*: Welch 1964.

    >>> round(mean_response(arrival_rate=0.5, mean_service=1.0, service_scv=1.0, mean_setup=0.0), 9)
    2.0
    """
    wait = mean_wait(
        arrival_rate=arrival_rate,
        mean_service=mean_service,
        service_scv=service_scv,
        mean_setup=mean_setup,
        setup_scv=setup_scv,
    )
    return plain(wait + positive("mean_service", mean_service))
