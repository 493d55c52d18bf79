"""The ladder of closed forms for a training run under failures, rung by rung.

- Order 0: nothing fails; checkpoints alone take time, and the last drain of an asynchronous one.
- Order 1: means; a failure costs half an interval, a restart and a downtime (Young 1974 and after).
- Order 2: the process of failures as it is, from one failure or checkpoint to the next: exact where theory is.

Each estimate's ``note`` begins with exact or approximation. Shares are those of a long run: the start and the end of a
short one are left out, and it is put outside of the domain. Of a run with ``work`` they are those of the mean time that
it takes, whatever is left for the last interval; an interval is never longer than the work.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import assert_never

from secondorder.analytic.training import counts
from secondorder.analytic.training.asynchronous import async_cycle, async_first_order, async_run
from secondorder.analytic.training.cycle import Cycle, in_turn
from secondorder.analytic.training.gap_survival import Gap, exponential_gap, is_poisson, palm_gap
from secondorder.analytic.training.interval import best_interval, daly, young
from secondorder.analytic.training.new_nodes import AgingRun, aging_run
from secondorder.analytic.training.periodic import blocking_cycle, first_order_goodput, segments
from secondorder.analytic.training.shared_storage import forgets_within, mean_storage_wait, queueing_cycle
from secondorder.analytic.training.silent import silent_cycle, silent_first_order
from secondorder.analytic.training.spares import (
    availability,
    availability_with_crews,
    head_start,
    most_available,
    wait_for_repair,
)
from secondorder.analytic.training.two_level import TwoLevels
from secondorder.errors import InputError
from secondorder.fleets.failures import NewNodes, PlatformRenewal, ReplicatedPairs
from secondorder.laws import Exponential, Service
from secondorder.quantities import pretty, registry, si
from secondorder.scenarios.answers import Answer, Estimate
from secondorder.scenarios.training import (
    AsyncCheckpoint,
    Checkpoint,
    Training,
    TwoLevelCheckpoint,
    VerifiedCheckpoint,
)
from secondorder.scenarios.training_step import TrainingStep

NO_FAILURES = "no failures"
FIRST_ORDER = "first order (Young 1974)"
LITTLE = "Little 1961"
RATE = "rates add"

SHORT = 0.01
"""Weight of a run's start and end, or of what a first order leaves out, beyond which shares are out of domain."""

MOST_FAILURES = 1e9
"""Times between failures that work may take."""

MOST_SPARES = 400
"""Spares up to which the chain of nodes in repair is solved with the downtime in it."""

Metric = tuple[str, float, str]


def solve_training(scenario: Training) -> Answer:
    """The closed forms of a training run, every order.

    Errors: ``InputError`` for what the scenario does not say.

    >>> from secondorder.scenarios.training import Recovery
    >>> run = Training(failures="exponential 8240 s", checkpoint=Checkpoint(interval="994.4 s", write="60 s"),
    ...     recovery=Recovery(restart="300 s"))
    >>> [str(rung) for rung in solve_training(run)["goodput"]]
    ['0.943', '0.843', '0.852']
    """
    run = _Run(scenario=scenario)
    estimates = [*_order_0(run), *_order_1(run), *_order_2(run), *_counts(run), *_availability(run)]
    metrics = dict.fromkeys(e.metric for e in estimates)
    ranked = tuple(e for metric in metrics for e in sorted(estimates, key=_order) if e.metric == metric)
    return Answer(scenario=scenario.name, estimates=ranked, how=_how(run))


def long_run_goodput(scenario: Training) -> float:
    """The goodput of the highest order alone, for a search over scenarios. Errors: ``InputError``.

    >>> run = Training(failures="exponential 8240 s", checkpoint=Checkpoint(interval="994.4 s", write="60 s"))
    >>> round(long_run_goodput(run), 4)
    0.884
    """
    return _Run(scenario=scenario).shares["goodput"]


