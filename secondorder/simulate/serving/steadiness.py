"""Whether a service has settled: a queue that grows is refused, filling and emptying are cut."""

import numpy as np
import numpy.typing as npt
import pandas as pd

from secondorder.errors import Unstable
from secondorder.scenarios.serving import Serving
from secondorder.simulate.output import student
from secondorder.simulate.serving.single_run import ServingRun

SHORT = 2_000
"""Requests below which growth is no sign of overload."""


def check_steady(scenario: Serving, runs: list[ServingRun], length: int) -> None:
    """Refuse a queue that grows through the second half of the runs, by more than chance.

    In a steady state as many leave as come. Growth is the share of the arrivals of the second
    half that are left over at its end; it must be above half a percent with 99.9 % confidence.
    Runs of less than a few times the engine's slots tell nothing, and are left to the warm-up.
    """
    if length < max(SHORT, 4 * scenario.max_num_seqs):
        return
    growth = student([_growth(r.requests) for r in runs], 0.999)
    if growth.low is not None and growth.low > 0.005:
        served = scenario.rate * (1 - growth.mean)
        raise Unstable(
            f"{scenario.name}: {scenario.rate:.4g} request/s offered, {served:.4g} served, and the queue grew through "
            "the runs; lower the rate, add replicas, or replay a trace to study the transient"
        )


def _growth(requests: pd.DataFrame) -> float:
    """Requests left over of the second half's arrivals, as a share of them."""
    arrival, finish = requests["arrival"].to_numpy(), np.sort(requests["finish"].to_numpy())
    middle, end = arrival[len(arrival) // 2], arrival[-1]
    more = _inside(arrival, finish, end) - _inside(arrival, finish, middle)
    return more / (len(arrival) - len(arrival) // 2)


def _inside(arrival: npt.NDArray[np.float64], finish: npt.NDArray[np.float64], time: float) -> int:
    """Requests in the system at a time."""
    return int(np.searchsorted(arrival, time, side="right") - np.searchsorted(finish, time, side="right"))


def beginning(requests: pd.DataFrame) -> int:
    """How many requests came before the engine can have filled: within the longest latency of the first."""
    return int(requests["arrival"].searchsorted(requests["arrival"].iloc[0] + requests["e2el"].max()))


def end(requests: pd.DataFrame) -> int:
    """How many requests came early enough to be served while others still arrived."""
    last = requests["arrival"].iloc[-1] - requests["e2el"].max()
    return int(requests["arrival"].searchsorted(last))
