"""M/G/infinity: Poisson arrivals that never wait, and what they hold while they stay (Campbell's theorem).

The tokens of KV cache of a replica without limits are such a sum: a request of prompt ``I`` holds
``I + j`` tokens during the j-th of its ``O`` decode steps.
"""

import math
from collections.abc import Sequence

import numpy as np

from secondorder.analytic.arguments import Real, Whole, fraction, non_negative, one, plain, positive, whole
from secondorder.errors import InputError


def mean_number(*, arrival_rate: Real, mean_service: Real) -> Real:
    """Mean, and variance, of the number present: ``arrival_rate mean_service``.

    *Exact* for every service law: the number is Poisson. ``arrival_rate`` in 1/s, ``mean_service``
    in s; both broadcast. Errors: ``InputError``. *Source*: Erlang; Kleinrock, Queueing Systems I
    (1975), section 3.4; insensitivity: Mirasol 1963.

    >>> mean_number(arrival_rate=5.0, mean_service=2.0)
    10.0
    """
    return plain(positive("arrival_rate", arrival_rate) * positive("mean_service", mean_service))


def number_tail(n: Whole, *, arrival_rate: Real, mean_service: Real) -> Real:
    """``P(number present > n)``, of a Poisson number of mean ``arrival_rate mean_service``.

    *Exact* for every service law. ``n`` whole, at least 0; ``arrival_rate`` in 1/s,
    ``mean_service`` in s; all broadcast. Errors: ``InputError``. *Source*: as ``mean_number``.

    >>> round(number_tail(0, arrival_rate=1.0, mean_service=1.0), 9)
    0.632120559
    """
    from scipy.special import gammainc

    mean = positive("arrival_rate", arrival_rate) * positive("mean_service", mean_service)
    return plain(gammainc(whole("n", n, 0) + 1, mean))


def campbell_mean(*, arrival_rate: Real, held: Real) -> Real:
    """Mean of what all requests present hold: ``arrival_rate E[integral of m(t) dt]``.

    ``m(t)`` is what one request holds ``t`` after its arrival. *Exact* when arrivals are Poisson and
    nobody waits. ``arrival_rate`` in 1/s, ``held`` (the mean integral) in units times s; both
    broadcast. Errors: ``InputError``. *Source*: Campbell 1909; Kingman, Poisson Processes (1993),
    section 3.2.

    >>> campbell_mean(arrival_rate=5.0, held=40.0)
    200.0
    """
    return plain(positive("arrival_rate", arrival_rate) * non_negative("held", held))


def campbell_sd(*, arrival_rate: Real, held_square: Real) -> Real:
    """Standard deviation of what all requests present hold: ``sqrt(arrival_rate E[integral of m(t)^2 dt])``.

    *Exact* when arrivals are Poisson and nobody waits. ``arrival_rate`` in 1/s, ``held_square`` (the
    mean integral of the square) in units^2 times s; both broadcast. Errors: ``InputError``.
    *Source*: as ``campbell_mean``.

    >>> campbell_sd(arrival_rate=4.0, held_square=100.0)
    20.0
    """
    return plain(np.sqrt(positive("arrival_rate", arrival_rate) * non_negative("held_square", held_square)))


def kv_tokens(
    *, arrival_rate: float, step_time: float, prompt_moments: Sequence[float], output_moments: Sequence[float]
) -> tuple[float, float]:
    """Mean and standard deviation of the tokens held by all requests of a replica that never fills.

    Mean ``lambda tau E[sum_{j=1}^O (I + j)]``, variance ``lambda tau E[sum_{j=1}^O (I + j)^2]``, with
    ``E[sum j] = E[O(O+1)]/2`` and ``E[sum j^2] = E[O(O+1)(2O+1)]/6``. *Exact* for Poisson arrivals,
    prompt ``I`` and output ``O`` independent of each other, and steps of constant duration
    ``step_time`` (tau); a busy replica's steps are longer. ``arrival_rate`` (lambda) in 1/s,
    ``step_time`` in s, ``prompt_moments`` ``E[I], E[I^2]`` and ``output_moments`` ``E[O], E[O^2],
    E[O^3]`` in powers of tokens. Errors: ``InputError``.

    *Source*: Campbell's theorem, as ``campbell_mean``.

    >>> mean, sd = kv_tokens(arrival_rate=5.0, step_time=0.02, prompt_moments=(512.0, 512.0**2),
    ...                      output_moments=geometric_moments(256.0))
    >>> round(mean, 6), round(sd, 6)
    (19660.8, 4095.199922)
    """
    rate, step = one("arrival_rate", arrival_rate), one("step_time", step_time)
    i1, i2 = _moments("prompt_moments", prompt_moments, 2)
    o1, o2, o3 = _moments("output_moments", output_moments, 3)
    steps, steps_first, steps_second = o1, (o2 + o1) / 2, (2 * o3 + 3 * o2 + o1) / 6
    held = i1 * steps + steps_first
    square = i2 * steps + 2 * i1 * steps_first + steps_second
    return rate * step * held, math.sqrt(rate * step * square)


def geometric_moments(mean: float) -> tuple[float, float, float]:
    """First three moments of a geometric number 1, 2, ... of this mean: ``m``, ``2m^2 - m``, ``6m^3 - 6m^2 + m``.

    *Exact*. ``mean`` at least 1. Errors: ``InputError``. *Source*: any textbook.

    >>> geometric_moments(1.0)
    (1.0, 1.0, 1.0)
    """
    m = one("mean", mean)
    if m < 1:
        raise InputError("mean", given=mean, expected="a number of at least 1")
    return m, 2 * m**2 - m, 6 * m**3 - 6 * m**2 + m


def normal_capacity(*, mean: Real, sd: Real, overflow: Real) -> Real:
    """The capacity that demand of this mean and standard deviation exceeds with probability ``overflow``.

    ``mean + z sd``, ``z`` the normal quantile at ``1 - overflow``. *Approximation*: demand as a normal
    variable. *Valid when* many requests are present; its tail is lighter than that of a few long
    requests. ``mean`` and ``sd`` in one unit, ``0 < overflow < 1``; all broadcast. Errors: ``InputError``.

    *Source*: central limit for Campbell sums; Kingman (1993), section 3.2.

    >>> round(normal_capacity(mean=19660.8, sd=4095.2, overflow=0.01), 1)
    29187.7
    """
    from scipy.special import ndtri

    return plain(non_negative("mean", mean) - ndtri(fraction("overflow", overflow)) * non_negative("sd", sd))


def _moments(what: str, given: Sequence[float], count: int) -> list[float]:
    moments = [one(what, value) for value in given]
    if len(moments) != count:
        raise InputError(what, given=f"{len(moments)} moments", expected=f"the first {count}")
    if moments[1] < moments[0] ** 2 * (1 - 1e-12):
        raise InputError(what, given=moments, expected="a second moment of at least the square of the first")
    return moments
