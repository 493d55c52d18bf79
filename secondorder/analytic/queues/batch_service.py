"""A server that takes waiting requests in batches: a batch of b lasts ``batch_time + item_time b``.

Whenever it is free it takes what waits, all of it or up to ``largest``, and at least one request:
it starts a batch of one for the first arrival that finds it idle (dynamic batching without delay).
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from secondorder.analytic.arguments import Floats, Real, each, non_negative, one, one_whole, plain, positive
from secondorder.analytic.queues.bulk_service_chain import stationary_law
from secondorder.errors import Unstable


def mean_batch(*, arrival_rate: Real, item_time: Real, batch_time: Real) -> Real:
    """Mean size of a batch when each batch takes all that wait.

    ``E[B] = (lambda tau0 + p0) / (1 - lambda alpha)``, ``p0`` the probability that nothing comes
    during a batch. With ``z_0 = exp(-lambda alpha)``, ``z_{j+1} = exp(-lambda alpha (1 - z_j))``
    and ``P_j = exp(-lambda tau0 sum_{i<j} (1 - z_i))``, iterating the generating function of
    ``B' = max(1, Poisson(lambda (alpha B + tau0)))`` gives ``p0 = e^{-lambda tau0} P_inf /
    (1 + e^{-lambda tau0} sum_j (1 - z_j) P_j)``. *Exact*. *Valid when* arrivals are Poisson.
    ``arrival_rate`` (lambda) in 1/s, ``item_time`` (alpha) and ``batch_time`` (tau0) in s; all
    broadcast. Errors: ``Unstable`` where ``lambda alpha >= 1``, ``InputError``.

    *Source*: the chain of Inoue, Queueing analysis of GPU-based inference servers with dynamic
    batching: a closed-form characterization, Performance Evaluation 147 (2021).

    >>> round(mean_batch(arrival_rate=0.1 / 0.1438, item_time=0.1438, batch_time=1.8874), 9)
    1.711548518
    """
    return each(_mean_batch, *_take_all(arrival_rate, item_time, batch_time))


def mean_response(*, arrival_rate: Real, item_time: Real, batch_time: Real) -> Real:
    """Mean response (wait and service) in s when each batch takes all that wait.

    ``alpha + tau0 + (1 + 2 lambda alpha)(E[B^2] - E[B]) / (2 lambda E[B])``, with ``E[B^2] =
    ((1 + 2 lambda^2 alpha tau0) E[B] + lambda^2 tau0^2) / (1 - lambda^2 alpha^2)``. *Exact*. *Valid
    when* arrivals are Poisson. ``arrival_rate`` (lambda) in 1/s, ``item_time`` (alpha) and
    ``batch_time`` (tau0) in s; all broadcast. Errors: ``Unstable`` where ``lambda alpha >= 1``,
    ``InputError``. *Source*: Inoue 2021.

    >>> round(mean_response(arrival_rate=0.3 / 0.1438, item_time=0.1438, batch_time=1.8874), 8)
    4.22480041
    """
    rate, alpha, tau0 = _take_all(arrival_rate, item_time, batch_time)
    batch = np.asarray(each(_mean_batch, rate, alpha, tau0))
    # E[B^2] - E[B], with the difference taken before the digits are lost
    square = (rate * alpha) ** 2
    excess = (batch * (2 * rate**2 * alpha * tau0 + square) + (rate * tau0) ** 2) / (1 - square)
    return plain(alpha + tau0 + (1 + 2 * rate * alpha) * excess / (2 * rate * batch))


def utilisation(*, arrival_rate: Real, item_time: Real, batch_time: Real) -> Real:
    """Fraction of the time the server works when each batch takes all that wait: ``lambda alpha + lambda tau0 / E[B]``.

    *Exact*. *Valid when* arrivals are Poisson. ``arrival_rate`` (lambda) in 1/s, ``item_time``
    (alpha) and ``batch_time`` (tau0) in s; all broadcast. Errors: ``Unstable`` where
    ``lambda alpha >= 1``, ``InputError``. *Source*: Inoue 2021.

    >>> round(utilisation(arrival_rate=0.1 / 0.1438, item_time=0.1438, batch_time=1.8874), 9)
    0.866859585
    """
    rate, alpha, tau0 = _take_all(arrival_rate, item_time, batch_time)
    return plain(rate * alpha + rate * tau0 / each(_mean_batch, rate, alpha, tau0))


def mean_response_bound(*, arrival_rate: Real, item_time: Real, batch_time: Real) -> Real:
    """Upper bound in s of the mean response when each batch takes all that wait: ``min(phi0, phi1)``.

    ``phi0 = (alpha+tau0)/(2(1-x)) (1 + 2 lambda tau0 + (1 - lambda tau0)/(1+x))``,
    ``phi1 = 3 tau0/(2(1-x)) + (alpha/2)(x+2)/(1-x^2)``, ``x = lambda alpha``: ``phi0`` is the response
    at ``E[B] = 1`` and ``phi1`` at ``p0 = 0``. *Bound*, tight at low and at high load. *Valid when*
    arrivals are Poisson. ``arrival_rate`` (lambda) in 1/s, ``item_time`` (alpha) and
    ``batch_time`` (tau0) in s; all broadcast. Errors: ``Unstable`` where ``lambda alpha >= 1``,
    ``InputError``. *Source*: Inoue 2021.

    >>> round(mean_response_bound(arrival_rate=0.1 / 0.1438, item_time=0.1438, batch_time=1.8874), 9)
    3.298181818
    """
    rate, alpha, tau0 = _take_all(arrival_rate, item_time, batch_time)
    x = rate * alpha
    phi0 = (alpha + tau0) / (2 * (1 - x)) * (1 + 2 * rate * tau0 + (1 - rate * tau0) / (1 + x))
    phi1 = 3 * tau0 / (2 * (1 - x)) + alpha / 2 * (x + 2) / (1 - x * x)
    return plain(np.minimum(phi0, phi1))


@dataclass(frozen=True, kw_only=True)
class Limited:
    """A batch server of limited size: means, s where times. ``mean_wait`` is until the batch starts."""

    mean_batch: float
    mean_response: float
    mean_wait: float
    mean_in_system: float
    utilisation: float


def limited(*, arrival_rate: float, batch_times: npt.ArrayLike) -> Limited:
    """The batch server that takes at most as many requests as ``batch_times`` has entries.

    Embedded at the ends of services, ``n`` left waiting becomes ``max(n - b, 0) + Poisson(lambda
    tau_b)``, ``b = min(max(n, 1), largest)``; with ``n = 0`` the server first idles ``1/lambda``. Time
    averages by Markov renewal, ``E[integral of the number over a cycle] / E[cycle]``, the response
    by Little's law. *Exact*. *Valid when* arrivals are Poisson and services constant given their
    size. ``arrival_rate`` in 1/s; ``batch_times`` in s for batches of 1, 2, ..., largest, of any
    shape; one queue at a time. Errors: ``Unstable`` where ``lambda tau_largest >= largest``,
    ``InputError``.

    *Source*: Neuts, A general class of bulk queues with Poisson input (1967).

    >>> times = affine_batch_times(item_time=0.1438, batch_time=1.8874, largest=8)
    >>> found = limited(arrival_rate=0.9 * 8 / times[-1], batch_times=times)
    >>> round(found.mean_response, 9), round(found.utilisation, 6)
    (5.522492701, 0.999845)
    """
    rate = one("arrival_rate", arrival_rate)
    times = np.atleast_1d(positive("batch_times", np.asarray(batch_times, dtype=np.float64)))
    largest = times.size
    load = rate * float(times[-1]) / largest
    if load >= 1:
        raise Unstable(
            f"utilisation {load:.6g} of batches of {largest}: the queue grows without limit; "
            f"use a larger batch, faster batches or an arrival rate below {rate / load:.6g} request/s"
        )
    law = stationary_law(rate * np.concatenate([times[:1], times]), largest)
    left = np.arange(law.size)
    started = np.maximum(left, 1)
    size = np.minimum(started, largest)
    lasting = times[size - 1]
    cycle = float(law @ lasting) + float(law[0]) / rate
    number = float(law @ (started * lasting + rate * lasting**2 / 2)) / cycle
    in_service = float(law @ (size * lasting)) / cycle
    return Limited(
        mean_batch=float(law @ size),
        mean_response=number / rate,
        mean_wait=(number - in_service) / rate,
        mean_in_system=number,
        utilisation=float(law @ lasting) / cycle,
    )


def affine_batch_times(*, item_time: float, batch_time: float, largest: int) -> Floats:
    """Times ``batch_time + item_time b`` in s for ``b`` = 1, ..., ``largest``, to give to ``limited``.

    *Valid when* a batch's cost is affine in its size. ``item_time`` and ``batch_time`` in s,
    ``largest`` whole. Errors: ``InputError``. *Source*: Inoue 2021.

    >>> affine_batch_times(item_time=0.5, batch_time=1.0, largest=3)
    array([1.5, 2. , 2.5])
    """
    sizes = np.arange(1, one_whole("largest", largest) + 1)
    return np.asarray(non_negative("batch_time", batch_time) + non_negative("item_time", item_time) * sizes)


def _take_all(arrival_rate: Real, item_time: Real, batch_time: Real) -> tuple[Floats, Floats, Floats]:
    rate, alpha = positive("arrival_rate", arrival_rate), positive("item_time", item_time)
    load = np.asarray(rate * alpha)
    if (load >= 1).any():
        raise Unstable(
            f"utilisation {load.max():.6g} by the time that each request adds: batches grow without limit; "
            f"use an arrival rate below {float(1 / alpha.max()):.6g} request/s"
        )
    return rate, alpha, non_negative("batch_time", batch_time)


def _mean_batch(rate: float, alpha: float, tau0: float) -> float:
    load, fixed = rate * alpha, rate * tau0
    away, logs, total = -math.expm1(-load), 0.0, 0.0  # away is 1 - z_j
    while away > 1e-18 and logs > -700:
        total += away * math.exp(logs)
        logs -= fixed * away
        away = -math.expm1(-load * away)
    nothing = math.exp(-fixed + logs) / (1 + math.exp(-fixed) * total)
    return (fixed + nothing) / (1 - load)
