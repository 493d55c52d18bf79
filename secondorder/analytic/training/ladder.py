"""The ladder of closed forms for a training run under failures, rung by rung.

- Order 0: nothing fails; checkpoints alone take time, and the last drain of an asynchronous one.
- Order 1: means; a failure costs half an interval, a restart and a downtime (Young 1974 and after).
- Order 2: the process of failures as it is, from one failure or checkpoint to the next: exact where there is a theory.

Each estimate's ``note`` begins with exact or approximation. Shares are those of a long run: the start and the end of a
short one are left out, and it is put outside of the domain. Of a run with ``work`` they are those of the mean time that
it takes, whatever is left for the last interval; an interval is never longer than the work.
"""

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import assert_never

from secondorder.analytic.training import counts
from secondorder.analytic.training.allocated_run import AllocatedRun
from secondorder.analytic.training.asynchronous import async_first_order
from secondorder.analytic.training.elastic_run import ElasticRun
from secondorder.analytic.training.kept_segments import KeptSegments, kept_segments
from secondorder.analytic.training.periodic import first_order_goodput
from secondorder.analytic.training.run import MOST_SPARES, Run
from secondorder.analytic.training.shared_storage import forgets_within
from secondorder.analytic.training.silent import silent_first_order
from secondorder.analytic.training.spares import most_available
from secondorder.answers.answer import Answer, ranked
from secondorder.answers.declared import TRAINING
from secondorder.answers.estimate import Rung, Standing, approximation, bound, exact, rungs
from secondorder.errors import InputError
from secondorder.laws import Deterministic, Exponential
from secondorder.quantities import pretty, si
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

STEPS_AT_MEAN = 0.001
"""Error of the goodput by steps taken at their mean, beyond which shares are out of domain."""

FAR = 4.0
"""Standard deviations of an interval from its mean to where hardly one in 30,000 ends."""


def solve_training(scenario: Training) -> Answer:
    """The closed forms of a training run, every order.

    Errors: ``InputError`` for what the scenario does not say.

    >>> from secondorder.scenarios.training import Recovery
    >>> run = Training(failures="exponential 8240 s", checkpoint=Checkpoint(interval="994.4 s", write="60 s"),
    ...     recovery=Recovery(restart="300 s"))
    >>> [str(rung) for rung in solve_training(run)["goodput"]]
    ['0.943', '0.843', '0.852']
    """
    run = Run(scenario=scenario)
    if scenario.elastic is not None:
        elastic = ElasticRun(run=run, elastic=scenario.elastic)
        return Answer(scenario=scenario.name, estimates=ranked([*_order_0(run), *elastic.rungs()]), how=_how(run))
    if scenario.allocation is not None:
        allocated = AllocatedRun(run=run, allocation=scenario.allocation)
        return Answer(scenario=scenario.name, estimates=ranked(list(allocated.rungs())), how=_how(run))
    estimates = [*_order_0(run), *_order_1(run), *_order_2(run), *_counts(run), *_availability(run)]
    estimates += _segments(run)
    return Answer(scenario=scenario.name, estimates=ranked(estimates), how=_how(run))


def _order_0(run: Run) -> Iterator[Rung]:
    goodput = run.quiet_goodput
    amounts = {**_from_goodput(run, goodput), "checkpoint_share": 1 - goodput}
    short = run.work is None and run.blocking * run.every > SHORT * run.wall
    reasons = [_held_by_drain(run), "the run is short compared with a checkpoint" if short else ""]
    outside = "; ".join(filter(None, reasons))
    yield from rungs(TRAINING, 0, NO_FAILURES, bound("nothing fails", outside=outside), amounts)


def _order_1(run: Run) -> Iterator[Rung]:
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
    amounts = {
        **_from_goodput(run, goodput),
        "checkpoint_share": writes,
        "rework_share": lost / m,
        "restart_share": back / m,
        "downtime_share": down / m,
    }
    size = (lost + lost + run.blocking + back + down) / m
    rough = list(_beyond_first_order(writes, size, aside))
    if goodput < 0:
        rough.append("below 0, it means nothing")
    if run.aging:
        rough.append("by the rate of the long run, though nodes start new")
    if run.edge > SHORT:
        rough.append(_short(run))
    note = "times far below the time between failures, checkpoints far below intervals"
    yield from rungs(TRAINING, 1, FIRST_ORDER, approximation(note, outside="; ".join(rough)), amounts)


