"""The gap between one order of a metric's ladder and the simulation, split into effects that sum to it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING

import numpy as np

from secondorder.answers.estimate import Estimate
from secondorder.answers.metric import unit_of
from secondorder.arrays import Floats
from secondorder.errors import InputError, UnknownName
from secondorder.quantities import Quantity, quantity, si
from secondorder.scenarios.scenario import Scenario
from secondorder.scenarios.serving import Serving
from secondorder.simulate.replicate import replicated
from secondorder.simulate.statistics.intervals import student
from secondorder.systems.registry import SYSTEMS, system_of
from secondorder.systems.system import Effect, System, loaded
from secondorder.validation.explanation.shapley import closed, shares
from secondorder.verbs import solve
from secondorder.workloads.traces import Trace

if TYPE_CHECKING:
    import pandas as pd

    from secondorder.simulate.serving.partition import Partition

REPLICATIONS = 10
SAID, NEGLIGIBLE = 3, 0.01
"""Parts that the sentence names, and share of the gap below which it does not mention the rest."""
BARE = "formula against the bare system"
"""Name of the part that no effect makes: what is simulated without any effect, less the formula for that."""
LENGTHS = "length spread"
"""The effect that is given where only some lengths count."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """What one effect adds to the gap, with a 95 % interval.

    ``value`` is its Shapley value: its mean over all orders of turning effects on. ``first`` is what it adds when it is
    turned on alone, ``last`` what goes when it alone is turned off.
    """

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    first: float | None = None
    last: float | None = None


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """``simulated - formula``, split into ``parts`` that sum to it (``math.fsum``) to the last digit.

    The first part is the formula against the bare system, the others are effects, the largest first. ``idle`` are
    effects that the scenario has and that change nothing, neither turned on alone nor turned off alone; they stay on.
    ``given`` are effects that stay on because the formula is for a system that has them.
    """

    scenario: Scenario
    metric: str
    unit: str
    formula: Estimate
    simulated: Estimate
    parts: tuple[Part, ...]
    idle: tuple[str, ...]
    given: tuple[str, ...] = ()
    seed: int
    requests: int | None = field(repr=False)

    @property
    def gap(self) -> float:
        """Simulated less formula."""
        return self.simulated.amount - self.formula.amount

    @property
    def effects(self) -> tuple[Part, ...]:
        """The parts that effects make, the largest first."""
        return self.parts[1:]

    @property
    def told(self) -> str:
        """Who tells the formula's value: an order, or the user."""
        return "your formula" if self.formula.order is None else f"order {self.formula.order}"

    @property
    def cause(self) -> str:
        """The effect with the largest part; empty where no effect changes anything."""
        return self.effects[0].name if self.effects else ""

    @property
    def frame(self) -> "pd.DataFrame":
        """A row a part, in SI units: its value, interval, and what it does first and last."""
        import pandas as pd

        about = self.scenario.name, self.metric, self.unit, self.formula.order
        rows = [
            (*about, p.name, p.value, p.low, p.high, p.first, p.last)
            for p in self.parts
        ]  # fmt: skip
        columns = ["scenario", "metric", "unit", "order", "part", "value", "ci_low", "ci_high", "first", "last"]
        return pd.DataFrame(rows, columns=columns)

    @cached_property
    def partition(self) -> "Partition | None":
        """For a latency of a service: where the time of its requests went, in one run of the same seed."""
        if not isinstance(self.scenario, Serving):
            return None
        from secondorder.simulate.partition import partition

        return partition(self.scenario, seed=self.seed, requests=self.requests)

    @property
    def sentence(self) -> str:
        """All of it in one sentence."""
        from secondorder.quantities import pretty

        def said(value: float) -> str:
            return pretty(value, self.unit)

        told = f"{self.told} says {said(self.formula.amount)}"
        head = f"{self.metric} is {said(self.simulated.amount)} where {told}"
        if not self.effects:
            return f"{head}; no effect that can be turned off changes it."
        parts = sorted(self.parts, key=lambda part: -abs(part.value))[:SAID]
        named = [f"{part.name} {_signed(part.value, said(abs(part.value)))}" for part in parts]
        rest = self.gap - sum(part.value for part in parts)
        if abs(rest) > NEGLIGIBLE * abs(self.gap):
            named.append(f"the rest {_signed(rest, said(abs(rest)))}")
        return f"{head}; of the gap of {said(self.gap)}, {', '.join(named)}."

    def __repr__(self) -> str:
        return self.sentence


def _signed(value: float, text: str) -> str:
    return f"{'adds' if value >= 0 else 'takes'} {text}"


