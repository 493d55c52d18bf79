"""What can come of the search for a steady state: values, not enough data, or no single steady state."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise

from secondorder.answers.metric import QUANTILES, value_name
from secondorder.simulate.statistics.controls import Control
from secondorder.simulate.statistics.histogram import pooled
from secondorder.simulate.statistics.intervals import Interval
from secondorder.simulate.statistics.quantiles import Quantile, quantile_interval
from secondorder.simulate.statistics.ratios import ratio_interval
from secondorder.simulate.statistics.runs import Section

SECTIONS = 20
"""Sections, at least, that an interval comes from; twice as many are joined in pairs, and so on."""


class Unsteady(StrEnum):
    """Why there is no steady state."""

    UNSTABLE = "unstable"
    TRANSIENT = "transient"
    TWO_STATES = "two states"


@dataclass(frozen=True, kw_only=True)
class Steady:
    """A steady state.

    ``sections`` of ``length`` requests each, every one after a ``warm_up`` that was cut; the ``relaxation`` time in
    requests. ``reached``: whether the wanted precision was reached; ``width``: the widest relative half-width of the
    watched metrics; ``needed``: requests in all that the precision takes.
    """

    sections: tuple[Section, ...] = field(repr=False)
    length: int
    warm_up: int
    relaxation: float
    spent: int
    wanted: float
    width: float
    needed: int

    @property
    def reached(self) -> bool:
        return self.width <= self.wanted


@dataclass(frozen=True, kw_only=True)
class TooShort:
    """Too few requests to tell; ``needed`` of them would do, as far as is known. ``sections``: what there is."""

    sections: tuple[Section, ...] = field(repr=False)
    spent: int
    needed: int
    seen: str


@dataclass(frozen=True, kw_only=True)
class NotSteady:
    """No single steady state: its ``kind``, and what was ``seen``. ``sections``: those of the runs from empty."""

    sections: tuple[Section, ...] = field(repr=False)
    spent: int
    kind: Unsteady
    seen: str
    growth: float = 0.0


Outcome = Steady | TooShort | NotSteady


def joined(sections: Sequence[Section]) -> list[Section]:
    """Join neighbours so that 20 to 39 are left: the shares of longer sections are closer to normal."""
    parts = len(sections) // max(1, len(sections) // SECTIONS)
    edges = [round(part * len(sections) / parts) for part in range(parts + 1)]
    return [join(sections[first:last]) for first, last in pairwise(edges)]


def join(sections: Sequence[Section]) -> Section:
    """One section out of several."""
    if len(sections) == 1:
        return sections[0]
    names = [name for name in sections[0].laws if all(name in each.laws for each in sections)]
    return Section(
        {name: pooled(each.laws[name] for each in sections) for name in names},
        {
            metric: (sum(each.totals[metric][0] for each in sections), sum(each.totals[metric][1] for each in sections))
            for metric in sections[0].totals
        },
        sections[0].work,
        {
            statistic: _joined_control([each.controls[statistic] for each in sections])
            for statistic in sections[0].controls
        },
    )


def _joined_control(controls: Sequence[Control]) -> Control:
    """Of all requests together; sections of different runs may expect different means."""
    size, expected = sum(each.size for each in controls), controls[0].expected
    if any(each.expected != expected for each in controls):
        expected = sum(each.expected * each.size for each in controls) / size
    return Control(sum(each.total for each in controls), size, expected)


def intervals(sections: Sequence[Section]) -> dict[str, Quantile]:
    """Every metric of the sections: mean and quantiles of each law, and the ratios."""
    parts = joined(sections)
    found: dict[str, Quantile] = {}
    for name in parts[0].laws:
        known = [each for each in parts if name in each.laws]
        if len(known) < 2:
            continue
        laws, controls = [each.laws[name] for each in known], _controls(known)
        sums, sizes = [law.total for law in laws], [law.size for law in laws]
        found[value_name(name, "mean")] = Quantile(ratio_interval(sums, sizes, controls=controls.get("mean", ())))
        found |= {
            value_name(name, label): quantile_interval(
                laws, level, controls=controls.get(value_name(name, label), controls.get(label, ()))
            )
            for label, level in QUANTILES.items()
        }
    for metric in parts[0].totals:
        above, below = zip(*(each.totals[metric] for each in parts), strict=True)
        found[metric] = Quantile(ratio_interval(above, below) if any(below) else Interval(0.0, 0.0, 0.0))
    return found


def _controls(sections: Sequence[Section]) -> dict[str, list[Control]]:
    """By statistic the controls of all sections."""
    return {statistic: [each.controls[statistic] for each in sections] for statistic in sections[0].controls}
