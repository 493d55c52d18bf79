"""Data-parallel ranks of one engine on SimPy: each has a scheduler and a cache, and all compute their steps together.

A step lasts as long as that of the fullest rank, for the ranks meet in each layer of experts; one without requests
computes nothing but still takes part.
"""

import simpy

from secondorder.scenarios.serving import Serving
from secondorder.scenarios.steptime import picoseconds
from secondorder.simulate.serving.engine import Process, StepEnd
from secondorder.simulate.serving.recorder import Recorder
from secondorder.simulate.serving.request import Ask
from secondorder.simulate.serving.scheduler import Scheduler
from secondorder.simulate.serving.step import Step, alive

WAITING = 4
"""How many running requests one waiting request counts for when a rank is chosen (vLLM's balancer)."""
NOTHING = (0, 0, 0, 0, 0, 0)
"""What a rank without requests computes."""


class Ranks:
    """All ranks of an engine. ``submit`` requests to it; it runs as a process of the environment.

    A request goes to the rank with the least ``running + 4 waiting``, of several to the first; the numbers are up to
    date.
    """

    def __init__(
        self, env: simpy.Environment, scenario: Serving, schedulers: list[Scheduler], recorder: Recorder
    ) -> None:
        self.env, self.schedulers, self.recorder = env, schedulers, recorder
        self.seconds = scenario.step_of_loads
        self.ahead = scenario.settings.async_scheduling
        self.log = recorder.log("engine")
        self.idle: simpy.Event | None = None
        self.process = env.process(self.run())

    def submit(self, ask: Ask) -> None:
        """A request arrives now."""
        min(self.schedulers, key=lambda rank: len(rank.running) + WAITING * len(rank.waiting)).submit(ask)
        if self.idle is not None:
            self.idle.succeed()
            self.idle = None

    def run(self) -> Process:
        """Every rank schedules a step, and all compute together."""
        following: list[Step | None] = [None for _ in self.schedulers]
        while True:
            steps = [ready or rank.schedule() for ready, rank in zip(following, self.schedulers, strict=True)]
            following = [None for _ in steps]
            if not any(steps):
                yield from self.sleep()
                continue
            if self.ahead:
                pairs = zip(steps, self.schedulers, strict=True)
                following = [rank.schedule(beside=True) if step else None for step, rank in pairs]
            yield from self.compute(steps)

    def sleep(self) -> Process:
        """Until requests arrive: all of one instant are there when the engine looks."""
        self.idle = self.env.event()
        yield self.idle
        yield StepEnd(self.env, 0)
        self.log.span(int(self.env.now), 0, sum(len(rank.waiting) for rank in self.schedulers), 0)

    def compute(self, steps: list[Step | None]) -> Process:
        """One step of all ranks: its duration, then their tokens."""
        for step in steps:
            if step and step.admitted:
                self.recorder.admit(step.admitted, int(self.env.now), self.log)
        used = self.used()
        loads = [step.load if step else NOTHING for step in steps]
        yield StepEnd(self.env, picoseconds(self.seconds(loads)))
        now, ran = int(self.env.now), 0
        for step, rank in zip(steps, self.schedulers, strict=True):
            ended = alive(step.finishing) if step else []
            ran += len(rank.running) + sum(slot not in rank.running for slot in ended)
        waiting = sum(len(rank.waiting) for rank in self.schedulers)
        self.log.span(now, ran, waiting, used + self.used())
        self.log.steps += 1
        for step, rank in zip(steps, self.schedulers, strict=True):
            if step:
                self.log.tokens += step.prefill_tokens + step.decodes
                self.recorder.answer(alive(step.first), now)
                self.recorder.end(alive(step.finishing), now)
                rank.complete(step.finishing)

    def used(self) -> int:
        """Blocks in use."""
        return sum(rank.blocks.total - rank.blocks.free for rank in self.schedulers)
