"""Versions of the real engine, and what changed between them: the scenario's ``engine`` field.

>>> ENGINES["vllm 0.33"].reuses_unnamed_first, ENGINES["vllm 0.19"].reuses_unnamed_first
(True, False)
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class EngineVersion:
    """What one version of an engine does.

    - ``name``: engine and version.
    - ``reuses_unnamed_first``: whether a freed block without an identity is used again before all others.
    - ``cap_alone``: whether ``long_prefill_token_threshold`` holds for a request that is alone.
    - ``goes_on``: by priority, whether those after a request that preempted itself still run in that step.
    - ``passes_over``: by priority, whether a victim that stood before the request in need, and had got nothing in that
      step, costs the next one its turn.
    - ``settings``: settings that this version has and older ones lack.
    - ``utilization``: share of the memory that it uses if nothing else is said.
    """

    name: str
    reuses_unnamed_first: bool
    cap_alone: bool
    goes_on: bool
    passes_over: bool
    settings: tuple[str, ...]
    utilization: float


ENGINES = {
    each.name: each
    for each in (
        EngineVersion(
            name="vllm 0.19",
            reuses_unnamed_first=False,
            cap_alone=True,
            goes_on=False,
            passes_over=True,
            settings=(),
            utilization=0.9,
        ),
        EngineVersion(
            name="vllm 0.24",
            reuses_unnamed_first=True,
            cap_alone=True,
            goes_on=False,
            passes_over=True,
            settings=("watermark",),
            utilization=0.92,
        ),
        EngineVersion(
            name="vllm 0.33",
            reuses_unnamed_first=True,
            cap_alone=False,
            goes_on=True,
            passes_over=False,
            settings=("watermark", "long_prefill_token_threshold_adaptive", "prefill_schedule_interval"),
            utilization=0.92,
        ),
    )
}
