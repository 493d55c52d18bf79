"""The interval between checkpoints: Young's, Daly's, the exact optimum, and the cost of any other.

``write`` is the time for which a checkpoint stops the work, ``mtbf`` the mean time between failures,
both in s. No optimum here depends on the restart or the downtime: both follow each failure whatever
the interval.
"""

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from secondorder.analytic.arguments import Floats, Real, fraction, non_negative, plain, positive
from secondorder.errors import InputError


def young(*, write: Real, mtbf: Real) -> Real:
    """Young's interval in s: ``sqrt(2 write mtbf)``.

    *First order*: minimises ``write/tau + tau/(2 mtbf)``. *Valid when* ``write`` is far below ``mtbf``.
    Both in s; broadcast. Errors: ``InputError``.

    *Source*: Young, A first order approximation to the optimum checkpoint interval (1974).

    >>> round(young(write=60.0, mtbf=8240.0), 1)
    994.4
    """
    return plain(np.sqrt(2 * positive("write", write) * positive("mtbf", mtbf)))


def daly(*, write: Real, mtbf: Real) -> Real:
    """Daly's higher-order interval in s.

    ``sqrt(2 d M) (1 + sqrt(d/2M)/3 + (d/2M)/9) - d`` for ``d < 2M``, else ``M``; ``d`` the write, ``M`` the
    MTBF. *Approximation* of ``optimum``. Both in s; broadcast. Errors: ``InputError``.

    *Source*: Daly, A higher order estimate of the optimum checkpoint interval for restart dumps (2006),
    equation 37.

    >>> round(daly(write=60.0, mtbf=8240.0), 1), daly(write=30.0, mtbf=10.0)
    (954.8, 10.0)
    """
    d, m = np.broadcast_arrays(positive("write", write), positive("mtbf", mtbf))
    half = d / (2 * m)
    series = np.sqrt(2 * d * m) * (1 + np.sqrt(half) / 3 + half / 9) - d
    return plain(np.where(d < 2 * m, series, m))


def optimum(*, write: Real, mtbf: Real) -> Real:
    """The interval in s of the highest goodput under Poisson failures: ``M (1 + W0(-exp(-1 - d/M)))``.

    ``W0`` is Lambert's function, ``d`` the write and ``M`` the MTBF; below ``d/M = 0.001`` its series at
    the branch point, which does not lose digits. *Exact* to a relative 1e-12. Both in s; broadcast.
    Errors: ``InputError``.

    *Source*: Bougeret et al., Checkpointing strategies for parallel jobs (2011); Daly 2006 for the cost.

    >>> round(optimum(write=60.0, mtbf=8240.0), 3)
    954.793
    """
    from scipy.special import lambertw

    m = positive("mtbf", mtbf)
    ratio = positive("write", write) / m
    near = np.sqrt(-2 * np.expm1(-np.minimum(ratio, _NEAR)))
    series = near * np.polynomial.polynomial.polyval(near, _BRANCH)
    argument: npt.NDArray[np.complex128] = np.asarray(-np.exp(-1 - ratio), np.complex128)
    far = np.real(lambertw(argument, 0))
    return plain(m * np.where(ratio < _NEAR, series, 1 + far))


_NEAR = 1e-3
_BRANCH = (1, -1 / 3, 11 / 72, -43 / 540, 769 / 17280, -221 / 8505, 680863 / 43545600, -1963 / 204120)
"""``(1 + W0(z)) / p`` in powers of ``p = sqrt(2 (e z + 1))``. *Source*: Corless et al. 1996, equation 4.22."""


def regret(*, interval: Real, write: Real, mtbf: Real) -> Real:
    """Share of the best goodput that an interval gives away under Poisson failures: ``1 - g(interval) / g(optimum)``.

    ``g(tau)`` is proportional to ``tau / (e^((tau + d)/M) - 1)``, whatever restart and downtime. *Exact*.
    All in s; broadcast. Errors: ``InputError``. *Source*: as ``optimum``.

    >>> round(regret(interval=young(write=0.22, mtbf=1.0), write=0.22, mtbf=1.0), 4)
    0.0148
    """
    m, best = positive("mtbf", mtbf), np.asarray(optimum(write=write, mtbf=mtbf))
    d = positive("write", write) / m
    given = _log_goodput(positive("interval", interval) / m, d)
    return plain(np.maximum(-np.expm1(given - _log_goodput(best / m, d)), 0.0))


