"""How often the maps are right: fresh random points, labelled by longer simulations of their own.

    python benchmarks/map_accuracy.py [MAP ...] [--points 50] [--seed 1]

A point is drawn evenly on the axes of a map. Its label is whether the formula is within 10 % of the truth there: by
the exact theory where the field has one, else by simulation on random numbers that the map has not seen, until the
interval lies on one side of the border. Where the longest simulation does not tell, the point is counted apart, and
as right or wrong by its best value all the same.
"""

import argparse
import sys
import time
from dataclasses import dataclass

import numpy as np

from secondorder.breakdown.breakdown_map import BreakdownMap, breakdown_map, names
from secondorder.breakdown.rows import Row
from secondorder.studies.maps.build import Known, truth_at
from secondorder.studies.maps.formulas import formula_of

BORDER = 0.10
WIDTHS = (0.02, 0.008, 0.003)
"""Relative half-widths that are asked for in turn, until the label is known or the budget of the field ends."""


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """A point, the error there by a simulation and by the map; ``told``: whether the simulation tells the label."""

    point: dict[str, float]
    error: float
    width: float
    mapped: float
    told: bool

    @property
    def right(self) -> bool:
        return (abs(self.error) <= BORDER) == (abs(self.mapped) <= BORDER)


def labelled(row: Row, found: BreakdownMap, point: dict[str, float], seed: int) -> Labelled:
    formula = formula_of(row)(point)[row.metric]
    for width in WIDTHS:
        truth = truth_at(row.field, point, row.metric, width, seed)
        if told(formula, truth):
            break
    error = formula / truth.amount - 1
    mapped = found.error_at(**point)
    return Labelled(point=point, error=error, width=truth.width, mapped=mapped, told=told(formula, truth))


def told(formula: float, truth: Known) -> bool:
    """Whether the whole interval of the error lies on one side of the borders."""
    ends = [abs(formula / (truth.amount * (1 + sign * truth.width)) - 1) <= BORDER for sign in (-1, 1)]
    return ends[0] == ends[1]


def points_of(row: Row, count: int, seed: int) -> list[dict[str, float]]:
    rng = np.random.default_rng([seed, *row.name.encode()])
    return [{axis.name: axis.value(rng.random()) for axis in row.field.axes} for _ in range(count)]


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("maps", nargs="*")
    parser.add_argument("--points", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args(words)
    print(f"{given.points} fresh points a map, seed {given.seed}; off: median of map less simulated error")
    short = 0
    for name in given.maps or names():
        found, begun = breakdown_map(name), time.process_time()
        every = [
            labelled(found.row, found, point, 1_000 * given.seed + place)
            for place, point in enumerate(points_of(found.row, given.points, given.seed))
        ]
        right, untold = sum(one.right for one in every), sum(not one.told for one in every)
        off = float(np.median([abs(one.mapped - one.error) for one in every]))
        apart = f", {untold} too near to tell" if untold else ""
        print(
            f"{name:26} {right}/{given.points} right{apart}; off {off:.3f}; {time.process_time() - begun:.0f} s",
            flush=True,
        )
        for one in every:
            if not one.right:
                at = ", ".join(f"{axis} {value:.3g}" for axis, value in one.point.items())
                print(f"    {at}: {one.error:+.3f} ± {one.width:.3f}, map {one.mapped:+.3f}", flush=True)
        short += right < 0.94 * given.points
    return 1 if short else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
