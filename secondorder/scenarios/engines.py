"""Versions of the real engine, and what changed between them: the scenario's ``engine`` field.

>>> ENGINES["vllm 0.33"].reuses_unnamed_first, ENGINES["vllm 0.19"].reuses_unnamed_first
(True, False)
"""

from dataclasses import dataclass

from secondorder.errors import InputError, UnknownName


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
    - ``has_huge_tier``: whether it takes more tokens a step on accelerators of 160 GiB and more.
    - ``keeps_prefixes_of_states``: whether it caches prefixes of models with a state per sequence if nothing is said.
    """

    name: str
    reuses_unnamed_first: bool
    cap_alone: bool
    goes_on: bool
    passes_over: bool
    settings: tuple[str, ...]
    utilization: float
    has_huge_tier: bool = False
    keeps_prefixes_of_states: bool = False

    @property
    def number(self) -> str:
        """The version alone, such as 0.33."""
        return self.name.split()[1]

    def check(self, scenario: object) -> None:
        """Refuse settings that this version does not have."""
        for name, off in NEWER.items():
            if name not in self.settings and getattr(scenario, name) != off:
                raise InputError(
                    name,
                    given=f"{getattr(scenario, name)} for {self.name}, which has no such setting",
                    expected=f"{off}, or a later engine",
                    remedy=f'leave it out, or set engine to "{NEWEST}"',
                )


NEWER = {"watermark": 0.0, "long_prefill_token_threshold_adaptive": False, "prefill_schedule_interval": 1}
"""Settings that came after the oldest version, with the value that switches each off."""
NEWEST = "vllm 0.33"


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
            has_huge_tier=True,
            keeps_prefixes_of_states=True,
        ),
    )
}


def engine_version(name: str) -> EngineVersion:
    """The version of this name. Errors: ``UnknownName``."""
    if name not in ENGINES:
        raise UnknownName.among("engine", name, list(ENGINES))
    return ENGINES[name]
