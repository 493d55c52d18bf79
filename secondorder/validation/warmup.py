"""Welch's plot: where a mean over replications has settled.

MSER-5 (``simulate.statistics.warm_up``) decides in a run; the plot shows a reader why.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from secondorder.errors import InputError
from secondorder.simulate.statistics.warm_up import WarmUp, judged_cut

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Welch:
    """``mean`` over the replications, observation by observation, its ``smooth`` moving average over
    ``2 window + 1`` of them, the ``level`` of the second half, and the suggested ``warm_up``."""

    mean: Floats
    smooth: Floats
    window: int
    level: float
    warm_up: WarmUp


def welch(replications: npt.ArrayLike, window: int | None = None) -> Welch:
    """Welch's moving average of the mean of replications (a row each), and a cut.

    ``smooth_i``: the mean of the ``2 window + 1`` means around ``i``, of fewer near the front
    (Welch's ``2i - 1``). Suggested cut: where it first comes within one standard deviation of
    its own second half of that half's level. The cut is refused as ``warm_up`` does: past half of the
    run, or where what is left still drifts. ``window``: a fiftieth of the run if not given, at
    most a quarter. *A picture's rule*, not a test. Errors: ``InputError``.

    *Source*: Welch, The statistical analysis of simulation results (1983); Law 2015, section 9.5.1.

    >>> rng = np.random.default_rng(1)
    >>> filling = 1 - np.exp(-np.arange(4_000) / 200) + 0.2 * rng.normal(size=(10, 4_000))
    >>> found = welch(filling)
    >>> found.warm_up.label, 300 < found.warm_up.cut < 2000
    ('steady state', True)
    """
    rows = np.atleast_2d(np.asarray(replications, float))
    length = rows.shape[1]
    wide = max(1, length // 50) if window is None else window
    if not 1 <= wide <= length // 4:
        raise InputError("window", given=wide, expected=f"1 to a quarter of the {length:,} observations")
    mean = rows.mean(axis=0)
    smooth = _moving_average(mean, wide)
    settled = smooth[len(smooth) // 2 :]
    level, spread = float(settled.mean()), float(settled.std())
    near = np.abs(smooth - level) <= spread
    return Welch(mean, smooth, wide, level, judged_cut(rows, int(np.argmax(near))))


def _moving_average(mean: Floats, window: int) -> Floats:
    """Of ``len(mean) - window`` centres; at the front as wide as fits on both sides."""
    sums = np.concatenate([[0.0], np.cumsum(mean)])
    centres = np.arange(len(mean) - window)
    reach = np.minimum(centres, window)
    return np.asarray((sums[centres + reach + 1] - sums[centres - reach]) / (2 * reach + 1))
