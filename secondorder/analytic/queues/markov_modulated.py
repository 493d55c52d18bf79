"""MMPP(2)/M/1: arrivals whose Poisson rate switches between two phases, exponential service, one server.

In phase i requests arrive at ``rate_i`` and the phase lasts an exponential time of mean
``sojourn_i``, as in ``workloads.arrivals.MarkovModulated``. The number in the system and the phase
are a quasi-birth-death process: ``pi_n = pi_0 R^n``.
"""

import numpy as np

from secondorder.analytic.arguments import Floats, Real, fraction, non_negative, plain, positive
from secondorder.analytic.queues.transform_inversion import quantile
from secondorder.errors import Unstable


def mean_rate(*, rate_1: Real, rate_2: Real, sojourn_1: Real, sojourn_2: Real) -> Real:
    """Mean arrival rate in 1/s: ``(rate_1 sojourn_1 + rate_2 sojourn_2) / (sojourn_1 + sojourn_2)``.

    *Exact*. Rates in 1/s, sojourns in s; all broadcast. Errors: ``InputError``. *Source*: Fischer
    and Meier-Hellstern, The Markov-modulated Poisson process (MMPP) cookbook (1993).

    >>> mean_rate(rate_1=1.4, rate_2=0.2, sojourn_1=100.0, sojourn_2=100.0)
    0.8
    """
    l1, l2, r1, r2 = _rates(rate_1, rate_2, sojourn_1, sojourn_2)
    return plain((l1 * r2 + l2 * r1) / (r1 + r2))


def index_of_dispersion(*, rate_1: Real, rate_2: Real, sojourn_1: Real, sojourn_2: Real) -> Real:
    """Limit of variance over mean of the number of arrivals in a long time.

    ``1 + 2 (l1-l2)^2 r1 r2 / ((r1+r2)^2 (l1 r2 + l2 r1))``, ``r_i = 1/sojourn_i``; 1 is Poisson.
    *Exact*. Rates in 1/s, sojourns in s; all broadcast. Errors: ``InputError``. *Source*: Heffes
    and Lucantoni 1986; Fischer and Meier-Hellstern 1993.

    >>> round(index_of_dispersion(rate_1=1.4, rate_2=0.2, sojourn_1=1000.0, sojourn_2=1000.0), 9)
    451.0
    """
    l1, l2, r1, r2 = _rates(rate_1, rate_2, sojourn_1, sojourn_2)
    return plain(1 + 2 * (l1 - l2) ** 2 * r1 * r2 / ((r1 + r2) ** 2 * (l1 * r2 + l2 * r1)))


def index_of_dispersion_over(t: Real, *, rate_1: Real, rate_2: Real, sojourn_1: Real, sojourn_2: Real) -> Real:
    """Variance over mean of the number of arrivals in a span of ``t``.

    ``1 + (I - 1) (1 - (1 - e^{-rt})/(rt))``, ``I`` the ``index_of_dispersion`` and ``r = 1/sojourn_1 +
    1/sojourn_2``: bursts shorter than ``t`` count in full. *Exact*. ``t`` and sojourns in s, rates
    in 1/s; all broadcast. Errors: ``InputError``. *Source*: Heffes and Lucantoni 1986.

    >>> round(index_of_dispersion_over(1e-9, rate_1=1.4, rate_2=0.2, sojourn_1=100.0, sojourn_2=100.0), 6)
    1.0
    """
    _, _, r1, r2 = _rates(rate_1, rate_2, sojourn_1, sojourn_2)
    limit = index_of_dispersion(rate_1=rate_1, rate_2=rate_2, sojourn_1=sojourn_1, sojourn_2=sojourn_2)
    spans = (r1 + r2) * positive("t", t)
    # 1 - (1 - e^-x)/x loses its digits at small x, where it is x/2 - x^2/6
    reached = np.where(spans < 1e-4, spans / 2 - spans**2 / 6, 1 + np.expm1(-spans) / spans)
    return plain(1 + (limit - 1) * reached)