def _log_goodput(tau: Floats, write: Floats) -> Floats:
    """Up to a constant, in units of the MTBF."""
    return np.asarray(np.log(tau) - (tau + write) - np.log(-np.expm1(-(tau + write))))


def best_goodput(*, write: Real, mtbf: Real, restart: Real = 0.0, downtime: Real = 0.0) -> Real:
    """Goodput at the optimum under Poisson failures: ``(1 - tau*/M) e^(-R/M) M / (M + D)``.

    ``tau*`` is ``optimum``: there ``(1 - tau*/M) e^((tau* + d)/M) = 1``. Failures strike in the restart ``R`` and not
    in the downtime ``D``. *Exact* in the long run. All in s; broadcast. Errors: ``InputError``.

    *Source*: ``periodic.exact_goodput`` at its optimum.

    >>> round(best_goodput(write=60.0, mtbf=8240.0, restart=300.0), 4)
    0.8525
    """
    m, best = positive("mtbf", mtbf), np.asarray(optimum(write=write, mtbf=mtbf))
    r, down = non_negative("restart", restart), non_negative("downtime", downtime)
    return plain((1 - best / m) * np.exp(-r / m) * m / (m + down))


def largest_write(*, goodput: Real, mtbf: Real, restart: Real = 0.0, downtime: Real = 0.0) -> Real:
    """The longest write in s with which the best interval still gives a ``goodput``: ``M (-ln(1 - y) - y)``.

    ``y = 1 - g (1 + D/M) e^(R/M)`` is the best interval in MTBFs. *Exact*. Times in s, ``goodput`` ``g`` a share;
    broadcast. Errors: ``InputError``, also where restart and downtime alone take more than ``1 - g``.
    *Source*: inverse of ``best_goodput``.

    >>> round(largest_write(goodput=0.9, mtbf=11_135.0, restart=300.0), 1)
    33.4
    """
    m, g = positive("mtbf", mtbf), fraction("goodput", goodput)
    r, down = non_negative("restart", restart), non_negative("downtime", downtime)
    y = 1 - g * (1 + down / m) * np.exp(r / m)
    if (y <= 0).any():
        most = float(np.min(np.exp(-r / m) * m / (m + down)))
        raise InputError(
            "goodput", given=f"{float(np.max(g)):.6g}", expected=f"below {most:.6g}: restarts take the rest"
        )
    return plain(m * (-np.log1p(-y) - y))


def best_interval(goodput: Callable[[float], float], *, low: float, high: float) -> float:
    """The interval in s between ``low`` and ``high`` of the highest ``goodput(interval)``.

    For what has no closed optimum: the best of 49 intervals evenly spaced in the logarithm, then Brent's
    method between its neighbours. *Numerical*, to a relative 1e-6 in the interval: the goodput is flat
    there. *Valid when* the goodput has no peak narrower than the spacing. Errors: ``InputError`` unless
    ``0 < low < high``.

    *Source*: Brent, Algorithms for minimization without derivatives (1973), chapter 5.

    >>> peak = best_interval(lambda tau: -(tau - 50.0) ** 2, low=1.0, high=1e6)
    >>> round(peak, 3)
    50.0
    """
    from scipy.optimize import minimize_scalar

    if not 0 < low < high < math.inf:
        raise InputError("low", given=f"{low:.6g} and high {high:.6g}", expected="0 < low < high")
    grid = np.linspace(math.log(low), math.log(high), 49)
    top = int(np.argmax([goodput(math.exp(x)) for x in grid]))
    bounds = (float(grid[max(top - 1, 0)]), float(grid[min(top + 1, 48)]))
    found = minimize_scalar(lambda x: -goodput(math.exp(x)), bounds=bounds, options={"xatol": 1e-8})
    return math.exp(float(found.x))
