"""A twin: one claim of theory, and the scenario on which the simulation must confirm it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, TypedDict

from secondorder.scenarios.queue import BatchService, Queue, Shared
from secondorder.scenarios.scenario import Scenario
from secondorder.simulate.queues import after, measure, run, warm_up
from secondorder.simulate.queues.answer import RELAXATIONS
from secondorder.simulate.queues.run import has_recursion
from secondorder.simulate.statistics.run_length import RunLength, recommended_length
from secondorder.simulate.statistics.starts import Starts
from secondorder.validation.verdicts import Verdict
from secondorder.verbs import solve

Kind = Literal["exact", "approximation", "bound", "label"]
Amounts: TypeAlias = Mapping[str, float]
Formula: TypeAlias = Callable[[Any], Amounts]
"""Of a scenario, its closed forms by metric (SI)."""
Witness: TypeAlias = Callable[[Any, int, int, int], Amounts]
"""Of a scenario, a number of customers, a seed and a replication, what was measured, by metric (SI)."""

MEAN, QUANTILE = 0.05, 0.10
"""Margins of a mean (or a probability) and of a p99 of an exact claim, unless a twin states others."""
FIRST = 20
"""Replications whose spread fixes how many there must be."""


def ladder_top(scenario: Scenario) -> Amounts:
    """The closed form of the highest order, metric by metric; order 0, a customer alone, claims nothing."""
    answer = solve(scenario)
    best = {metric: answer.best(metric) for metric in answer}
    return {metric: estimate.amount for metric, estimate in best.items() if estimate.order != 0}


def one_replication(queue: Queue, customers: int, seed: int, replication: int) -> Amounts:
    """A replication of a queue without its warm-up: an eleventh of it (``recommended_length``)."""
    start, end = after(queue, customers, max(customers // 11, min(warm_up(queue), customers // 2)))
    return measure(queue, run(queue, customers, seed=seed, replication=replication), start, end)


class TwinOptions(TypedDict, total=False):
    """What a twin may be given besides title, claim, scenario and margins."""

    formula: Formula
    witness: Witness
    customers: int | None
    pace: float | None


class TwinOfAKind(TwinOptions, total=False):
    """The same, and the kind."""

    kind: Kind


@dataclass(frozen=True, kw_only=True)
class Twin:
    """One claim, judged metric by metric against margins stated beforehand.

    - ``title``: the claim in at most 28 characters; ``claim``: in a sentence.
    - ``kind``: *exact*, *approximation*, *bound* (from above), or *label*: whether the share of work left over at the
      end exceeds the margin, as the formula says (*diverges*), or not (*stable*).
    - ``margins``: of each metric that is judged, how far formula and truth may be apart; for a
      bound, how far the truth may exceed it.
    - ``formula`` and ``witness``: the two sides; that of the highest order of ``solve`` and one
      replication of the queue where none are named.
    - ``starts``: of the scenario and a number of customers, the same run from an empty and from a flooded start, where
      they may end in two states.
    - ``customers``: of a replication; by the design rule where none are given.
    - ``pace``: customers that the witness simulates in a second of one core, roughly, where it is not a queue's.
    - ``expected``: the verdict that theory foretells, where it is another than that both sides agree.
    - ``units``: of the metrics, where no kind of scenario declares them.
    """

    title: str
    claim: str
    suite: str
    kind: Kind = "exact"
    scenario: Scenario
    margins: Mapping[str, float] = field(default_factory=lambda: {"wait_mean": MEAN})
    formula: Formula = ladder_top
    witness: Witness = one_replication
    starts: Callable[[Any, int], Starts] | None = None
    customers: int | None = None
    pace: float | None = None
    expected: Verdict = Verdict.AGREES
    units: Mapping[str, str] = field(default_factory=dict)

    @property
    def length(self) -> RunLength:
        """Replications by the design rule: long enough for the p99 where one is judged."""
        if self.customers is not None:
            return RunLength(FIRST, self.customers, self.customers // 11)
        assert isinstance(self.scenario, Queue)
        quantile = 0.99 if any(metric.endswith("_p99") for metric in self.margins) else None
        relaxation = warm_up(self.scenario) / RELAXATIONS
        return recommended_length(relaxation=max(relaxation, 10.0), quantile=quantile, replications=FIRST)

    @property
    def quick(self) -> bool:
        """Whether it must hold, and a run by the design rule takes a third of a second or less."""
        return self.kind != "approximation" and self.length.total <= 0.35 * self.speed

    @property
    def speed(self) -> float:
        """Customers that are simulated in a second of one core, roughly."""
        if self.pace is not None:
            return self.pace
        assert isinstance(self.scenario, Queue)
        if isinstance(self.scenario.discipline, BatchService):
            return 1.5e6
        if not has_recursion(self.scenario):
            return 4e5
        lindley = self.scenario.servers == 1 or not isinstance(self.scenario.routing, Shared)
        return 8e6 if lindley else 3e6