def mean_response(*, rate_1: Real, rate_2: Real, sojourn_1: Real, sojourn_2: Real, service_rate: Real) -> Real:
    """Mean response (wait and service) in s: ``pi_0 R (I-R)^-2 1 / mean rate``.

    ``R`` is the minimal solution of ``L + R (Q - L - mu I) + mu R^2 = 0``, ``L`` the diagonal of the
    rates and ``Q`` the switching generator; ``pi_0 = theta (I - R)``, ``theta`` the phases'
    probabilities. *Exact*. One rate may be 0. Rates in 1/s, sojourns in s; all broadcast.
    Errors: ``Unstable`` where the mean rate reaches ``service_rate``, ``InputError``.

    *Source*: Neuts, Matrix-Geometric Solutions in Stochastic Models (1981), section 6.2; ``R`` by
    logarithmic reduction (Latouche and Ramaswami 1993).

    >>> round(mean_response(rate_1=1.4, rate_2=0.2, sojourn_1=100.0, sojourn_2=100.0, service_rate=1.0), 6)
    82.008421
    """
    theta, ratio, arrivals, _ = _queue(rate_1, rate_2, sojourn_1, sojourn_2, service_rate)
    stay = _eye(ratio) - ratio
    number = (theta[..., None, :] @ ratio @ np.linalg.inv(stay)).sum(axis=(-1, -2))
    return plain(number / (theta * arrivals).sum(axis=-1))


def prob_wait(*, rate_1: Real, rate_2: Real, sojourn_1: Real, sojourn_2: Real, service_rate: Real) -> Real:
    """Probability that a request waits: ``theta R L 1 / mean rate``, as arrivals come more often in bursts.

    *Exact*; it is above the utilisation. Rates in 1/s, sojourns in s; all broadcast. Errors:
    ``Unstable`` where the mean rate reaches ``service_rate``, ``InputError``. *Source*: as
    ``mean_response``.

    >>> round(prob_wait(rate_1=0.8, rate_2=0.8, sojourn_1=100.0, sojourn_2=100.0, service_rate=1.0), 9)
    0.8
    """
    theta, ratio, arrivals, _ = _queue(rate_1, rate_2, sojourn_1, sojourn_2, service_rate)
    met = (theta[..., None, :] @ ratio)[..., 0, :]
    return plain((met * arrivals).sum(axis=-1) / (theta * arrivals).sum(axis=-1))


def response_tail(
    t: Real, *, rate_1: float, rate_2: float, sojourn_1: float, sojourn_2: float, service_rate: float
) -> Real:
    """``P(response > t) = theta exp(-mu t (I - R)) L 1 / mean rate``.

    An arrival that meets n others stays for n + 1 services. *Exact* for first come first served.
    ``t`` and sojourns in s, rates in 1/s; ``t`` of any shape, one queue at a time. Errors:
    ``Unstable`` where the mean rate reaches ``service_rate``, ``InputError``.

    *Source*: as ``mean_response``; Ramaswami and Lucantoni 1985.

    >>> round(response_tail(3.0, rate_1=0.5, rate_2=0.5, sojourn_1=9.0, sojourn_2=9.0, service_rate=1.0), 9)
    0.22313016
    """
    weights, decays = _spectrum(rate_1, rate_2, sojourn_1, sojourn_2, service_rate)
    return plain(np.exp(-np.multiply.outer(non_negative("t", t), decays)) @ weights)


