"""From the outcome of a search to estimates: each says what was reached, and whether it may be judged by."""

import math
from collections.abc import Mapping

from secondorder.scenarios.answers import Estimate
from secondorder.simulate.statistics.intervals import Interval
from secondorder.simulate.statistics.outcome import NotSteady, Outcome, Steady, TooShort, intervals
from secondorder.simulate.statistics.quantiles import Quantile

JUMP = "the law jumps at this quantile"


def estimates_of(outcome: Outcome, units: Mapping[str, str]) -> tuple[Estimate, ...]:
    """An estimate of each metric; its unit is s if ``units`` has no other."""
    found = intervals(outcome.sections)
    return tuple(_estimate(outcome, metric, known, units.get(metric, "s")) for metric, known in found.items())


def _estimate(outcome: Outcome, metric: str, known: Quantile, unit: str) -> Estimate:
    doubt = doubt_of(outcome) or (f"not enough data: {JUMP}" if known.jump else "")
    interval = known.interval
    unknown = doubt_of(outcome) != ""
    return Estimate(
        metric=metric,
        amount=interval.mean,
        unit=unit,
        source="simulated",
        low=-math.inf if unknown else interval.low,
        high=math.inf if unknown else interval.high,
        in_domain=not doubt,
        note=doubt or _unreached(outcome, interval),
    )


def doubt_of(outcome: Outcome) -> str:
    """Why nothing may be concluded from an outcome; empty for a steady state."""
    match outcome:
        case TooShort():
            return f"not enough data: {outcome.seen}; use at least {rounded(outcome.needed):,} requests in all"
        case NotSteady():
            return f"{outcome.kind}: {outcome.seen}"
    return ""


def _unreached(outcome: Outcome, interval: Interval) -> str:
    """What a metric lacks of the precision that was wanted, and what it would take."""
    width = interval.relative_half_width
    if not isinstance(outcome, Steady) or width <= outcome.wanted or not math.isfinite(width):
        return ""
    needed = outcome.spent * (width / outcome.wanted) ** 2
    return f"half-width {width:.1%} where {outcome.wanted:.1%} was wanted: about {rounded(needed):,} requests would do"


def how(outcome: Outcome) -> str:
    """In a line how an outcome was obtained."""
    if isinstance(outcome, Steady):
        reached = f"half-widths of at most {outcome.width:.1%}"
        if not outcome.reached:
            reached += f" where {outcome.wanted:.1%} was wanted"
        return (
            f"simulated, steady state: {len(outcome.sections)} runs of {outcome.length:,} requests, each after a "
            f"warm-up of {outcome.warm_up:,}, {outcome.spent:,} in all; {reached}"
        )
    kind = outcome.kind if isinstance(outcome, NotSteady) else "not enough data"
    return f"simulated, {kind}: {outcome.spent:,} requests in all; {outcome.seen}"


def rounded(count: float) -> int:
    """A number of requests to two digits, upwards.

    >>> rounded(15_974_800)
    16000000
    """
    digits: int = 10 ** max(0, math.floor(math.log10(max(count, 1))) - 1)
    return math.ceil(count / digits) * digits
