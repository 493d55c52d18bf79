"""Priority classes in front of one queue: class 0 goes first, within a class first come first served.

``sigma_k = rho_0 + ... + rho_k`` is the utilisation by class k and those before it.
"""

import numpy as np
import numpy.typing as npt

from secondorder.analytic.arguments import Floats, non_negative, one, one_whole, positive, stable
from secondorder.analytic.queues.erlang import erlang_c
from secondorder.errors import InputError, Unstable


def non_preemptive_mean_wait(
    *, arrival_rate: npt.ArrayLike, mean_service: npt.ArrayLike, service_scv: npt.ArrayLike = 1.0
) -> Floats:
    """Mean wait of each class in s in M/G/1 without preemption.

    ``W_k = W0 / ((1 - sigma_{k-1}) (1 - sigma_k))``, ``W0 = sum_i lambda_i E[S_i^2] / 2``. *Exact*.
    *Valid when* arrivals are Poisson. ``arrival_rate`` in 1/s and ``mean_service`` in s, one entry
    a class, the most urgent first; ``service_scv`` one for all or one a class. Errors:
    ``Unstable`` where ``sigma`` of the last class is 1 or more, ``InputError``.

    *Source*: Cobham, Priority assignment in waiting line problems (1954).

    >>> non_preemptive_mean_wait(arrival_rate=[0.2, 0.6], mean_service=[1.0, 1.0]).round(6)
    array([1., 5.])
    """
    rate, service, scv = _classes(arrival_rate, mean_service, service_scv)
    before, through = _loads(rate * service)
    at_work = float((rate * service**2 * (1 + scv)).sum()) / 2
    return np.asarray(at_work / ((1 - before) * (1 - through)))


def non_preemptive_mean_wait_servers(*, arrival_rate: npt.ArrayLike, service_rate: float, servers: int) -> Floats:
    """Mean wait of each class in s in M/M/c without preemption.

    ``W_k = C/(c mu) / ((1 - sigma_{k-1}) (1 - sigma_k))``, ``C`` Erlang's probability of waiting and
    ``sigma_k = (lambda_0 + ... + lambda_k)/(c mu)``. *Exact*. *Valid when* arrivals are Poisson and
    all classes share one exponential service. ``arrival_rate`` in 1/s, one entry a class, the
    most urgent first; ``service_rate`` in 1/s, ``servers`` whole. Errors: ``Unstable`` where the
    utilisation is 1 or more, ``InputError``.

    *Source*: Cobham 1954.

    >>> non_preemptive_mean_wait_servers(arrival_rate=[0.2, 0.6], service_rate=1.0, servers=1).round(6)
    array([1., 5.])
    """
    rate = np.atleast_1d(positive("arrival_rate", np.asarray(arrival_rate, dtype=np.float64)))
    mu, c = one("service_rate", service_rate), one_whole("servers", servers)
    stable(float(rate.sum()), 1 / mu, c)
    before, through = _loads(rate / (c * mu))
    at_work = float(erlang_c(float(rate.sum()) / mu, c)) / (c * mu)
    return np.asarray(at_work / ((1 - before) * (1 - through)))


def preemptive_mean_response(
    *, arrival_rate: npt.ArrayLike, mean_service: npt.ArrayLike, service_scv: npt.ArrayLike = 1.0
) -> Floats:
    """Mean response of each class in s in M/G/1 with preemptive resume.

    ``T_k = E[S_k]/(1 - sigma_{k-1}) + sum_{i <= k} lambda_i E[S_i^2] / (2 (1 - sigma_{k-1})(1 - sigma_k))``.
    *Exact*. *Valid when* arrivals are Poisson. ``arrival_rate`` in 1/s and ``mean_service`` in s,
    one entry a class, the most urgent first; ``service_scv`` one for all or one a class. Errors:
    ``Unstable`` where ``sigma`` of the last class is 1 or more, ``InputError``.

    *Source*: Kleinrock, Queueing Systems II (1976), section 3.4.

    >>> preemptive_mean_response(arrival_rate=[0.5, 0.3], mean_service=[1.0, 1.0]).round(6)
    array([ 2., 10.])
    """
    rate, service, scv = _classes(arrival_rate, mean_service, service_scv)
    before, through = _loads(rate * service)
    at_work = np.cumsum(rate * service**2 * (1 + scv)) / 2
    return np.asarray(service / (1 - before) + at_work / ((1 - before) * (1 - through)))


def _classes(arrival_rate: npt.ArrayLike, mean_service: npt.ArrayLike, service_scv: npt.ArrayLike) -> list[Floats]:
    rate = np.atleast_1d(positive("arrival_rate", np.asarray(arrival_rate, dtype=np.float64)))
    service = positive("mean_service", np.asarray(mean_service, dtype=np.float64))
    scv = non_negative("service_scv", np.asarray(service_scv, dtype=np.float64))
    for name, given in (("mean_service", service), ("service_scv", scv)):
        if given.shape not in ((), rate.shape):
            expected = f"one number, or one for each of the {rate.size} classes"
            raise InputError(name, given=f"shape {given.shape}", expected=expected)
    return [rate, np.broadcast_to(service, rate.shape), np.broadcast_to(scv, rate.shape)]


def _loads(loads: Floats) -> tuple[Floats, Floats]:
    """``sigma_{k-1}`` and ``sigma_k`` of each class."""
    through = np.cumsum(loads)
    if through[-1] >= 1:
        first = int((through >= 1).argmax())
        raise Unstable(
            f"utilisation {through[first]:.6g} by classes 0 to {first}: the last of them grows without limit; "
            f"use more servers or arrival rates at least {through[-1]:.6g} times lower"
        )
    return np.concatenate([[0.0], through[:-1]]), through
