"""A data loader before an accelerator: batch by batch as a recursion, and the same on SimPy.

In order of their turns, with ``W`` the workers, ``K`` the places of the buffer: read ``n`` is asked for when a worker
is free and begins at ``max(that, end of read n-1)``; its batch is ready a ``decode`` after its end. The ``n``-th batch
to be ready is put at ``put_n = max(ready_(n), take_(n-K))``, which frees its worker, and taken at
``take_n = max(put_n, take_(n-1) + step_(n-1))``. *Source*: the recursion of a tandem with blocking after service,
Buzacott and Shanthikumar, Stochastic Models of Manufacturing Systems (1993), chapter 5.
"""

import math
from collections.abc import Generator
from dataclasses import dataclass
from functools import partial
from heapq import heapify, heappop, heapreplace
from typing import TYPE_CHECKING, Literal

import numpy as np

from secondorder.answers.answer import Answer
from secondorder.answers.declared import DATA_LOADING
from secondorder.answers.estimate import Estimate
from secondorder.answers.metric import unit_of
from secondorder.arrays import Floats
from secondorder.errors import InputError
from secondorder.scenarios.data_loading import DataLoading
from secondorder.simulate.replicate import replicated
from secondorder.simulate.statistics.estimates import simulated
from secondorder.simulate.statistics.intervals import student
from secondorder.simulate.statistics.run_length import RELAXATIONS_FOR_A_MEAN
from secondorder.simulate.streams import stream

if TYPE_CHECKING:
    import simpy

SHORTEST, LONGEST = 5_000, 200_000
"""Batches of a replication, warm-up included."""

Path = Literal["recursion", "events"]


@dataclass(frozen=True)
class Draws:
    """Times in s of the reads and decodings, in the order in which they begin, and of the steps."""

    read: Floats
    decode: Floats
    step: Floats


@dataclass(frozen=True)
class LoadingRun:
    """For each batch, when it was ``put`` into the buffer and ``taken`` from it, in s; and what was drawn."""

    put: Floats
    taken: Floats
    draws: Draws


def simulate_data_loading(scenario: DataLoading, *, seed: int = 0, replications: int = 10, jobs: int = 1) -> Answer:
    """Simulate a data loader: estimates with Student intervals at 95 % over the replications.

    Metrics and units as those of ``solve_data_loading``. A replication lasts ``length`` batches, the first tenth cut
    as warm-up. Where a time has no variance, or the longest run is too short for the buffer, the interval is infinite
    and the note says so. Errors: ``InputError``.
    """
    batches, why = length(scenario)
    once = partial(_replication, scenario, batches, seed)
    found = replicated(once, replications, jobs, least=2)
    rows = tuple(_estimate(metric, np.array([each[metric] for each in found]), why) for metric in found[0])
    how = f"{replications} replications of {batches:,} batches, the first {batches // 10:,} cut, seed {seed}"
    return Answer(scenario=scenario.name, estimates=rows, how=how)


def length(scenario: DataLoading) -> tuple[int, str]:
    """Batches of a replication, and why they are too few, if they are.

    300 times ``(places)^2 scv / 10``: as long as a walk of that spread takes from one end of the buffer to the other,
    ``places = prefetch + workers + 1``, the relaxation of a walk between two walls (``L^2 / (pi^2 D)``).
    """
    try:
        scv = (scenario.law("decode").scv + scenario.law("step").scv) / 2
        if scenario.storage_jitter is not None:
            scv += scenario.law("storage_jitter").scv / 2
    except InputError:  # Pareto with a shape of at most 2
        return LONGEST, "a time has no variance, so that no interval holds"
    places = scenario.prefetch + scenario.workers + 1
    wanted = max(SHORTEST, math.ceil(RELAXATIONS_FOR_A_MEAN * places**2 * max(scv, 0.1) / 10))
    if wanted > LONGEST:
        return LONGEST, f"{LONGEST:,} batches, where the buffer asks for {wanted:,}"
    return wanted, ""


