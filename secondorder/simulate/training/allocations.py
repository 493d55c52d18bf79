"""A training run on SimPy whose allocations end at a planned time: a last checkpoint, the queue, a restart."""

import simpy

from secondorder.laws import Service
from secondorder.quantities import si
from secondorder.scenarios.training import Training
from secondorder.simulate.training.causes import Causes
from secondorder.simulate.training.headway import MOST_IN_VAIN, no_headway
from secondorder.simulate.training.recorder import Process
from secondorder.simulate.training.whole_job import Job

NOTICE = "the allocation ends"
"""Cause of an interrupt."""


class AllocatedJob(Job):
    """The run, its failures while it has an allocation, and the ends of its allocations."""

    def __init__(self, scenario: Training, causes: Causes, step: Service | None, *, log: bool) -> None:
        assert scenario.allocation is not None
        self.usable, self.grace = scenario.allocation.usable, si(scenario.allocation.grace)
        self.requeue = si(scenario.allocation.requeue)
        self.best_work = 0.0
        super().__init__(scenario, causes, step, log=log)

    def live(self) -> Process:
        """Train through one allocation after the other."""
        restart = 0.0
        while True:
            ends = self.env.now + self.usable
            self.env.process(self.give_notice())
            try:
                yield from self.train_on(restart)
            except simpy.Interrupt:
                yield from self.close()
            self.failing.interrupt(NOTICE)
            yield from self.spend("idle", max(ends + self.grace - self.env.now, 0.0))
            yield from self.spend("requeue", self.requeue)
            self.failing = self.env.process(self.fail())
            restart = self.restart_seconds

    def give_notice(self) -> Process:
        """End the allocation after its usable time."""
        yield self.env.timeout(self.usable)
        self.training.interrupt(NOTICE)

    def train_on(self, restart: float) -> Process:
        """Go on through failures until the notice of the end, which is passed on."""
        while True:
            try:
                yield from self.spend("restart", restart)
                yield from self.train()
            except simpy.Interrupt as interrupt:
                if interrupt.cause == NOTICE:
                    raise
                self.recorder.leave()
                restart = self.saving.fall_back()
                yield from self.stand_still()

    def close(self) -> Process:
        """Save what is done, if there is time for it, and lose the rest."""
        phase, since = self.recorder.phase, self.recorder.since
        self.recorder.leave()
        left = {"work": self.write_seconds, "write": self.write_seconds - (self.env.now - since)}.get(phase)
        try:
            if self.grace > 0 and left is not None:
                yield from self.spend("last write", left)
                self.saving.saved = self.mark()
        except simpy.Interrupt:
            self.recorder.leave()
        self.saving.fall_back()

    def fail(self) -> Process:
        """One failure after the other, until the allocation is given back."""
        try:
            yield from super().fail()
        except simpy.Interrupt:
            return

    def check_headway(self) -> None:
        """Give up a run that gets nowhere: also a part of an interval may be saved."""
        work = self.saving.saved.work
        self.in_vain, self.best_work = (self.in_vain + 1 if work == self.best_work else 0), work
        if self.in_vain > MOST_IN_VAIN:
            raise no_headway()
