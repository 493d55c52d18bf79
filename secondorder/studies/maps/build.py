"""Makes the map of an approximation: formula and truth at the corners of its cells."""

import json
import math
from dataclasses import asdict, dataclass, field
from datetime import date
from functools import lru_cache, partial
from importlib.metadata import version

import numpy as np

from secondorder.breakdown.breakdown_map import STEPS, BreakdownMap, Corner
from secondorder.breakdown.fields import Coordinates, Field
from secondorder.breakdown.rows import Row
from secondorder.simulate.statistics.precision import replicate_until
from secondorder.studies.maps.formulas import formula_of
from secondorder.studies.maps.grounds import ground_of
from secondorder.studies.maps.points import Amounts, Exact
from secondorder.studies.maps.sample import Sampling
from secondorder.studies.points import HERE, Keeping, Point, records
from secondorder.studies.records import Record
from secondorder.studies.store import Key

MOST, MOST_EXACT = 260, 640
"""Corners of a map at most: of one that is simulated, and of one whose truth is known exactly."""
COARSE, FINE = 0.02, 0.008
"""Relative half-widths wanted of a truth far from the border of 10 %, and near it."""
NEAR = 0.1
"""Distance of ``ln(formula/truth)`` from that border that counts as near."""
FIRST = 10
"""Replications whose spread fixes how many there must be."""
LEAST = -7.0
"""``ln(formula/truth)`` of a formula that is 0 or negative where the truth is positive: as good as nothing."""


@dataclass(frozen=True)
class Known:
    """A value, and the half-width of its 95 % interval as a share of it."""

    amount: float
    width: float


def point_at(field: Field, corner: Corner) -> dict[str, float]:
    """The values of the axes at a corner."""
    return {axis.name: axis.value(step / STEPS) for axis, step in zip(field.axes, corner, strict=True)}


@lru_cache(maxsize=20_000)
def _truth_at(field: Field, values: tuple[float, ...], metric: str, width: float, seed: int) -> Known:
    """The true value, remembered: formulas of one field share it."""
    truth, point = ground_of(field).truth, dict(zip((axis.name for axis in field.axes), values, strict=True))
    if isinstance(truth, Exact):
        return Known(truth.amounts(point)[metric], 0.0)

    def once(replication: int, length: int) -> Amounts:
        return truth.once(point, seed, replication, length)

    found = replicate_until(
        once, metrics=[metric], relative_half_width=width, length=truth.length, budget=truth.budget, first=FIRST
    ).intervals[metric]
    return Known(found.mean, found.relative_half_width)


def truth_at(field: Field, point: Coordinates, metric: str, width: float, seed: int = 0) -> Known:
    """The true value of a metric, within a relative half-width if the budget of the field allows it."""
    return _truth_at(field, tuple(point[axis.name] for axis in field.axes), metric, width, seed)


@dataclass(kw_only=True)
class Making:
    """A map that is being made, with the true values found so far."""

    row: Row
    seed: int
    keeping: Keeping = HERE
    widths: list[float] = field(default_factory=list)

    def value(self, corner: Corner) -> float:
        """``ln(formula/truth)``; the truth is found more accurately near the border of 10 %."""
        point = point_at(self.row.field, corner)
        amount = formula_of(self.row)(point)[self.row.metric]
        known = self._truth(point, COARSE)
        found = logarithm(amount, known.amount)
        border = math.copysign(math.log1p(math.copysign(0.1, found)), found)
        if known.width > FINE and abs(found - border) < NEAR + known.width:
            known = self._truth(point, FINE)
            found = logarithm(amount, known.amount)
        self.widths.append(known.width)
        return found

    def _truth(self, point: dict[str, float], width: float) -> Known:
        field, metric = self.row.field, self.row.metric
        if self.keeping.store is None or isinstance(ground_of(field).truth, Exact):
            return truth_at(field, point, metric, width, self.seed)
        axes = "".join(f"{name} = {value!r}\n" for name, value in point.items())
        told = json.dumps({"metric": metric, "width": width})
        key = Key(scenario=f"[{field.name}]\n{axes}", seed=self.seed, witness="map", options=told)
        place = Point(item=point, key=key, label={name: f"{value:.4g}" for name, value in point.items()})
        (record,) = records([place], partial(self._record, width), self.keeping)
        return Known(**record)

    def _record(self, width: float, point: dict[str, float]) -> Record:
        return asdict(truth_at(self.row.field, point, self.row.metric, width, self.seed))


def logarithm(formula: float, truth: float) -> float:
    """``ln(formula/truth)``."""
    return max(math.log(formula / truth), LEAST) if formula > 0 else LEAST


def build(row: Row, *, seed: int = 0, most: int | None = None, keeping: Keeping = HERE) -> BreakdownMap:
    """Make the map of an approximation: seconds to a minute of one core.

    ``keeping`` says in which store each simulated truth is kept, and whether those that are there are taken over.
    """
    making = Making(row=row, seed=seed, keeping=keeping)
    exact = isinstance(ground_of(row.field).truth, Exact)
    most = most or (MOST_EXACT if exact else MOST)
    sampling = Sampling(axes=row.field.axes, value=making.value, most=most)
    splits = sampling.run()
    return BreakdownMap(
        row=row,
        corners=sampling.known,
        splits=splits,
        noise=(round(float(np.median(making.widths)), 4), round(max(making.widths), 4)),
        command=f"secondorder map {row.name} --build --seed {seed}",
        version=version("secondorder"),
        date=date.today().isoformat(),
    )
