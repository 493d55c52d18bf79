"""Output analysis: what a run may be trusted for (Law 2015, chapter 9).

Inside one run successive requests are alike, and an interval from their spread is far too
short. Intervals here come from independent replications (Student's t), each cleared of its
warm-up by one cut for all.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A mean over independent replications with its confidence interval (None for a single run)."""

    mean: float
    low: float | None
    high: float | None

    @property
    def relative_half_width(self) -> float:
        if self.low is None or self.high is None or self.mean == 0:
            return float("inf") if self.mean else 0.0
        return (self.high - self.low) / 2 / abs(self.mean)


def student(values: npt.ArrayLike, confidence: float = 0.95) -> Interval:
    """``mean ± t sd/sqrt(n)`` over independent replications. *Exact* for normal values.

    >>> interval = student([1.0, 2.0, 3.0])
    >>> round(interval.low, 3), interval.mean, round(interval.high, 3)
    (-0.484, 2.0, 4.484)
    """
    from scipy.special import stdtrit

    sample = np.asarray(values, float)
    mean = float(sample.mean())
    if len(sample) < 2:
        return Interval(mean, None, None)
    half = float(stdtrit(len(sample) - 1, (1 + confidence) / 2) * sample.std(ddof=1) / np.sqrt(len(sample)))
    return Interval(mean, mean - half, mean + half)


def mser5(series: Floats) -> int:
    """Where the warm-up ends, by MSER-5: the cut that leaves the mean of the rest best known.

    Over means ``Z`` of batches of 5: the ``d`` that minimises
    ``sum_{j > d} (Z_j - mean)^2 / (m - d)^2``. Returns a number of observations; a cut past half the
    run means that the run is too short. *Source*: White 1997; White, Cobb, Spratt 2000.

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
    return 5 * int(np.argmin(spread[: batches - 5 if batches > 5 else 1]))
