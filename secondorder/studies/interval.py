"""The checkpoint interval: goodput over it, the best by each formula and by simulation, and what a wrong one costs."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from secondorder.analytic.training.run_interval import (
    best_training_interval,
    classic_intervals,
    classic_note,
    long_run_goodput,
)
from secondorder.answers.answer import Answer
from secondorder.answers.estimate import Estimate
from secondorder.answers.metric import EXTREMES
from secondorder.arrays import Floats
from secondorder.laws import Service
from secondorder.quantities import pretty, si
from secondorder.scenarios.training import AsyncCheckpoint, Checkpoint, Training
from secondorder.simulate.statistics.intervals import Interval, student
from secondorder.simulate.training.answer import in_days, measure, quantile_of_runs
from secondorder.simulate.training.causes import step_of
from secondorder.simulate.training.compiled import story_of, witness_of
from secondorder.simulate.witness import Witness
from secondorder.studies.points import Keeping, Point, key_of, records
from secondorder.studies.records import Record
from secondorder.verbs import solve

DOTS, SPAN = 9, 6.0
"""Simulated intervals, and how far they reach on both sides of the best: a sixth to six times."""
FINE = 61
BY_EVENTS, COMPILED = 100, 1_000
"""Runs at each dot by each witness, where their number is not given."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """An interval (s of work) that somebody would choose, and what it gives.

    ``regret`` is the share of the best goodput that is lost with it, by closed form; ``simulated`` the
    goodput, and ``simulated_regret`` the loss, of the same runs with the best interval (common random numbers).
    """

    who: str
    interval: float
    goodput: float
    regret: float
    simulated: Interval | None = None
    simulated_regret: Interval | None = None


@dataclass(frozen=True, kw_only=True)
class IntervalStudy:
    """``solved`` along ``line``; ``points`` (solved) and ``simulated`` (goodput) at ``dots``; ``choices``. In s.

    ``plateau``: the nearest simulated intervals on both sides of the best that are worse than it by more than
    chance (paired 95 % intervals). ``note``: what Young and Daly do not see here. ``spread``: at each dot, the goodput
    that 5 and 95 % of the runs stay below. ``beside``: of asynchronous checkpoints, what blocking ones with the same
    write would give along ``line``.
    """

    scenario: Training
    line: tuple[float, ...]
    solved: tuple[Answer, ...]
    points: tuple[Answer, ...]
    dots: tuple[float, ...]
    simulated: tuple[Estimate, ...]
    choices: tuple[Choice, ...]
    plateau: tuple[float, float] | None
    how: str
    note: str = ""
    spread: tuple[tuple[Estimate, Estimate], ...] = ()
    beside: tuple[Answer, ...] = ()


def interval_study(
    scenario: Training,
    *,
    given: bool = False,
    seed: int = 0,
    replications: int | None = None,
    jobs: int = 1,
    simulated: bool = True,
    keeping: Keeping | None = None,
) -> IntervalStudy:
    """Goodput over the interval; with ``given`` the scenario's own is one of the choices.

    ``replications``: 1,000 compiled runs at each dot, or 100 on SimPy. ``keeping`` says where the runs are kept and
    worked out, and takes the place of ``jobs``.
    """
    top = best_training_interval(scenario)
    reach = np.geomspace(top / SPAN, top * SPAN, FINE)
    line = tuple(float(tau) for tau in reach)
    chosen = {**classic_intervals(scenario), "best": top}
    if given:
        chosen = {"given": scenario.interval, **chosen}
    most = long_run_goodput(scenario.at(top))
    choices = [
        Choice(who=who, interval=tau, goodput=(g := long_run_goodput(scenario.at(tau))), regret=1 - g / most)
        for who, tau in chosen.items()
    ]
    dots: tuple[float, ...] = ()
    found: tuple[Estimate, ...] = ()
    spread: tuple[tuple[Estimate, Estimate], ...] = ()
    plateau: tuple[float, float] | None = None
    how = "closed forms only"
    if simulated:
        dots = tuple(float(tau) for tau in np.geomspace(top / SPAN, top * SPAN, DOTS))
        law = step_of(scenario, seed)
        witness = witness_of(scenario, law)
        count = replications or (COMPILED if witness == "kernel" else BY_EVENTS)
        places = [*dots, *(choice.interval for choice in choices)]
        samples = _goodputs(
            partial(_run, scenario, witness, seed, law), scenario, places, seed, count, keeping or Keeping(jobs=jobs)
        )
        samples, of_choices = samples[: len(dots)], samples[len(dots) :]
        found = tuple(_estimate(values) for values in samples)
        spread = tuple(_spread(values) for values in samples)
        plateau = _plateau(dots, samples)
        choices = _with_runs(choices, of_choices)
        how = f"{count} runs of {length(scenario)} at each dot, the same failures at all"
    return IntervalStudy(
        scenario=scenario,
        line=line,
        solved=tuple(solve(scenario.at(tau)) for tau in line),
        points=tuple(solve(scenario.at(tau)) for tau in dots),
        dots=dots,
        simulated=found,
        choices=tuple(choices),
        plateau=plateau,
        how=how,
        note=classic_note(scenario),
        spread=spread,
        beside=_blocking(scenario, line),
    )


def _blocking(scenario: Training, line: tuple[float, ...]) -> tuple[Answer, ...]:
    """The closed forms of blocking checkpoints along the line, where the scenario's own do not block."""
    own = scenario.checkpoint
    if not isinstance(own, AsyncCheckpoint):
        return ()
    twin = replace(scenario, checkpoint=Checkpoint(interval=own.interval, write=own.drain))
    return tuple(solve(twin.at(tau)) for tau in line)


