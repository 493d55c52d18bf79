"""Running twins: replications until a metric is known well enough for its margin, then verdicts on all.

Each metric is replicated until its 95 % interval is short compared with its margin, or the budget ends; the
verdicts are those of a family (Holm): with 95 % confidence not one of them is wrong.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from zlib import crc32

from secondorder.errors import InputError
from secondorder.executor import run_each
from secondorder.simulate.replicate import replicated
from secondorder.simulate.statistics.intervals import Interval, student, student_quantile
from secondorder.simulate.statistics.precision import replicate_until
from secondorder.validation.catalogue.twin import FIRST, Amounts, Kind, Twin
from secondorder.validation.equivalence import Equivalence, family_verdicts, two_one_sided
from secondorder.validation.verdicts import Verdict

ENOUGH: Mapping[Kind, float] = {"exact": 0.28, "bound": 0.28, "label": 0.28, "approximation": 0.15}
"""Half-width of the 95 % interval that is aimed at, as a share of the margin: with 0.28 a formula that is
right agrees, nineteen times in twenty, also as one of a hundred claims; approximations are near borders."""
QUICK, THOROUGH = 8.0, 120.0
"""Seconds of one core, roughly, that a twin may take; turned into customers by its speed."""
RELAXATIONS_OF_A_RUN = 100.0
"""Relaxation times that a run from two starts lasts at least."""
STRICTER = 0.4
"""What margins of exact claims shrink to in a thorough run."""


@dataclass(frozen=True, kw_only=True)
class Judged:
    """One metric of one twin: the ``formula`` against the ``simulated`` interval, and the verdict."""

    twin: Twin
    metric: str
    margin: float
    formula: float
    simulated: Interval
    test: Equivalence
    how: str
    verdict: Verdict

    @property
    def error(self) -> Interval:
        """``formula/simulated - 1`` with its 95 % interval."""
        low, high = self.simulated.low, self.simulated.high
        assert low is not None
        assert high is not None
        middle, least, most = (self.formula / x - 1 if x > 0 else math.inf for x in (self.simulated.mean, high, low))
        return Interval(middle, least, most)

    @property
    def fails(self) -> bool:
        """Whether the data speak against what theory foretells."""
        return self.opposed if self.twin.kind != "approximation" else self.opposed and self.foretold is Verdict.BREAKS

    @property
    def opposed(self) -> bool:
        """Whether the verdict is another than the one foretold."""
        return self.verdict not in (self.foretold, Verdict.NOT_ENOUGH_DATA)

    @property
    def foretold(self) -> Verdict:
        """The verdict that theory foretells of this metric."""
        return label(self.formula, self.margin) if self.twin.kind == "label" else self.twin.expected

    def judged_as(self, verdict: Verdict) -> "Judged":
        """The same with the verdict of a family; that of a label is the label itself."""
        if self.twin.kind == "label" and verdict is not Verdict.NOT_ENOUGH_DATA:
            other = Verdict.STABLE if self.foretold is Verdict.DIVERGES else Verdict.DIVERGES
            verdict = self.foretold if verdict is Verdict.AGREES else other
        return replace(self, verdict=verdict)


def label(left_over: float, threshold: float) -> Verdict:
    """The label that a share of work left over gives."""
    return Verdict.DIVERGES if left_over > threshold else Verdict.STABLE


def state(group: Sequence[Judged]) -> Verdict | None:
    """The label of a twin from all its starts: *two states* where they differ; None where it has no label."""
    found = {each.verdict for each in group if each.twin.kind == "label"}
    if Verdict.NOT_ENOUGH_DATA in found:
        return Verdict.NOT_ENOUGH_DATA
    return Verdict.TWO_STATES if len(found) > 1 else next(iter(found), None)


def run_catalogue(
    twins: Sequence[Twin],
    *,
    seed: int = 0,
    thorough: bool = False,
    jobs: int = 1,
    done: Callable[[], object] = lambda: None,
) -> list[Judged]:
    """All twins, ``jobs`` at a time, and their verdicts as a family. ``done`` is called after each."""
    judged = [each for found in _all(twins, seed, thorough, jobs, done) for each in found]
    verdicts = family_verdicts([each.test for each in judged])
    return [
        each if each.verdict is Verdict.TWO_STATES else each.judged_as(verdict)
        for each, verdict in zip(judged, verdicts, strict=True)
    ]


def _all(
    twins: Sequence[Twin], seed: int, thorough: bool, jobs: int, done: Callable[[], object]
) -> Iterator[list[Judged]]:
    for each in run_each(partial(run_twin, seed=seed, thorough=thorough), twins, jobs):
        done()
        yield each


def run_twin(twin: Twin, *, seed: int = 0, thorough: bool = False, budget: int | None = None) -> list[Judged]:
    """Both sides of a twin, each metric judged by itself. ``budget``: customers in all.

    Errors: ``InputError`` for a metric that one of the sides does not have.
    """
    formula = twin.formula(twin.scenario)
    seconds = THOROUGH if thorough else QUICK
    once = _remembered(twin, seed)
    apart = _apart(twin)
    judged = []
    for metric, stated in twin.margins.items():
        margin = stated * STRICTER if thorough and twin.kind == "exact" else stated
        if metric not in formula:
            raise InputError(f"{twin.title}: {metric}", given="no closed form", expected=f"one of {', '.join(formula)}")
        interval, how = _simulated(twin, once, metric, margin, budget or int(seconds * twin.speed))
        one = _judge(twin, metric, margin, formula[metric], interval, how)
        judged.append(replace(one, verdict=Verdict.TWO_STATES, how=f"{how}; {apart}") if apart else one)
    return judged


def _apart(twin: Twin) -> str:
    """What is seen of two starts that do not meet; nothing where they do, or where there is only one."""
    if twin.starts is None:
        return ""
    starts = twin.starts(twin.scenario, twin.length.customers)
    return "" if starts.met(twin.length.customers / RELAXATIONS_OF_A_RUN) else starts.apart


def _simulated(
    twin: Twin, once: Callable[[int, int], Amounts], metric: str, margin: float, budget: int
) -> tuple[Interval, str]:
    """What the replications say of a metric, and how many there were; a label takes the first ones alone."""
    length = twin.length.customers
    if twin.kind == "label":
        values = [found[metric] for found in replicated(lambda k: once(k, length), FIRST, jobs=1)]
        return student(values), f"{FIRST} replications, {FIRST * length:,} customers"
    found = replicate_until(
        once,
        metrics=[metric],
        relative_half_width=ENOUGH[twin.kind] * margin,
        length=length,
        budget=budget,
        first=FIRST,
    )
    return found.intervals[metric], found.how


def _remembered(twin: Twin, seed: int) -> Callable[[int, int], Amounts]:
    """Replications of a twin by its own streams; those that one metric took serve the next one too."""
    own, kept = crc32(f"{seed} {twin.title}".encode()), dict[tuple[int, int], Amounts]()

    def once(replication: int, customers: int) -> Amounts:
        if (replication, customers) not in kept:
            found = twin.witness(twin.scenario, customers, own, replication)
            kept[replication, customers] = {metric: found[metric] for metric in twin.margins}
        return kept[replication, customers]

    return once


def _judge(twin: Twin, metric: str, margin: float, formula: float, interval: Interval, how: str) -> Judged:
    assert interval.high is not None
    error = (interval.high - interval.mean) / student_quantile(0.95, FIRST - 1)
    test = _test(twin.kind, formula, interval.mean, error, margin)
    judged = Judged(
        twin=twin,
        metric=metric,
        margin=margin,
        formula=formula,
        simulated=interval,
        test=test,
        how=how,
        verdict=Verdict.NOT_ENOUGH_DATA,
    )
    return judged.judged_as(test.verdict())


def _test(kind: Kind, formula: float, mean: float, error: float, margin: float) -> Equivalence:
    """Two one-sided tests; of a bound only whether the truth exceeds it by more than the margin."""
    test = two_one_sided(formula, mean, error, degrees=FIRST - 1, margin=margin)
    if kind == "bound":
        most = formula / (1 - margin)
        return replace(test, p_agrees=_above(mean, most, error), p_breaks=min(1.0, 2 * _above(most, mean, error)))
    if kind == "label":
        sides = _above(mean, margin, error), _above(margin, mean, error)
        agrees, breaks = sides if label(formula, margin) is Verdict.STABLE else reversed(sides)
        return replace(test, p_agrees=agrees, p_breaks=min(1.0, 2 * breaks))
    return test


def _above(least: float, most: float, error: float) -> float:
    """How likely so large a gap ``most - least`` is by chance, if there is none."""
    from scipy.special import stdtr

    if error == 0:
        return 0.0 if most >= least else 1.0
    return float(stdtr(FIRST - 1, (least - most) / error))
