"""What every witness answers with: metrics, and for each one or more estimates.

A closed-form answer holds a ladder for each metric, from order 0 (alone, ideal) over order 1
(means) to order 2 (variability and limits). A simulated or measured one holds one estimate
with its interval.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from secondorder.errors import UnknownName
from secondorder.quantities import Quantity, pretty, quantity

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("scenario", "metric", "unit", "source", "order", "value", "ci_low", "ci_high", "verdict", "note")
"""The columns of every table that leaves the library: SI units, the unit in its column."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """One value of one metric, and where it comes from.

    ``order`` is that of the closed form, or None for a simulated or measured value.
    ``low`` and ``high`` bound the confidence interval, if there is one. ``in_domain`` is
    False where the source's own conditions do not hold; ``note`` then says which.
    """

    metric: str
    amount: float
    unit: str
    source: str
    order: int | None = None
    low: float | None = None
    high: float | None = None
    in_domain: bool = True
    note: str = ""

    @property
    def value(self) -> Quantity:
        """The estimate as a quantity."""
        return quantity(f"{self.amount!r} {self.unit}", self.unit)

    def __str__(self) -> str:
        text = pretty(self.amount, self.unit)
        if self.low is None or self.high is None or not math.isfinite(self.high - self.low):
            return text
        if self.high - self.low <= 1e-9 * abs(self.amount):  # nothing is random
            return text
        return f"{text} ({pretty(self.low, self.unit)} to {pretty(self.high, self.unit)})"


@dataclass(frozen=True, kw_only=True)
class Answer(Mapping[str, tuple[Estimate, ...]]):
    """Estimates by metric.

    ``answer["ttft_p99"]`` is the ladder of a metric, lowest order first;
    ``answer.best("ttft_p99")`` its last rung; ``answer.frame`` all of it as a table.
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
        """The estimate of the highest order."""
        return self[metric][-1]

    @property
    def frame(self) -> "pd.DataFrame":
        """One row an estimate, with the columns of every table of the library."""
        import pandas as pd

        return pd.DataFrame([row(self.scenario, e) for e in self.estimates], columns=list(COLUMNS))

    def __repr__(self) -> str:
        lines = [f"{self.scenario}: {self.how}".rstrip(": ")]
        for metric in self:
            rungs = "   ".join(f"{_label(e)} {e}" for e in self[metric])
            lines.append(f"  {metric:<24} {rungs}")
        return "\n".join(lines)


def row(scenario: str, estimate: Estimate, verdict: str = "") -> tuple[object, ...]:
    """An estimate as a row of the table."""
    e = estimate
    plain = e.in_domain or e.note.startswith("not enough data")
    note = e.note if plain else f"outside its domain: {e.note}"
    return scenario, e.metric, e.unit, e.source, e.order, e.amount, e.low, e.high, verdict, note


def _label(estimate: Estimate) -> str:
    return f"[{estimate.order}]" if estimate.order is not None else ""