def explain(
    scenario: Scenario,
    metric: str,
    *,
    order: int | None = None,
    formula: Quantity | str | None = None,
    given: Sequence[str] = (),
    longest_prompt: int | None = None,
    seed: int = 0,
    replications: int = REPLICATIONS,
    requests: int | None = None,
    jobs: int = 1,
) -> Explanation:
    """Split the gap between an order of the ladder and the simulation into the effects that make it.

    Each effect of the scenario is turned on and off, on common random numbers; ``v(S)`` is the simulated metric with
    the effects ``S`` on, ``f(S)`` the formula of that scenario: what a formula knows of an effect is no part of the gap
    (where it cannot be asked without the effect, ``f`` leaves it on). With ``g = v - f`` an effect's part is its
    Shapley value, ``sum_S |S|! (n - |S| - 1)!/n! (g(S + i) - g(S))``; beyond six effects that matter, orders are
    sampled. The part of the bare system is ``g(none)``. All parts sum to ``v(all) - f(all)``. ``order`` is the lowest
    of the ladder if none is given. Intervals are Student's over the replications, at 95 %.

    ``formula`` is a value of one's own ("10 ms") instead of an order: the same for all ``S``. ``given`` names effects
    that stay on, since the formula is for a system that has them: what is left of the gap is shared among the others.
    With ``longest_prompt`` only the requests of a service count whose prompts are at most this long; lengths then
    are given, and ``formula`` has to be.

    A p99 is not a sum: its parts tell what turning effects off would change, on average over the orders of doing so,
    and not where the time of a request went, which ``partition`` shows.

    Errors: ``InputError`` for a scenario whose effects cannot be turned off, ``UnknownName`` for a metric that is not
    both solved and simulated, and for a given effect that the scenario does not have; those of ``solve``.

    >>> import secondorder as so
    >>> queue = so.Queue(arrivals="poisson 8 request/s", service="exponential 100 ms")
    >>> found = so.explain(queue, "response_mean", requests=2_000)
    >>> [part.name for part in found.effects]
    ['service variability', 'arrival variability']
    """
    system = system_of(scenario)
    if not system.effects:
        known = ", ".join(each.name for each in SYSTEMS.values() if each.effects)
        raise InputError("scenario", given=system.name, expected=f"one whose effects can be turned off: {known}")
    least = 1 if _replayed(scenario) else 2
    if replications < least:
        raise InputError("replications", given=replications, expected=f"at least {least}")
    _check_class(scenario, longest_prompt, formula, order)
    estimate = _formula(scenario, metric, order) if formula is None else _own(system, metric, formula)
    lengths = () if longest_prompt is None else (LENGTHS,)
    study = _Study(
        scenario, system, estimate, given=(*given, *lengths), longest_prompt=longest_prompt, seed=seed,
        replications=1 if _replayed(scenario) else replications, requests=requests, jobs=jobs,
    )  # fmt: skip
    return study.explanation()


def _check_class(
    scenario: Scenario, longest_prompt: int | None, formula: Quantity | str | None, order: int | None
) -> None:
    if formula is not None and order is not None:
        raise InputError("order", given=order, expected="an order or a formula of your own, not both")
    if longest_prompt is None:
        return
    if not isinstance(scenario, Serving):
        raise InputError("longest_prompt", given=longest_prompt, expected="a service, whose requests have prompts")
    if formula is None:
        expected = "your own value for these requests: the closed forms tell of all"
        raise InputError("formula", given="none", expected=expected)


def _own(system: System, metric: str, formula: Quantity | str) -> Estimate:
    """The value that the user expects."""
    unit = unit_of(system.metrics, metric)
    return Estimate(metric=metric, amount=si(quantity(formula, unit, "formula")), unit=unit, source="your formula")


def _replayed(scenario: Scenario) -> bool:
    return isinstance(scenario, Serving) and isinstance(scenario.arrivals, Trace)


def _formula(scenario: Scenario, metric: str, order: int | None) -> Estimate:
    ladder = solve(scenario)[metric]
    if order is None:
        return ladder[0]
    for rung in ladder:
        if rung.order == order:
            return rung
    known = ", ".join(str(rung.order) for rung in ladder)
    raise InputError("order", given=order, expected=f"an order that {metric} has: {known}")


def _up_to(scenario: Scenario, metric: str, order: int) -> float:
    """The value of this order, or of the next lower one where a simpler scenario does not have it."""
    ladder = solve(scenario)[metric]
    lower = [rung for rung in ladder if rung.order is not None and rung.order <= order]
    return (lower or list(ladder))[-1].amount


def _of(scenario: Scenario, system: System) -> Iterator[Effect]:
    """The effects that a scenario has, or that are left when those before them are off."""
    for effect in system.effects:
        off = loaded(effect.off)(scenario)
        if off != scenario:
            yield effect
        scenario = off


