"""Where a collective or a pipeline lies on its maps."""

import math
from collections.abc import Mapping

from secondorder.answers.answer import Answer
from secondorder.breakdown.fields import Coordinates
from secondorder.laws import Deterministic, LogNormal
from secondorder.scenarios.collective import Collective
from secondorder.scenarios.pipeline import Pipeline


def of_collective(collective: Collective, answer: Answer) -> Mapping[str, Coordinates]:
    """The fields that the collective is one of, and where it lies there."""
    if (collective.operation, collective.algorithm) != ("all_reduce", "ring") or not collective.even:
        return {}
    if collective.jitter is None or not isinstance(law := collective.law("jitter"), LogNormal):
        return {}
    counts = {"ranks": float(collective.ranks), "repeats": float(collective.repeats)}
    return {"ring": {"cv": math.sqrt(law.scv), **counts}}


def of_pipeline(pipeline: Pipeline, answer: Answer) -> Mapping[str, Coordinates]:
    """The fields that the pipeline is one of, and where it lies there."""
    cv, forward, backward = _cv(pipeline), *pipeline.seconds
    if cv is None or pipeline.send_seconds > 0 or any(factor != 1 for factor in pipeline.factors):
        return {}
    at = {"cv": cv, "stages": float(pipeline.stages), "microbatches": float(pipeline.microbatches)}
    match pipeline.schedule:
        case "forward":
            return {"wave": at}
        case "1f1b" if abs(backward / forward - 2) < 1e-9:
            return {"one_forward_one_backward": at}
    return {}


def _cv(pipeline: Pipeline) -> float | None:
    """The cv of a lognormal jitter of passes that are alike; None where there is another."""
    if pipeline.jitter is None or not isinstance(law := pipeline.law("jitter"), LogNormal):
        return None
    names = ["forward"] if pipeline.backward is None else ["forward", "backward"]
    alike = all(isinstance(pipeline.law(name), Deterministic) for name in names)
    return math.sqrt(law.scv) if alike else None
