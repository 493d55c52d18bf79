"""Answers: what one witness says of a scenario.

A closed-form answer holds a ladder for each metric, from order 0 (alone, ideal) over order 1
(means) to order 2 (variability and limits). A simulated or measured one holds one estimate
with its interval.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from secondorder.answers.estimate import Claim, Estimate, best_of
from secondorder.answers.metric import Metric, declared
from secondorder.errors import UnknownName
from secondorder.scenarios.step_band import StepBand

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    "scenario", "metric", "unit", "source", "order", "value", "ci_low", "ci_high", "verdict", "note",
    "step_time_low", "step_time_high",
)  # fmt: skip
"""The columns of every table that leaves the library: SI units, the unit in its column.

The last two are empty unless step times come from a datasheet: the band of measured over predicted ones."""


@dataclass(frozen=True, kw_only=True)
class Answer(Mapping[str, tuple[Estimate, ...]]):
    """Estimates by metric.

    ``answer["ttft_p99"]`` is the ladder of a metric, lowest order first;
    ``answer.best("ttft_p99")`` the rung to use; ``answer.frame`` all of it as a table.
    A simulated answer says in ``how`` how it was obtained, and keeps the ``requests`` (one row
    each) and the engine's ``series`` over time.
    """

    scenario: str
    estimates: tuple[Estimate, ...]
    how: str = ""
    requests: "pd.DataFrame | None" = field(default=None, repr=False, compare=False)
    series: "pd.DataFrame | None" = field(default=None, repr=False, compare=False)

    def __getitem__(self, metric: str) -> tuple[Estimate, ...]:
        if found := tuple(e for e in self.estimates if e.metric == metric):
            return found
        raise UnknownName.among("metric", metric, list(self))

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(e.metric for e in self.estimates))

    def __len__(self) -> int:
        return len(list(iter(self)))

    def best(self, metric: str) -> Estimate:
        """The estimate to use: exact, else an approximation inside its domain, of the highest order (``best_of``)."""
        return best_of(self[metric])

    def in_units_of(self, metrics: Iterable[Metric]) -> "Answer":
        """The answer with the declared unit where a value has none."""
        known = tuple(metrics)
        units = {name: found.unit for name in self if (found := declared(known, name)) is not None}
        return replace(self, estimates=tuple(_with_unit(e, units.get(e.metric, "")) for e in self.estimates))

    @property
    def frame(self) -> "pd.DataFrame":
        """One row an estimate, with the columns of every table of the library."""
        import pandas as pd

        return pd.DataFrame([row(self.scenario, e) for e in self.estimates], columns=list(COLUMNS))

    def with_band(self, band: StepBand | None) -> "Answer":
        """The answer that rests on step times from a datasheet, whose band each of its values then has."""
        return self if band is None else replace(self, estimates=tuple(replace(e, band=band) for e in self.estimates))

    def __repr__(self) -> str:
        lines = [f"{self.scenario}: {self.how}".rstrip(": ")]
        for metric in self:
            rungs = "   ".join(f"{_label(e)} {e}" for e in self[metric])
            lines.append(f"  {metric:<24} {rungs}")
        return "\n".join([*lines, *(f"  {line}" for line in band_lines(self.estimates))])


def ranked(estimates: Iterable[Estimate]) -> tuple[Estimate, ...]:
    """Estimates metric by metric, in the order in which the metrics first appear, lowest order first.

    >>> rungs = [Estimate(metric=m, amount=0.0, source="", order=o) for m, o in (("a", 1), ("b", 0), ("a", 0))]
    >>> [(e.metric, e.order) for e in ranked(rungs)]
    [('a', 0), ('a', 1), ('b', 0)]
    """
    by_metric: dict[str, list[Estimate]] = {}
    for each in estimates:
        by_metric.setdefault(each.metric, []).append(each)
    return tuple(e for ladder in by_metric.values() for e in sorted(ladder, key=_order))


def row(scenario: str, estimate: Estimate, verdict: str = "") -> tuple[object, ...]:
    """An estimate as a row of the table."""
    e = estimate
    band = e.band if e.band is not None and e.band.known else (None, None)
    return scenario, e.metric, e.unit, e.source, e.order, e.amount, e.low, e.high, verdict, e.remark, *band


def band_lines(estimates: Iterable[Estimate]) -> list[str]:
    """What a table says of the step times from datasheets that its values rest on: a line, or none."""
    bands = [each.band for each in estimates if each.band is not None]
    return [StepBand(min(b.low for b in bands), max(b.high for b in bands)).sentence] if bands else []


def _with_unit(estimate: Estimate, unit: str) -> Estimate:
    return replace(estimate, unit=unit) if unit and not estimate.unit else estimate


def _order(estimate: Estimate) -> int:
    return -1 if estimate.order is None else estimate.order


def _label(estimate: Estimate) -> str:
    if estimate.order is None:
        return ""
    return f"[{estimate.order}{', bound' * (estimate.claim is Claim.BOUND)}]"
