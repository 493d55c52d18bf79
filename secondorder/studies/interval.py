"""The checkpoint interval: goodput over it, the best by each formula and by simulation, and what a wrong one costs."""

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
from secondorder.arrays import Floats
from secondorder.quantities import si
from secondorder.scenarios.training import Training
from secondorder.simulate.output import Interval, student
from secondorder.simulate.training import runs
from secondorder.simulate.training.answer import in_days
from secondorder.verbs import solve

DOTS, SPAN = 9, 6.0
"""Simulated intervals, and how far they reach on both sides of the best: a sixth to six times."""
FINE = 61


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
    chance (paired 95 % intervals). ``note``: what Young and Daly do not see here.
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


def interval_study(
    scenario: Training,
    *,
    given: bool = False,
    seed: int = 0,
    replications: int | None = None,
    jobs: int = 1,
    simulated: bool = True,
) -> IntervalStudy:
    """Goodput over the interval; with ``given`` the scenario's own is one of the choices."""
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
    plateau: tuple[float, float] | None = None
    how = "closed forms only"
    if simulated:
        dots = tuple(float(tau) for tau in np.geomspace(top / SPAN, top * SPAN, DOTS))
        count = replications or 100
        sample = partial(_goodputs, scenario, seed=seed, replications=count, jobs=jobs)
        samples = [sample(tau) for tau in dots]
        found = tuple(_estimate(values) for values in samples)
        plateau = _plateau(dots, samples)
        choices = _with_runs(choices, sample)
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
    )


def _goodputs(scenario: Training, interval: float, *, seed: int, replications: int, jobs: int) -> Floats:
    """Goodput of each run; the same failures strike at every interval."""
    stories = runs(scenario.at(interval), seed=seed, replications=replications, jobs=jobs)
    return np.array([story.goodput for story in stories])


def _with_runs(choices: list[Choice], sample: "partial[Floats]") -> list[Choice]:
    """The choices with their simulated goodput, and its loss against that of the last, the best."""
    values = [sample(choice.interval) for choice in choices]
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
