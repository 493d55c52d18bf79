"""The engine on SimPy: it computes one step after another on a clock of whole picoseconds.

While the same requests decode and nothing can change but by an arrival, the steps are summed
ahead and the process sleeps to the last of them; an arrival wakes it at the end of the step
under way. The sums are those of the single steps, so the leap changes no time by a bit.
"""

from bisect import bisect_left
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import simpy
from simpy.events import EventPriority

from secondorder.arrays import Real
from secondorder.scenarios.steptime import StepFunction, StepSeconds, picoseconds
from secondorder.simulate.serving.accounts import Accounts
from secondorder.simulate.serving.recorder import Recorder
from secondorder.simulate.serving.request import Ask, Slot
from secondorder.simulate.serving.scheduler import Scheduler
from secondorder.simulate.serving.step import Step, alive

LATE = EventPriority(2)
"""SimPy priority of the end of a step: what arrives at that very instant is seen by the next."""

Process = Generator[simpy.Event, None, None]


class StepEnd(simpy.Event):
    """Like a timeout, but after everything else that happens at its instant."""

    def __init__(self, env: simpy.Environment, delay: float) -> None:
        super().__init__(env)
        self._ok, self._value = True, None
        env.schedule(self, priority=LATE, delay=delay)


@dataclass(frozen=True)
class Arrival:
    """Cause of an interrupt: a request arrived that the next step may admit."""

    slot: Slot


@dataclass(frozen=True)
class Cancellation:
    """Cause of an interrupt: a request gave up."""

    slot: Slot


@dataclass(frozen=True)
class ChangeOfSpeed:
    """Cause of an interrupt: the steps to come take ``factor`` times as long as at full speed."""

    factor: float


@dataclass(frozen=True)
class Slowed:
    """Step times ``factor`` times as long."""

    seconds: StepSeconds
    factor: float

    def __call__(self, P: Real, A: Real, C: Real, D: Real, K: Real, S: Real) -> Real:
        return self.factor * self.seconds(P, A, C, D, K, S)