def best_training_interval(scenario: Training) -> float:
    """The interval in s of the highest ``long_run_goodput``, all else equal; numerical, to a relative 1e-6.

    Searched to ten MTBF, from a tenth of Young's interval or of the drain, or from a 10,000th of the MTBF if
    that is less. A run with ``work`` is cut into equal intervals, the best number of them. Where checkpoints take
    no time at all, one step. Errors: ``InputError``, also where work is then a fluid.

    >>> run = Training(failures="exponential 8240 s", checkpoint=Checkpoint(interval="600 s", write="60 s"))
    >>> round(best_training_interval(run))   # the exact optimum, 954.8 s
    955
    >>> round(best_training_interval(replace(run, duration=None, work="2000 s")))
    1000
    """
    run, cost = _Run(scenario=scenario), _cost(scenario)
    drain = run.write if isinstance(scenario.policy, AsyncCheckpoint) else 0.0
    if cost + drain == 0:
        if run.step is not None:
            return run.step
        remedy = "the shorter their interval, the better: give one"
        raise InputError("interval", given="checkpoints that take no time", expected="some time", remedy=remedy)
    mtbf = run.mtbf
    if isinstance(scenario.policy, VerifiedCheckpoint):
        mtbf = min(mtbf, si(scenario.policy.silent_mtbf))
    shortest = [1e-4 * mtbf]
    if cost > 0:
        shortest.append(float(young(write=cost, mtbf=mtbf / run.every)) / 10)
    if drain > 0:
        shortest.append(drain / 10)

    def search(endless: Training) -> float:
        return best_interval(lambda tau: long_run_goodput(endless.at(tau)), low=min(shortest), high=10 * run.mtbf)

    if run.work is None:
        return search(scenario)
    # without what is left for a last interval, which would make the goodput a saw of the interval
    endless = replace(scenario, work=None, duration=scenario.work)
    best = search(endless)
    wall = _Run(scenario=scenario.at(best)).wall
    if run.aging and wall < math.inf:  # most work in the time that it takes is least time for the work
        best = search(replace(endless, duration=registry.Quantity(wall, "s")))
    cuts = run.work / best
    equal = {run.work / max(1, number) for number in (math.floor(cuts), math.ceil(cuts))}
    return max(equal, key=lambda tau: long_run_goodput(scenario.at(tau)))


def classic_intervals(scenario: Training) -> dict[str, float]:
    """Young's and Daly's interval in s, by the time for which a checkpoint stops the work; empty where it stops none.

    Of two levels the durable write counts by its share. A drain is left out: ``classic_note``. Errors: ``InputError``.

    >>> run = Training(failures="exponential 8240 s", checkpoint=Checkpoint(interval="600 s", write="60 s"))
    >>> {who: round(interval, 1) for who, interval in classic_intervals(run).items()}
    {'Young': 994.4, 'Daly': 954.8}
    """
    cost, mtbf = _cost(scenario), scenario.mtbf
    if cost == 0:
        return {}
    return {"Young": float(young(write=cost, mtbf=mtbf)), "Daly": float(daly(write=cost, mtbf=mtbf))}


def classic_note(scenario: Training) -> str:
    """What Young's and Daly's intervals leave out, in words; empty where they have all that they take.

    >>> slow = AsyncCheckpoint(interval="600 s", pause="1 s", drain="600 s")
    >>> classic_note(Training(failures="exponential 8240 s", checkpoint=slow))
    'Young and Daly see the pause alone (1 s): at their interval (128 s) the drain (600 s) holds training up'
    """
    classic = classic_intervals(scenario)
    if not classic:
        return "Young and Daly have no interval: a checkpoint stops no work"
    young_interval, drain = classic["Young"], _Run(scenario=scenario).write
    if not isinstance(scenario.policy, AsyncCheckpoint) or drain == 0:
        return ""
    note = f"Young and Daly see the pause alone ({scenario.blocking_seconds:.4g} s)"
    if drain > young_interval:
        return f"{note}: at their interval ({young_interval:.3g} s) the drain ({drain:.4g} s) holds training up"
    return f"{note}: the work lost during a drain ({drain:.4g} s) is left out"


def _cost(scenario: Training) -> float:
    """For how long a checkpoint stops the work where nothing holds it up, in s; the durable level's share with it."""
    policy = scenario.policy
    durable = scenario.write_seconds / policy.every if isinstance(policy, TwoLevelCheckpoint) else 0.0
    return scenario.blocking_seconds + durable


# What the rungs share