class _Study:
    """Simulations of one scenario with some of its effects off; each set of effects is simulated once."""

    def __init__(
        self,
        scenario: Scenario,
        system: System,
        formula: Estimate,
        *,
        given: Sequence[str],
        longest_prompt: int | None,
        seed: int,
        replications: int,
        requests: int | None,
        jobs: int,
    ) -> None:
        assert system.one_run is not None
        self.scenario, self.formula, self.metric = scenario, formula, formula.metric
        self.seed, self.replications, self.requests, self.jobs = seed, replications, requests, jobs
        self.one_run = loaded(system.one_run)
        if longest_prompt is not None:
            self.one_run = partial(self.one_run, longest_prompt=longest_prompt)
        self.effects = list(_of(scenario, system))
        self.in_formula = frozenset(each.name for each in self.effects if each.in_formula)
        self.every = frozenset(each.name for each in self.effects)
        for name in given:
            if name not in self.every and name != LENGTHS:
                raise UnknownName.among("given", name, sorted(self.every))
        self.given = self.every & frozenset(given)
        self.solved = {self.in_formula: formula.amount}
        self.known: dict[frozenset[str], Floats] = {}

    def gap(self, on: frozenset[str]) -> Floats:
        """The simulated metric with just these effects on, less the formula, in each replication."""
        if self.formula.order is None:
            return self.simulated(on) - self.formula.amount
        inside = on & self.in_formula
        if inside not in self.solved:
            known = self._with(inside | (self.every - self.in_formula))
            self.solved[inside] = _up_to(known, self.metric, self.formula.order or 0)
        return self.simulated(on) - self.solved[inside]

    def simulated(self, on: frozenset[str]) -> Floats:
        """The metric in each replication, with just these effects on."""
        if on not in self.known:
            scenario = self._with(on)
            runs = replicated(lambda k: self._measure(scenario, k), self.replications, self.jobs)
            self.known[on] = np.array(runs)
        return self.known[on]

    def _with(self, on: frozenset[str]) -> Scenario:
        scenario = self.scenario
        for effect in self.effects:
            if effect.name not in on:
                scenario = loaded(effect.off)(scenario)
        return scenario

    def _measure(self, scenario: Scenario, replication: int) -> float:
        found = self.one_run(scenario, seed=self.seed, replication=replication, requests=self.requests)
        if self.metric not in found:
            raise UnknownName.among("metric", self.metric, list(found))
        return found[self.metric]

    def explanation(self) -> Explanation:
        whole, idle = self.simulated(self.every), self._idle()
        stay = idle | self.given
        names = [effect.name for effect in self.effects if effect.name not in stay]

        def worth(coalition: frozenset[int]) -> Floats:
            return self.gap(stay | {names[i] for i in coalition})

        bare = worth(frozenset())
        effects = [
            _part(name, share, worth(frozenset([i])) - bare, self.gap(self.every) - self.gap(self.every - {name}))
            for i, (name, share) in enumerate(zip(names, shares(len(names), worth, self.seed), strict=True))
        ]
        effects.sort(key=lambda part: -abs(part.value))
        simulated = _estimate(self.metric, self.formula.unit, whole)
        return Explanation(
            scenario=self.scenario, metric=self.metric, unit=self.formula.unit, formula=self.formula,
            simulated=simulated, parts=_summing([_part(BARE, bare), *effects], simulated.amount - self.formula.amount),
            idle=tuple(sorted(idle)), given=tuple(sorted(self.given)), seed=self.seed, requests=self.requests,
        )  # fmt: skip

    def _idle(self) -> frozenset[str]:
        """Effects that change nothing in the simulation, neither alone nor last."""
        whole, none = self.simulated(self.every), self.simulated(self.given)
        return frozenset(
            name
            for name in self.every - self.given
            if (self.simulated(self.every - {name}) == whole).all()
            and (self.simulated(self.given | {name}) == none).all()
        )


def _part(name: str, values: Floats, first: Floats | None = None, last: Floats | None = None) -> Part:
    low, high = _ends(values)
    return Part(
        name=name, value=float(values.mean()), low=low, high=high,
        first=None if first is None else float(first.mean()), last=None if last is None else float(last.mean()),
    )  # fmt: skip


def _estimate(metric: str, unit: str, values: Floats) -> Estimate:
    low, high = _ends(values)
    return Estimate(metric=metric, amount=float(values.mean()), unit=unit, source="simulated", low=low, high=high)


def _ends(values: Floats) -> tuple[float | None, float | None]:
    if len(values) < 2:
        return None, None
    interval = student(values)
    return interval.low, interval.high


def _summing(parts: Sequence[Part], gap: float) -> tuple[Part, ...]:
    values = closed([part.value for part in parts], gap)
    return tuple(replace(part, value=value) for part, value in zip(parts, values, strict=True))
