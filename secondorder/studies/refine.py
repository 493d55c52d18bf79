"""A sweep that adds replications where its intervals are widest, until all are narrow enough or the time is over."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from secondorder.answers.estimate import Estimate
from secondorder.errors import InputError, UnknownName
from secondorder.scenarios.scenario import Scenario
from secondorder.studies.points import HERE, Keeping
from secondorder.studies.sweep import CompareOptions, SweepPoint, at_places, places_of
from secondorder.validation.comparison import Comparison

FIRST, MOST = 10, 100_000
"""Replications of a point at first, and at most."""


@dataclass(frozen=True, kw_only=True)
class Refined:
    """The ``points`` of a sweep, the ``replications`` of each, and the relative half-width of its widest interval.

    ``ended``: why it ended: "target", "budget" or "replications", of which a point has as many as it may.
    """

    points: tuple[SweepPoint, ...]
    replications: tuple[int, ...]
    widths: tuple[float, ...]
    ended: str

    @property
    def how(self) -> str:
        """What was reached, in words."""
        few, many = min(self.replications), max(self.replications)
        runs = f"{few:,}" if few == many else f"{few:,} to {many:,}"
        widest = max(self.widths, default=0.0)
        reached = f"the widest interval is ±{100 * widest:.2g} %" if math.isfinite(widest) else "some have no interval"
        why = {"target": "", "budget": "; the budget is spent", "replications": "; a point has as many as it may"}
        return f"{runs} replications a point, {reached}{why[self.ended]}"


def refined_points(
    scenario: Scenario,
    grid: Mapping[str, Sequence[object]],
    *,
    target: float,
    metrics: Sequence[str],
    budget: float = math.inf,
    replications: int | None = None,
    seed: int = 0,
    keeping: Keeping = HERE,
    margin: float | None = None,
    requests: int | None = None,
) -> Refined:
    """Compare at every point of a grid, with more replications where the intervals of the ``metrics`` are widest.

    Each round doubles the replications of the points whose relative half-width is above ``target`` and within a factor
    of the square root of 2 of the widest; the first replications of a point are the same ones. No round begins after
    ``budget`` seconds. With a store each round's points are kept, so that a killed sweep resumes.

    Errors: ``InputError`` for a target that is no share, ``UnknownName`` for a metric that no point has.
    """
    if not 0 < target < 1:
        raise InputError("target", given=target, expected="a share between 0 and 1")
    began, places = time.monotonic(), places_of(grid)
    counts = [replications or FIRST] * len(places)
    found: list[SweepPoint | None] = [None] * len(places)
    wanted = list(range(len(places)))
    while True:
        chosen = [CompareOptions(margin=margin, requests=requests, replications=counts[k]) for k in wanted]
        for place, point in zip(
            wanted,
            at_places(scenario, [places[k] for k in wanted], chosen, seed=seed, keeping=keeping),
            strict=True,
        ):
            found[place] = point
        points = tuple(point for point in found if point is not None)
        _check_known(points, metrics)
        widths = tuple(width_of(point, metrics) for point in points)
        wanted, ended = _widest(widths, counts, target), "target"
        if not wanted:
            ended = "target" if max(widths, default=0.0) <= target else "replications"
        elif time.monotonic() - began > budget:
            ended, wanted = "budget", []
        if not wanted:
            return Refined(points=points, replications=tuple(counts), widths=widths, ended=ended)
        for k in wanted:
            counts[k] = min(2 * counts[k], MOST)
        keeping = replace(keeping, told=None)


def width_of(point: SweepPoint, metrics: Sequence[str]) -> float:
    """The widest relative half-width of these metrics at a point; 0 where nothing is simulated."""
    if not isinstance(point.result, Comparison):
        return 0.0
    simulated = point.result.simulated
    return max((_width(simulated.best(metric)) for metric in metrics if metric in simulated), default=0.0)


def _width(estimate: Estimate) -> float:
    low, high = estimate.low, estimate.high
    if low is None or high is None or low == high:
        return 0.0
    return abs((high - low) / 2 / estimate.amount) if estimate.amount and math.isfinite(high - low) else math.inf


def _widest(widths: Sequence[float], counts: Sequence[int], target: float) -> list[int]:
    """The points that get more replications."""
    open_ = [k for k, width in enumerate(widths) if width > target and counts[k] < MOST]
    most = max((widths[k] for k in open_), default=0.0)
    return [k for k in open_ if widths[k] >= most / math.sqrt(2)]


def _check_known(points: Sequence[SweepPoint], metrics: Sequence[str]) -> None:
    known = list(dict.fromkeys(name for point in points for name in point.metrics))
    if known and (unknown := [metric for metric in metrics if metric not in known]):
        raise UnknownName.among("metric", unknown[0], known)
