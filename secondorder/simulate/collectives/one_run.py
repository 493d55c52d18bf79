"""The times of one replication of a collective or a pipeline, for comparisons on the same random numbers."""

import numpy as np

from secondorder.arrays import Floats
from secondorder.scenarios.collective import Collective
from secondorder.scenarios.pipeline import Pipeline
from secondorder.simulate.collectives.answer import operations, steps

RUNS = 200
"""Operations or steps of a replication, if no number is given."""


def of_collective(collective: Collective, *, seed: int, replication: int, requests: int | None) -> dict[str, float]:
    """``time_mean`` and ``time_p99`` of an operation, and ``stage_cost``."""
    times = operations(collective, runs=requests or RUNS, seed=seed, replication=replication)
    cost = float(times.mean()) / (collective.alpha_beta_seconds * collective.scale)
    return {**_times(times), "stage_cost": cost}


def of_pipeline(pipeline: Pipeline, *, seed: int, replication: int, requests: int | None) -> dict[str, float]:
    """``time_mean`` and ``time_p99`` of a step, and ``bubble_fraction``."""
    times, idle, _ = steps(pipeline, runs=requests or RUNS, seed=seed, replication=replication)
    return {**_times(times), "bubble_fraction": float(idle.mean())}


def _times(times: Floats) -> dict[str, float]:
    return {"time_mean": float(times.mean()), "time_p99": float(np.quantile(times, 0.99, method="weibull"))}
