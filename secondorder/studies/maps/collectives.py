"""Collectives and pipelines at the points of a map."""

import math
from collections.abc import Mapping

import numpy as np

from secondorder.breakdown.fields import Coordinates
from secondorder.fleets.clusters import Link
from secondorder.laws import LogNormal
from secondorder.scenarios.collective import Collective
from secondorder.scenarios.pipeline import Pipeline
from secondorder.simulate.kernels.pipeline import passes
from secondorder.simulate.kernels.ring import finish
from secondorder.simulate.streams import stream
from secondorder.studies.maps.draws import lognormal
from secondorder.studies.maps.points import Amounts, Ground, Simulated

FEWEST = 2
"""Runs of a replication, where one is long."""


def ring(point: Coordinates) -> Collective:
    return Collective(
        ranks=int(point["ranks"]), size="1 GB", link=Link(bandwidth="50 GB/s"), repeats=int(point["repeats"]),
        jitter=LogNormal("1 s", scv=point["cv"] ** 2),
    )  # fmt: skip


def one_forward_one_backward(point: Coordinates) -> Pipeline:
    return Pipeline(
        stages=int(point["stages"]), microbatches=int(point["microbatches"]), forward="1 s", backward="2 s",
        jitter=LogNormal("1 s", scv=point["cv"] ** 2),
    )  # fmt: skip


def wave(point: Coordinates) -> Pipeline:
    return Pipeline(
        stages=int(point["stages"]), microbatches=int(point["microbatches"]), schedule="forward", forward="1 s",
        jitter=LogNormal("1 s", scv=point["cv"] ** 2),
    )  # fmt: skip


# Truths: ``length`` counts hops or passes


def time_of_ring(point: Coordinates, seed: int, replication: int, length: int) -> Amounts:
    """The mean time of an operation: a run of them until the last rank is done, over their number."""
    ranks, repeats = int(point["ranks"]), int(point["repeats"])
    stages = 2 * (ranks - 1) * repeats
    runs = max(FEWEST, round(length / (ranks * stages)))
    rng = stream(seed, replication, "hops")
    hops = lognormal(point["cv"] ** 2, runs * stages * ranks, rng).reshape(runs, stages, ranks)
    ends = finish(np.zeros(ranks), hops).max(axis=-1)
    return {"time_mean": float(ends.mean()) / repeats * ring(point).alpha_beta_seconds / (2 * (ranks - 1))}


def time_of_steps(point: Coordinates, seed: int, replication: int, length: int) -> Amounts:
    """The mean time of a step, one forward pass and one backward pass by turns."""
    stages, microbatches = int(point["stages"]), int(point["microbatches"])
    runs = max(FEWEST, round(length / (2 * stages * microbatches)))
    rng, shape = stream(seed, replication, "passes"), (2, runs, stages, microbatches)
    forward, backward = lognormal(point["cv"] ** 2, math.prod(shape), rng).reshape(shape)
    _, ends = passes(forward, 2 * backward)
    return {"time_mean": float(ends.max(axis=(-2, -1)).mean())}


def time_of_wave(point: Coordinates, seed: int, replication: int, length: int) -> Amounts:
    """The mean time of a forward wave."""
    stages, microbatches = int(point["stages"]), int(point["microbatches"])
    runs = max(FEWEST, round(length / (stages * microbatches)))
    rng, shape = stream(seed, replication, "passes"), (runs, stages, microbatches)
    forward = lognormal(point["cv"] ** 2, math.prod(shape), rng).reshape(shape)
    ends, _ = passes(forward, schedule="forward")
    return {"time_mean": float(ends.max(axis=(-2, -1)).mean())}


GROUNDS: Mapping[str, Ground] = {
    "ring": Ground(scenario=ring, truth=Simulated(once=time_of_ring, length=20_000, budget=10_000_000)),
    "one_forward_one_backward": Ground(
        scenario=one_forward_one_backward, truth=Simulated(once=time_of_steps, length=10_000, budget=5_000_000)
    ),
    "wave": Ground(scenario=wave, truth=Simulated(once=time_of_wave, length=10_000, budget=5_000_000)),
}
