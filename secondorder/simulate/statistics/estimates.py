"""From the outcome of a search to estimates: each says what was reached, and whether it may be judged by."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from secondorder.answers.estimate import Estimate, Steadiness, short_of_data
from secondorder.answers.metric import Metric, unit_of
from secondorder.simulate.statistics.intervals import Interval
from secondorder.simulate.statistics.outcome import NotSteady, Outcome, Steady, TooShort, intervals
from secondorder.simulate.statistics.quantiles import Quantile

JUMP = "the law jumps at this quantile"
FEW = "too few values lie past this quantile; use more requests"


@dataclass(frozen=True)
class Doubt:
    """The steadiness of what was simulated, and why nothing may be concluded from it, if that is so."""

    steadiness: Steadiness = Steadiness.STEADY
    why: str = ""

    @property
    def steady(self) -> bool:
        return self.steadiness is Steadiness.STEADY


SURE = Doubt()
"""No doubt: a steady state."""


def short_of(why: str) -> Doubt:
    """The doubt that there is not enough data, where there is a reason."""
    return Doubt(short_of_data(why), why)


def doubt_of(outcome: Outcome) -> Doubt:
    """Why nothing may be concluded from an outcome; no doubt of a steady state."""
    match outcome:
        case TooShort():
            return short_of(f"{outcome.seen}; use at least {rounded(outcome.needed):,} requests in all")
        case NotSteady():
            return Doubt(Steadiness(outcome.kind), outcome.seen)
    return SURE


def simulated(metric: str, interval: Interval, unit: str, why: str = "") -> Estimate:
    """The estimate of one metric from its interval, which has no ends where there is not enough data (``why``)."""
    return Estimate(
        metric=metric,
        amount=interval.mean,
        unit=unit,
        source="simulated",
        low=-math.inf if why else interval.low,
        high=math.inf if why else interval.high,
        steadiness=short_of_data(why),
        unsettled=why,
    )


def estimates_of(outcome: Outcome, metrics: Iterable[Metric] = ()) -> tuple[Estimate, ...]:
    """An estimate of each metric that was simulated, with the unit that it has among ``metrics``."""
    declared, doubt = tuple(metrics), doubt_of(outcome)
    return tuple(
        _estimate(outcome, metric, each, declared, doubt) for metric, each in intervals(outcome.sections).items()
    )


def _estimate(outcome: Outcome, metric: str, known: Quantile, metrics: tuple[Metric, ...], doubt: Doubt) -> Estimate:
    interval = known.interval
    unbounded = interval.high == math.inf
    jump = short_of(FEW if unbounded else JUMP if known.jump else "")
    return Estimate(
        metric=metric,
        amount=interval.mean,
        unit=unit_of(metrics, metric) if metrics else "",
        source="simulated",
        low=interval.low if doubt.steady else -math.inf,
        high=interval.high if doubt.steady else math.inf,
        steadiness=jump.steadiness if doubt.steady else doubt.steadiness,
        unsettled=doubt.why or jump.why,
        note=_unreached(outcome, interval),
    )


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