class Engine:
    """One replica. ``submit`` requests to it, or ``cancel`` them; it runs as a process of the environment.

    ``accounts`` are told what each request's time goes to.
    """

    def __init__(
        self,
        env: simpy.Environment,
        scheduler: Scheduler,
        seconds: StepSeconds,
        recorder: Recorder,
        *,
        ahead: bool,
        leaps: bool = True,
        name: str = "engine",
        accounts: Accounts | None = None,
    ) -> None:
        self.accounts = accounts
        self.env, self.scheduler, self.leaps = env, scheduler, leaps
        self.seconds = seconds.bound if isinstance(seconds, StepFunction) else seconds
        self.full_speed = self.seconds
        self.recorder, self.log = recorder, recorder.log(name)
        self.idle: simpy.Event | None = None
        self.leaping = False
        self.leaving: list[Slot] = []
        self.process = env.process(self.run_ahead() if ahead else self.run())

    def submit(self, ask: Ask, emitted: int = 0) -> Slot:
        """A request arrives now, with ``emitted`` tokens where it comes from another replica."""
        slot = self.scheduler.submit(ask, emitted)
        if self.accounts:
            self.accounts.arrive(slot, int(self.env.now))
        if self.idle is not None:
            self.idle.succeed()
            self.idle = None
        elif self.scheduler.waiting.head() is slot:  # behind a blocked queue an arrival changes nothing
            self.interrupt(Arrival(slot))
        return slot

    def cancel(self, slot: Slot) -> None:
        """A request leaves at the end of the step under way, unless it has finished by then."""
        self.leaving.append(slot)
        self.interrupt(Cancellation(slot))

    def slow(self, factor: float) -> None:
        """From the next step on, steps take ``factor`` times as long as at full speed."""
        self.seconds = Slowed(self.full_speed, factor) if factor != 1 else self.full_speed
        self.interrupt(ChangeOfSpeed(factor))

    def interrupt(self, cause: Arrival | Cancellation | ChangeOfSpeed) -> None:
        """A leap ends with the step under way; the end of a single step is waited for in any case."""
        if self.leaping:
            self.leaping = False
            self.process.interrupt(cause)

    # The two ways to run

    def run(self) -> Process:
        """Schedule a step, compute it, and see what came of it."""
        scheduler = self.scheduler
        while True:
            if self.leaving:
                self.let_go()
            if self.leaps and (steps := scheduler.steady_steps()):
                yield from self.leap(steps)
            elif step := self.decide():
                yield from self.compute(step)
            else:
                yield from self.sleep()

    def run_ahead(self) -> Process:
        """Asynchronous scheduling: the next step is scheduled while one is computed.

        An arrival during step k is therefore computed in step k + 2, and blocks that step k
        frees are seen one step late.
        """
        following = None
        while True:
            if self.leaving:
                self.let_go()
            step = following or self.decide()
            if step is None:
                yield from self.sleep()
                continue
            following = self.decide(beside=True)
            yield from self.compute(step)

    # What they are made of

    def decide(self, *, beside: bool = False) -> Step | None:
        """The next step, if there is anything to compute; ``beside``: while one is computed."""
        step = self.scheduler.schedule(beside=beside)
        if step and self.accounts:
            self.accounts.decide(step)
        return step

    def sleep(self) -> Process:
        """Until requests arrive: all of one instant are there when the engine looks."""
        self.idle, used = self.env.event(), self.used()
        yield self.idle
        yield StepEnd(self.env, 0)
        self.log.span(int(self.env.now), 0, self.scheduler.not_running, used + self.used())

    def let_go(self) -> None:
        """Of the requests that were cancelled during the step that has ended."""
        for slot in self.leaving:
            if self.scheduler.cancel(slot):
                if self.accounts:
                    self.accounts.cancel(slot)
                self.recorder.cancel(slot, int(self.env.now))
        self.leaving.clear()

    def compute(self, step: Step) -> Process:
        """One step: its duration, then its tokens."""
        if step.admitted:
            self.recorder.admit(step.admitted, int(self.env.now), self.log)
        if self.accounts:
            self.accounts.begin(step, int(self.env.now))
        yield StepEnd(self.env, picoseconds(self.seconds(*step.load)))
        if self.accounts:
            self.accounts.end(step, int(self.env.now))
        self.log.tokens += step.prefill_tokens + step.decodes
        self.end(1, self.used(), step.first, step.finishing)

    def leap(self, steps: int) -> Process:
        """Compute many decoding steps at once, or as many as have begun when something comes between."""
        start, ends, used = int(self.env.now), self.step_ends(steps), self.used()
        self.leaping = True
        if self.accounts:
            self.accounts.begin_leap(start)
        try:
            yield StepEnd(self.env, ends[-1] - self.env.now)
        except simpy.Interrupt as interrupt:
            if not isinstance(interrupt.cause, Arrival | Cancellation | ChangeOfSpeed):
                raise
            steps = bisect_left(ends, self.env.now) + 1
            yield StepEnd(self.env, ends[steps - 1] - self.env.now)
        finally:
            self.leaping = False
        self.log.tokens += steps * self.scheduler.decodes
        finishing = self.scheduler.decode(steps)
        if self.accounts:
            self.accounts.leap(start, ends[:steps], finishing)
        self.end(steps, used, [], finishing)

    def step_ends(self, steps: int) -> list[int]:
        """When each of this many steady steps ends."""
        now, decodes, context, seconds = int(self.env.now), self.scheduler.decodes, self.scheduler.context, self.seconds
        if steps > 64:
            contexts = context + decodes * np.arange(steps, dtype=np.float64)
            durations = np.rint(seconds(0, 0, 0, decodes, contexts, decodes) * 1e12).astype(np.int64)
            ends: list[int] = (now + durations.cumsum()).tolist()
            return ends
        return list(_ends(now, steps, decodes, context, seconds))

    def used(self) -> int:
        """Blocks in use."""
        return self.scheduler.blocks.total - self.scheduler.blocks.free

    def end(self, steps: int, used_before: int, first: list[Slot], finishing: list[Slot]) -> None:
        """Record what came of a step, or of a leap over several."""
        now, scheduler = int(self.env.now), self.scheduler
        ended = alive(finishing) if finishing else finishing
        ran = len(scheduler.running) + sum(slot not in scheduler.running for slot in ended)
        self.log.span(now, ran, scheduler.not_running, used_before + self.used())
        self.log.steps += steps
        if first:
            self.recorder.answer(alive(first), now)
        if finishing:
            self.recorder.end(ended, now)
            scheduler.complete(finishing)


def _ends(now: int, steps: int, decodes: int, context: int, seconds: StepSeconds) -> Iterator[int]:
    for _ in range(steps):
        now += picoseconds(seconds(0, 0, 0, decodes, context, decodes))
        yield now
        context += decodes


class Submit(Protocol):
    """Where arrivals go: an engine, or a router."""

    def __call__(self, ask: Ask) -> object:
        """A request arrives now."""


def arrive(env: simpy.Environment, asks: Iterable[Ask], submit: Submit) -> Process:
    """Open arrivals: each request at its time, whatever became of those before it."""
    for ask in asks:
        yield env.timeout(ask.arrival - env.now)
        submit(ask)
