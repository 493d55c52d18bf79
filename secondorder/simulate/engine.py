"""The engine on SimPy: it computes one step after another on a clock of whole picoseconds.

While the same requests decode and nothing can change but by an arrival, the steps are summed
ahead and the process sleeps to the last of them; an arrival wakes it at the end of the step
under way. The sums are those of the single steps, so the leap changes no time by a bit.
"""

from array import array
from bisect import bisect_left
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import simpy
from simpy.events import EventPriority

if TYPE_CHECKING:
    from secondorder.scenarios.serving import Serving
from secondorder.scenarios.steptime import StepSeconds, picoseconds
from secondorder.simulate.scheduler import Request, Scheduler, Step

LATE = EventPriority(2)
"""SimPy priority of the end of a step: what arrives at that very instant is seen by the next."""

Process = Generator[simpy.Event, None, None]


class StepEnd(simpy.Event):
    """Like a timeout, but after everything else that happens at its instant."""

    def __init__(self, env: simpy.Environment, delay: float) -> None:
        super().__init__(env)
        self._ok, self._value = True, None
        env.schedule(self, priority=LATE, delay=delay)


@dataclass
class Recorder:
    """Times of each request in picoseconds (-1: not yet), and the engine's state over time.

    ``series`` has a row for each span of time between two looks at the engine: when it ended,
    the requests that ran in it, those that waited at its end, and twice the blocks in use.
    """

    count: int
    steps: int = 0

    def __post_init__(self) -> None:
        self.series = tuple(array("q") for _ in range(4))
        self.scheduled, self.first_token, self.finish = (array("q", [-1]) * self.count for _ in range(3))
        self.preemptions, self.cached = (array("q", [0]) * self.count for _ in range(2))

    def span(self, end: int, running: int, waiting: int, used_twice: int) -> None:
        time, ran, waited, used = self.series
        time.append(end)
        ran.append(running)
        waited.append(waiting)
        used.append(used_twice)


class Engine:
    """One replica. ``submit`` requests to it; it runs as a process of the environment."""

    def __init__(
        self,
        env: simpy.Environment,
        scheduler: Scheduler,
        seconds: StepSeconds,
        recorder: Recorder,
        *,
        ahead: bool,
        leaps: bool = True,
    ) -> None:
        self.env, self.scheduler, self.seconds, self.recorder, self.leaps = env, scheduler, seconds, recorder, leaps
        self.idle: simpy.Event | None = None
        self.leaping = False
        self.process = env.process(self.run_ahead() if ahead else self.run())

    def submit(self, request: Request) -> None:
        """A request arrives now."""
        self.scheduler.submit(request)
        if self.idle is not None:
            self.idle.succeed()
            self.idle = None
        elif self.leaping:
            self.leaping = False
            self.process.interrupt()

    # The two ways to run

    def run(self) -> Process:
        """Schedule a step, compute it, and see what came of it."""
        scheduler = self.scheduler
        while True:
            if self.leaps and (steps := scheduler.steady_steps()):
                yield from self.leap(steps)
            elif step := scheduler.schedule():
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
            step = following or self.scheduler.schedule()
            if step is None:
                yield from self.sleep()
                continue
            following = self.scheduler.schedule()
            yield from self.compute(step)

    # What they are made of

    def sleep(self) -> Process:
        """Until requests arrive: all of one instant are there when the engine looks."""
        self.idle = self.env.event()
        yield self.idle
        yield StepEnd(self.env, 0)
        self.recorder.span(int(self.env.now), 0, len(self.scheduler.waiting), 0)

    def compute(self, step: Step) -> Process:
        """One step: its duration, then its tokens."""
        now = int(self.env.now)
        for request in step.admitted:
            if self.recorder.scheduled[request.index] < 0:
                self.recorder.scheduled[request.index] = now
        yield StepEnd(self.env, picoseconds(self.seconds(*step[:6])))
        self.end(1, self.used(), step.first, step.finishing)

    def leap(self, steps: int) -> Process:
        """Many decoding steps at once, or as many as are begun when a request arrives."""
        ends, used = self.step_ends(steps), self.used()
        self.leaping = not self.scheduler.waiting  # behind a blocked queue an arrival changes nothing
        try:
            yield StepEnd(self.env, ends[-1] - self.env.now)
        except simpy.Interrupt:
            steps = bisect_left(ends, self.env.now) + 1
            yield StepEnd(self.env, ends[steps - 1] - self.env.now)
        self.leaping = False
        finishing = self.scheduler.decode(steps)
        self.end(steps, used, [], finishing)

    def step_ends(self, steps: int) -> list[int]:
        """When each of so many steady steps ends."""
        now, decodes, context, seconds = int(self.env.now), self.scheduler.decodes, self.scheduler.context, self.seconds
        if steps > 64:
            contexts = context + decodes * np.arange(steps)
            durations = np.rint(seconds(0, 0, 0, decodes, contexts, decodes) * 1e12).astype(np.int64)
            ends: list[int] = (now + durations.cumsum()).tolist()
            return ends
        return list(_ends(now, steps, decodes, context, seconds))

    def used(self) -> int:
        """Blocks in use."""
        return self.scheduler.blocks.total - self.scheduler.blocks.free

    def end(self, steps: int, used_before: int, first: list[Request], finishing: list[Request]) -> None:
        """What came of a step, or of a leap over several."""
        now, recorder, scheduler = int(self.env.now), self.recorder, self.scheduler
        ran = len(scheduler.running) + sum(request not in scheduler.running for request in finishing)
        recorder.span(now, ran, len(scheduler.waiting), used_before + self.used())
        for request in first:
            recorder.first_token[request.index] = now
        for request in finishing:
            recorder.finish[request.index] = now
            recorder.preemptions[request.index] = request.preemptions
            recorder.cached[request.index] = request.cached
        scheduler.complete(finishing)
        recorder.steps += steps


def _ends(now: int, steps: int, decodes: int, context: int, seconds: StepSeconds) -> Iterator[int]:
    for _ in range(steps):
        now += picoseconds(seconds(0, 0, 0, decodes, context, decodes))
        yield now
        context += decodes


def arrive(
    env: simpy.Environment, arrivals: list[int], requests: Iterator[Request], submit: Callable[[Request], None]
) -> Process:
    """Open arrivals: each request at its time, whatever became of those before it."""
    for time in arrivals:
        yield env.timeout(time - env.now)
        submit(next(requests))


def scheduler_for(scenario: "Serving") -> Scheduler:
    """The scheduler with a scenario's settings. One block is the null block, never used."""
    return Scheduler(
        blocks=scenario.kv_blocks - 1,
        block_size=scenario.block_size,
        max_num_seqs=scenario.max_num_seqs,
        max_num_batched_tokens=scenario.max_num_batched_tokens,
        long_prefill_token_threshold=scenario.long_prefill_token_threshold,
        chunked_prefill=scenario.enable_chunked_prefill,
        prefix_caching=scenario.enable_prefix_caching,
    )