def response_quantile(
    p: Real, *, rate_1: float, rate_2: float, sojourn_1: float, sojourn_2: float, service_rate: float
) -> Real:
    """The response in s that a fraction ``p`` of the requests does not exceed: root of ``response_tail(t) = 1 - p``.

    *Exact*, solved to 1e-14. ``0 < p < 1``, any shape; rates in 1/s, sojourns in s, one queue at a
    time. Errors: ``Unstable`` where the mean rate reaches ``service_rate``, ``InputError``.
    *Source*: inverse of ``response_tail``.

    >>> queue = {"rate_1": 0.5, "rate_2": 0.5, "sojourn_1": 9.0, "sojourn_2": 9.0, "service_rate": 1.0}
    >>> round(response_quantile(0.99, **queue), 6)
    9.21034
    """
    weights, decays = _spectrum(rate_1, rate_2, sojourn_1, sojourn_2, service_rate)
    level = fraction("p", p)
    scale = np.full_like(level, 1 / decays.min())
    return plain(quantile(lambda t: np.exp(-np.multiply.outer(t, decays)) @ weights, level, scale))


def _rates(rate_1: Real, rate_2: Real, sojourn_1: Real, sojourn_2: Real) -> list[Floats]:
    """``l1, l2, r1, r2`` in 1/s, broadcast."""
    l1, l2 = non_negative("rate_1", rate_1), non_negative("rate_2", rate_2)
    positive("rate_1 + rate_2", l1 + l2)
    r1, r2 = 1 / positive("sojourn_1", sojourn_1), 1 / positive("sojourn_2", sojourn_2)
    return [np.asarray(part) for part in np.broadcast_arrays(l1, l2, r1, r2)]


def _queue(
    rate_1: Real, rate_2: Real, sojourn_1: Real, sojourn_2: Real, service_rate: Real
) -> tuple[Floats, Floats, Floats, Floats]:
    """``theta`` (..., 2), ``R`` (..., 2, 2), the diagonal of ``L`` (..., 2) and ``mu`` (...)."""
    *given, mu = np.broadcast_arrays(
        *_rates(rate_1, rate_2, sojourn_1, sojourn_2), positive("service_rate", service_rate)
    )
    l1, l2, r1, r2 = given
    mean = (l1 * r2 + l2 * r1) / (r1 + r2)
    if (mean >= mu).any():
        worst = int((mean / mu).argmax())
        raise Unstable(
            f"utilisation {(mean / mu).flat[worst]:.6g} of 1 server: the queue grows without limit; "
            f"use a mean arrival rate below {mu.flat[worst]:.6g} request/s"
        )
    theta = np.stack([r2 / (r1 + r2), r1 / (r1 + r2)], axis=-1)
    arrivals = np.stack([l1, l2], axis=-1)
    switch = np.stack([np.stack([-r1, r1], -1), np.stack([r2, -r2], -1)], -2)
    up, down = arrivals[..., None] * np.eye(2), mu[..., None, None] * np.eye(2)
    first_passage = _first_passage(up, switch - up - down, down)
    ratio = up @ np.linalg.inv(-(switch - up - down) - up @ first_passage)
    return theta, ratio, arrivals, np.asarray(mu)


def _first_passage(up: Floats, local: Floats, down: Floats) -> Floats:
    """``G``: the phase in which the level below is first reached, by logarithmic reduction."""
    inverse = np.linalg.inv(-local)
    high, low = inverse @ up, inverse @ down
    found, climbed = low, high
    for _ in range(64):
        both = np.linalg.inv(_eye(high) - (high @ low + low @ high))
        high, low = both @ high @ high, both @ low @ low
        found = found + climbed @ low
        climbed = climbed @ high
        if np.abs(climbed).max() < 1e-17:
            break
    return found


def _eye(like: Floats) -> Floats:
    return np.broadcast_to(np.eye(2), like.shape)


def _spectrum(l1: float, l2: float, s1: float, s2: float, service_rate: float) -> tuple[Floats, Floats]:
    """Weights and rates of the two exponential terms of the response's tail."""
    theta, ratio, arrivals, mu = _queue(l1, l2, s1, s2, service_rate)
    values, vectors = np.linalg.eig(ratio)
    left, right = theta @ vectors, np.linalg.solve(vectors, arrivals)
    weights = (left * right).real / float(theta @ arrivals)
    return np.asarray(weights), np.asarray(float(mu) * (1 - values.real))
