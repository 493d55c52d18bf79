"""What an engine of some version decides, as policies of the scheduler."""

from secondorder.scenarios.engines import EngineVersion
from secondorder.scenarios.serving import Serving
from secondorder.simulate.serving.policies import (
    FirstCome,
    LeastRecentlyReleased,
    MostUrgent,
    Policies,
    UnnamedFirst,
    Watermark,
    adaptive_cap,
    cap_beside_others,
    first_chunk,
    fixed_cap,
    least_urgent,
    newest,
    whole_length,
)


def policies_of(scenario: Serving) -> Policies:
    """Those of a scenario's engine and settings."""
    return policies_for(
        scenario.engine_version,
        priority=scenario.scheduling_policy == "priority",
        adaptive=scenario.long_prefill_token_threshold_adaptive,
        whole=scenario.scheduler_reserve_full_isl,
        watermark=scenario.watermark,
    )


def policies_for(
    engine: EngineVersion, *, priority: bool = False, adaptive: bool = False, whole: bool = True, watermark: float = 0
) -> Policies:
    """What an engine of this version decides with these settings."""
    rule = whole_length if whole else first_chunk
    return Policies(
        waiting=MostUrgent if priority else FirstCome,
        victim=least_urgent if priority else newest,
        goes_on=priority and engine.goes_on,
        passes_over=priority and engine.passes_over,
        cap=adaptive_cap if adaptive else fixed_cap if engine.cap_alone else cap_beside_others,
        free_blocks=UnnamedFirst if engine.reuses_unnamed_first else LeastRecentlyReleased,
        admits=Watermark(share=watermark, rule=rule) if watermark else rule,
    )