def _beyond_first_order(writes: float, size: float, aside: float) -> Iterator[str]:
    """Which conditions of the first order fail, where checkpoints take ``writes`` of an interval and failures ``size``.

    It leaves out ``1/(1 + w) - (1 - w) = w^2/(1 + w)`` of the writes, of the failures ``s^2/2`` at most, of
    both ``w s/(1 + w)``. What is spent ``aside``, where nothing can fail, counts like a write: half of its
    square is in the size.
    """
    alone = {
        f"checkpoints take {writes:.3g} of an interval": writes**2 / (1 + writes),
        f"a failure costs {size:.3g} of the time between failures": (size**2 + aside**2) / 2,
    }
    if sum(alone.values()) + writes * size / (1 + writes) > SHORT:
        yield from (reason for reason, left_out in alone.items() if left_out >= max(alone.values()) / 4)


def _order_2(run: Run) -> Iterator[Rung]:
    amounts = {**_from_goodput(run, run.shares["goodput"]), **run.shares}
    if run.work is not None:
        amounts["time_to_train"] = run.wall
    yield from rungs(TRAINING, 2, _source(run), _standing(run), amounts)


def _from_goodput(run: Run, goodput: float) -> dict[str, float]:
    amounts = {"goodput": goodput}
    if run.work is not None and goodput > 0:
        amounts["time_to_train"] = run.work / goodput
    if isinstance(run.scenario.step, TrainingStep):
        assert run.step is not None
        amounts["throughput"] = goodput * run.scenario.step.job.tokens / run.step
    return amounts


def _source(run: Run) -> str:
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


def _standing(run: Run) -> Standing:
    """How far order 2 may be trusted: outside its domain where something that it takes is not there."""
    rough = list(_approximations(run))
    slight = [] if rough else list(_slight(run))
    claimed = approximation if rough or slight else exact
    notes = slight if rough or slight else ["in the long run"]
    if run.edge > SHORT:
        rough.append(_short(run))
    if isinstance(run.scenario.policy, AsyncCheckpoint) and run.write > run.interval:
        notes.append(f"the drain ({run.write:.4g} s) is longer than the interval and holds training up")
    return claimed("; ".join(notes), outside="; ".join(rough))


def _short(run: Run) -> str:
    return f"the run is short: its start and end may weigh {min(run.edge, 1.0):.2g}"


def _approximations(run: Run) -> Iterator[str]:
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
        if scenario.recovery.misdiagnosed > 0:
            yield "repairs of healthy nodes are taken as evenly spread"
        if not run.poisson:
            yield "repairs are met as if failures were Poisson"
        elif spares.crews is not None or scenario.recovery.downtime > 0:
            if not isinstance(spares.repair, Exponential) or spares.retired > 0:
                yield "repairs are taken as exponential"
            elif spares.count > MOST_SPARES and scenario.recovery.downtime > 0:
                yield "repairs during a downtime are not counted"
    if run.error_of_steps > STEPS_AT_MEAN:
        yield f"steps are taken at their mean, which may weigh {min(run.error_of_steps, 1.0):.2g}"
    if held := _held_by_drain(run):
        yield held


def _slight(run: Run) -> Iterator[str]:
    """Approximations whose error is far below any margin."""
    steps = run.scenario.step
    if run.error_of_steps > 0 or (isinstance(steps, TrainingStep) and steps.jitter is not None):
        yield "steps are taken at their mean"


def _held_by_drain(run: Run) -> str:
    """Why a drain holds up an unknown share of the intervals, where steps vary; empty if it does not."""
    if not isinstance(run.scenario.policy, AsyncCheckpoint) or run.step_law is None or run.step is None:
        return ""
    try:
        spread = math.sqrt(run.step_law.scv * run.step * run.interval)
    except InputError:
        spread = math.inf
    clear = spread == 0 or abs(run.interval - run.write) > FAR * spread
    return "" if clear else "a drain outlasts some intervals of varying steps, and not others"


def _path_share(run: Run) -> float:
    """Share of the time that this run's own writes keep the path busy, when nothing fails."""
    policy, write = run.scenario.policy, run.scenario.write_seconds
    match policy:
        case TwoLevelCheckpoint(every=every):
            return write / (every * (run.interval + run.blocking))
        case AsyncCheckpoint(pause=pause):
            return write / (max(run.interval, write) + si(pause))
    return write / (run.interval + run.blocking)


