"""The residual life of a time that is found under way."""

import numpy as np

from secondorder.arrays import Floats
from secondorder.laws.elementary import exp, power
from secondorder.laws.heavy_tailed import LogNormal, Pareto, Weibull
from secondorder.laws.light_tailed import Erlang, Exponential, ExponentialMixture, Gamma, Hyperexponential
from secondorder.laws.protocol import draws
from secondorder.laws.reading import Service
from secondorder.quantities import si


def residual(law: Service, n: int, rng: np.random.Generator) -> Floats:
    """``n`` draws of the time still to go of one that is found under way: ``P(> t) = excess(t) / mean``.

    A uniform share of a draw that is picked in proportion to its length, where such a draw is simple;
    otherwise by inversion, to a relative 1e-12. *Source*: Cox, Renewal Theory (1962), section 5.2.

    >>> draws = residual(Weibull("1 s", shape=0.5), 100_000, np.random.default_rng(1))
    >>> abs(draws.mean() / ((1 + 5) / 2) - 1) < 0.05  # (1 + scv)/2 means
    np.True_
    """
    if (long := _by_length(law, draws(n), rng)) is not None:
        return long * rng.random(n)
    level = rng.random(n) * law.moment(1)
    least, most = np.zeros(n), np.full(n, law.moment(1))
    while (short := law.excess(most) > level).any():
        least, most = np.where(short, most, least), np.where(short, 2 * most, most)
    while (most - least > 1e-12 * most).any():
        middle = (least + most) / 2
        if ((middle == least) | (middle == most)).all():
            break
        short = law.excess(middle) > level
        least, most = np.where(short, middle, least), np.where(short, most, middle)
    return most


def _by_length(law: Service, n: int, rng: np.random.Generator) -> Floats | None:
    """``n`` draws picked in proportion to their length, where that is a law of the same family."""
    match law:
        case Exponential():
            return rng.standard_gamma(2, n) * si(law.mean)
        case Erlang(stages=stages):
            return rng.standard_gamma(stages + 1, n) * (si(law.mean) / stages)
        case Gamma(scv=scv):
            return rng.standard_gamma(1 / scv + 1, n) * (si(law.mean) * scv)
        case Hyperexponential() | ExponentialMixture():
            first = law.weights[0] * law.means[0] / law.moment(1)
            return rng.standard_gamma(2, n) * np.where(rng.random(n) < first, *law.means)
        case Pareto(shape=shape):
            return exp(rng.standard_exponential(n) / (shape - 1)) * law.least
        case Weibull(shape=shape):
            return power(rng.standard_gamma(1 + 1 / shape, n), 1 / shape) * law.scale
        case LogNormal(sigma=sigma):
            return exp(sigma * rng.standard_normal(n) + sigma**2) * law.median
    return None
