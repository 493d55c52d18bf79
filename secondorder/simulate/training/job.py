"""A training run of weeks on SimPy: one event a phase.

It trains from checkpoint to checkpoint until a failure interrupts it; then it stands still while the failure is
noticed and the node replaced, restarts, and goes on from the checkpoint. The failures are a process of their own,
which sleeps through the downtime.
"""

import simpy

from secondorder.laws import Service
from secondorder.quantities import si
from secondorder.scenarios.training import Training
from secondorder.simulate.training.causes import Causes, draw, step_of
from secondorder.simulate.training.checkpoints import saving
from secondorder.simulate.training.depot import Depot
from secondorder.simulate.training.elastic import ElasticJob
from secondorder.simulate.training.headway import MOST_IN_VAIN, no_headway
from secondorder.simulate.training.recorder import Process, Recorder, Savepoint, Story
from secondorder.simulate.training.storage import shared_path
from secondorder.simulate.training.work import work_of


def run(
    scenario: Training, *, seed: int = 0, replication: int = 0, log: bool = True, step: Service | None = None
) -> Story:
    """One replication: a run from its start to its end, as a story.

    The same scenario, seed and replication give the same story, bit for bit. ``log`` keeps its phases.
    ``step`` is the law of a step where it has been worked out before (``causes.step_of``).

    Clocks: failures strike in work, in blocking writes, pauses and verifications and in restarts, not in a
    downtime. End: at ``duration``, where work that is not yet in a checkpoint counts as kept, since nothing has
    lost it (but not work that a silent error has spoiled); or when ``work`` is done and its last checkpoint durable.
    Errors: ``InfeasibleError`` where it gets nowhere: failure upon failure without a new checkpoint.

    >>> from secondorder.scenarios.training import Checkpoint, Recovery
    >>> story = run(Training(failures="exponential 8240 s", checkpoint=Checkpoint(interval="994 s", write="60 s"),
    ...     recovery=Recovery(restart="300 s"), duration="30 day"))
    >>> len(story.failures), round(story.goodput, 3)
    (319, 0.856)
    """
    law = step_of(scenario, seed) if step is None else step
    return tell(scenario, draw(scenario, seed, replication, law), step=law, log=log)


def tell(scenario: Training, causes: Causes, *, step: Service | None = None, log: bool = True) -> Story:
    """The run to which just this happens.

    >>> from secondorder.scenarios.training import Checkpoint, Recovery
    >>> short = Training(failures="exponential 1 h", checkpoint=Checkpoint(interval="100 s", write="10 s"),
    ...     recovery=Recovery(restart="20 s", detection="5 s"), duration="200 s")
    >>> tell(short, Causes(failures=iter([130.0, 10.0, 1e9]))).phases  # the second failure strikes in the restart
    (('work', 0.0, 100.0), ('write', 100.0, 110.0), ('work', 110.0, 130.0), ('detection', 130.0, 135.0),
    ('restart', 135.0, 145.0), ('detection', 145.0, 150.0), ('restart', 150.0, 170.0), ('work', 170.0, 200.0))
    """
    law = step_of(scenario, 0) if step is None else step
    made = Job if scenario.elastic is None else ElasticJob
    job = made(scenario, causes, law, log=log)
    job.env.run(until=job.training if scenario.duration is None else si(scenario.duration))
    return job.end()


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
        self.elapsed = 0.0  # in the segment that the end cuts short
        self.must_end = scenario.work is not None
        self.in_vain = self.best = 0
        self.saving = saving(scenario.policy, self)
        self.running = env.event()
        self.training = env.process(self.live())
        env.process(self.fail())

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
            yield from self.spend("work", self.work.seconds(self.segment))
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
        """So long in one phase."""
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
        """To what a checkpoint holds."""
        self.recorder.lose(saved)
        self.segment, self.elapsed = saved.segments, 0.0

    def check_headway(self) -> None:
        """Give a run up that gets nowhere."""
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
        return self.recorder.story(self.work.steps(self.segment, self.elapsed))
