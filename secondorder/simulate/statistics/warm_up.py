"""Where the warm-up of a run ends, and whether what is left is steady."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from secondorder.arrays import Floats
from secondorder.simulate.statistics.batch_means import correlation_time
from secondorder.simulate.statistics.intervals import student
from secondorder.simulate.statistics.not_enough import NotEnoughData

CORRELATION_TIMES = 30
"""Correlation times below which a run does not tell whether it has settled."""


def mser5(series: Floats) -> int:
    """Where the warm-up ends, by MSER-5: the cut that leaves the mean of the rest best known.

    Over means ``Z`` of batches of 5: the ``d`` that minimises
    ``sum_{j > d} (Z_j - mean)^2 / (m - d)^2``. Sought in the first half of the run:
    a cut at its very end means that the run is too short. *Source*: White 1997; White, Cobb, Spratt 2000.

    >>> series = np.concatenate([np.linspace(5, 0, 100), np.tile([1.0, -1.0], 450)])
    >>> 50 < mser5(series) < 150
    True
    """
    batches = len(series) // 5
    if batches < 4:
        return 0
    means = series[: batches * 5].reshape(batches, 5).mean(axis=1)
    left = np.arange(batches, 0, -1)
    sums, squares = means[::-1].cumsum()[::-1], (means**2)[::-1].cumsum()[::-1]
    spread = (squares - sums**2 / left) / left**2
    return 5 * int(np.argmin(spread[: batches // 2 + 1]))  # near the end too little is left to judge by


@dataclass(frozen=True)
class WarmUp:
    """Where to ``cut``, whether what is left is in ``steady`` state, and ``why`` not, if it is not."""

    cut: int
    steady: bool
    why: str = ""

    @property
    def label(self) -> str:
        return "steady state" if self.steady else f"transient ({self.why})"

    def cleared(self, series: Floats) -> Floats:
        """The series (time along the last axis) without its warm-up; ``NotEnoughData`` if it is transient."""
        length = series.shape[-1]
        if not self.steady:
            raise NotEnoughData("series", given=self.why, expected="a steady state past the cut", needed=2 * length)
        return series[..., self.cut :]


def warm_up(replications: npt.ArrayLike) -> WarmUp:
    """One cut for all replications (a row each), by MSER-5 over their mean, and what it leaves.

    *Transient* if the cut is past half of the run; if what is left is shorter than 30 of its
    correlation times, since deletion does not replace length; or if its two halves differ: the 99 %
    Student interval of their difference over the replications excludes 0, so that a steady run is
    called transient once or twice in a hundred. *Source*: White 1997; Law 2015, section 9.5.1.

    >>> rng = np.random.default_rng(1)
    >>> steady = rng.normal(size=(5, 2000))
    >>> warm_up(steady).label, warm_up(steady + np.linspace(0, 1, 2000)).label[:9]
    ('steady state', 'transient')
    """
    rows = np.atleast_2d(np.asarray(replications, float))
    return judged_cut(rows, mser5(rows.mean(axis=0)))


def judged_cut(rows: Floats, cut: int) -> WarmUp:
    """A cut of all ``rows``, refused past half of the run or where what it leaves still drifts."""
    length = rows.shape[1]
    if 2 * cut >= length - 10:  # the end of what MSER-5 looks at
        return WarmUp(cut, False, f"the warm-up takes {cut:,} of {length:,} observations, half or more")
    left = rows[:, cut:]
    times = left.shape[1] / correlation_time(left)
    if times < CORRELATION_TIMES:
        return WarmUp(cut, False, f"{times:.2g} correlation times are too few to tell")
    drift = _drift(left)
    if drift:
        return WarmUp(cut, False, f"its mean still drifts by {drift:+.3g} from one half to the next")
    return WarmUp(cut, True)


def _drift(rows: Floats) -> float:
    """How much the halves differ on average, if more than by chance, else 0."""
    half = rows.shape[1] // 2
    if len(rows) < 2 or half == 0:
        return 0.0
    gap = student(rows[:, -half:].mean(axis=1) - rows[:, :half].mean(axis=1), 0.99)
    return gap.mean if gap.relative_half_width < 1 else 0.0
