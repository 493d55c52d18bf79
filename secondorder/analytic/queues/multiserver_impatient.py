"""Erlang-A, or M/M/c+M: ``servers`` behind one line, whose customers leave it when their patience is over.

Arrivals are Poisson, services and patience exponential. The line never grows without limit: at any load so many
give up that the rest can be served. A wait is either that of ``all`` customers, until they are served or give up,
or that of those who are ``served``; the two differ.

Everywhere ``m = servers service_rate``, ``g = 1 / patience`` is the rate at which one who waits gives up, and
``p_n`` the stationary law of the number inside: ``p_n = p_{n-1} arrival_rate / (min(n, servers) service_rate +
max(n - servers, 0) g)``.

*Source*: Palm, Research on telephone traffic carried by full availability groups (1957); Garnett, Mandelbaum and
Reiman, Designing a call center with impatient customers (2002); Mandelbaum and Zeltyn, Service engineering in
action: the Palm/Erlang-A queue (2007).
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from secondorder.analytic.arguments import Floats, Real, Whole, each, fraction, non_negative, plain, positive, whole
from secondorder.errors import InputError

NEGLIGIBLE = 45.0
"""Natural logarithm of how much rarer than the most common state a state is that is left out, with all beyond it."""

PANELS = 64
"""Panels of an integral over the service."""

BLOCK = 64
"""Terms of a series summed at once."""

LOST_DIGITS = 12.0
"""Logarithm of a factor that takes five of a difference's digits: quadrature takes over from there."""

MOST_STATES = 1 << 24
"""Numbers waiting up to which the law is computed."""


class _Line(NamedTuple):
    """``free``: probability of a free server; ``waiting[j]``: all busy and ``j`` waiting; ``inside``: mean number."""

    free: float
    waiting: Floats
    inside: float


def abandonment_prob(*, arrival_rate: Real, service_rate: Real, patience: Real, servers: Whole = 1) -> Real:
    """Probability that a customer gives up: ``g E[waiting] / arrival_rate``.

    *Exact*. Rates in 1/s, ``patience`` (its mean) in s, ``servers`` whole; all broadcast. Errors: ``InputError``.
    *Source*: who gives up per second, of those who come; Mandelbaum and Zeltyn 2007, section 3.

    >>> round(abandonment_prob(arrival_rate=10.0, service_rate=1.0, patience=2.0, servers=9), 6)
    0.157687
    """
    wait = mean_wait(arrival_rate=arrival_rate, service_rate=service_rate, patience=patience, servers=servers)
    return plain(wait / positive("patience", patience))


def prob_wait(*, arrival_rate: Real, service_rate: Real, patience: Real, servers: Whole = 1) -> Real:
    """Probability that a customer finds all servers busy, of all who come: ``sum_{n >= servers} p_n``.

    *Exact*. Units and errors as ``abandonment_prob``. *Source*: Poisson arrivals see time averages (Wolff 1982).

    >>> round(prob_wait(arrival_rate=10.0, service_rate=1.0, patience=2.0, servers=9), 6)
    0.75794
    """
    return _each(lambda line, *_: float(line.waiting.sum()), arrival_rate, service_rate, patience, servers)


def prob_wait_served(*, arrival_rate: Real, service_rate: Real, patience: Real, servers: Whole = 1) -> Real:
    """Probability that a customer had to wait, of those who are served: ``sum_j p_{c+j} s_j / (1 - P(gives up))``.

    ``s_j = m / (m + (j + 1) g)`` is the probability that one who finds ``j`` waiting is served. *Exact*. Units and
    errors as ``abandonment_prob``. *Source*: Palm 1957.

    >>> round(prob_wait_served(arrival_rate=10.0, service_rate=1.0, patience=2.0, servers=9), 6)
    0.712624
    """

    def found(line: _Line, rate: float, mu: float, theta: float, c: int) -> float:
        served = float(line.waiting @ _served(line, mu, theta, c))
        return served / (line.free + served)

    return _each(found, arrival_rate, service_rate, patience, servers)


def mean_wait(*, arrival_rate: Real, service_rate: Real, patience: Real, servers: Whole = 1) -> Real:
    """Mean wait of all customers in s, until they are served or give up: ``sum_j j p_{c+j} / arrival_rate``.

    *Exact*. Units and errors as ``abandonment_prob``. *Source*: Little's law of the line.

    >>> round(mean_wait(arrival_rate=10.0, service_rate=1.0, patience=2.0, servers=9), 6)
    0.315375
    """

    def found(line: _Line, rate: float, *_: float) -> float:
        return float(np.arange(line.waiting.size) @ line.waiting) / rate

    return _each(found, arrival_rate, service_rate, patience, servers)


