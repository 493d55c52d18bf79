"""Judged twins and borders as records (SI, for JSON and CSV)."""

import math
from collections.abc import Mapping

from secondorder.answers.metric import declared
from secondorder.systems.registry import system_of
from secondorder.validation.borders import LEVELS, Border
from secondorder.validation.catalogue.judge import Judged
from secondorder.validation.catalogue.twin import Twin
from secondorder.validation.published import Published
from secondorder.validation.verdicts import Verdict


def judged_record(judged: Judged) -> Mapping[str, object]:
    """One metric of one twin."""
    twin = judged.twin
    error = None if twin.kind == "label" else judged.error
    return {
        "suite": twin.suite,
        "twin": twin.title,
        "claim": twin.claim,
        "kind": twin.kind,
        "metric": judged.metric,
        "unit": _unit(twin, judged.metric),
        "formula": judged.formula,
        "simulated": judged.simulated.mean,
        "ci_low": judged.simulated.low,
        "ci_high": judged.simulated.high,
        "error": error and error.mean,
        "error_low": error and error.low,
        "error_high": error.high if error and error.high != math.inf else None,
        "margin": judged.margin,
        "verdict": str(judged.verdict),
        "expected": "" if twin.kind == "approximation" and twin.expected is Verdict.AGREES else str(judged.foretold),
        "how": judged.how,
    }


def _unit(twin: Twin, metric: str) -> str:
    """That of the twin, else the one that its kind of scenario declares."""
    if metric in twin.units:
        return twin.units[metric]
    found = declared(system_of(twin.scenario).metrics, metric)
    return "" if found is None else found.unit


def border_record(border: Border) -> Mapping[str, object]:
    """One formula on one shape of queue, in the columns of the twins: where it is off by more than a given share."""
    off = "; ".join(f"more than {level:.0%} off at {border.beyond(level)}" for level in LEVELS)
    return {
        "suite": "borders",
        "twin": f"{border.formula}, {border.shape.name}",
        "claim": off,
        "kind": "approximation",
        "metric": border.shape.metric,
        "unit": "",
        **dict.fromkeys(("formula", "simulated", "ci_low", "ci_high", "error", "error_low", "error_high", "margin")),
        "verdict": "",
        "expected": "",
        "how": f"over the utilisation, against {border.shape.against}",
    }


def published_record(row: Published) -> Mapping[str, object]:
    """A published claim, in the columns of the twins: theirs is the formula, ours the simulation."""
    low, high = (edge if math.isfinite(edge) else None for edge in (row.least, row.most))
    return {
        "suite": "published",
        "twin": row.claim,
        "claim": row.source,
        "kind": f"published, {row.standing}",
        "metric": row.claim,
        "unit": row.unit,
        "formula": low,
        "simulated": row.ours.mean,
        "ci_low": row.ours.low,
        "ci_high": row.ours.high,
        **dict.fromkeys(("error", "error_low", "error_high", "margin")),
        "verdict": str(row.verdict),
        "expected": "",
        "how": row.note if low == high else f"theirs to {high}; {row.note}",
    }
