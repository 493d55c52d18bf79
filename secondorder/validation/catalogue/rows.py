"""Judged twins and borders as records (SI, for JSON and CSV)."""

import math
from collections.abc import Mapping

from secondorder.answers.metric import declared
from secondorder.systems.registry import system_of
from secondorder.validation.borders import LEVELS, Border
from secondorder.validation.catalogue.judge import Judged
from secondorder.validation.published import Published


def judged_record(judged: Judged) -> Mapping[str, object]:
    """One metric of one twin."""
    twin, error = judged.twin, judged.error
    metric = declared(system_of(twin.scenario).metrics, judged.metric)
    return {
        "suite": twin.suite,
        "twin": twin.title,
        "claim": twin.claim,
        "kind": twin.kind,
        "metric": judged.metric,
        "unit": "" if metric is None else metric.unit,
        "formula": judged.formula,
        "simulated": judged.simulated.mean,
        "ci_low": judged.simulated.low,
        "ci_high": judged.simulated.high,
        "error": error.mean,
        "error_low": error.low,
        "error_high": error.high if error.high != math.inf else None,
        "margin": judged.margin,
        "verdict": str(judged.verdict),
        "how": judged.how,
    }


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
        "how": row.note if low == high else f"theirs to {high}; {row.note}",
    }
