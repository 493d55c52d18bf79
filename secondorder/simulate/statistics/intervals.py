"""The interval of a mean over independent replications: Student's t."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Interval:
    """A mean over independent replications with its confidence interval (None for a single run)."""

    mean: float
    low: float | None
    high: float | None

    @property
    def relative_half_width(self) -> float:
        if self.low is None or self.high is None:
            return math.inf
        half = (self.high - self.low) / 2
        if half == 0:
            return 0.0
        return half / abs(self.mean) if self.mean else math.inf


def student(values: npt.ArrayLike, confidence: float = 0.95) -> Interval:
    """``mean ± t sd/sqrt(n)`` over independent replications. *Exact* for normal values.

    >>> interval = student([1.0, 2.0, 3.0])
    >>> round(interval.low, 3), interval.mean, round(interval.high, 3)
    (-0.484, 2.0, 4.484)
    """
    sample = np.asarray(values, float)
    mean = float(sample.mean())
    if len(sample) < 2:
        return Interval(mean, None, None)
    half = student_quantile(confidence, len(sample) - 1) * float(sample.std(ddof=1)) / math.sqrt(len(sample))
    return Interval(mean, mean - half, mean + half)


def normal_quantile(confidence: float) -> float:
    """Half-width of a central normal interval in standard errors.

    >>> round(normal_quantile(0.95), 4)
    1.96
    """
    from scipy.special import ndtri

    return float(ndtri((1 + confidence) / 2))


def student_quantile(confidence: float, degrees: float) -> float:
    """Half-width of a central Student interval in standard errors.

    >>> round(student_quantile(0.95, 9), 4)
    2.2622
    """
    from scipy.special import stdtrit

    return float(stdtrit(degrees, (1 + confidence) / 2))
