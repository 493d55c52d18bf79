"""What each kind of checkpoint does to a run: the processes that save it, and where a failure sends it back to.

Every kind has the same five verbs: ``resume`` (before work goes on), ``save`` (after each segment), ``finish`` (when
all is done), ``fall_back`` (a failure: gives the length of the restart) and ``end`` (the time is over). A kind that
needs chance of its own, beyond the failures, registers it with ``causes.chance_of_checkpoints``; ``saving`` finds the
class of a policy.
"""

from functools import singledispatch
from typing import Protocol

import simpy

from secondorder.quantities import si
from secondorder.scenarios.training import (
    AsyncCheckpoint,
    Checkpoint,
    CheckpointPolicy,
    TwoLevelCheckpoint,
    VerifiedCheckpoint,
)
from secondorder.simulate.training.causes import Causes, Chance, chance_of_checkpoints, coins, waits
from secondorder.simulate.training.recorder import START, Process, Recorder, Savepoint
from secondorder.simulate.training.work import Work


class Job(Protocol):
    """What a checkpoint can see and do of the run that it saves."""

    env: simpy.Environment
    recorder: Recorder
    causes: Causes
    work: Work
    segment: int
    restart_seconds: float

    def spend(self, phase: str, seconds: float) -> Process:
        """So long in one phase."""
        ...

    def write(self, phase: str) -> Process:
        """A checkpoint to storage while training stops."""
        ...

    def occupy_storage(self) -> Process:
        """A checkpoint to storage while training goes on."""
        ...

    def mark(self) -> Savepoint:
        """What a checkpoint made now holds."""
        ...

    def go_back(self, saved: Savepoint) -> None:
        """Go back to what a checkpoint holds."""


class Blocking:
    """Training stops while a checkpoint is written."""

    def __init__(self, job: Job) -> None:
        self.job, self.saved = job, START

    def resume(self) -> Process:
        """Nothing is owed."""
        yield from ()

    def save(self) -> Process:
        """Write; from then on a failure leads back to here."""
        yield from self.job.write("write")
        self.saved = self.job.mark()

    def finish(self) -> Process:
        """Nothing is owed."""
        yield from ()

    def fall_back(self) -> float:
        """To the last checkpoint."""
        self.job.go_back(self.saved)
        return self.job.restart_seconds

    def end(self) -> None:
        """What is done by then is not lost."""


class Async(Blocking):
    """Training stops for a copy, which is then drained while training goes on. One buffer."""

    def __init__(self, job: Job, policy: AsyncCheckpoint) -> None:
        super().__init__(job)
        self.pause = si(policy.pause)
        self.drain_process: simpy.Process | None = None

    def save(self) -> Process:
        """Wait until the buffer is free, copy, let it drain."""
        yield from self.finish()
        yield from self.job.spend("pause", self.pause)
        self.drain_process = self.job.env.process(self.drain(self.job.mark()))

    def drain(self, copied: Savepoint) -> Process:
        """From the buffer to the storage; a failure of the run ends it."""
        began = self.job.env.now
        try:
            yield from self.job.occupy_storage()
            self.saved = copied
        except simpy.Interrupt:
            pass
        self.job.recorder.drained(began)

    def finish(self) -> Process:
        """Wait for the drain, if there is one."""
        if self.drain_process is not None and self.drain_process.is_alive:
            self.job.recorder.enter("wait for drain")
            yield self.drain_process
            self.job.recorder.leave()

    def fall_back(self) -> float:
        """To the last checkpoint that was drained; one that is being drained is lost."""
        if self.drain_process is not None and self.drain_process.is_alive:
            self.drain_process.interrupt("failure")
        return super().fall_back()


class TwoLevel(Blocking):
    """A light checkpoint after each segment, a durable one (``saved``) after some, and at the end."""

    def __init__(self, job: Job, policy: TwoLevelCheckpoint) -> None:
        super().__init__(job)
        self.write_seconds, self.every = si(policy.write), policy.every
        self.light_restart = si(policy.light_restart)
        self.light = START
        self.light_lost = False  # until a restart from the durable one is over

    def resume(self) -> Process:
        """A restart puts the light copy in place; a durable write that a light failure cut short is done again."""
        self.light_lost = False
        yield from self.write_durable_if_due()

    def save(self) -> Process:
        """The light one, and the durable one when its turn has come."""
        yield from self.job.spend("light write", self.write_seconds)
        self.light = self.job.mark()
        yield from self.write_durable_if_due()

    def write_durable_if_due(self) -> Process:
        """After every this many segments, and after the last."""
        done = self.job.segment
        if done > self.saved.segments and (done % self.every == 0 or done == self.job.work.segments):
            yield from self.job.write("durable write")
            self.saved = self.light = self.job.mark()

    def fall_back(self) -> float:
        """By the failure's severity; without a light copy to the durable one in any case."""
        light = next(self.job.causes.light)
        self.light_lost = self.light_lost or not light
        if self.light_lost:
            self.light = self.saved
        self.job.go_back(self.light)
        return self.job.restart_seconds if self.light_lost else self.light_restart


class Verified(Blocking):
    """The result of each segment is verified before it is written."""

    def __init__(self, job: Job, policy: VerifiedCheckpoint) -> None:
        super().__init__(job)
        self.verify_seconds = si(policy.verify)
        self.strikes = next(job.causes.silent)  # on the clock of work

    @property
    def struck(self) -> bool:
        """Whether an error is in the work since the last checkpoint."""
        return self.strikes <= self.job.recorder.worked

    def forget(self) -> None:
        """The errors up to now went with the work that was lost."""
        while self.struck:
            self.strikes += next(self.job.causes.silent)

    def save(self) -> Process:
        """Verify, and write; or go back and restart."""
        yield from self.job.spend("verify", self.verify_seconds)
        if not self.struck:
            yield from super().save()
            return
        self.job.recorder.silent += 1
        restart = self.fall_back()
        yield from self.job.spend("restart", restart)

    def fall_back(self) -> float:
        """To the last checkpoint, which was verified."""
        self.forget()
        return super().fall_back()

    def end(self) -> None:
        """Work that an error has spoiled is lost, though nobody knows yet."""
        if self.struck:
            self.fall_back()


@singledispatch
def saving(policy: CheckpointPolicy, job: Job) -> Blocking:
    """What the policy does to the run."""
    raise NotImplementedError(f"saving.register a class for {type(policy).__name__}")


@saving.register
def _(policy: Checkpoint, job: Job) -> Blocking:
    return Blocking(job)


@saving.register
def _(policy: AsyncCheckpoint, job: Job) -> Blocking:
    return Async(job, policy)


@saving.register
def _(policy: TwoLevelCheckpoint, job: Job) -> Blocking:
    return TwoLevel(job, policy)


@chance_of_checkpoints.register
def _(policy: TwoLevelCheckpoint, causes: Causes, chance: Chance) -> None:
    causes.light = coins(policy.light_share, chance("severity"))


@saving.register
def _(policy: VerifiedCheckpoint, job: Job) -> Blocking:
    return Verified(job, policy)


@chance_of_checkpoints.register
def _(policy: VerifiedCheckpoint, causes: Causes, chance: Chance) -> None:
    causes.silent = waits(si(policy.silent_mtbf), chance("silent errors"))
