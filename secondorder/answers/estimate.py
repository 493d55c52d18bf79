"""Estimates: one value of one metric, where it comes from, and how far it may be trusted."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from secondorder.answers.metric import Metric, unit_of
from secondorder.quantities import Quantity, pretty, quantity
from secondorder.scenarios.step_band import StepBand


class Claim(StrEnum):
    """What a closed form claims of its metric, where its own conditions hold."""

    EXACT = "exact"
    APPROXIMATION = "approximation"
    BOUND = "bound"


class Steadiness(StrEnum):
    """Whether a simulation has settled enough for its interval to mean what it says."""

    STEADY = "steady"
    NOT_ENOUGH_DATA = "not enough data"
    UNSTABLE = "unstable"
    TRANSIENT = "transient"
    TWO_STATES = "two states"


def short_of_data(why: str) -> Steadiness:
    """Not enough data where there is a reason ``why``, else steady."""
    return Steadiness.NOT_ENOUGH_DATA if why else Steadiness.STEADY


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """One value of one metric.

    - ``metric``, ``amount``, ``unit``: what it is, in SI units; ``source``: the formula, or "simulated".
    - ``order``: that of a closed form; None for a simulated or measured value.
    - ``low``, ``high``: the confidence interval, if there is one.
    - ``claim``: what a closed form claims; None for a simulated or measured value.
    - ``outside``: why the source's own conditions do not hold; empty where they do.
    - ``steadiness``: of a simulation; ``unsettled`` says why it is not steady, and how many requests would do.
    - ``note``: what else qualifies the value.
    - ``band``: of the step times from a datasheet that it rests on: how many times as long measured ones took.
    """

    metric: str
    amount: float
    unit: str = ""
    source: str
    order: int | None = None
    low: float | None = None
    high: float | None = None
    claim: Claim | None = None
    outside: str = ""
    steadiness: Steadiness = Steadiness.STEADY
    unsettled: str = ""
    note: str = ""
    band: StepBand | None = None

    @property
    def value(self) -> Quantity:
        """The estimate as a quantity."""
        return quantity(f"{self.amount!r} {self.unit}", self.unit)

    @property
    def in_domain(self) -> bool:
        """Whether the source's own conditions hold."""
        return not self.outside

    @property
    def steady(self) -> bool:
        """Whether its interval may be judged by; closed forms are steady."""
        return self.steadiness is Steadiness.STEADY

    @property
    def doubt(self) -> str:
        """Why nothing may be concluded from it; empty where something may."""
        unsettled = "" if self.steady else f"{self.steadiness}: {self.unsettled}".removesuffix(": ")
        outside = f"outside its domain: {self.outside}" if self.outside else ""
        return "; ".join(filter(None, (unsettled, outside)))

    @property
    def remark(self) -> str:
        """All that qualifies the value, in one line: its steadiness, its domain, its claim and its note.

        >>> wait = Rung(metric="wait_mean", amount=1.0, unit="s", source="Whitt", order=2, claim=Claim.APPROXIMATION,
        ...             outside="the trace is finite", note="two moments")
        >>> wait.remark
        'outside its domain: the trace is finite; approximation: two moments'
        """
        return "; ".join(filter(None, (self.doubt, _claimed(self.claim, self.note, self.outside))))

    def __str__(self) -> str:
        text = pretty(self.amount, self.unit)
        if self.low is not None and self.high is not None and math.isfinite(self.high - self.low):
            random = self.high - self.low > 1e-9 * abs(self.amount)
            text += f" ({pretty(self.low, self.unit)} to {pretty(self.high, self.unit)})" * random
        return text if self.steady else f"{text} ({self.steadiness})"


@dataclass(frozen=True, kw_only=True)
class Rung(Estimate):
    """The value that a closed form of one order gives a metric, and what it claims."""

    order: int = field()
    claim: Claim = field()


class Standing(NamedTuple):
    """How far a closed form may be trusted: its claim, the claim's note, and why it is outside its domain, if it is."""

    claim: Claim
    note: str = ""
    outside: str = ""


def exact(note: str = "", *, outside: str = "") -> Standing:
    """The standing of a formula that is exact where its conditions hold."""
    return Standing(Claim.EXACT, note, outside)


def approximation(note: str = "", *, outside: str = "") -> Standing:
    """The standing of a formula that is near the truth where its conditions hold."""
    return Standing(Claim.APPROXIMATION, note, outside)


def bound(note: str = "", *, outside: str = "") -> Standing:
    """The standing of a formula that the truth lies above, or below, where its conditions hold."""
    return Standing(Claim.BOUND, note, outside)


def rung(
    metric: str,
    amount: float,
    unit: str,
    source: str,
    order: int,
    note: str = "",
    outside: str = "",
    claim: Claim = Claim.APPROXIMATION,
) -> Rung:
    """A rung in one line; an approximation if no other claim is given."""
    return Rung(
        metric=metric,
        amount=float(amount),
        unit=unit,
        source=source,
        order=order,
        claim=claim,
        note=note,
        outside=outside,
    )


def rungs(
    metrics: Iterable[Metric], order: int, source: str, standing: Standing, amounts: Mapping[str, float]
) -> Iterator[Rung]:
    """The values that one formula gives several metrics; their units are those of ``metrics``.

    >>> step = [Metric(name="step_time", unit="s", statistics=("mean",))]
    >>> [rung] = rungs(step, 1, "longest path", exact("without jitter"), {"step_time_mean": 2.0})
    >>> str(rung), rung.remark
    ('2 s', 'exact, without jitter')
    """
    metrics = list(metrics)
    for metric, amount in amounts.items():
        yield Rung(
            metric=metric,
            amount=float(amount),
            unit=unit_of(metrics, metric),
            source=source,
            order=order,
            claim=standing.claim,
            outside=standing.outside,
            note=standing.note,
        )


def _claimed(claim: Claim | None, note: str, outside: str) -> str:
    """A claim and its note; a plain approximation needs no words, nor does what is outside its domain."""
    match claim:
        case Claim.EXACT if not note:
            return "" if outside else "exact"
        case Claim.EXACT:
            return f"exact, {note}"
        case Claim.BOUND:
            return f"bound: {note}" if note else "bound"
        case Claim.APPROXIMATION if note:
            return f"approximation: {note}"
    return note


def best_of(estimates: Sequence[Estimate]) -> Estimate:
    """The estimate of one metric to use.

    An exact one; else an approximation inside its domain; else what is outside its domain; a bound only where there
    is nothing else. Of several, that of the highest order. A simulated or measured value counts as exact.

    >>> wait = [Rung(metric="w", amount=a, source="", order=o, claim=c) for o, a, c in
    ...         ((0, 1.0, Claim.BOUND), (1, 3.0, Claim.APPROXIMATION), (2, 9.0, Claim.BOUND))]
    >>> best_of(wait).amount
    3.0
    """
    return max(estimates, key=_trust)


def _trust(estimate: Estimate) -> tuple[int, int]:
    if estimate.claim is Claim.BOUND:
        level = 0
    elif estimate.outside:
        level = 1
    else:
        level = 2 if estimate.claim is Claim.APPROXIMATION else 3
    return level, -1 if estimate.order is None else estimate.order
