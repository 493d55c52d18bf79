"""What is measured of the requests of each priority: the same as of all, with names that end in ``_class_0``."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from secondorder.arrays import Floats
from secondorder.simulate.serving.columns import Columns


def latencies_by_priority(run: Columns, levels: Sequence[int]) -> dict[str, Floats]:
    """Each latency for each priority, NaN for the requests of another; nothing where they have none."""
    if run.priority is None:
        return {}
    return {
        f"{name}_class_{level}": np.where(run.priority == level, values, np.nan)
        for level in levels
        for name, values in run.latencies.items()
    }


def ratios_by_priority(
    run: Columns, levels: Sequence[int], part: slice, good: npt.NDArray[np.bool_] | None, span: float
) -> dict[str, tuple[float, float]]:
    """Preemptions per request of a part of the run and, where they have limits, ``good`` requests of a span of time."""
    found: dict[str, tuple[float, float]] = {}
    for level in levels if run.priority is not None else ():
        mine = np.asarray(run.priority == level)
        if good is not None:
            found[f"request_goodput_class_{level}"] = (float(np.count_nonzero(good & mine)), span)
        preemptions = float(run.preemptions[part][mine[part]].sum())
        found[f"preemptions_per_request_class_{level}"] = (preemptions, float(np.count_nonzero(mine[part])))
    return found