def mean_wait_served(*, arrival_rate: Real, service_rate: Real, patience: Real, servers: Whole = 1) -> Real:
    """Mean wait of the customers who are served in s: ``sum_j p_{c+j} s_j w_j / (1 - P(gives up))``.

    One who finds ``j`` waiting moves up after exponential times of rates ``m + j g, ..., m + g, m``; with the
    patience to outlast them, ``s_j = m / (m + (j + 1) g)``, they last
    ``w_j = sum_{i=1}^{j+1} 1 / (m + i g)`` on average. *Exact*. Units and errors as ``abandonment_prob``.
    *Source*: Palm 1957; the mean of a sum of exponential times that a further one outlasts.

    >>> round(mean_wait_served(arrival_rate=10.0, service_rate=1.0, patience=2.0, servers=9), 6)
    0.312178
    """

    def found(line: _Line, rate: float, mu: float, theta: float, c: int) -> float:
        served = line.waiting * _served(line, mu, theta, c)
        waits = np.cumsum(1 / (c * mu + theta * np.arange(1, line.waiting.size + 1)))
        return float(served @ waits) / (line.free + float(served.sum()))

    return _each(found, arrival_rate, service_rate, patience, servers)


def mean_number(*, arrival_rate: Real, service_rate: Real, patience: Real, servers: Whole = 1) -> Real:
    """Mean number of customers inside, waiting and in service: ``sum_n n p_n``.

    *Exact*. Units and errors as ``abandonment_prob``. *Source*: Palm 1957.

    >>> round(mean_number(arrival_rate=10.0, service_rate=1.0, patience=2.0, servers=9), 6)
    11.576874
    """
    return _each(lambda line, *_: line.inside, arrival_rate, service_rate, patience, servers)


def wait_tail(t: Real, *, arrival_rate: Real, service_rate: Real, patience: Real, servers: Whole = 1) -> Real:
    """``P(wait > t)`` of all customers: ``prob_wait e^(-g t) G(m/g, t)``.

    ``G(a, t) = P(a, y_t) / P(a, y_0)`` with the regularised incomplete gamma function ``P`` and
    ``y_t = (arrival_rate/g) e^(-g t)`` is the probability that the service would not have begun by ``t``. *Exact*.
    ``t`` in s; units and errors as ``abandonment_prob``. *Source*: Mandelbaum and Zeltyn 2007, the density
    ``arrival_rate p_{c-1} e^(arrival_rate (1 - e^(-g t))/g - m t)`` of the wait that is offered.

    >>> queue = {"arrival_rate": 10.0, "service_rate": 1.0, "patience": 2.0, "servers": 9}
    >>> wait_tail(0.0, **queue) == prob_wait(**queue), round(wait_tail(0.5, **queue), 6)
    (True, 0.253305)
    """

    def found(line: _Line, rate: float, mu: float, theta: float, c: int, time: float) -> float:
        return float(line.waiting.sum()) * math.exp(-theta * time) * _still_offered(time, rate, theta, c * mu / theta)

    return _each(found, arrival_rate, service_rate, patience, servers, non_negative("t", t))


def wait_tail_served(t: Real, *, arrival_rate: Real, service_rate: Real, patience: Real, servers: Whole = 1) -> Real:
    """``P(wait > t)`` of the customers who are served: ``prob_wait_served G(m/g + 1, t)``, ``G`` of ``wait_tail``.

    *Exact*. ``t`` in s; units and errors as ``abandonment_prob``. *Source*: as ``wait_tail``, times the probability
    ``e^(-g t)`` that patience lasts.

    >>> queue = {"arrival_rate": 10.0, "service_rate": 1.0, "patience": 2.0, "servers": 9}
    >>> round(wait_tail_served(0.5, **queue), 6)
    0.257418
    """
    waits = prob_wait_served(arrival_rate=arrival_rate, service_rate=service_rate, patience=patience, servers=servers)
    rate, theta, _, shape = _shape(arrival_rate, service_rate, patience, servers)
    return plain(waits * each(_still_offered, non_negative("t", t), rate, theta, shape))


