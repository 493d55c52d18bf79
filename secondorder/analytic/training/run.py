"""A training run read for its closed forms: times in seconds, and where the time goes.

Shares are those of a long run. Of a run with ``work`` they are those of the mean time that it takes, whatever is
left for the last interval; an interval is never longer than the work.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import assert_never

from secondorder.analytic.training import counts
from secondorder.analytic.training.asynchronous import async_cycle, async_run
from secondorder.analytic.training.cycle import Cycle, in_turn
from secondorder.analytic.training.gap_survival import Gap, exponential_gap, is_poisson, palm_gap
from secondorder.analytic.training.new_nodes import AgingRun, aging_run
from secondorder.analytic.training.periodic import blocking_cycle, segments
from secondorder.analytic.training.shared_storage import mean_storage_wait, queueing_cycle
from secondorder.analytic.training.silent import silent_cycle
from secondorder.analytic.training.spares import (
    availability,
    availability_with_crews,
    head_start,
    wait_for_repair,
)
from secondorder.analytic.training.two_level import TwoLevels
from secondorder.analytic.training.varying_steps import StepFactors, error_at_mean, step_factors
from secondorder.errors import InputError
from secondorder.fleets.failures import NewNodes, PlatformRenewal, ReplicatedPairs
from secondorder.laws import Service
from secondorder.quantities import si
from secondorder.scenarios.training import (
    AsyncCheckpoint,
    Checkpoint,
    Training,
    TwoLevelCheckpoint,
    VerifiedCheckpoint,
)
from secondorder.scenarios.training_step import TrainingStep

MOST_FAILURES = 1e9
"""Times between failures that work may take."""

MOST_SPARES = 400
"""Spares up to which the chain of nodes in repair is solved with the downtime in it."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """A scenario read: times in s, and what follows from them."""

    scenario: Training

    @cached_property
    def step(self) -> float | None:
        """Mean time of a step; None where work is a fluid."""
        match self.scenario.step:
            case None:
                return None
            case TrainingStep() as step:
                return _mean_step(step)
            case law:
                assert isinstance(law, Service)
                return law.moment(1)

    @cached_property
    def interval(self) -> float:
        """Work between checkpoints: whole steps, as many as fill the scenario's interval; no more than the work."""
        interval = _whole_steps(self.scenario.interval, self.step)
        return interval if self.work is None else min(interval, self.work)

    @cached_property
    def work(self) -> float | None:
        """What has to be done, in whole steps."""
        return None if self.scenario.work is None else _whole_steps(si(self.scenario.work), self.step)

    @property
    def every(self) -> int:
        """Intervals from one durable checkpoint to the next."""
        policy = self.scenario.policy
        return policy.every if isinstance(policy, TwoLevelCheckpoint) else 1

    @cached_property
    def stretches(self) -> list[tuple[list[float], int]]:
        """The intervals from one durable checkpoint to the next, and how often they come."""
        full = [self.interval] * self.every
        if self.work is None:
            return [(full, 1)]
        whole, left = segments(self.work, self.interval)
        count, more = divmod(whole, self.every)
        rest = [self.interval] * more + [left] * (left > 0)
        return [(works, repeats) for works, repeats in ((full, count), (rest, 1)) if works and repeats]

    @cached_property
    def mtbf(self) -> float:
        return self.scenario.mtbf

    @cached_property
    def restart(self) -> float:
        return si(self.scenario.recovery.restart)

    @cached_property
    def poisson(self) -> bool:
        return is_poisson(self.scenario.process)

    @cached_property
    def storage_wait(self) -> float:
        """Mean wait of a write for the path."""
        storage = self.scenario.storage
        if storage is None or storage.other_write is None:
            return 0.0
        return mean_storage_wait(busy=storage.busy, other_write=si(storage.other_write))

    @cached_property
    def write(self) -> float:
        """Mean time until a checkpoint is written: waiting for the path and the write itself."""
        return self.scenario.write_seconds + self.storage_wait

    @cached_property
    def blocking(self) -> float:
        """For how long a checkpoint stops an interval's work on average, when nothing fails."""
        return self.stopped([self.interval] * self.every) / self.every

    def stopped(self, works: list[float]) -> float:
        """For how long checkpoints stop the work of these intervals up to a durable one, when nothing fails."""
        match self.scenario.policy:
            case Checkpoint():
                return len(works) * self.write
            case AsyncCheckpoint(pause=pause):
                return sum(si(pause) + max(0.0, self.write - work) for work in works)
            case TwoLevelCheckpoint(write=light):
                return len(works) * si(light) + self.write
            case VerifiedCheckpoint(verify=verify):
                return len(works) * (si(verify) + self.write)
            case policy:
                assert_never(policy)

    @cached_property
    def quiet_goodput(self) -> float:
        """When nothing fails. A run's first checkpoint finds no drain to wait for; its last drain is waited for."""
        work = sum(count * sum(works) for works, count in self.stretches)
        stopped = sum(count * self.stopped(works) for works, count in self.stretches)
        if self.work is not None and isinstance(self.scenario.policy, AsyncCheckpoint):
            stopped += min(self.write, self.interval)
        return work / (work + stopped)

    @cached_property
    def downtime(self) -> float:
        """After a failure: detection, replacement, mean wait for a repair."""
        return self.downtime_at(self.mtbf)

    def downtime_at(self, mtbf: float) -> float:
        return self.own_downtime + self.wait_at(mtbf)

    @property
    def own_downtime(self) -> float:
        """After a failure, without waits for a repair; attempts after false diagnoses at their mean."""
        return self.scenario.recovery.downtime + self.scenario.recovery.vain

    def wait_at(self, mtbf: float) -> float:
        """Mean wait of a failure for repairs: each diagnosis sends a node to one, a false one too."""
        tries = 1 / (1 - self.scenario.recovery.misdiagnosed)
        return tries * self.one_wait_at(mtbf / tries)

    def one_wait_at(self, mtbf: float) -> float:
        """Mean wait for one repair, where nodes are sent to repair so often."""
        spares, recovery = self.scenario.spares, self.scenario.recovery
        if spares is None:
            return 0.0
        repair = spares.absence
        aside = recovery.downtime == 0 and spares.crews is None
        if not aside and spares.count <= MOST_SPARES and not self.aging:
            return wait_for_repair(
                mtbf=mtbf,
                repair=repair,
                spares=spares.count,
                crews=spares.crews,
                detection=si(recovery.detection),
                replacement=si(recovery.replacement),
            )
        if spares.crews is None:
            able = float(availability(mtbf=mtbf, repair=repair, spares=spares.count))
        else:
            able = float(availability_with_crews(mtbf=mtbf, repair=repair, spares=spares.count, crews=spares.crews))
        return mtbf * (1 / able - 1)

    @property
    def aging(self) -> bool:
        """Whether the failures' rate changes over the run."""
        return isinstance(self.scenario.process, NewNodes) and not self.poisson

    @cached_property
    def levels(self) -> TwoLevels:
        return self.levels_at(self.mtbf, self.downtime)

    def levels_at(self, mtbf: float, downtime: float) -> TwoLevels:
        policy = self.scenario.policy
        assert isinstance(policy, TwoLevelCheckpoint)
        return TwoLevels(
            write=si(policy.write),
            durable_write=self.write,
            light_share=policy.light_share,
            light_restart=si(policy.light_restart),
            restart=self.restart,
            downtime=downtime,
            mtbf=mtbf,
        )

    def cycle(self, gap: Gap, downtime: float) -> Cycle:
        """Where the time goes in the long run, with such gaps between failures."""
        return in_turn([(count * sum(works), self.cycle_of(works, gap, downtime)) for works, count in self.stretches])

    @property
    def step_law(self) -> Service | None:
        """The law of a step, where it is given."""
        return self.scenario.step if isinstance(self.scenario.step, Service) else None

    @property
    def silent_mtbf(self) -> float:
        """Mean time between silent errors; infinite where there are none."""
        policy = self.scenario.policy
        return si(policy.silent_mtbf) if isinstance(policy, VerifiedCheckpoint) else math.inf

    def factors_at(self, mtbf: float) -> StepFactors:
        """What varying steps change under Poisson failures."""
        return step_factors(self.step_law, mtbf=mtbf, silent_mtbf=self.silent_mtbf)

    @cached_property
    def error_of_steps(self) -> float:
        """How much too high the goodput may be, relatively, where a closed form takes varying steps at their mean."""
        law = self.step_law
        return 0.0 if law is None or self.poisson or self.aging else error_at_mean(law, mtbf=self.mtbf)

    @cached_property
    def factors(self) -> StepFactors:
        return self.factors_at(self.mtbf)

    def cycle_of(self, works: list[float], gap: Gap, downtime: float) -> Cycle:
        """The same of these intervals, over and over; with other gaps than exponential ones, steps at their mean."""
        factors = self.factors_at(gap.mean) if gap.memoryless else StepFactors()
        return factors.rescale(self._cycle_of([work * factors.met for work in works], gap, downtime, factors))

    def _cycle_of(self, works: list[float], gap: Gap, downtime: float, factors: StepFactors) -> Cycle:
        """The same of intervals of such certain lengths."""
        tau, restart, storage = works[0], self.restart, self.scenario.storage
        match self.scenario.policy:
            case Checkpoint() if gap.memoryless and storage is not None and storage.other_write is not None:
                return queueing_cycle(
                    mtbf=gap.mean,
                    interval=tau,
                    write=self.scenario.write_seconds,
                    restart=restart,
                    downtime=downtime,
                    busy=storage.busy,
                    other_write=si(storage.other_write),
                )
            case Checkpoint():
                return blocking_cycle(gap=gap, interval=tau, write=self.write, restart=restart, downtime=downtime)
            case AsyncCheckpoint(pause=pause):
                return async_cycle(
                    gap=gap, interval=tau, pause=si(pause), drain=self.write, restart=restart, downtime=downtime
                )
            case TwoLevelCheckpoint():
                return self.levels_at(gap.mean, downtime).cycle_of(works)
            case VerifiedCheckpoint(verify=verify):
                return silent_cycle(
                    interval=tau,
                    write=self.write,
                    verify=si(verify),
                    silent_mtbf=_spoiling(factors, gap.mean, self.silent_mtbf),
                    mtbf=gap.mean,
                    restart=restart,
                    downtime=downtime,
                )
            case policy:
                assert_never(policy)

    @cached_property
    def aged(self) -> AgingRun:
        """The run of new nodes."""
        process = self.scenario.process
        assert isinstance(process, NewNodes)
        duration = None if self.scenario.duration is None else si(self.scenario.duration)
        return aging_run(
            process=process,
            cycle=lambda mtbf: self.cycle(exponential_gap(mtbf), self.downtime_at(mtbf)),
            downtime=self.downtime_at,
            duration=duration,
            work=self.work,
        )

    @cached_property
    def shares(self) -> dict[str, float]:
        """Shares of the wall time, order 2, of a run that every failure stops."""
        return self.aged.shares if self.aging else self.whole.shares

    @cached_property
    def whole(self) -> Cycle:
        """The whole run of a stationary process, or of the long run."""
        policy = self.scenario.policy
        if isinstance(policy, AsyncCheckpoint) and self.poisson and self.work is not None:
            met = self.factors.met
            found = async_run(
                work=self.work * met,
                interval=self.interval * met,
                pause=si(policy.pause),
                drain=self.write,
                mtbf=self.mtbf,
                restart=self.restart,
                downtime=self.downtime,
            )
            return self.factors.rescale(found)
        return self.cycle(palm_gap(self.scenario.process), self.downtime)

    @cached_property
    def wall(self) -> float:
        """How long the run lasts: what it is watched for, or the mean time until its work is done."""
        if self.scenario.duration is not None:
            return si(self.scenario.duration)
        assert self.work is not None
        if self.aging:
            return self.aged.wall
        progress = self.whole.progress
        return self.work / progress if progress > 0 else math.inf

    @property
    def stuck(self) -> bool:
        """Whether the work meets so many failures that it will not be done."""
        return self.work is not None and self.wall > MOST_FAILURES * self.mtbf

    @cached_property
    def edge(self) -> float:
        """How much the start and the end of the run may weigh: what they take at most, over its length."""
        last, _ = self.stretches[-1]
        open_work = (self.interval + self.blocking) * self.every
        if len(self.stretches) > 1:
            open_work += sum(last)
        if isinstance(self.scenario.policy, AsyncCheckpoint):
            open_work += self.write
        waited = 0.0  # the shelf is full at the start
        if self.scenario.spares is not None:
            spares = self.scenario.spares
            waited = head_start(
                mtbf=self.mtbf + self.scenario.recovery.downtime,
                repair=spares.absence,
                spares=spares.count,
                crews=spares.crews,
            )
        time = min(self.restart, self.mtbf) + self.downtime + min(open_work, self.mtbf) + waited
        return time / self.wall + self.begun

    @cached_property
    def begun(self) -> float:
        """By how much failures are too many or too few, relatively, since the platform is as new at the start."""
        process = self.scenario.process
        if not isinstance(process, PlatformRenewal | ReplicatedPairs):
            return 0.0
        try:
            return abs(counts.gap_scv(process) - 1) / 2 * (self.mtbf + self.downtime) / self.wall
        except InputError:  # no variance
            return math.inf


def _spoiling(factors: StepFactors, mtbf: float, silent_mtbf: float) -> float:
    """Mean time between silent errors at which an interval of the length that failures meet is as often clean."""
    extra = factors.unspoiled * (1 / mtbf + 1 / silent_mtbf) - factors.met / mtbf
    return silent_mtbf if factors == StepFactors() else factors.met / extra


def _mean_step(step: TrainingStep) -> float:
    from secondorder.analytic.training_step import mean_step

    return float(mean_step(step))


def _whole_steps(time: float, step: float | None) -> float:
    return time if step is None else max(1, math.ceil(time / step - 1e-9)) * step