def _segments(run: Run) -> Iterator[Rung]:
    """Of intervals of varying steps: with blocking checkpoints and Poisson failures, where nobody else writes."""
    step, policy = run.step_law, run.scenario.policy
    if step is None or isinstance(step, Deterministic) or run.stuck or run.aging:
        return
    if not (isinstance(policy, Checkpoint) and run.poisson and run.storage_wait == 0):
        return
    try:
        spread = math.sqrt(step.scv) * step.moment(1)
    except InputError:  # no variance
        return
    steps = round(run.interval / step.moment(1))
    usual = KeptSegments(
        mean=run.interval,
        sd=math.sqrt(steps) * spread,
        step_sd=spread,
        redraws=(run.interval + run.write) / run.mtbf,
    )
    note = "intervals far below the time between failures"
    far = f"an interval takes {usual.redraws:.3g} of the time between failures" if usual.redraws > 2 * SHORT else ""
    yield from rungs(TRAINING, 1, "independent steps", approximation(note, outside=far), _amounts_of(usual))
    found = kept_segments(step=step, steps=steps, write=run.write, mtbf=run.mtbf)
    yield from rungs(TRAINING, 2, "Kulkarni, Nicola and Trivedi 1987", exact("in the long run"), _amounts_of(found))


def _amounts_of(found: KeptSegments) -> dict[str, float]:
    return {
        "segment_time_mean": found.mean,
        "segment_time_sd": found.sd,
        "step_time_sd": found.step_sd,
        "redraws_mean": found.redraws,
    }


def _counts(run: Run) -> Iterator[Rung]:
    if run.stuck:
        return
    mean = run.wall / (run.mtbf + run.downtime)
    waits = run.downtime > 1.001 * run.own_downtime
    steady = not run.aging and run.begun <= SHORT and not waits
    moving = "" if steady else "the run is not in a steady state"
    yield from rungs(
        TRAINING, 1, RATE, approximation("the rate of the long run", outside=moving), {"failures_mean": mean}
    )
    found = _found(run)
    source = "law of the count"
    yield from rungs(TRAINING, 2, source, found.mean_standing, {"failures_mean": found.mean})
    if not math.isnan(found.p5):
        spread = {"failures_p5": found.p5, "failures_p95": found.p95}
        yield from rungs(TRAINING, 2, source, found.spread_standing, spread)


def _found(run: Run) -> counts.Counts:
    scenario = run.scenario
    known = counts.failures_over(process=scenario.process, horizon=run.wall, downtime=run.downtime)
    if run.downtime > 1.001 * run.own_downtime and scenario.spares is not None:
        waits = approximation(outside="the waits for repairs are taken at their mean, from the start on")
        known = replace(known, mean_standing=waits, spread_standing=waits)
    if scenario.recovery.misdiagnosed > 0:
        vain = approximation("vain attempts are taken at their mean", outside=known.mean_standing.outside)
        known = replace(known, mean_standing=vain, spread_standing=vain)
    if run.work is not None:
        if isinstance(scenario.policy, Checkpoint) and run.poisson and run.storage_wait == 0:
            mean, low, high = counts.failures_until_done(
                lengths=[works[0] * run.factors.met + run.write for works, _ in run.stretches],
                repeats=[count for _, count in run.stretches],
                restart=run.restart,
                mtbf=run.mtbf,
            )
            done = exact("until the work is done")
            return counts.Counts(
                mean=mean,
                p5=low,
                p95=high,
                mean_standing=done._replace(outside=known.mean_standing.outside),
                spread_standing=done,
            )
        mean = run.aged.failures if run.aging else run.wall / (run.mtbf + run.downtime)
        claim, note, outside = known.mean_standing  # over the mean time of the run, which varies itself
        told = Standing(claim, "; ".join(filter(None, (note, "over the mean time of the run"))), outside)
        known = replace(known, mean=mean, p5=math.nan, p95=math.nan, mean_standing=told)
    return known


def _availability(run: Run) -> Iterator[Rung]:
    spares = run.scenario.spares
    if spares is None:
        return
    repair = spares.absence
    most = float(most_available(mtbf=run.mtbf, repair=repair, spares=spares.count, crews=spares.crews))
    yield from rungs(TRAINING, 1, LITTLE, bound("as many repairs as failures"), {"availability": most})
    able = 1 - run.wait_at(run.mtbf) / (run.mtbf + run.downtime)
    rough = [reason for reason in _approximations(run) if "repairs" in reason]
    standing = approximation(outside="; ".join(rough)) if rough else exact("in the long run")
    source = "Erlang's loss formula" if spares.crews is None else "birth-death chain of repairs"
    yield from rungs(TRAINING, 2, source, standing, {"availability": able})


def _how(run: Run) -> str:
    text = f"closed forms, a failure every {pretty(run.mtbf, 's')}"
    if run.step is not None:
        text += f", intervals of {pretty(run.interval, 's')}: whole steps of {pretty(run.step, 's')}"
    return text
