"""The forward wave of a pipeline: last passage through a grid of stages and microbatches.

``L(i,j) = max(L(i-1,j), L(i,j-1)) + X(i,j)``: stage ``i`` works on microbatch ``j`` when the stage before has done
it and it has done the one before; the wave takes ``L(p,m)``.
"""

from collections.abc import Callable

import numpy as np

from secondorder.analytic.arguments import Floats, Real, Whole, each, fraction, non_negative, plain, whole

NODES = 80
"""Nodes of the quadrature over the law's range."""
APPROXIMATE_TO = 0.6
"""Coefficient of variation up to which ``approximate_mean`` was compared with simulations."""


def exponential_mean(*, stages: Whole, microbatches: Whole) -> Real:
    """Mean of the wave in mean passes, with exponential passes.

    ``integral of 1 - P(L <= t)``, ``P(L <= t)`` that of ``exponential_cdf``. *Exact*, by quadrature to 1e-8. Whole
    numbers, broadcast. Errors: ``InputError``. *Source*: Johansson, Shape fluctuations and random matrices (2000),
    proposition 1.4.

    >>> round(exponential_mean(stages=2, microbatches=2), 9), round(exponential_mean(stages=8, microbatches=32), 3)
    (3.5, 60.309)
    """
    return each(_mean, whole("stages", stages), whole("microbatches", microbatches))


def exponential_quantile(p: Real, *, stages: Whole, microbatches: Whole) -> Real:
    """The time of the wave in mean passes that a fraction ``p`` of the waves do not exceed, with exponential passes.

    *Exact*, solved to 1e-10. ``0 < p < 1``, whole numbers, broadcast. Errors: ``InputError``. *Source*: the inverse of
    ``exponential_cdf``.

    >>> round(exponential_quantile(0.99, stages=1, microbatches=1), 6)
    4.60517
    """
    return each(_quantile, fraction("p", p), whole("stages", stages), whole("microbatches", microbatches))


def exponential_cdf(t: Real, *, stages: int, microbatches: int) -> Real:
    """``P(L <= t)``, ``t`` in mean passes, with exponential passes: the largest eigenvalue of a Wishart matrix.

    ``det(I - integral from t of f_i f_j)``, ``i, j < p``, with the Laguerre functions ``f_k`` of parameter
    ``m - p`` (``p`` the smaller of the two numbers). *Exact*, to 1e-9. ``t`` of any shape. Errors: ``InputError``.
    *Source*: Johansson 2000, proposition 1.4; Forrester, The spectrum edge of random matrix ensembles (1993).

    >>> round(exponential_cdf(2.0, stages=1, microbatches=2), 9)  # Erlang: 1 - 3 exp(-2)
    0.59399415
    """
    p, m = sorted((int(whole("stages", stages)), int(whole("microbatches", microbatches))))
    at = non_negative("t", t)
    return plain(_cdf(p, m, at.ravel()).reshape(at.shape))


def asymptotic_mean(*, stages: Whole, microbatches: Whole) -> Real:
    """``(sqrt p + sqrt m)^2``: the asymptotic mean with exponential passes, in mean passes.

    *Upper bound*; 19 % high at 8 x 32, 3 % at 100 x 400. Use ``exponential_mean``. Whole numbers, broadcast.
    Errors: ``InputError``. *Source*: Rost, Non-equilibrium behaviour of a many particle process (1981).

    >>> round(asymptotic_mean(stages=8, microbatches=32), 9)
    72.0
    """
    return plain((np.sqrt(whole("stages", stages)) + np.sqrt(whole("microbatches", microbatches))) ** 2)


