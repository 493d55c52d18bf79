"""Closed loops on SimPy: a semaphore over the requests, as in vLLM's load generator, or users who think.

An answer is out at the end of a step; the next step is decided by then, so the request that follows comes one step
later.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import simpy

from secondorder.answers.answer import Answer
from secondorder.answers.declared import CLOSED_LOOP
from secondorder.answers.metric import MEAN_AND_QUANTILES, QUANTILES
from secondorder.arrays import Floats, Integers
from secondorder.errors import InputError
from secondorder.scenarios.closed_loop import ClosedLoop
from secondorder.scenarios.serving import Serving
from secondorder.simulate.estimates import estimates
from secondorder.simulate.replicate import replicated
from secondorder.simulate.serving.accounts import Accounts
from secondorder.simulate.serving.asks import PICO, asks, draw
from secondorder.simulate.serving.compiled import witness_of
from secondorder.simulate.serving.engine import Process
from secondorder.simulate.serving.partition import Partition, accountant, accounts_for, split_at
from secondorder.simulate.serving.policies import Policies
from secondorder.simulate.serving.recorder import Recorder
from secondorder.simulate.serving.request import Ask, Slot
from secondorder.simulate.serving.single_run import engine_for
from secondorder.simulate.serving.unnamed import until_preempted
from secondorder.simulate.streams import stream
from secondorder.simulate.witness import TOLD, Witness
from secondorder.workloads.requests import Requests

if TYPE_CHECKING:
    from secondorder.simulate.kernels.serving.run import Record

TURNS, FEWEST = 40, 2_000
"""Requests per user in a replication, and requests of a replication, at least."""
WARM_UP = 0.2
"""Share of a replication that is cut before the measurement."""


@dataclass(frozen=True)
class LoopRun:
    """Times of each request in picoseconds: when it was ``sent``, its first token, its end; and its output tokens."""

    sent: Integers
    first_token: Integers
    finish: Integers
    output: Integers


class Answered(Recorder):
    """A record that wakes whoever waits for an answer."""

    def __init__(self, count: int, env: simpy.Environment) -> None:
        super().__init__(count)
        self.answers = [env.event() for _ in range(count)]

    def end(self, slots: Iterable[Slot], now: int) -> None:
        slots = list(slots)
        super().end(slots, now)
        for slot in slots:
            self.answers[slot.ask.index].succeed()


class Client:
    """Sends the requests in order: as many at a time as there are places."""

    def __init__(
        self,
        scenario: ClosedLoop,
        asked: list[Ask],
        thoughts: Integers,
        policies: Policies | None = None,
        accounts: Accounts | None = None,
    ) -> None:
        self.env = simpy.Environment(initial_time=0)
        self.record, self.asked, self.thoughts = Answered(len(asked), self.env), asked, thoughts
        serving = scenario.serving
        self.engine = engine_for(serving, self.env, self.record, policies=policies, accounts=accounts)
        self.sent = np.zeros(len(asked), np.int64)
        self.next = self.begun = 0  # requests sent, think times begun
        if scenario.offered:
            self.places = simpy.Resource(self.env, capacity=scenario.max_concurrency)
            self.env.process(self.offer())
        else:
            for _ in range(min(scenario.max_concurrency, len(asked))):
                self.env.process(self.use())

    def run(self) -> LoopRun:
        """To the last answer."""
        self.env.run()
        first, finish = (
            np.frombuffer(column, dtype=np.int64) for column in (self.record.first_token, self.record.finish)
        )
        return LoopRun(self.sent, first, finish, np.array([ask.output for ask in self.asked]))

    def use(self) -> Process:
        """One user: think, send the next request, wait for its answer."""
        while self.next < len(self.asked):
            self.begun += 1
            if thought := int(self.thoughts[self.begun - 1]):
                yield self.env.timeout(thought)
                if self.next >= len(self.asked):
                    return
            index = self.next
            self.next += 1
            yield self.send(index)

    def offer(self) -> Process:
        """Requests at their times."""
        for ask in self.asked:
            yield self.env.timeout(ask.arrival - self.env.now)
            self.env.process(self.wait_and_send(ask.index))

    def wait_and_send(self, index: int) -> Process:
        """One offered request: wait for a place, and keep it to the answer."""
        with self.places.request() as place:
            yield place
            yield self.send(index)

    def send(self, index: int) -> simpy.Event:
        self.sent[index] = int(self.env.now)
        self.engine.submit(self.asked[index])
        return self.record.answers[index]


def run_loop(
    scenario: ClosedLoop, count: int, *, seed: int = 0, replication: int = 0, witness: Witness | None = None
) -> LoopRun:
    """A number of requests, from an idle engine to the last answer."""
    drawn = draw(scenario.serving, count, seed, replication)
    scenario.serving.check(drawn)
    thoughts = _thoughts(scenario, count, seed, replication)
    if witness_of(scenario.serving, witness) == "kernel":
        return _compiled(scenario, drawn, thoughts)

    def once(serving: Serving, policies: Policies | None) -> LoopRun:
        return Client(replace(scenario, serving=serving), list(asks(serving, drawn)), thoughts, policies).run()

    return until_preempted(scenario.serving, drawn, once)


def _thoughts(scenario: ClosedLoop, count: int, seed: int, replication: int) -> Integers:
    """Think times in picoseconds, in the order in which they begin: as many as there can be."""
    most = count + scenario.max_concurrency
    if not scenario.think:
        return np.zeros(most, np.int64)
    seconds = stream(seed, replication, "think times").exponential(scenario.think, most)
    return np.rint(seconds / PICO).astype(np.int64)


def _compiled(scenario: ClosedLoop, drawn: Requests, thoughts: Integers) -> LoopRun:
    """The same by the compiled engine."""
    found = _recorded(scenario, drawn, thoughts, accounts=False)
    return LoopRun(found.arrival, found.first_token, found.finish, np.asarray(drawn.output_tokens, np.int64))


def _recorded(scenario: ClosedLoop, drawn: Requests, thoughts: Integers, *, accounts: bool) -> "Record":
    from secondorder.simulate.kernels.serving.run import Loop
    from secondorder.simulate.kernels.serving.run import record as run_kernel

    sent = drawn if scenario.offered else replace(drawn, arrival=np.zeros(len(drawn)))
    loop = Loop(places=scenario.max_concurrency, think=thoughts if scenario.think else None)
    return run_kernel(scenario.serving, sent, records=False, loop=loop, accounts=accounts)


def partition_loop(scenario: ClosedLoop, count: int, *, seed: int = 0, witness: Witness | None = None) -> Partition:
    """Split the latencies of a number of requests into causes, from when each is sent."""
    drawn = draw(scenario.serving, count, seed)
    scenario.serving.check(drawn)
    return partition_of_loop(scenario, drawn, _thoughts(scenario, count, seed, 0), witness=witness)


def partition_of_loop(
    scenario: ClosedLoop, drawn: Requests, thoughts: Integers, *, witness: Witness | None = None
) -> Partition:
    """The same for these requests and think times."""
    if accountant(scenario.serving, witness) == "kernel":
        found = _recorded(scenario, drawn, thoughts, accounts=True)
        return split_at(scenario.name, found.arrival, found.first_token, found.finish, found.first_parts, found.parts)

    def once(serving: Serving, policies: Policies | None) -> tuple[LoopRun, Accounts]:
        accounts = accounts_for(serving, drawn)
        loop = replace(scenario, serving=serving)
        return Client(loop, list(asks(serving, drawn)), thoughts, policies, accounts).run(), accounts

    run, accounts = until_preempted(scenario.serving, drawn, once)
    return split_at(scenario.name, run.sent, run.first_token, run.finish, accounts.first_token, accounts.finish)


def simulate_closed_loop(
    scenario: ClosedLoop,
    *,
    seed: int = 0,
    replications: int = 10,
    requests: int | None = None,
    jobs: int = 1,
    witness: Witness | None = None,
) -> Answer:
    """Independent replications, with intervals at 95 %; the start of each is cut, and its end, where fewer users are
    left.

    ``throughput`` (request/s): answers; ``concurrency``: requests sent and not answered, on average over the time.
    Errors: ``InputError`` for fewer requests than twice ``max_concurrency``.
    """
    count = requests or max(FEWEST, TURNS * scenario.max_concurrency)
    least = max(20, 2 * scenario.max_concurrency)
    if count < least:
        raise InputError("requests", given=count, expected=f"at least {least}")
    by = witness_of(scenario.serving, witness)

    def one(replication: int) -> dict[str, float]:
        return measured(run_loop(scenario, count, seed=seed, replication=replication, witness=by))

    found = replicated(one, replications, jobs, least=2)
    how = f"{replications} replications of {count:,} requests, {scenario.max_concurrency:,} at a time; {TOLD[by]}"
    return Answer(scenario=scenario.name, estimates=estimates(found, CLOSED_LOOP), how=how)


def measured(run: LoopRun) -> dict[str, float]:
    """The metrics between the warm-up and the last request sent."""
    start, end = np.quantile(run.finish, WARM_UP), int(run.sent.max())
    inside = (run.finish > start) & (run.finish <= end)
    span = (end - float(start)) * PICO
    latencies = {"ttft": run.first_token - run.sent, "e2el": run.finish - run.sent}
    later = np.maximum(run.output - 1, 1)
    found: dict[str, Floats] = {name: np.asarray(latencies[name][inside] * PICO) for name in latencies}
    found["tpot"] = np.asarray(((run.finish - run.first_token) / later)[inside & (run.output > 1)] * PICO)
    amounts = {"throughput": float(inside.sum()) / span, "concurrency": concurrency(run, float(start), end)}
    for name, values in found.items():
        amounts |= {f"{name}_{each}": value for each, value in _statistics(values).items()}
    return amounts


def concurrency(run: LoopRun, start: float, end: float) -> float:
    """Requests sent and not answered, on average between two times in picoseconds."""
    overlap = np.minimum(run.finish, end) - np.maximum(run.sent, start)
    return float(np.maximum(overlap, 0).sum() / (end - start))


def _statistics(values: Floats) -> dict[str, float]:
    if not values.size:
        return {}
    found = {"mean": float(values.mean())} | {name: float(np.quantile(values, q)) for name, q in QUANTILES.items()}
    return {name: found[name] for name in MEAN_AND_QUANTILES}
