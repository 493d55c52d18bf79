"""A training run that every failure stops as a whole, on SimPy: one event a phase.

It trains from checkpoint to checkpoint until a failure interrupts it; then it stands still while the failure is
noticed and the node replaced, restarts, and goes on from the checkpoint. The failures are a process of their own,
which sleeps through the downtime.
"""

from dataclasses import replace

import simpy

from secondorder.laws import Service
from secondorder.quantities import si
from secondorder.scenarios.training import Training
from secondorder.simulate.training.causes import Causes
from secondorder.simulate.training.checkpoints import saving
from secondorder.simulate.training.depot import Depot
from secondorder.simulate.training.headway import MOST_IN_VAIN, no_headway
from secondorder.simulate.training.kept_segments import Segments
from secondorder.simulate.training.recorder import Process, Recorder, Savepoint, Story
from secondorder.simulate.training.storage import shared_path
from secondorder.simulate.training.work import work_of


class Job:
    """The run and what its processes share."""

    def __init__(self, scenario: Training, causes: Causes, step: Service | None, *, log: bool) -> None:
        self.env = env = simpy.Environment(initial_time=0.0)
        self.recorder = Recorder(env, log=log)
        self.causes = causes
        self.work = work_of(scenario, step, causes.steps)
        self.path = shared_path(env, scenario, causes.others)
        self.depot = None if scenario.spares is None else Depot(env, scenario.spares, causes.repairs)
        self.detection, self.replacement = si(scenario.recovery.detection), si(scenario.recovery.replacement)
        self.restart_seconds, self.write_seconds = si(scenario.recovery.restart), scenario.write_seconds
        self.segment = 0
        self.segments = Segments()
        self.elapsed = 0.0  # in the segment that the end cuts short
        self.must_end = scenario.work is not None
        self.in_vain = self.best = 0
        self.saving = saving(scenario.policy, self)
        self.running = env.event()
        self.training = env.process(self.live())
        self.failing = env.process(self.fail())

    # The story

    def live(self) -> Process:
        """Train to the end; after each failure stand still, restart and train on."""
        restart = 0.0
        while True:
            try:
                yield from self.spend("restart", restart)
                yield from self.train()
                return
            except simpy.Interrupt:
                self.recorder.leave()
                restart = self.saving.fall_back()
                yield from self.stand_still()

    def train(self) -> Process:
        """Work and save by turns."""
        yield from self.saving.resume()
        while self.segment < self.work.segments:
            seconds = self.work.seconds(self.segment)
            self.segments.begin()
            yield from self.spend("work", seconds)
            self.segments.end(self.work.drawn(self.segment))
            self.segment += 1
            yield from self.saving.save()
        yield from self.saving.finish()

    def fail(self) -> Process:
        """One failure after the other, each when the platform has run for its gap."""
        for gap in self.causes.failures:
            yield self.env.timeout(gap)
            self.recorder.failures.append(self.env.now)
            self.running = self.env.event()
            self.training.interrupt("failure")
            yield self.running

    def stand_still(self) -> Process:
        """Notice the failure, wait for a node if there is no spare, replace. Nothing runs that could fail."""
        self.check_headway()
        yield from self.exchange()
        while next(self.causes.misled):
            yield from self.spend("vain restart", self.restart_seconds)
            yield from self.exchange()
        self.running.succeed()

    def exchange(self) -> Process:
        """Notice the failure, and put a spare in the place of the node that is thought to have failed."""
        yield from self.spend("detection", self.detection)
        if self.depot is not None:
            self.recorder.enter("wait for repair")
            yield self.depot.exchange()
            self.recorder.leave()
        yield from self.spend("replacement", self.replacement)

    # Its sentences

    def spend(self, phase: str, seconds: float) -> Process:
        """Spend this long in one phase."""
        if seconds > 0:
            self.recorder.enter(phase)
            yield self.env.timeout(seconds)
            self.recorder.leave()

    def write(self, phase: str) -> Process:
        """A checkpoint to storage while training stops."""
        if self.path is None:
            yield from self.spend(phase, self.write_seconds)
            return
        self.recorder.enter("wait for storage")
        with self.path.request() as turn:
            yield turn
            self.recorder.leave()
            yield from self.spend(phase, self.write_seconds)

    def occupy_storage(self) -> Process:
        """A checkpoint to storage while training goes on."""
        if self.path is None:
            yield self.env.timeout(self.write_seconds)
            return
        with self.path.request() as turn:
            yield turn
            yield self.env.timeout(self.write_seconds)

    def mark(self) -> Savepoint:
        """What a checkpoint made now holds."""
        return self.recorder.mark(self.segment)

    def go_back(self, saved: Savepoint) -> None:
        """Go back to what a checkpoint holds."""
        self.recorder.lose(saved)
        self.segments.go_back(saved.segments)
        self.segment, self.elapsed = saved.segments, 0.0

    def check_headway(self) -> None:
        """Give up a run that gets nowhere."""
        saved = self.saving.saved.segments
        self.in_vain, self.best = (self.in_vain + 1, self.best) if saved == self.best else (0, saved)
        if self.in_vain > MOST_IN_VAIN:
            raise no_headway()

    def end(self) -> Story:
        """Close the books."""
        if self.recorder.phase == "work":
            self.elapsed = self.env.now - self.recorder.since
        self.recorder.leave()
        self.saving.end()
        story = self.recorder.story(self.work.steps(self.segment, self.elapsed))
        if not self.work.varies:
            return story
        return replace(story, segments=self.segments.story(self.saving.saved.segments, self.work.each))
