"""The steps of a replayed run, summed over the times that a client measures: what a fit of a step time is made from."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from secondorder.arrays import Floats, Real
from secondorder.scenarios.steptime import Placement, StepFunction, StepSeconds, StepTime
from secondorder.simulate.serving import ServingRun

if TYPE_CHECKING:
    import pandas as pd

METRICS = ("ttft", "tpot", "e2el")


def summary(requests: "pd.DataFrame") -> dict[str, float]:
    """Mean, p50 and p99 of each metric of a frame with columns ``ttft``, ``tpot``, ``e2el`` (s)."""
    found = {}
    for name in METRICS:
        values = requests[name].dropna()
        found[f"{name}_mean"] = float(values.mean())
        found[f"{name}_p50"], found[f"{name}_p99"] = (float(values.quantile(level)) for level in (0.5, 0.99))
    return found


@dataclass(frozen=True)
class StepLog:
    """A step time that remembers what it was asked."""

    step_time: StepTime
    steps: list[tuple[Real, ...]] = field(default_factory=list)

    def seconds(self, placement: Placement) -> StepSeconds:
        """The step time as a function that keeps its arguments."""
        known = self.step_time.seconds(placement)
        seconds = known.bound if isinstance(known, StepFunction) else known

        def logged(P: Real, A: Real, C: Real, D: Real, K: Real, S: Real) -> Real:
            self.steps.append((P, A, C, D, K, S))
            return seconds(P, A, C, D, K, S)

        return logged


def sums(replayed: ServingRun, features: Floats) -> Floats:
    """Sums of ``features`` over the steps between the tokens of each request, then over those up to its first token.

    ``features`` has a row a step; the sums have shape ``(2 requests, features)``.
    """
    requests, series = replayed.requests, replayed.series
    ends = series["time"][series["running"] > 0].to_numpy()  # the other rows are idle times
    before = np.vstack([np.zeros(features.shape[1]), features.cumsum(axis=0)])
    instant = 1e-13
    first = np.searchsorted(ends, requests["first_token"].to_numpy() - instant) + 1
    last = np.searchsorted(ends, requests["finish"].to_numpy() - instant) + 1
    start = np.searchsorted(ends, requests["scheduled"].to_numpy() + instant)
    return np.vstack([before[last] - before[first], before[first] - before[start]])
