"""Constraints that a plan states: ``ttft_p99 < 500 ms``, ``goodput >= 0.85``, ``sum cost_total < 3e6 USD``.

An estimate with an interval meets a constraint if all of the interval does, and fails it if none of it does;
between these it is undecided. A closed form outside its own domain decides nothing, nor does one that is only a bound.
"""

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from secondorder.answers.answer import Answer
from secondorder.answers.estimate import Claim, Estimate, Steadiness
from secondorder.errors import InputError
from secondorder.quantities import pretty, quantity, si

RELATIONS: Mapping[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_PATTERN = re.compile(r"\s*(?P<sum>sum\s+)?(?P<metric>\w+)\s*(?P<relation><=|>=|<|>)\s*(?P<bound>.+?)\s*")


class Outcome(StrEnum):
    """What becomes of a constraint."""

    MET = "met"
    NOT_MET = "not met"
    UNDECIDED = "undecided"


@dataclass(frozen=True, kw_only=True)
class Constraint:
    """``metric relation bound``; with ``summed`` of the sum over all scenarios that have the metric."""

    metric: str
    relation: str
    bound: str
    summed: bool = False

    def __str__(self) -> str:
        return f"{'sum ' if self.summed else ''}{self.metric} {self.relation} {self.bound}"

    def least(self, unit: str) -> float:
        """The bound in SI units; ``UnitError`` for one of another dimension."""
        return si(quantity(self.bound, unit, f"assert {self.metric}"))


@dataclass(frozen=True, kw_only=True)
class Checked:
    """A constraint, of which scenario, on which estimate, and what became of it."""

    scenario: str
    constraint: Constraint
    estimate: Estimate
    outcome: Outcome

    def __str__(self) -> str:
        found = pretty(self.estimate.amount, self.estimate.unit)
        return f"{self.scenario}: {self.constraint} ({found}{', undecided' * (self.outcome is Outcome.UNDECIDED)})"

    @property
    def doubt(self) -> str:
        """Why it is undecided; empty where it is not."""
        if self.outcome is not Outcome.UNDECIDED:
            return ""
        if self.estimate.claim is Claim.BOUND:
            return f"only a bound is known ({self.estimate.remark})"
        return self.estimate.doubt or "the limit lies within the interval"


def read_constraint(text: object) -> Constraint:
    """A constraint in one line.

    >>> str(read_constraint("ttft_p99<500 ms"))
    'ttft_p99 < 500 ms'

    Errors: ``InputError`` for what is none.
    """
    match = _PATTERN.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise InputError("assert", given=repr(text), expected='METRIC < VALUE such as "ttft_p99 < 500 ms"')
    return Constraint(
        metric=match["metric"], relation=match["relation"], bound=match["bound"], summed=match["sum"] is not None
    )


def check(constraint: Constraint, answer: Answer) -> Checked:
    """A constraint on the best estimate of an answer. Errors: ``UnknownName`` for a metric that it does not have."""
    return _checked(answer.scenario, constraint, answer.best(constraint.metric))


def check_sum(constraint: Constraint, answers: Sequence[Answer]) -> Checked:
    """A constraint on the sum over the answers that have the metric; independent intervals add in squares."""
    parts = [answer.best(constraint.metric) for answer in answers if constraint.metric in answer]
    if not parts:
        raise InputError("assert", given=f"sum {constraint.metric}", expected="a metric that some scenario has")
    if len({part.unit for part in parts}) > 1:
        units = ", ".join(sorted({part.unit for part in parts}))
        raise InputError("assert", given=f"sum {constraint.metric} in {units}", expected="a metric of one unit")
    amount = sum(part.amount for part in parts)
    half = sum(((part.high - part.low) / 2) ** 2 for part in parts if part.low is not None and part.high is not None)
    known = any(part.low is not None for part in parts)
    total = Estimate(
        metric=constraint.metric,
        amount=amount,
        unit=parts[0].unit,
        source="sum",
        low=amount - half**0.5 if known else None,
        high=amount + half**0.5 if known else None,
        claim=Claim.BOUND if any(part.claim is Claim.BOUND for part in parts) else None,
        outside="; ".join(dict.fromkeys(part.outside for part in parts if part.outside)),
        steadiness=next((part.steadiness for part in parts if not part.steady), Steadiness.STEADY),
        unsettled="; ".join(dict.fromkeys(part.unsettled for part in parts if part.unsettled)),
    )
    return _checked("all", constraint, total)


def _checked(scenario: str, constraint: Constraint, estimate: Estimate) -> Checked:
    bound, holds = constraint.least(estimate.unit), RELATIONS[constraint.relation]
    ends = [estimate.amount if end is None else end for end in (estimate.low, estimate.high)]
    kept = [holds(end, bound) for end in ends]
    outcome = Outcome.MET if all(kept) else Outcome.UNDECIDED if any(kept) else Outcome.NOT_MET
    if estimate.doubt or estimate.claim is Claim.BOUND:
        outcome = Outcome.UNDECIDED
    return Checked(scenario=scenario, constraint=constraint, estimate=estimate, outcome=outcome)
