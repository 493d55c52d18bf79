"""The closed forms and the simulation of the same scenario, metric by metric."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from secondorder.answers.answer import COLUMNS, Answer, row
from secondorder.answers.estimate import Estimate
from secondorder.quantities import Quantity
from secondorder.scenarios.scenario import Scenario
from secondorder.scenarios.serving import Serving
from secondorder.simulate.witness import Witness
from secondorder.systems.registry import system_of
from secondorder.validation.load_axis import load_errors
from secondorder.validation.verdicts import Verdict, check_margin, verdict
from secondorder.verbs import simulate, solve
from secondorder.workloads.traces import Trace

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class Judged:
    """One closed form against the simulation: ``error`` is ``formula/simulated - 1``."""

    formula: Estimate
    simulated: Estimate
    verdict: Verdict

    @property
    def error(self) -> float:
        return self.formula.amount / self.simulated.amount - 1 if self.simulated.amount else float("nan")


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """``solved`` and ``simulated`` answers of one scenario, judged against ``margin``."""

    scenario: str
    solved: Answer
    simulated: Answer
    margin: float
    asked: Scenario | None = None
    """The scenario, where the error on the load axis is wanted."""

    @cached_property
    def load_errors(self) -> dict[tuple[str, int], float]:
        """``load/own - 1`` of the load at which a closed form that breaks reaches the simulated value.

        By metric and order, of the closed form to use of each time; of no other, and none without a law with a rate.
        """
        if self.asked is None:
            return {}
        values: dict[tuple[str, int], float] = {}
        for metric in self.solved:
            best = self.solved.best(metric)
            for each in self.judged_of(metric):
                if each.verdict is Verdict.BREAKS and each.formula == best and each.simulated.unit == "s":
                    values[metric, best.order or 0] = each.simulated.amount
        return load_errors(self.asked, values)

    @property
    def judged(self) -> list[Judged]:
        """Every closed form whose metric was simulated, in the order of the ladder."""
        return [judged for metric in self.solved for judged in self.judged_of(metric)]

    def judged_of(self, metric: str) -> list[Judged]:
        """Every closed form of one metric."""
        return [
            Judged(formula=e, simulated=truth, verdict=verdict(e.amount, truth, self.margin))
            for truth in self.simulated.get(metric, ())
            for e in self.solved.get(metric, ())
        ]

    @property
    def frame(self) -> "pd.DataFrame":
        """All estimates of both, one row each, with the verdict of each closed form."""
        import pandas as pd

        rows: list[tuple[object, ...]] = []
        for metric in dict.fromkeys([*self.solved, *self.simulated]):
            verdicts = self.verdicts(metric)
            solved = [self._on_load_axis(e) for e in self.solved.get(metric, ())]
            rows.extend(row(self.scenario, e, verdicts.get(e.order, "")) for e in solved)
            rows.extend(row(self.scenario, e) for e in self.simulated.get(metric, ()))
        return pd.DataFrame(rows, columns=list(COLUMNS))

    def _on_load_axis(self, formula: Estimate) -> Estimate:
        """A closed form with its error on the load axis as a note, where that is known."""
        error = self.load_errors.get((formula.metric, formula.order or 0))
        if error is None:
            return formula
        note = f"reaches the simulated value at a load {on_load_axis(error)}"
        return replace(formula, note="; ".join(filter(None, (formula.note, note))))

    def verdicts(self, metric: str) -> dict[int | None, Verdict]:
        """The verdict on each order of a metric; none where the metric was not both solved and simulated."""
        return {j.formula.order: j.verdict for j in self.judged_of(metric)}

    def __repr__(self) -> str:
        lines = [f"{self.scenario}: {self.solved.how}", f"{self.simulated.how}; margin {100 * self.margin:g} %"]
        for j in self.judged:
            form = f"[{j.formula.order}] {j.formula!s:<12} {j.error:>+8.1%}"
            lines.append(f"  {j.formula.metric:<20} {form}  {j.verdict:<16} {j.simulated}")
        return "\n".join(lines)


def compare(
    scenario: Scenario,
    *,
    seed: int = 0,
    margin: float | None = None,
    replications: int | None = None,
    requests: int | None = None,
    jobs: int = 1,
    precision: float | None = None,
    budget: Quantity | str | None = None,
    witness: Witness | None = None,
    load_axis: bool = True,
) -> Comparison:
    """Solve and simulate a scenario, and judge each closed form against ``margin`` (10 %; .5 % of a training run).

    ``load_axis``: whether the frame and the table also tell the error on the load axis of a closed form that breaks
    (``Comparison.load_errors``), which takes some ten solutions more. Errors: those of ``solve`` and ``simulate``.
    """
    margin = system_of(scenario).margin if margin is None else margin
    check_margin(margin)
    if requests is not None and isinstance(scenario, Serving) and isinstance(scenario.arrivals, Trace):
        scenario = replace(scenario, arrivals=scenario.arrivals.head(requests))  # both witnesses see the same requests
    solved = solve(scenario)
    simulated = simulate(
        scenario,
        seed=seed,
        replications=replications,
        requests=requests,
        jobs=jobs,
        precision=precision,
        budget=budget,
        witness=witness,
    )
    asked = scenario if load_axis else None
    return Comparison(scenario=scenario.name, solved=solved, simulated=simulated, margin=margin, asked=asked)


def on_load_axis(error: float) -> str:
    """An error on the load axis in words.

    >>> on_load_axis(-0.0312), on_load_axis(0.004)
    ('3.1 % lower', '0.4 % higher')
    """
    return f"{100 * abs(error):.1f} % {'lower' if error < 0 else 'higher'}"
