"""A path to storage that other jobs write through too: one write at a time, in the order they come."""

from collections.abc import Iterator

import simpy

from secondorder.quantities import si
from secondorder.scenarios.training import Training
from secondorder.simulate.training.recorder import Process


def shared_path(env: simpy.Environment, scenario: Training, others: Iterator[float]) -> simpy.Resource | None:
    """The path with the other jobs on it, from an idle start; None where nobody else writes."""
    storage = scenario.storage
    if storage is None or storage.other_write is None:
        return None
    path = simpy.Resource(env, capacity=1)
    env.process(arrive(env, path, others, si(storage.other_write)))
    return path


def arrive(env: simpy.Environment, path: simpy.Resource, gaps: Iterator[float], seconds: float) -> Process:
    """Other jobs come to write."""
    for gap in gaps:
        yield env.timeout(gap)
        env.process(write(env, path, seconds))


def write(env: simpy.Environment, path: simpy.Resource, seconds: float) -> Process:
    """One write of another job."""
    with path.request() as turn:
        yield turn
        yield env.timeout(seconds)
