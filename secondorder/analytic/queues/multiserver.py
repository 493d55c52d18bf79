"""M/M/c: Poisson arrivals, exponential service, identical ``servers`` behind one queue, first come first served.

Everywhere ``rho = arrival_rate / (servers service_rate) < 1``, ``C`` is Erlang's probability of
waiting and ``theta = servers service_rate - arrival_rate``.
"""

import numpy as np

from secondorder.analytic.arguments import Floats, Real, Whole, fraction, non_negative, plain, positive, stable, whole
from secondorder.analytic.queues.erlang import erlang_c
from secondorder.analytic.queues.transform_inversion import quantile


def prob_wait(*, arrival_rate: Real, service_rate: Real, servers: Whole = 1) -> Real:
    """Probability that a request waits: ``C``, Erlang's delay formula.

    *Exact*. Rates in 1/s, ``servers`` whole; all broadcast. Errors: ``Unstable`` where
    ``rho >= 1``, ``InputError``. *Source*: Erlang 1917; see ``erlang.erlang_c``.

    >>> round(prob_wait(arrival_rate=1.6, service_rate=1.0, servers=2), 9)
    0.711111111
    """
    waits, _, _ = _queue(arrival_rate, service_rate, servers)
    return plain(waits)


def mean_wait(*, arrival_rate: Real, service_rate: Real, servers: Whole = 1) -> Real:
    """Mean wait before service, in s: ``C / theta``.

    *Exact*. Rates in 1/s, ``servers`` whole; all broadcast. Errors: ``Unstable`` where
    ``rho >= 1``, ``InputError``. *Source*: Kleinrock, Queueing Systems I (1975), section 3.5.

    >>> round(mean_wait(arrival_rate=1.6, service_rate=1.0, servers=2), 9)
    1.777777778
    """
    waits, theta, _ = _queue(arrival_rate, service_rate, servers)
    return plain(waits / theta)


def mean_response(*, arrival_rate: Real, service_rate: Real, servers: Whole = 1) -> Real:
    """Mean response (wait and service), in s: ``C / theta + 1 / service_rate``.

    *Exact*, and the mean number in the system is ``arrival_rate`` times it (Little). Rates in
    1/s, ``servers`` whole; all broadcast. Errors: ``Unstable`` where ``rho >= 1``, ``InputError``.
    *Source*: Kleinrock, Queueing Systems I (1975), section 3.5.

    >>> mean_response(arrival_rate=0.5, service_rate=1.0)
    2.0
    """
    waits, theta, mu = _queue(arrival_rate, service_rate, servers)
    return plain(waits / theta + 1 / mu)


def wait_tail(t: Real, *, arrival_rate: Real, service_rate: Real, servers: Whole = 1) -> Real:
    """``P(wait > t) = C exp(-theta t)``.

    *Exact*. ``t`` in s, rates in 1/s, ``servers`` whole; all broadcast. Errors: ``Unstable``
    where ``rho >= 1``, ``InputError``. *Source*: Kleinrock, Queueing Systems I (1975), section 3.5.

    >>> round(wait_tail(2.0, arrival_rate=0.8, service_rate=1.0), 6)
    0.536256
    """
    waits, theta, _ = _queue(arrival_rate, service_rate, servers)
    return plain(waits * np.exp(-theta * non_negative("t", t)))


def wait_quantile(p: Real, *, arrival_rate: Real, service_rate: Real, servers: Whole = 1) -> Real:
    """The wait in s that a fraction ``p`` of the requests does not exceed: ``max(0, ln(C / (1-p)) / theta)``.

    *Exact*. ``0 < p < 1``, rates in 1/s, ``servers`` whole; all broadcast. Errors: ``Unstable``
    where ``rho >= 1``, ``InputError``. *Source*: inverse of ``wait_tail``.

    >>> round(wait_quantile(0.99, arrival_rate=0.5, service_rate=1.0), 6)
    7.824046
    """
    waits, theta, _ = _queue(arrival_rate, service_rate, servers)
    return plain(np.log(np.maximum(waits / (1 - fraction("p", p)), 1)) / theta)


def response_tail(t: Real, *, arrival_rate: Real, service_rate: Real, servers: Whole = 1) -> Real:
    """``P(wait + service > t)``.

    ``(1-C) e^{-mu t} + C (theta e^{-mu t} - mu e^{-theta t}) / (theta - mu)``, at ``theta = mu``
    its limit ``(1-C) e^{-mu t} + C (1 + mu t) e^{-mu t}``; no digits are lost near the limit.
    *Exact*. ``t`` in s, rates in 1/s, ``servers`` whole; all broadcast. Errors: ``Unstable``
    where ``rho >= 1``, ``InputError``. *Source*: the wait is 0 or exponential(theta), and
    independent of the service; Gross and Harris, Fundamentals of Queueing Theory, section 2.3.

    >>> round(response_tail(3.0, arrival_rate=0.5, service_rate=1.0), 9)    # M/M/1: exp(-(mu - lambda) t)
    0.22313016
    """
    waits, theta, mu = _queue(arrival_rate, service_rate, servers)
    return plain(response_tail_given(non_negative("t", t), waits, theta, mu))


def response_quantile(p: Real, *, arrival_rate: Real, service_rate: Real, servers: Whole = 1) -> Real:
    """The response in s that a fraction ``p`` of the requests does not exceed.

    Root of ``response_tail(t) = 1 - p``; it is NOT the quantile of the wait plus the mean
    service. *Exact*, solved to 1e-14. ``0 < p < 1``, rates in 1/s, ``servers`` whole; all
    broadcast. Errors: ``Unstable`` where ``rho >= 1``, ``InputError``. *Source*: inverse of
    ``response_tail``.

    >>> round(response_quantile(0.99, arrival_rate=1.0, service_rate=1.0, servers=2), 6)
    5.665961
    """
    waits, theta, mu, level = np.broadcast_arrays(*_queue(arrival_rate, service_rate, servers), fraction("p", p))
    return plain(quantile(lambda t: response_tail_given(t, waits, theta, mu), level, 1 / mu))


def _queue(arrival_rate: Real, service_rate: Real, servers: Whole) -> tuple[Floats, Floats, Floats]:
    """``C``, ``theta`` and ``mu``."""
    rate, mu = positive("arrival_rate", arrival_rate), positive("service_rate", service_rate)
    rho = stable(rate, 1 / mu, servers)
    return np.asarray(erlang_c(rate / mu, servers)), np.asarray(whole("servers", servers) * mu * (1 - rho)), mu


def response_tail_given(t: Floats, waits: Floats, theta: Floats, mu: Floats) -> Floats:
    """``P(wait + service > t)`` for a wait that is exponential(``theta``) with probability ``waits``, else 0."""
    return np.asarray((1 - waits) * np.exp(-mu * t) + waits * two_exponentials_tail(t, theta, mu))


def two_exponentials_tail(t: Floats, one: Floats, other: Floats) -> Floats:
    """``P(X + Y > t)`` for independent exponential times of these rates: positive terms, also for equal rates."""
    slow, fast = np.minimum(one, other), np.maximum(one, other)
    gap = (fast - slow) * t
    averaged = np.where(gap == 0, 1.0, -np.expm1(-gap) / np.where(gap == 0, 1.0, gap))
    return np.asarray(np.exp(-fast * t) + fast * t * np.exp(-slow * t) * averaged)
