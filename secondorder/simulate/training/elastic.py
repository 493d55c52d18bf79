"""An elastic training run on SimPy: each replica that fails recovers in a separate process while the others continue.

The run trains and saves by turns. When a replica leaves or comes back, the others stop to regroup; then the phase
goes on where it was. A failure of all replicas, or the loss of the last one, sends the run back to its checkpoint.
"""

from dataclasses import dataclass, replace

import simpy

from secondorder.laws import Service
from secondorder.quantities import si
from secondorder.scenarios.training import AsyncCheckpoint, Training
from secondorder.simulate.training.causes import Causes
from secondorder.simulate.training.depot import Depot
from secondorder.simulate.training.headway import MOST_IN_VAIN, no_headway
from secondorder.simulate.training.recorder import START, Process, Recorder, Savepoint, Story
from secondorder.simulate.training.work import work_of

CHANGE, SHARED = "a replica leaves or comes back", "all replicas fail"
"""Causes of an interrupt."""


class Lost(Exception):
    """The state of all replicas is gone."""


@dataclass(frozen=True)
class Drain:
    """A checkpoint that is being written in the background, and when that is over."""

    copied: Savepoint
    ends: float


class ElasticJob:
    """The run and what its processes share."""

    def __init__(self, scenario: Training, causes: Causes, step: Service | None, *, log: bool) -> None:
        assert scenario.elastic is not None
        self.env = env = simpy.Environment(initial_time=0.0)
        self.recorder = Recorder(env, log=log)
        self.causes, self.elastic = causes, scenario.elastic
        endless = scenario if scenario.work is None else replace(scenario, work=None, duration=scenario.work)
        self.work = work_of(endless, step, causes.steps)
        self.target = float("inf") if scenario.work is None else si(scenario.work)
        self.step = 0.0 if step is None else step.moment(1)
        self.policy = scenario.policy
        self.stop, self.write_seconds = scenario.blocking_seconds, scenario.write_seconds
        recovery = scenario.recovery
        self.detection, self.replacement = si(recovery.detection), si(recovery.replacement)
        self.restart, self.reload = si(recovery.restart), si(scenario.elastic.reload)
        self.pause = si(scenario.elastic.regroup)
        self.depot = None if scenario.spares is None else Depot(env, scenario.spares, causes.repairs)
        self.up = self.elastic.replicas
        self.working = self.up  # replicas that take part in the phase
        self.waits: dict[simpy.Event, float] = {}  # since when each replica waits for a node
        self.waited = 0.0
        self.segment = self.in_vain = self.best = 0
        self.saved = START
        self.drain: Drain | None = None
        self.heeds = False  # whether changes of replicas interrupt the run
        self.down = False  # whether a failure of all has not been mended yet
        self.running, self.back = env.event(), env.event()
        self.training = env.process(self.live())
        env.process(self.fail())

    # The replicas

    def fail(self) -> Process:
        """One failure after the other: of all replicas, or of one that is up."""
        for gap in self.causes.failures:
            yield self.env.timeout(gap)
            if next(self.causes.shared):
                self.recorder.failures.append(self.env.now)
                self.running, self.down = self.env.event(), True
                self.training.interrupt(SHARED)
                yield self.running
            elif next(self.causes.struck) * self.elastic.replicas < self.up:
                self.recorder.failures.append(self.env.now)
                self.up -= 1
                self.tell()
                self.env.process(self.heal())

    def heal(self) -> Process:
        """One replica, until it is back."""
        yield from self.mend()
        while next(self.causes.misled):
            yield from self.mend()
        self.up += 1
        self.tell()

    def mend(self) -> Process:
        """Notice the failure, take another node, and load the state of a neighbour."""
        yield self.env.timeout(self.detection)
        if self.depot is not None:
            node = self.depot.exchange()
            self.waits[node] = self.env.now
            yield node
            self.waited += self.env.now - self.waits.pop(node)
        yield self.env.timeout(self.replacement + self.reload)

    def tell(self) -> None:
        """Let the run know that the replicas have changed."""
        if self.heeds and self.training.is_alive:
            self.training.interrupt(CHANGE)
        if self.up >= self.elastic.fewest and not self.back.triggered:
            self.back.succeed()

    # The run

    def live(self) -> Process:
        """Train to the end; where all is lost, go back and restart."""
        while True:
            try:
                self.heeds = True
                yield from self.train()
                self.heeds = False
                return
            except Lost:
                self.heeds = False
                self.go_back()
            yield from self.come_back()

    def train(self) -> Process:
        """Work and save by turns."""
        if self.up < self.elastic.fewest:
            yield from self.regroup(CHANGE)
        while not self.done:
            yield from self.go_through("work", self.work.seconds(self.segment))
            self.segment += 1
            yield from self.save()
        yield from self.finish_drain()

    @property
    def done(self) -> bool:
        """Whether the work is done, apart from rounding."""
        return self.recorder.spent["work"] >= self.target * (1 - 1e-12)

    def save(self) -> Process:
        """Write a checkpoint, or copy it when the one before is drained."""
        if not isinstance(self.policy, AsyncCheckpoint):
            yield from self.go_through("write", self.stop)
            self.saved = self.recorder.mark(self.segment)
            return
        yield from self.finish_drain()
        yield from self.go_through("pause", self.stop)
        self.drain = Drain(self.recorder.mark(self.segment), self.env.now + self.write_seconds)

    def finish_drain(self) -> Process:
        """Wait until the last copy is whole."""
        while self.drain is not None and self.env.now < self.drain.ends:
            yield from self.go_through("wait for drain", self.drain.ends - self.env.now)
        self.keep_drained()

    def keep_drained(self) -> None:
        """Once a copy is whole, it is the one to come back to."""
        if self.drain is not None and self.drain.ends <= self.env.now:
            self.saved, self.drain = self.drain.copied, None

    def go_through(self, phase: str, seconds: float) -> Process:
        """Spend this long in one phase, not counting the time to regroup; work ends when all is done."""
        left = seconds
        while left > 0 and not (phase == "work" and self.done):
            stretch = min(left, self.until_done()) if phase == "work" else left
            began = self.env.now
            self.enter(phase)
            try:
                yield self.env.timeout(stretch)
                left -= stretch
                self.leave()
            except simpy.Interrupt as interrupt:
                left -= self.env.now - began
                self.leave()
                yield from self.regroup(interrupt.cause)

    def until_done(self) -> float:
        """Running time until the work is done, with as many replicas as there are."""
        return (self.target - self.recorder.spent["work"]) * self.elastic.replicas / self.up

    def regroup(self, cause: object) -> Process:
        """The others stop until there are enough, and for as long as it takes to go on together."""
        while True:
            if cause == SHARED or self.up == 0:
                raise Lost(cause)
            enough = self.up >= self.elastic.fewest
            if enough and self.pause == 0:
                return
            self.enter("regroup" if enough else "wait for replicas")
            try:
                yield self.env.timeout(self.pause) if enough else self.env.event()
                self.leave()
                return
            except simpy.Interrupt as interrupt:
                cause = interrupt.cause
                self.leave()

    # After a loss

    def go_back(self) -> None:
        """To the last checkpoint that is whole."""
        self.keep_drained()
        self.drain = None
        at = self.saved.segments
        self.in_vain, self.best = (self.in_vain + 1, self.best) if at == self.best else (0, at)
        if self.in_vain > MOST_IN_VAIN:
            raise no_headway()
        self.recorder.lose(self.saved)
        self.segment = at

    def come_back(self) -> Process:
        """Mend a failure of all, wait for enough replicas, restart; another failure of all begins this again."""
        while True:
            try:
                if self.down:
                    yield from self.mend_all()
                if self.up < self.elastic.fewest:
                    yield from self.wait_for_replicas()
                yield from self.spend("restart", self.restart)
                return
            except simpy.Interrupt:
                self.leave()

    def mend_all(self) -> Process:
        """Notice the failure and mend what failed. Nothing runs that could fail."""
        yield from self.spend("detection", self.detection)
        yield from self.spend("replacement", self.replacement)
        while next(self.causes.misled):
            yield from self.spend("vain restart", self.restart)
            yield from self.spend("detection", self.detection)
            yield from self.spend("replacement", self.replacement)
        self.down = False
        self.running.succeed()

    def wait_for_replicas(self) -> Process:
        """Until there are enough."""
        self.back = self.env.event()
        self.enter("wait for replicas")
        yield self.back
        self.leave()

    # Its sentences

    def spend(self, phase: str, seconds: float) -> Process:
        """Spend this long in one phase, whatever the replicas do."""
        if seconds > 0:
            self.enter(phase)
            yield self.env.timeout(seconds)
            self.leave()

    def enter(self, phase: str) -> None:
        """A phase begins with the replicas that are up."""
        self.working = self.up
        self.recorder.enter(phase)

    def leave(self) -> None:
        """End the phase; the share of the work that missing replicas did not do counts as downtime."""
        phase, since, spent = self.recorder.phase, self.recorder.since, self.recorder.spent
        self.recorder.leave()
        if phase == "work":
            idle = (self.env.now - since) * (1 - self.working / self.elastic.replicas)
            spent["work"] -= idle
            spent["downtime"] += idle

    def end(self) -> Story:
        """Close the books."""
        self.leave()
        waited = self.waited + sum(self.env.now - since for since in self.waits.values())
        steps = int(self.recorder.spent["work"] / self.step * (1 + 1e-12)) if self.step > 0 else 0
        return replace(self.recorder.story(steps), waiting=waited / self.elastic.replicas)