def wait_quantile_served(
    p: Real, *, arrival_rate: Real, service_rate: Real, patience: Real, servers: Whole = 1
) -> Real:
    """The wait in s that a fraction ``p`` of the customers who are served does not exceed.

    Root of ``wait_tail_served(t) = 1 - p``. *Exact*, solved to 1e-12. ``0 < p < 1``; units and errors as
    ``abandonment_prob``. *Source*: inverse of ``wait_tail_served``.

    >>> queue = {"arrival_rate": 10.0, "service_rate": 1.0, "patience": 2.0, "servers": 9}
    >>> round(wait_quantile_served(0.9, **queue), 6), wait_quantile_served(0.1, **queue)
    (0.801437, 0.0)
    """
    waits = prob_wait_served(arrival_rate=arrival_rate, service_rate=service_rate, patience=patience, servers=servers)
    rate, theta, _, shape = _shape(arrival_rate, service_rate, patience, servers)

    def found(level: float, met: float, *queue: float) -> float:
        return _root(lambda t: met * _still_offered(t, *queue), 1 - level, scale=1 / queue[1])

    return each(found, fraction("p", p), waits, rate, theta, shape)


def response_tail_served(
    t: Real, *, arrival_rate: Real, service_rate: Real, patience: Real, servers: Whole = 1
) -> Real:
    """``P(wait + service > t)`` of the customers who are served.

    With ``mu`` the service rate, ``C`` of ``prob_wait_served``, ``a = m/g + 1``, ``b = a - mu/g``, ``G`` and ``y_0`` of
    ``wait_tail``: ``e^(-mu t) (1 - C) + C (G(a, t) + e^(-mu t) K (1 - G(b, t)))``,
    ``K = y_0^(mu/g) gamma(b, y_0) / gamma(a, y_0)`` with the lower incomplete gamma function. *Exact*. ``t`` in s;
    units and errors as ``abandonment_prob``. *Source*: ``wait_tail_served``, convolved with an exponential service.

    >>> queue = {"arrival_rate": 10.0, "service_rate": 1.0, "patience": 2.0, "servers": 9}
    >>> round(response_tail_served(2.0, **queue), 6)
    0.19759
    """
    waits = prob_wait_served(arrival_rate=arrival_rate, service_rate=service_rate, patience=patience, servers=servers)
    return each(_response_tail, non_negative("t", t), waits, *_shape(arrival_rate, service_rate, patience, servers))


def response_quantile_served(
    p: Real, *, arrival_rate: Real, service_rate: Real, patience: Real, servers: Whole = 1
) -> Real:
    """The response in s that a fraction ``p`` of the customers who are served does not exceed.

    Root of ``response_tail_served(t) = 1 - p``. *Exact*, solved to 1e-12. ``0 < p < 1``; units and errors as
    ``abandonment_prob``. *Source*: inverse of ``response_tail_served``.

    >>> queue = {"arrival_rate": 10.0, "service_rate": 1.0, "patience": 2.0, "servers": 9}
    >>> round(response_quantile_served(0.9, **queue), 6)
    2.681279
    """
    waits = prob_wait_served(arrival_rate=arrival_rate, service_rate=service_rate, patience=patience, servers=servers)

    def found(level: float, met: float, *queue: float) -> float:
        return _root(lambda t: _response_tail(t, met, *queue), 1 - level, scale=1 / queue[2])

    return each(found, fraction("p", p), waits, *_shape(arrival_rate, service_rate, patience, servers))


def _shape(
    arrival_rate: Real, service_rate: Real, patience: Real, servers: Whole
) -> tuple[Floats, Floats, Floats, Floats]:
    """``arrival_rate``, ``g``, ``service_rate`` and the shape ``m/g + 1``."""
    rate, mu, theta = (
        positive("arrival_rate", arrival_rate),
        positive("service_rate", service_rate),
        1 / positive("patience", patience),
    )
    return rate, theta, mu, whole("servers", servers) * mu / theta + 1


def _root(tail: Callable[[float], float], level: float, scale: float) -> float:
    """Where a falling ``tail`` is ``level``; 0 where it starts below."""
    from scipy.optimize import brentq

    if tail(0.0) <= level:
        return 0.0
    while tail(scale) > level:
        scale *= 2
    return float(brentq(lambda t: tail(t) - level, 0.0, scale, xtol=1e-13 * scale))


def _response_tail(t: float, waits: float, rate: float, theta: float, mu: float, shape: float) -> float:
    first, less, late = rate / theta, shape - mu / theta, math.exp(-mu * t)
    factor = mu / theta * math.log(first) + _log_gamma(less, first) - _log_gamma(shape, first)
    if factor > LOST_DIGITS:
        return late + waits * _convolved(t, rate, theta, mu, shape)
    after = math.exp(factor) * late * (1 - _still_offered(t, rate, theta, less))
    return late * (1 - waits) + waits * (_still_offered(t, rate, theta, shape) + after)


