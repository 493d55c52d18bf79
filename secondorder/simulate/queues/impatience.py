"""Impatience on SimPy: attempts with a time-out, retries after a backoff, and work for customers who have left."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import simpy

from secondorder.quantities import si
from secondorder.scenarios.queue import Outage, Patience, Queue
from secondorder.simulate.queues.draws import Draws, Source
from secondorder.simulate.queues.records import Floats, Integers, Kinds, Outcome, Run
from secondorder.simulate.queues.station import NEVER, Process, arrive


class Attempt:
    """One request of a customer. ``verdict`` fires with True when it is answered in time, else with False."""

    __slots__ = ("customer", "start", "verdict")

    def __init__(self, customer: int, verdict: simpy.Event) -> None:
        self.customer, self.verdict, self.start = customer, verdict, NEVER

    def decide(self, answered: bool) -> None:
        """The first word counts."""
        if not self.verdict.triggered:
            self.verdict.succeed(answered)


@dataclass
class Counter:
    """Servers behind one line of attempts. No service begins during the ``outage``.

    With ``withdrawn`` an attempt that was given up is not served, and one whose service has begun
    will not be given up; else each is served, wanted or not. ``work`` takes what the servers did.
    """

    env: simpy.Environment
    service: list[float]
    servers: int
    withdrawn: bool
    outage: Outage | None

    def __post_init__(self) -> None:
        self.line: deque[Attempt] = deque()
        self.idle: list[simpy.Event] = []
        self.work: tuple[list[float], list[float]] = ([], [])
        self.down = (si(self.outage.begin), si(self.outage.duration)) if self.outage else (float("inf"), 0.0)
        for _ in range(self.servers):
            self.env.process(self.serve())

    def join(self, attempt: Attempt) -> None:
        """An attempt comes now."""
        self.line.append(attempt)
        if self.idle:
            self.idle.pop().succeed()

    def serve(self) -> Process:
        """One server: sleep while nobody waits, take the next, serve it."""
        env = self.env
        while True:
            while not self.line:
                self.idle.append(asleep := env.event())
                yield asleep
            begin, duration = self.down
            if begin <= env.now < begin + duration:
                yield env.timeout(begin + duration - env.now)
                continue
            attempt = self.line.popleft()
            if self.withdrawn and attempt.verdict.triggered:
                continue
            yield from self.work_on(attempt)

    def work_on(self, attempt: Attempt) -> Process:
        """One service; with ``withdrawn`` its beginning is what the customer waits for, else its end."""
        began, ended = self.work
        attempt.start = self.env.now
        began.append(self.env.now)
        if self.withdrawn:
            attempt.decide(True)
        yield self.env.timeout(self.service[attempt.customer])
        ended.append(self.env.now)
        attempt.decide(True)


class Visits:
    """What the customers do, and what becomes of them."""

    def __init__(self, env: simpy.Environment, counter: Counter, patience: Patience | None, chance: Source) -> None:
        count = len(counter.service)
        self.env, self.counter, self.tries = env, counter, 1 + (patience.retries if patience else 0)
        self.start: Floats = np.full(count, np.nan)
        self.finish: Floats = np.full(count, np.nan)
        self.left: Floats = np.full(count, np.nan)
        self.attempts: Integers = np.zeros(count, np.int64)
        self.outcome: Kinds = np.full(count, Outcome.ABANDONED, np.int8)
        shape = (self.tries, count)
        self.limit = _times(patience, "limit", shape, chance("patience")) if patience else None
        self.backoff = _times(patience, "backoff", shape, chance("backoff")) if patience and patience.backoff else None

    def visit(self, customer: int) -> Process:
        """One customer: try, and try again after a backoff, until answered or out of tries."""
        for number in range(self.tries):
            self.attempts[customer] += 1
            attempt = Attempt(customer, self.env.event())
            self.counter.join(attempt)
            if self.limit is not None:
                self.env.timeout(float(self.limit[number, customer])).callbacks.append(_give_up(attempt))
            if (yield attempt.verdict):
                self.record(customer, attempt)
                return
            self.left[customer] = self.env.now
            if self.backoff is not None and number + 1 < self.tries:
                yield self.env.timeout(float(self.backoff[number, customer]))

    def record(self, customer: int, attempt: Attempt) -> None:
        """It was served: from the start of this attempt, for its own work."""
        self.outcome[customer] = Outcome.SERVED
        self.start[customer] = attempt.start
        self.finish[customer] = self.left[customer] = attempt.start + self.counter.service[customer]


def _give_up(attempt: Attempt) -> Callable[[simpy.Event], None]:
    return lambda _: attempt.decide(False)


def _times(patience: Patience, name: str, shape: tuple[int, int], rng: np.random.Generator) -> Floats:
    return patience.law(name).sample(shape[0] * shape[1], rng).reshape(shape)


def run_impatient(queue: Queue, draws: Draws, chance: Source) -> Run:
    """Serve these customers, who may give up and come again, through an outage if there is one."""
    env = simpy.Environment()
    withdrawn = queue.patience is not None and queue.patience.withdrawn
    counter = Counter(env, draws.service.tolist(), queue.servers, withdrawn, queue.outage)
    visits = Visits(env, counter, queue.patience, chance)
    env.process(arrive(env, draws.arrival, lambda customer: env.process(visits.visit(customer))))
    env.run()
    busy = np.array(counter.work[0]), np.array(counter.work[1])
    return Run(
        draws.arrival,
        draws.service,
        visits.start,
        visits.finish,
        outcome=visits.outcome,
        attempts=visits.attempts,
        busy=busy,
        left=visits.left,
    )
