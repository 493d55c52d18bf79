"""A collective or a pipeline without one of its effects."""

from dataclasses import replace

from secondorder.laws import Deterministic
from secondorder.scenarios.collective import Collective
from secondorder.scenarios.pipeline import Pipeline


def without_jitter(collective: Collective) -> Collective:
    """Every hop takes its own mean time."""
    return replace(collective, jitter=None)


def without_slow_links(collective: Collective) -> Collective:
    """All links are alike."""
    return replace(collective, slow_links=None)


def without_slow_ranks(collective: Collective) -> Collective:
    """All ranks are alike."""
    return replace(collective, slow_ranks=None)


def without_pass_jitter(pipeline: Pipeline) -> Pipeline:
    """Every pass takes its own mean time."""
    backward = None if pipeline.backward is None else Deterministic(pipeline.law("backward").mean)
    return replace(pipeline, jitter=None, forward=Deterministic(pipeline.law("forward").mean), backward=backward)


def without_slow_stages(pipeline: Pipeline) -> Pipeline:
    """All stages are alike."""
    return replace(pipeline, slow_stages=None)