def _convolved(t: float, rate: float, theta: float, mu: float, shape: float) -> float:
    """``integral of mu e^(-mu s) G(t - s)`` over services ``s`` up to ``t``, by Gauss and Legendre in panels."""
    nodes, weights = np.polynomial.legendre.leggauss(16)
    edges = np.linspace(0.0, min(t, NEGLIGIBLE / mu), PANELS + 1)
    half = np.diff(edges)[:, None] / 2
    s = (edges[:-1, None] + half * (1 + nodes)).ravel()
    return float(mu * np.exp(-mu * s) * _offered(t - s, rate, theta, shape) @ (half * weights).ravel())


def _each(
    found: Callable[..., float], arrival_rate: Real, service_rate: Real, patience: Real, servers: Whole, *more: Floats
) -> Real:
    """``found`` of the line and its rates, for each of the queues."""

    def one(rate: float, mu: float, theta: float, c: int, *rest: float) -> float:
        return float(found(_line(rate, mu, theta, c), rate, mu, theta, c, *rest))

    theta = 1 / positive("patience", patience)
    rates = positive("arrival_rate", arrival_rate), positive("service_rate", service_rate)
    return each(one, *rates, theta, whole("servers", servers), *more)


def _served(line: _Line, mu: float, theta: float, c: int) -> Floats:
    """Probability of being served for one who finds ``j`` waiting."""
    return np.asarray(c * mu / (c * mu + theta * np.arange(1, line.waiting.size + 1)))


def _line(rate: float, mu: float, theta: float, c: int) -> _Line:
    """The stationary law, in logarithms up to where it is negligible."""
    below = np.log(rate / (mu * np.arange(1, c + 1)))
    size = 64
    while True:
        beyond = np.log(rate / (c * mu + theta * np.arange(1, size + 1)))
        logs = np.concatenate([[0.0], np.cumsum(np.concatenate([below, beyond]))])
        top = logs.max()
        # beyond the end each state is rarer than the one before by at least this ratio
        if beyond[-1] < 0 and logs[-1] - math.log(-math.expm1(beyond[-1])) < top - NEGLIGIBLE:
            break
        size *= 2
        if size > MOST_STATES:
            remedy = "use multiserver, where nobody gives up, or multiserver_finite"
            raise InputError("patience", given=f"{1 / theta:.3g} s", expected="a shorter queue", remedy=remedy)
    law = np.exp(logs - top)
    law /= law.sum()
    return _Line(float(law[:c].sum()), law[c:], float(np.arange(law.size) @ law))


def _still_offered(t: float, rate: float, theta: float, shape: float) -> float:
    return float(_offered(np.array([t]), rate, theta, shape)[0])


def _offered(t: Floats, rate: float, theta: float, shape: float) -> Floats:
    """``P(shape, y_t) / P(shape, y_0)``, ``y_t = (rate/theta) e^(-theta t)``, for a row of times.

    Where ``y_0`` is below the shape both may be too small for a float: by the series
    ``P(a, y) ~ y^a e^(-y) sum_k y^k / (a (a + 1) ... (a + k))``.
    """
    from scipy.special import gammainc

    first = rate / theta
    now = first * np.exp(-theta * t)
    if first >= shape:
        return np.asarray(gammainc(shape, now) / gammainc(shape, first))
    lost = -first * np.expm1(-theta * t)  # y_0 - y_t
    return np.asarray(np.exp(lost - shape * theta * t) * _series(shape, now) / _series(shape, np.array([first])))


def _log_gamma(shape: float, y: float) -> float:
    """Logarithm of the lower incomplete gamma function."""
    from scipy.special import gammainc, gammaln

    if y >= shape:
        return float(gammaln(shape) + math.log(gammainc(shape, y)))
    series = math.log(float(_series(shape, np.array([y]))[0]))
    return shape * math.log(y / shape) + (shape - 1) * math.log(shape) - y + series


def _series(shape: float, y: Floats) -> Floats:
    """``sum_k y^k / ((a + 1) ... (a + k))`` for a row of ``y`` below ``a``, by blocks of terms."""
    total, last, done = np.ones_like(y), np.ones_like(y), 0
    while (last > 1e-17 * total).any() and done < MOST_STATES:
        terms = last[:, None] * np.cumprod(y[:, None] / (shape + np.arange(done + 1, done + BLOCK + 1)), axis=1)
        total, last, done = total + terms.sum(axis=1), terms[:, -1], done + BLOCK
    return total
