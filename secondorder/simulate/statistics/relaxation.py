"""The relaxation time of a simulated system: over how many requests it forgets."""

from collections.abc import Sequence

import numpy as np

from secondorder.simulate.statistics.batch_means import correlation_time
from secondorder.simulate.statistics.histogram import Floats
from secondorder.simulate.statistics.runs import Observed, Section

SECTION = 100
"""Relaxation times that a section lasts."""
FEWEST = 50
"""Relaxation times of a section below which its interval misses the truth too often."""
WARM_UP = 10
"""Relaxation times that are cut at the start."""


def relaxation_time(runs: Sequence[Observed], first: int = 0) -> float:
    """In requests: the longest integrated autocorrelation time of the work in system and of the values.

    The runs share one mean, so that runs which differ as wholes count as correlated. Values that not every request
    has are left out. See ``simulate.statistics.batch_means.correlation_time``, which is 2 relaxation times where the
    autocorrelation falls as one exponential.
    """
    last = min(run.settled for run in runs)
    series = [np.array([run.work[first:] for run in runs])]
    if last > first:
        series += [np.array([run.values[name][first:last] for run in runs]) for name in runs[0].values]
    return max(correlation_time(rows) for rows in series if not np.isnan(rows).any())


def relaxation_of(sections: Sequence[Section], length: int) -> float:
    """The integrated autocorrelation time of the work in system, in requests, from what sections keep of it."""
    points = min(len(each.work) for each in sections)
    rows: Floats = np.array([each.work[len(each.work) - points :] for each in sections])
    return correlation_time(rows) * length / points
