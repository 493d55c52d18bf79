"""Ways to recover from failures side by side, and when a spare node is worth more than another interval."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from secondorder.analytic.training.run_interval import best_training_interval, long_run_goodput
from secondorder.answers.answer import Answer
from secondorder.errors import InfeasibleError, InputError
from secondorder.quantities import si
from secondorder.scenarios.training import Training
from secondorder.studies.interval import length
from secondorder.studies.points import Keeping, answers
from secondorder.verbs import simulate, solve

WHOLE, HOT, COLD, NEAR = "restart", "hot spare", "elastic, cold", "elastic, near"
MEANINGS = {
    WHOLE: "every failure stops the whole run",
    HOT: "the same, and no time to replace what failed",
    COLD: "the other replicas go on while one reloads in the time of a restart",
    NEAR: "the same, reloading from a neighbour",
}
"""What each way to recover does."""
REACH, FINE = 6.0, 41
"""How far the intervals reach on both sides of the best, and how many there are."""
CUTS = 30
"""Bisections of a factor of a thousand: to a relative 1e-8."""
MOST, SETTLED = 12, 1e-4
"""The most spares, and the gain in goodput below which one more does not matter."""


@dataclass(frozen=True, kw_only=True)
class Way:
    """One way to recover: ``who`` restarts or goes on, the ``scenario`` at its own best ``interval`` (s of work)."""

    who: str
    scenario: Training
    interval: float
    solved: Answer
    simulated: Answer | None = None


@dataclass(frozen=True, kw_only=True)
class BreakEven:
    """What one number of spares (``count``) gives by closed form: the goodput along the intervals, and the best.

    ``low`` and ``high``: intervals in s between which it beats one spare fewer at its best interval; None where it
    does nowhere, or has no spare fewer to beat.
    """

    count: int
    goodput: tuple[float, ...]
    interval: float
    best: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, kw_only=True)
class RecoveryStudy:
    """The ``ways`` to recover; ``surface``: goodput over the ``intervals`` (s) by number of spares, where there are.

    ``missing`` says which ways the scenario does not describe.
    """

    scenario: Training
    ways: tuple[Way, ...]
    how: str
    intervals: tuple[float, ...] = ()
    surface: tuple[BreakEven, ...] = ()
    missing: str = ""


def recovery_study(
    scenario: Training,
    *,
    seed: int = 0,
    replications: int | None = None,
    jobs: int = 1,
    simulated: bool = True,
    keeping: Keeping | None = None,
) -> RecoveryStudy:
    """Whole-run restart, hot spares, and replicas that go on: each at its own best interval, on the same failures.

    A hot spare takes no replacement. Elastic replicas reload in the time of a restart, or from a neighbour as the
    scenario says. With spares, each number of them over the interval tells where one more is worth more than another
    interval. ``keeping`` says where the runs are kept and worked out, and takes the place of ``jobs``.

    Errors: ``InputError`` for elastic replicas of which no failure stops all: nothing bounds their interval.
    """
    ways = [_way(who, each) for who, each in _ways(scenario).items()]
    how = "closed forms only"
    if simulated:
        count = replications or 100
        ways = _with_runs(ways, seed, count, keeping or Keeping(jobs=jobs))
        how = f"{count} runs of {length(scenario)} each way, the same failures at all"
    intervals, surface = _surface(scenario) if scenario.spares is not None else ((), ())
    missing = "" if scenario.elastic else "replicas that continue while one recovers: give elastic replicas"
    return RecoveryStudy(
        scenario=scenario, ways=tuple(ways), how=how, intervals=intervals, surface=surface, missing=missing
    )


def _ways(scenario: Training) -> dict[str, Training]:
    """The scenario recovered in each way that it describes."""
    whole, recovery, elastic = replace(scenario, elastic=None), scenario.recovery, scenario.elastic
    found = {WHOLE: whole}
    if si(recovery.replacement) > 0:
        found[HOT] = replace(whole, recovery=replace(recovery, replacement="0 s"))
    if elastic is not None:
        if si(recovery.restart) > si(elastic.reload):
            found[COLD] = replace(scenario, elastic=replace(elastic, reload=recovery.restart))
        found[NEAR] = scenario
    return found


def _way(who: str, scenario: Training) -> Way:
    interval = best_training_interval(scenario)
    at = scenario.at(interval)
    return Way(who=who, scenario=at, interval=interval, solved=solve(at))


def _with_runs(ways: list[Way], seed: int, replications: int, keeping: Keeping) -> list[Way]:
    asked = answers(
        [way.scenario for way in ways],
        [{"recovery": way.who} for way in ways],
        partial(simulate, seed=seed, replications=replications),
        keeping,
        seed=seed,
        options=json.dumps({"replications": replications}),
    )
    if error := next((each for each in asked if isinstance(each, str)), ""):
        raise InfeasibleError(error)
    return [replace(way, simulated=each) for way, each in zip(ways, asked, strict=True) if not isinstance(each, str)]


# Spares against the interval


def _surface(scenario: Training) -> tuple[tuple[float, ...], tuple[BreakEven, ...]]:
    """Goodput over intervals and spares, up to where more spares do not matter."""
    top = best_training_interval(_with(scenario, MOST))
    intervals = tuple(float(tau) for tau in np.geomspace(top / REACH, top * REACH, FINE))
    found: list[BreakEven] = []
    for count in range(MOST + 1):
        found.append(_row(_with(scenario, count), count, intervals, found[-1].best if found else math.inf))
        if count > 0 and found[-1].best - found[-2].best < SETTLED:
            break
    return intervals, tuple(found)


def _row(scenario: Training, count: int, intervals: tuple[float, ...], fewer: float) -> BreakEven:
    line = tuple(long_run_goodput(scenario.at(tau)) for tau in intervals)
    interval = best_training_interval(scenario)
    best = long_run_goodput(scenario.at(interval))
    if best <= fewer or math.isinf(fewer):
        return BreakEven(count=count, goodput=line, interval=interval, best=best)

    def gain(tau: float) -> float:
        return long_run_goodput(scenario.at(tau)) - fewer

    low, high = (_crossing(gain, interval, edge) for edge in (interval / 1e3, interval * 1e3))
    return BreakEven(count=count, goodput=line, interval=interval, best=best, low=low, high=high)


def _crossing(gain: Callable[[float], float], inside: float, outside: float) -> float:
    """Where a gain that is positive ``inside`` ends on the way ``outside``, by bisection of the logarithm."""
    if gain(outside) >= 0:
        return outside
    for _ in range(CUTS):
        middle = math.sqrt(inside * outside)
        inside, outside = (middle, outside) if gain(middle) >= 0 else (inside, middle)
    return inside


def _with(scenario: Training, count: int) -> Training:
    if scenario.spares is None:
        raise InputError("spares", given="none", expected="spares with the law of their repair")
    return replace(scenario, spares=replace(scenario.spares, count=count))
