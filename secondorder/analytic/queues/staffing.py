"""How many servers: for a probability of waiting, or for a quantile of the wait or the response."""

import math
from collections.abc import Iterator

import numpy as np

from secondorder.analytic.arguments import Floats, Real, each, fraction, non_negative, plain, positive
from secondorder.analytic.queues import multiserver
from secondorder.analytic.queues.transform_inversion import quantile
from secondorder.errors import InfeasibleError


def halfin_whitt_prob_wait(beta: Real) -> Real:
    """Limit of the probability of waiting when ``servers = R + beta sqrt(R)`` and the load ``R`` grows.

    ``1 / (1 + beta Phi(beta) / phi(beta))``, ``Phi`` and ``phi`` the standard normal distribution
    function and density. *Approximation* for M/M/c, exact as ``R`` grows; *valid when* ``R`` is
    above about 10. ``beta > 0`` has no unit; broadcasts. Errors: ``InputError``.

    *Source*: Halfin and Whitt, Heavy-traffic limits for queues with many exponential servers
    (1981), proposition 1.

    >>> round(halfin_whitt_prob_wait(1.0), 6)
    0.223361
    """
    return plain(_halfin_whitt(positive("beta", beta)))


def halfin_whitt_beta(prob_wait: Real) -> Real:
    """The safety factor ``beta`` at which a fraction ``prob_wait`` of the requests waits, in the limit.

    Root of ``1 / (1 + beta Phi(beta) / phi(beta)) = prob_wait``. *Approximation*, as
    ``halfin_whitt_prob_wait``. ``0 < prob_wait < 1``; broadcasts. Errors: ``InputError``.

    *Source*: Halfin and Whitt (1981), proposition 1.

    >>> round(halfin_whitt_beta(0.05), 9)
    1.739836272
    """
    target = fraction("prob_wait", prob_wait)
    return plain(quantile(_halfin_whitt, 1 - target, np.ones_like(target)))


def square_root_staffing(offered_load: Real, prob_wait: Real) -> Real:
    """Servers by the square-root rule: ``ceil(R + beta sqrt(R))``.

    *Approximation* of ``erlang.servers_for_wait``, seldom off by more than one server; *valid
    when* ``R``, the offered load, is above about 10. ``offered_load`` in erlang, ``0 <
    prob_wait < 1``; both broadcast, the answer is a whole number kept as a float. Errors:
    ``InputError``.

    *Source*: Halfin and Whitt (1981); Borst, Mandelbaum and Reiman, Dimensioning large call
    centers (2004).

    >>> square_root_staffing(100.0, 0.2)
    111.0
    """
    load = positive("offered_load", offered_load)
    return plain(np.ceil(load + halfin_whitt_beta(prob_wait) * np.sqrt(load)))


def servers_for_wait_quantile(wait: Real, p: Real, *, arrival_rate: Real, service_rate: Real) -> Real:
    """Least number of servers with which a fraction ``p`` of the requests waits at most ``wait``.

    ``min {c : C e^{-(c mu - lambda) wait} <= 1 - p}``. *Exact* for M/M/c. ``wait`` in s, at
    least 0; ``0 < p < 1``; rates in 1/s; all broadcast, the answer is a whole number kept as a
    float. Errors: ``InputError``.

    *Source*: ``multiserver.wait_tail``.

    >>> servers_for_wait_quantile(0.5, 0.99, arrival_rate=8.0, service_rate=1.0)
    13.0
    """
    return each(
        _least_for_wait,
        non_negative("wait", wait),
        fraction("p", p),
        positive("arrival_rate", arrival_rate),
        positive("service_rate", service_rate),
    )


def servers_for_response_quantile(response: Real, p: Real, *, arrival_rate: Real, service_rate: Real) -> Real:
    """Least number of servers with which a fraction ``p`` of the requests is answered within ``response``.

    ``min {c : P(wait + service > response) <= 1 - p}``. *Exact* for M/M/c. ``response`` in s,
    above 0; ``0 < p < 1``; rates in 1/s; all broadcast, the answer is a whole number kept as a
    float. Errors: ``InfeasibleError`` where the service alone is too slow, ``InputError``.

    *Source*: ``multiserver.response_tail``.

    >>> servers_for_response_quantile(5.0, 0.99, arrival_rate=8.0, service_rate=1.0)
    10.0
    """
    return each(
        _least_for_response,
        positive("response", response),
        fraction("p", p),
        positive("arrival_rate", arrival_rate),
        positive("service_rate", service_rate),
    )


def _halfin_whitt(beta: Floats) -> Floats:
    from scipy.special import log_ndtr

    # Phi/phi = exp(ln Phi + beta^2/2) sqrt(2 pi); its growth is cut where 1/(1 + ...) has long been 0
    ratio = np.exp(np.minimum(log_ndtr(beta) + beta * beta / 2, 700)) * math.sqrt(2 * math.pi)
    return np.asarray(1 / (1 + beta * ratio))


def _least_for_wait(wait: float, p: float, rate: float, mu: float) -> float:
    for servers, waits in _delay(rate / mu):
        if waits * math.exp(-(servers * mu - rate) * wait) <= 1 - p:
            return float(servers)
    raise AssertionError


def _least_for_response(response: float, p: float, rate: float, mu: float) -> float:
    alone = math.exp(-mu * response)
    if alone >= 1 - p:
        raise InfeasibleError(
            f"a service of mean {1 / mu:.6g} s alone exceeds {response:.6g} s with probability {alone:.3g}, above "
            f"{1 - p:.3g}: no number of servers is enough; ask for more than {-math.log(1 - p) / mu:.6g} s"
        )
    for servers, waits in _delay(rate / mu):
        if waits < 1e-300 or _tail(response, waits, servers * mu - rate, mu) <= 1 - p:
            return float(servers)
    raise AssertionError


def _tail(t: float, waits: float, theta: float, mu: float) -> float:
    found = multiserver.response_tail_given(np.asarray(t), np.asarray(waits), np.asarray(theta), np.asarray(mu))
    return float(found)


def _delay(load: float) -> Iterator[tuple[int, float]]:
    """Each stable number of servers with its probability of waiting."""
    blocked, servers = 1.0, 0
    while True:
        servers += 1
        blocked = load * blocked / (servers + load * blocked)
        if servers > load:
            yield servers, blocked / (1 - load / servers * (1 - blocked))
