"""The renewal function: how often one node, new at the start and renewed at each failure, has failed by a time.

>>> from secondorder.laws import Exponential
>>> renewal_function([2.0], law=Exponential("1 s")).round(6)
array([2.])
"""

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from secondorder.analytic.arguments import Floats, non_negative
from secondorder.laws import Service

CELLS = 800
"""Cells of the grid of ages, finer towards 0, where the density of a heavy lifetime is without bound."""

LONG = 20.0
"""Mean lifetimes after which renewals come at the rate of the long run."""


def renewal_function(t: npt.ArrayLike, *, law: Service) -> Floats:
    """``H(t)``, the mean number of renewals in ``(0, t]``: ``H(t) = F(t) + int_0^t F(t - s) dH(s)``.

    *Numerical*: ``H`` is taken as linear within each cell of a grid, over which ``F`` is averaged exactly by the
    law's excess; relative error below 1e-4 for laws without jumps (Weibull, gamma, lognormal). After 20 mean
    lifetimes it grows by ``1/mean``. ``t`` in s, any shape. Errors: ``InputError``.

    *Source*: after Xie, On the solution of renewal-type integral equations (1989).

    >>> from secondorder.laws import Erlang
    >>> exact = 1.0 - 0.25 + float(np.exp(-4.0)) / 4  # two stages of rate 2 after a mean of 1 s
    >>> abs(float(renewal_function(1.0, law=Erlang("1 s", stages=2)) - exact)) < 1e-6
    True
    """
    time = non_negative("t", np.asarray(t, np.float64))
    grid, renewals = renewal_grid(law, float(np.max(time, initial=0.0)))
    beyond = np.maximum(time - grid[-1], 0.0) / law.moment(1)
    return np.asarray(np.interp(time, grid, renewals) + beyond)


@lru_cache(maxsize=32)
def renewal_grid(law: Service, horizon: float) -> tuple[Floats, Floats]:
    """A grid of ages in s from 0 to ``horizon``, at most 20 mean lifetimes, and ``H`` on it."""
    mean = law.moment(1)
    end = min(horizon, LONG * mean)
    grid = end * np.linspace(0, 1, CELLS + 1) ** 3
    width = np.diff(grid)
    renewals = np.zeros(CELLS + 1)
    if end == 0:
        return grid, renewals
    failed = 1 - law.survival(grid)
    steps = np.zeros(CELLS)
    for i in range(1, CELLS + 1):
        excess = law.excess(grid[i] - grid[: i + 1])
        within = 1 - np.diff(excess) / width[:i]  # F, averaged over each cell
        known = failed[i] + within[:-1] @ steps[: i - 1]
        renewals[i] = (known - within[-1] * renewals[i - 1]) / (1 - within[-1])
        steps[i - 1] = renewals[i] - renewals[i - 1]
    return grid, renewals


def renewal_spread(t: float, *, law: Service) -> tuple[float, float]:
    """Variances of the renewals by ``t``: of a node that is new at the start, and of one of any age.

    ``H + 2 int H(t - s) dH(s) - H^2`` and ``t/m + (2/m) int_0^t H - (t/m)^2``, ``m`` the mean. *Numerical*, as
    ``renewal_function``. ``t`` in s. *Source*: Cox, Renewal Theory (1962), chapter 4.

    >>> from secondorder.laws import Exponential
    >>> [round(value, 3) for value in renewal_spread(2.0, law=Exponential("1 s"))]
    [2.0, 2.0]
    """
    mean = law.moment(1)
    cells = 4000
    ages = t * np.linspace(0, 1, cells + 1) ** 2
    done = renewal_function(ages, law=law)
    middle = (ages[1:] + ages[:-1]) / 2
    pairs = float(np.interp(t - middle, ages, done) @ np.diff(done))
    area = float(np.trapezoid(done, ages))
    total = float(done[-1])
    return total + 2 * pairs - total**2, t / mean + 2 * area / mean - (t / mean) ** 2
