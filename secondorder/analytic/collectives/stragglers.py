"""Waiting for the slowest: the mean of the largest of ``count`` independent times, ``E[max]``.

A barrier over ``count`` ranks lasts that long. It says what jitter costs that is drawn again each time; a rank
that is slow for good costs its own factor, and nothing is gained by averaging (``persistent``).
"""

import math
from collections.abc import Callable

import numpy as np

from secondorder.analytic.arguments import Floats, Real, Whole, each, non_negative, plain, positive, whole
from secondorder.laws import Deterministic, EmpiricalLaw, Exponential, Normal, Pareto, Service


def harmonic(*, count: Whole) -> Real:
    """``H_n = 1 + 1/2 + ... + 1/n``: the mean of the largest of ``n`` exponential times, in means.

    *Exact*. ``count`` whole, any shape. Errors: ``InputError``. *Source*: Feller, An Introduction to Probability
    Theory II (1971), section I.6.

    >>> round(harmonic(count=2), 12), round(harmonic(count=1024), 4)
    (1.5, 7.5092)
    """
    from scipy.special import digamma

    return plain(digamma(whole("count", count) + 1.0) + np.euler_gamma)


def exponential(*, mean: Real, count: Whole) -> Real:
    """``E[max]`` in s of ``count`` exponential times: ``mean H_n``.

    *Exact*. ``mean`` in s; both broadcast. Errors: ``InputError``. *Source*: Feller 1971, section I.6.

    >>> round(exponential(mean=2.0, count=4), 6)
    4.166667
    """
    return plain(positive("mean", mean) * harmonic(count=count))


def standard_normal(*, count: Whole) -> Real:
    """``E[Zmax]`` of ``n`` standard normal variables.

    ``integral of (1 - F(z)^n) over z > 0 - integral of F(z)^n over z < 0``. *Exact*, by quadrature to 1e-10.
    ``count`` whole, any shape. Errors: ``InputError``. *Source*: David and Nagaraja, Order Statistics
    (2003), section 3.1.

    >>> [round(standard_normal(count=n), 4) for n in (8, 1024, 16384)]
    [1.4236, 3.2482, 3.9714]
    """
    return each(_normal_max, whole("count", count))


def _normal_max(count: int) -> float:
    from scipy.special import log_ndtr

    z, weight = _nodes(np.linspace(0.0, 40.0, 81))
    above = -np.expm1(count * log_ndtr(z))
    return float(weight @ (above - np.exp(count * log_ndtr(-z))))


def normal(*, mean: Real, deviation: Real, count: Whole) -> Real:
    """``E[max]`` in s of ``count`` normal times: ``mean + deviation E[Zmax]``.

    *Exact*. ``mean`` and ``deviation`` in s; all broadcast. Errors: ``InputError``. *Source*: as ``standard_normal``.

    >>> round(normal(mean=1.0, deviation=0.05, count=1024), 4)
    1.1624
    """
    return plain(non_negative("mean", mean) + non_negative("deviation", deviation) * standard_normal(count=count))


def standard_normal_asymptotic(*, count: Whole) -> Real:
    """``sqrt(2 ln n)``, the asymptote of ``E[Zmax]``.

    *Upper bound*, and far from it at any size that exists: 43 % high at ``n`` = 8, 15 % at 1,024, 11 % at 16,384.
    Use ``standard_normal``. ``count`` whole, any shape. Errors: ``InputError``. *Source*: Cramér, Mathematical
    Methods of Statistics (1946), section 28.6.

    >>> round(standard_normal_asymptotic(count=1024) / standard_normal(count=1024), 3)
    1.146
    """
    return plain(np.sqrt(2 * np.log(whole("count", count))))


def of_law(law: Service, *, count: Whole) -> Real:
    """``E[max]`` in s of ``count`` independent times of any law: ``integral of 1 - (1 - P(S > t))^n over t > 0``.

    *Exact*, by quadrature of the survival to 1e-8 (a sum for measured times). ``count`` whole, any shape.
    Errors: ``InputError``. *Source*: David and Nagaraja, Order Statistics (2003), section 3.1.

    >>> from secondorder.laws import LogNormal
    >>> round(of_law(LogNormal("1 s", scv=0.04), count=64), 4)
    1.5661
    """
    return each(lambda n: _of_law(law, n), whole("count", count))


def factor(law: Service, *, count: Whole) -> Real:
    """How much longer a barrier lasts than one time does on average: ``E[max] / mean``.

    *Exact*. ``count`` whole, any shape. Errors: ``InputError``. *Source*: as ``of_law``.

    >>> round(factor(Exponential("10 ms"), count=2), 6)
    1.5
    """
    return plain(np.asarray(of_law(law, count=count)) / law.moment(1))


def persistent(*, factors: Floats) -> float:
    """What a barrier costs where ranks always differ, in times of a rank of factor 1: the largest of ``factors``.

    *Exact* without jitter. An array of any shape. Errors: ``InputError``. *Source*: the definition.

    >>> persistent(factors=np.array([1.0, 1.0, 1.5]))
    1.5
    """
    return float(positive("factors", factors).max())


def _of_law(law: Service, count: int) -> float:
    match law:
        case Deterministic():
            return law.moment(1)
        case Exponential():
            return float(exponential(mean=law.moment(1), count=count))
        case Normal():
            return float(normal(mean=law.moment(1), deviation=law.sigma, count=count))
        case EmpiricalLaw():
            values = np.sort(law.values)
            return float(values @ np.diff((np.arange(len(values) + 1) / len(values)) ** count))
        case Pareto():
            return law.least * _beta_ratio(count, 1 / law.shape)
    return _by_survival(law.survival, law.excess, law.moment(1), count)


def _beta_ratio(count: int, a: float) -> float:
    """``n B(n, 1 - a)``: of the largest of ``n`` Pareto times of shape ``1/a``, in the least."""
    return math.exp(math.lgamma(count + 1) + math.lgamma(1 - a) - math.lgamma(count + 1 - a))


def _by_survival(
    survival: Callable[[Floats], Floats], excess: Callable[[Floats], Floats], mean: float, count: int
) -> float:
    """By Gauss-Legendre between powers of 2^(1/8) of the mean, and past them ``count excess``, the tail's own form."""
    last = mean
    while count * float(survival(np.asarray(last))) > 1e-9 and last < 1e30 * mean:
        last *= 2
    edges = np.concatenate([[0.0], last * 2.0 ** (np.arange(-8 * (np.log2(last / mean) + 12), 1) / 8)])
    t, weight = _nodes(edges)
    with np.errstate(divide="ignore"):
        above = -np.expm1(count * np.log1p(-survival(t)))
    return float(weight @ above + count * excess(np.asarray(last)))


def _nodes(edges: Floats, points: int = 20) -> tuple[Floats, Floats]:
    """Gauss-Legendre nodes and weights between each two edges."""
    node, weight = np.polynomial.legendre.leggauss(points)
    half = np.diff(edges)[:, None] / 2
    return (edges[:-1, None] + half * (1 + node)).ravel(), (half * weight).ravel()