def approximate_mean(*, scv: Real, stages: Whole, microbatches: Whole) -> Real:
    """Mean of the wave in mean passes, from two moments: ``d + sqrt(scv) (E - d)``, ``d = m + p - 1``.

    ``E`` is ``exponential_mean``. *Approximation*: linear in the coefficient of variation between no jitter and
    exponential passes, exact at both and as ``m/p`` grows. Within 1 % of simulated lognormal passes, cv up to
    0.6, 2 x 4 to 32 x 32. All broadcast. Errors: ``InputError``. *Source*: Glynn and Whitt, Departures from many
    queues in series (1991), theorem 3.2, for the limit; the interpolation measured.

    >>> round(approximate_mean(scv=0.09, stages=8, microbatches=32), 2)  # simulated 45.3
    45.39
    """
    least = whole("stages", stages) + whole("microbatches", microbatches) - 1.0
    most = np.asarray(exponential_mean(stages=stages, microbatches=microbatches))
    return plain(least + np.sqrt(non_negative("scv", scv)) * (most - least))


def _range(p: int, m: int) -> tuple[float, float]:
    """The range in which the law has all of its weight, except some 1e-12."""
    edge = (p**0.5 + m**0.5) ** 2
    width = (p**0.5 + m**0.5) ** (4 / 3) * (p * m) ** (-1 / 6)
    return max(0.0, edge - 12 * width), edge + 14 * width


def _mean(stages: int, microbatches: int) -> float:
    p, m = sorted((stages, microbatches))
    low, high = _range(p, m)
    node, weight = np.polynomial.legendre.leggauss(NODES)
    half = (high - low) / 2
    return low + half * float(weight @ (1 - _cdf(p, m, low + half * (1 + node))))


def _quantile(level: float, stages: int, microbatches: int) -> float:
    from scipy.optimize import brentq

    p, m = sorted((stages, microbatches))
    gap: Callable[[float], float] = lambda t: float(_cdf(p, m, np.array([t]))[0]) - level  # noqa: E731
    low, high = _range(p, m)
    return float(brentq(gap, low, high, xtol=1e-10 * high))


def _cdf(p: int, m: int, t: Floats) -> Floats:
    """For ``p <= m``: of all ``t`` at once, by integrals from each to the next and from the last to the end."""
    _, high = _range(p, m)
    order = np.argsort(t)
    ascending = np.minimum(t[order], high)
    widest = (high - _range(p, m)[0]) / NODES
    found = np.empty(len(t))
    tail = np.zeros((p, p))
    above = high
    for place in reversed(range(len(t))):
        tail = tail + _overlaps(p, m, float(ascending[place]), above, widest)
        above = float(ascending[place])
        found[order[place]] = np.linalg.det(np.eye(p) - tail)
    return np.clip(found, 0.0, 1.0)


def _overlaps(p: int, m: int, low: float, high: float, widest: float) -> Floats:
    """The integrals of ``f_i f_j`` from ``low`` to ``high``."""
    panels = max(1, int(np.ceil((high - low) / widest)))
    node, weight = np.polynomial.legendre.leggauss(20)
    edges = np.linspace(low, high, panels + 1)
    half = np.diff(edges)[:, None] / 2
    x = (edges[:-1, None] + half * (1 + node)).ravel()
    functions = _laguerre(p, m - p, x)
    return np.asarray((functions * (half * weight).ravel()) @ functions.T)


def _laguerre(count: int, a: int, x: Floats) -> Floats:
    """The first orthonormal functions ``f_k(x) = sqrt(k!/(k+a)!) x^(a/2) e^(-x/2) L_k^a(x)``, scaled as they grow."""
    from scipy.special import gammaln, xlogy

    logs = (xlogy(a, x) - x - gammaln(a + 1)) / 2
    found = np.empty((count, len(x)))
    before, now = np.zeros(len(x)), np.ones(len(x))
    for k in range(count):
        found[k] = now * np.exp(logs)
        after = ((2 * k + 1 + a - x) * now - np.sqrt(k * (k + a)) * before) / np.sqrt((k + 1) * (k + 1 + a))
        scale = np.maximum(np.maximum(np.abs(after), np.abs(now)), 1e-300)
        before, now, logs = now / scale, after / scale, logs + np.log(scale)
    return found
