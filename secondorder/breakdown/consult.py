"""What the maps say about an answer: beyond its border an approximation is outside its domain, with its error.

Values stay as they are, and so does every estimate that is exact, a bound, or outside of its domain already.
"""

from collections.abc import Mapping
from dataclasses import replace

from secondorder.answers.answer import Answer
from secondorder.answers.estimate import Claim, Estimate
from secondorder.breakdown.breakdown_map import breakdown_map
from secondorder.breakdown.fields import Coordinates
from secondorder.breakdown.rows import ROWS

BORDER = 0.10
"""Error past which an estimate is put outside of its domain."""

RUNGS: Mapping[tuple[str, str, int | None], str] = {
    (row.field.name, row.metric, row.order): row.name for row in ROWS if row.order is not None
}
"""The maps of the ladder, by field, metric and order."""

Rungs = Mapping[tuple[str, int | None], str]


def consulted(answer: Answer, places: Mapping[str, Coordinates]) -> Answer:
    """The answer of a scenario that lies at these ``places``, with the reasons that the maps give.

    >>> from secondorder.answers.estimate import Rung
    >>> rung = Rung(metric="wait_mean", amount=0.4, unit="s", source="M/M/1", order=1, claim=Claim.APPROXIMATION)
    >>> answer = Answer(scenario="queue", estimates=(rung,))
    >>> consulted(answer, {"single_line": {"load": 0.8, "arrival_scv": 1.0, "service_scv": 4.0}}).estimates[0].outside
    'about 60 % low here, by its map'
    """
    reasons: dict[tuple[str, int | None], str] = {}
    for field, at in places.items():
        for each in answer.estimates:
            name = RUNGS.get((field, each.metric, each.order))
            if name is not None and _open(each):
                reasons[each.metric, each.order] = reason_at(name, at)
    if not any(reasons.values()):
        return answer
    return replace(answer, estimates=tuple(_with_reason(each, reasons) for each in answer.estimates))


def reason_at(name: str, at: Coordinates) -> str:
    """Why an approximation is outside its domain at a point; empty inside its border and off its map."""
    here = breakdown_map(name)
    if not here.holds(**at) or abs(error := here.error_at(**at)) <= BORDER:
        return ""
    return f"{in_words(error)} here, by its map"


def _open(estimate: Estimate) -> bool:
    """Whether a map applies to an estimate: only to an approximation that is inside its domain."""
    return estimate.claim is Claim.APPROXIMATION and not estimate.outside


def _with_reason(estimate: Estimate, reasons: Rungs) -> Estimate:
    """An order without a map is trusted no more than a higher order, which includes more effects."""
    if not _open(estimate):
        return estimate
    own = reasons.get((estimate.metric, estimate.order))
    if own is not None:
        return replace(estimate, outside=own)
    higher = [order for (metric, order), why in reasons.items() if metric == estimate.metric and why]
    if any(order > estimate.order for order in higher if order is not None and estimate.order is not None):
        return replace(estimate, outside="a higher order is off here, by its map")
    return estimate


def in_words(error: float) -> str:
    """An error in words.

    >>> in_words(-0.183), in_words(0.5)
    ('about 18 % low', 'about 50 % high')
    """
    return f"about {100 * abs(error):.0f} % {'low' if error < 0 else 'high'}"