def _goodputs(
    one: Callable[[tuple[float, int]], Record],
    scenario: Training,
    intervals: list[float],
    seed: int,
    replications: int,
    keeping: Keeping,
) -> list[Floats]:
    """Goodput of each run at each interval; the same failures strike at every one."""
    keys = {tau: key_of(scenario.at(tau), keeping, seed=seed, witness="events") for tau in intervals}
    points = [
        Point(item=(tau, k), key=replace(keys[tau], replication=k), label={"interval": pretty(tau, "s")})
        for tau in intervals
        for k in range(replications)
    ]
    goodputs = np.array([record["goodput"] for record in records(points, one, keeping)])
    return list(goodputs.reshape(len(intervals), replications))


def _run(scenario: Training, witness: Witness, seed: int, step: Service | None, place: tuple[float, int]) -> Record:
    """The metrics of one run at one interval."""
    interval, replication = place
    at = scenario.at(interval)
    return dict(measure(at, story_of(at, witness, seed=seed, replication=replication, step=step)))


def _spread(values: Floats) -> tuple[Estimate, Estimate]:
    low, high = (quantile_of_runs(f"goodput_{name}", list(values), level) for name, level in EXTREMES.items())
    return low, high


def _with_runs(choices: list[Choice], values: list[Floats]) -> list[Choice]:
    """The choices with their simulated goodput, and its loss against that of the last, the best."""
    losses = [1 - each.mean() / values[-1].mean() for each in values]
    return [
        replace(choice, simulated=student(each), simulated_regret=_ratio_loss(each, values[-1], loss))
        for choice, each, loss in zip(choices, values, losses, strict=True)
    ]


def _ratio_loss(values: Floats, best_values: Floats, loss: float) -> Interval:
    """``1 - mean/best mean`` of paired runs, its interval by the delta method."""
    spread = student((best_values - values) - loss * best_values)
    top = float(best_values.mean())
    assert spread.low is not None
    assert spread.high is not None
    return Interval(loss, loss + spread.low / top, loss + spread.high / top)


def _estimate(values: Floats) -> Estimate:
    found = student(values)
    return Estimate(metric="goodput", amount=found.mean, unit="", source="simulated", low=found.low, high=found.high)


def _plateau(dots: tuple[float, ...], samples: list[Floats]) -> tuple[float, float]:
    top = max(range(len(dots)), key=lambda k: float(samples[k].mean()))
    gaps = [student(samples[top] - values) for values in samples]
    worse = [tau for tau, gap in zip(dots, gaps, strict=True) if gap.low is not None and gap.low > 0]
    below, above = [tau for tau in worse if tau < dots[top]], [tau for tau in worse if tau > dots[top]]
    return max(below, default=dots[0]), min(above, default=dots[-1])


def length(scenario: Training) -> str:
    """How long a run is, in words."""
    given, word = (scenario.duration, "") if scenario.work is None else (scenario.work, " of work")
    assert given is not None
    return in_days(si(given)) + word