@dataclass(frozen=True, kw_only=True)
class _Run:
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
        return self.scenario.recovery.downtime + self.wait_at(mtbf)

    def wait_at(self, mtbf: float) -> float:
        """Mean wait of a failure for a repair."""
        spares, recovery = self.scenario.spares, self.scenario.recovery
        if spares is None:
            return 0.0
        repair = spares.law("repair").moment(1)
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

    def cycle_of(self, works: list[float], gap: Gap, downtime: float) -> Cycle:
        """The same of these intervals, over and over."""
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
            case VerifiedCheckpoint(verify=verify, silent_mtbf=silent):
                return silent_cycle(
                    interval=tau,
                    write=self.write,
                    verify=si(verify),
                    silent_mtbf=si(silent),
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
        """Of the wall time, order 2."""
        if self.aging:
            return self.aged.shares
        policy = self.scenario.policy
        if isinstance(policy, AsyncCheckpoint) and self.poisson and self.work is not None:
            return async_run(
                work=self.work,
                interval=self.interval,
                pause=si(policy.pause),
                drain=self.write,
                mtbf=self.mtbf,
                restart=self.restart,
                downtime=self.downtime,
            ).shares
        return self.cycle(palm_gap(self.scenario.process), self.downtime).shares

    @cached_property
    def wall(self) -> float:
        """How long the run lasts: what it is watched for, or the mean time until its work is done."""
        if self.scenario.duration is not None:
            return si(self.scenario.duration)
        assert self.work is not None
        if self.aging:
            return self.aged.wall
        goodput = self.shares["goodput"]
        return self.work / goodput if goodput > 0 else math.inf

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
                repair=spares.law("repair").moment(1),
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


def _mean_step(step: TrainingStep) -> float:
    from secondorder.analytic.training_step import mean_step

    return float(mean_step(step))


def _whole_steps(time: float, step: float | None) -> float:
    return time if step is None else max(1, math.ceil(time / step - 1e-9)) * step


# The rungs


def _order_0(run: _Run) -> Iterator[Estimate]:
    goodput = run.quiet_goodput
    metrics = [*_from_goodput(run, goodput), ("checkpoint_share", 1 - goodput, "")]
    note, sound = "exact where nothing fails", True
    if run.work is None and run.blocking * run.every > SHORT * run.wall:
        note, sound = f"{note}, in the long run; the run is short beside a checkpoint", False
    yield from _rungs(metrics, 0, NO_FAILURES, note, sound)


def _order_1(run: _Run) -> Iterator[Estimate]:
    tau, m, down = run.interval, run.mtbf, run.downtime
    back, lost, writes, aside = run.restart, tau / 2, run.blocking / tau, down / m
    match run.scenario.policy:
        case Checkpoint():
            goodput = float(
                first_order_goodput(interval=tau, write=run.write, mtbf=m, restart=run.restart, downtime=down)
            )
        case AsyncCheckpoint(pause=pause):
            goodput = float(
                async_first_order(
                    interval=tau, pause=si(pause), drain=run.write, mtbf=m, restart=run.restart, downtime=down
                )
            )
            lost = tau / 2 + run.write
        case TwoLevelCheckpoint(every=every, light_share=q, light_restart=light):
            goodput = run.levels.first_order(interval=tau, every=every)
            back, lost = q * si(light) + (1 - q) * run.restart, (q + (1 - q) * every) * tau / 2
        case VerifiedCheckpoint(verify=verify, silent_mtbf=silent):
            rate = 1 / si(silent)
            goodput = float(
                silent_first_order(
                    interval=tau,
                    write=run.write,
                    verify=si(verify),
                    silent_rate=rate,
                    mtbf=m,
                    restart=run.restart,
                    downtime=down,
                )
            )
            back, lost = run.restart * (1 + m * rate), tau / 2 + tau * rate * m
            aside += run.restart * rate
        case policy:
            assert_never(policy)
    metrics = [
        *_from_goodput(run, goodput),
        ("checkpoint_share", writes, ""),
        ("rework_share", lost / m, ""),
        ("restart_share", back / m, ""),
        ("downtime_share", down / m, ""),
    ]
    size = (lost + lost + run.blocking + back + down) / m
    rough = list(_beyond_first_order(writes, size, aside))
    if goodput < 0:
        rough.append("below 0, it means nothing")
    if run.aging:
        rough.append("by the rate of the long run, though nodes start new")
    if run.edge > SHORT:
        rough.append(_short(run))
    note = "; ".join(
        ["approximation: times far below the time between failures, checkpoints far below intervals", *rough]
    )
    yield from _rungs(metrics, 1, FIRST_ORDER, note, not rough)


def _beyond_first_order(writes: float, size: float, aside: float) -> Iterator[str]:
    """Which conditions of the first order fail, where checkpoints take ``writes`` of an interval and failures ``size``.

    It leaves out ``1/(1 + w) - (1 - w) = w^2/(1 + w)`` of the writes, of the failures ``s^2/2`` at most, of
    both ``w s/(1 + w)``. What is spent ``aside``, where nothing can fail, counts like a write: half of its
    square is in the size.
    """
    alone = {
        f"checkpoints take {writes:.3g} of an interval": writes**2 / (1 + writes),
        f"what a failure costs is {size:.3g} of it": (size**2 + aside**2) / 2,
    }
    if sum(alone.values()) + writes * size / (1 + writes) > SHORT:
        yield from (reason for reason, left_out in alone.items() if left_out >= max(alone.values()) / 4)


def _order_2(run: _Run) -> Iterator[Estimate]:
    note, sound = _soundness(run)
    shares = run.shares
    metrics: list[Metric] = [(name, value, "") for name, value in shares.items()]
    if run.work is not None:
        metrics.append(("time_to_train", run.wall, "s"))
    metrics += [m for m in _from_goodput(run, shares["goodput"]) if m[0] == "throughput"]
    yield from _rungs(metrics, 2, _source(run), note, sound)


def _from_goodput(run: _Run, goodput: float) -> Iterator[Metric]:
    yield "goodput", goodput, ""
    if run.work is not None and goodput > 0:
        yield "time_to_train", run.work / goodput, "s"
    if isinstance(run.scenario.step, TrainingStep):
        assert run.step is not None
        yield "throughput", goodput * run.scenario.step.job.tokens / run.step, "token/s"


def _rungs(metrics: list[Metric], order: int, source: str, note: str, sound: bool) -> Iterator[Estimate]:
    for metric, amount, unit in metrics:
        yield Estimate(metric=metric, amount=amount, unit=unit, source=source, order=order, in_domain=sound, note=note)


def _source(run: _Run) -> str:
    if run.aging:
        return "locally Poisson failures of aging nodes"
    match run.scenario.policy:
        case Checkpoint() if run.storage_wait > 0 and run.poisson:
            return "Daly 2006 with the wait of M/D/1"
        case Checkpoint() if run.poisson:
            return "Daly 2006, Bougeret et al. 2011"
        case Checkpoint() | AsyncCheckpoint():
            return "renewal reward over the gaps between failures"
        case TwoLevelCheckpoint():
            return "chain of segments since the durable checkpoint"
        case VerifiedCheckpoint():
            return "geometric attempts (Benoit et al. 2016)"
        case policy:
            assert_never(policy)


def _soundness(run: _Run) -> tuple[str, bool]:
    """The note of order 2, and whether all that it takes is there."""
    rough = list(_approximations(run))
    note = "approximation: " + "; ".join(rough) if rough else "exact in the long run"
    if run.edge > SHORT:
        rough.append(_short(run))
        note += f"; {rough[-1]}"
    if isinstance(run.scenario.policy, AsyncCheckpoint) and run.write > run.interval:
        note += f"; the drain ({run.write:.4g} s) is longer than the interval and holds training up"
    return note, not rough


def _short(run: _Run) -> str:
    return f"the run is short: its start and end may weigh {min(run.edge, 1.0):.2g}"


def _approximations(run: _Run) -> Iterator[str]:
    scenario = run.scenario
    policy, storage, spares = scenario.policy, scenario.storage, scenario.spares
    if run.stuck:
        yield "the run makes no headway"
    if run.aging:
        yield "failures are taken as Poisson at the nodes' age"
    elif not run.poisson and isinstance(policy, TwoLevelCheckpoint | VerifiedCheckpoint):
        yield "failures are taken as Poisson"
    if storage is not None and storage.other_write is not None:
        own = _path_share(run)
        if storage.busy + own >= 1:
            yield f"the path is overloaded: busy {storage.busy:.3g} with others and {own:.3g} with this run"
        if not (isinstance(policy, Checkpoint) and run.poisson):
            yield "the wait for the path is taken at its mean"
        elif run.interval < forgets_within(
            busy=storage.busy, other_write=si(storage.other_write), write=scenario.write_seconds
        ):
            yield "the path has not forgotten one checkpoint when the next one comes"
    if spares is not None:
        if not run.poisson:
            yield "repairs are met as if failures were Poisson"
        elif spares.crews is not None or scenario.recovery.downtime > 0:
            if not isinstance(spares.repair, Exponential):
                yield "repairs are taken as exponential"
            elif spares.count > MOST_SPARES and scenario.recovery.downtime > 0:
                yield "repairs during a downtime are not counted"
    if run.step is not None and isinstance(scenario.step, Service):
        spread = scenario.step.scv / (run.interval / run.step) * (run.interval / run.mtbf) ** 2
        if spread > SHORT:
            yield "an interval varies with its steps"


def _path_share(run: _Run) -> float:
    """Of the time that this run's own writes keep the path busy, when nothing fails."""
    policy, write = run.scenario.policy, run.scenario.write_seconds
    match policy:
        case TwoLevelCheckpoint(every=every):
            return write / (every * (run.interval + run.blocking))
        case AsyncCheckpoint(pause=pause):
            return write / (max(run.interval, write) + si(pause))
    return write / (run.interval + run.blocking)


def _counts(run: _Run) -> Iterator[Estimate]:
    if run.stuck:
        return
    mean = run.wall / (run.mtbf + run.downtime)
    waits = run.downtime > 1.001 * run.scenario.recovery.downtime
    steady = not run.aging and run.begun <= SHORT and not waits
    rate_note = "exact in the long run" if steady else "approximation: the rate of the long run"
    yield from _rungs([("failures_mean", mean, "")], 1, RATE, rate_note, steady)
    found = _found(run)
    source = "law of the count"
    yield from _rungs([("failures_mean", found.mean, "")], 2, source, found.note, found.mean_in_domain)
    if not math.isnan(found.p5):
        spread: list[Metric] = [("failures_p5", found.p5, ""), ("failures_p95", found.p95, "")]
        yield from _rungs(spread, 2, source, found.note, found.spread_in_domain)


def _found(run: _Run) -> counts.Counts:
    scenario = run.scenario
    known = counts.failures_over(process=scenario.process, horizon=run.wall, downtime=run.downtime)
    note, mean, low, high, sound = known.note, known.mean, known.p5, known.p95, known.spread_in_domain
    if run.downtime > 1.001 * scenario.recovery.downtime and scenario.spares is not None:
        note, sound = "approximation: the waits for repairs are taken at their mean, from the start on", False
        known = replace(known, mean_in_domain=False)
    if run.work is not None:
        if isinstance(scenario.policy, Checkpoint) and run.poisson and run.storage_wait == 0:
            mean, low, high = counts.failures_until_done(
                lengths=[works[0] + run.write for works, _ in run.stretches],
                repeats=[count for _, count in run.stretches],
                restart=run.restart,
                mtbf=run.mtbf,
            )
            note, sound = "exact: until the work is done", True
        else:
            note, low, high = f"{note}; over the mean time of the run", math.nan, math.nan  # which varies itself
            mean = run.aged.failures if run.aging else run.wall / (run.mtbf + run.downtime)
    return counts.Counts(
        mean=mean, p5=low, p95=high, note=note, mean_in_domain=known.mean_in_domain, spread_in_domain=sound
    )


def _availability(run: _Run) -> Iterator[Estimate]:
    spares = run.scenario.spares
    if spares is None:
        return
    repair = spares.law("repair").moment(1)
    most = float(most_available(mtbf=run.mtbf, repair=repair, spares=spares.count, crews=spares.crews))
    metric = "availability"
    yield from _rungs([(metric, most, "")], 1, LITTLE, "bound: as many repairs as failures", True)
    able = 1 - run.wait_at(run.mtbf) / (run.mtbf + run.downtime)
    rough = [reason for reason in _approximations(run) if "repairs" in reason]
    note = "approximation: " + "; ".join(rough) if rough else "exact in the long run"
    source = "Erlang's loss formula" if spares.crews is None else "birth-death chain of repairs"
    yield from _rungs([(metric, able, "")], 2, source, note, not rough)


def _order(estimate: Estimate) -> int:
    assert estimate.order is not None
    return estimate.order


def _how(run: _Run) -> str:
    text = f"closed forms, a failure every {pretty(run.mtbf, 's')}"
    if run.step is not None:
        text += f", intervals of {pretty(run.interval, 's')}: whole steps of {pretty(run.step, 's')}"
    return text
