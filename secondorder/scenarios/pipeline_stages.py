"""Pipeline-parallel stages of an engine: how long a step takes in one of them, and through all.

>>> import secondorder as so
>>> whole = so.Affine(per_step=8e-3, per_prefill_token=0, per_decode=0)
>>> four = PipelineStages(step_time=whole, stages=4, share=0.25, hop=so.Link(bandwidth="50 GB/s", latency="1 ms"))
>>> placement = Placement(model=so.models.llama_3_1_8b, accelerator=so.accelerators.h100_sxm, precision="bf16",
...     kv_precision="bf16")
>>> round(four.stage(placement)(0, 0, 0, 1, 100, 1), 9), round(float(four.seconds(placement)(0, 0, 0, 1, 100, 1)), 6)
(0.002, 0.011)
"""

from dataclasses import dataclass
from typing import NamedTuple

from secondorder.arrays import Real
from secondorder.fleets.clusters import Link
from secondorder.quantities import Checked, Count, Efficiency, si
from secondorder.scenarios.measured_roofline import ACTIVATION_BYTES, MeasuredRoofline
from secondorder.scenarios.steptime import Placement, Roofline, StepFunction, StepSeconds, StepTime


@dataclass(frozen=True, kw_only=True)
class PipelineStages(Checked):
    """The time of a step through all ``stages``: ``n s + (n - 1) hop``, with ``s`` that of a stage.

    ``s = share (t - h) + h``: the share of the layers that the slowest stage has, of the step time ``t`` of all layers
    without the host's part ``h``, which every stage has. A ``hop`` carries ``2 hidden`` bytes for each token.
    """

    step_time: StepTime
    stages: Count
    share: Efficiency
    hop: Link

    def seconds(self, placement: Placement) -> StepFunction["StageCoefficients"]:
        return StepFunction(traversal_seconds, self.coefficients(placement))

    def stage(self, placement: Placement) -> StepFunction["StageCoefficients"]:
        """The time of a step in one stage, without a hop."""
        return StepFunction(stage_seconds, self.coefficients(placement))

    def coefficients(self, placement: Placement) -> "StageCoefficients":
        """The numbers of both for one placement."""
        moved = placement.model.hidden * ACTIVATION_BYTES / si(self.hop.bandwidth)
        return StageCoefficients(
            whole=self.step_time.seconds(placement),
            stages=self.stages,
            share=self.share,
            host=host_seconds(self.step_time),
            hop=si(self.hop.latency),
            hop_per_token=moved,
        )


class StageCoefficients(NamedTuple):
    """The step time of all layers, and what stages make of it."""

    whole: StepSeconds
    stages: int
    share: float
    host: float
    hop: float
    hop_per_token: float


def host_seconds(step_time: StepTime) -> float:
    """The part of a step in s that does not shrink with the layers, where a step time knows it; else none."""
    if isinstance(step_time, Roofline):
        return si(step_time.host_overhead)
    return step_time.host.per_step if isinstance(step_time, MeasuredRoofline) else 0.0


def stage_seconds(c: StageCoefficients, P: Real, A: Real, C: Real, D: Real, K: Real, S: Real) -> Real:
    """``s`` of ``PipelineStages``."""
    return c.share * (c.whole(P, A, C, D, K, S) - c.host) + c.host


def hop_seconds(c: StageCoefficients, P: Real, D: Real) -> Real:
    """From one stage to the next."""
    return c.hop + c.hop_per_token * (P + D)


def traversal_seconds(c: StageCoefficients, P: Real, A: Real, C: Real, D: Real, K: Real, S: Real) -> Real:
    """Through all stages, none of them busy."""
    return c.stages * stage_seconds(c, P, A, C, D, K, S) + (c.stages - 1) * hop_seconds(c, P, D)