def draw(scenario: DataLoading, batches: int, *, seed: int, replication: int) -> Draws:
    """The random times, each cause from a stream of its own."""
    started = batches + scenario.workers
    read = scenario.read
    return Draws(
        np.zeros(started) if read is None else read.sample(started, stream(seed, replication, "read")),
        scenario.law("decode").sample(started, stream(seed, replication, "decode")),
        scenario.law("step").sample(batches, stream(seed, replication, "step")),
    )


def run(scenario: DataLoading, draws: Draws, path: Path = "recursion") -> LoadingRun:
    """One run from empty, on either path to the same times, bit for bit."""
    return by_events(scenario, draws) if path == "events" else by_recursion(scenario, draws)


def by_recursion(scenario: DataLoading, draws: Draws) -> LoadingRun:
    """The recursion of the module: one turn of a heap a batch."""
    room, workers = scenario.prefetch, scenario.workers
    read, decode, step = draws.read.tolist(), draws.decode.tolist(), draws.step.tolist()
    batches = len(step)
    put, taken = [0.0] * batches, [0.0] * batches
    stored = 0.0  # when the storage is free
    ready = []
    for n in range(workers):
        stored += read[n]
        ready.append(stored + decode[n])
    heapify(ready)
    free = 0.0  # when the accelerator is
    for n in range(batches):
        now = ready[0]
        if n >= room and taken[n - room] > now:
            now = taken[n - room]
        put[n] = now
        taken[n] = now if now > free else free
        free = taken[n] + step[n]
        if n + workers < len(read):
            begin = now if now > stored else stored
            stored = begin + read[n + workers]
            heapreplace(ready, stored + decode[n + workers])
        else:
            heappop(ready)
    return LoadingRun(np.array(put), np.array(taken), draws)


def by_events(scenario: DataLoading, draws: Draws) -> LoadingRun:
    """Workers, storage, buffer and accelerator as processes on SimPy."""
    import simpy

    env = simpy.Environment()
    story = _Story(env, simpy.Resource(env), simpy.Store(env, capacity=scenario.prefetch), draws)
    for _ in range(scenario.workers):
        env.process(story.work())
    env.run(env.process(story.train()))
    return LoadingRun(np.array(story.put[: len(draws.step)]), np.array(story.taken), draws)


class _Story:
    def __init__(
        self, env: "simpy.Environment", storage: "simpy.Resource", buffer: "simpy.Store", draws: Draws
    ) -> None:
        self.env, self.storage, self.buffer = env, storage, buffer
        self.reads, self.decodings = iter(draws.read.tolist()), iter(draws.decode.tolist())
        self.steps = draws.step.tolist()
        self.put: list[float] = []
        self.taken: list[float] = []

    def work(self) -> Generator["simpy.Event", object, None]:
        """A worker makes batches as long as there are any to make."""
        while True:
            with self.storage.request() as turn:
                yield turn
                if (read := next(self.reads, None)) is None:
                    return
                decode = next(self.decodings)
                yield self.env.timeout(read)
            yield self.env.timeout(decode)
            yield self.buffer.put(None)
            self.put.append(self.env.now)

    def train(self) -> Generator["simpy.Event", object, None]:
        """The accelerator takes a batch and makes its step."""
        for step in self.steps:
            yield self.buffer.get()
            self.taken.append(self.env.now)
            yield self.env.timeout(step)


def measure(scenario: DataLoading, told: LoadingRun, first: int = 0) -> dict[str, float]:
    """The metrics from the ``first`` batch on, over the time in which these are taken from the buffer."""
    last = len(told.taken) - 1
    span = float(told.taken[last] - told.taken[first])
    each = span / (last - first)
    draws = told.draws
    return {
        "throughput": scenario.batch_size / each,
        "step_time_mean": each,
        "starvation": 1 - float(draws.step[first:last].sum()) / span,
        "worker_utilisation": float(draws.decode[first:last].sum()) / span / scenario.workers,
        "storage_utilisation": float(draws.read[first:last].sum()) / span,
    }


def _replication(scenario: DataLoading, batches: int, seed: int, replication: int) -> dict[str, float]:
    told = run(scenario, draw(scenario, batches, seed=seed, replication=replication))
    return measure(scenario, told, batches // 10)


def _estimate(metric: str, values: Floats, why: str) -> Estimate:
    return simulated(metric, student(values), unit_of(DATA_LOADING, metric), why)
