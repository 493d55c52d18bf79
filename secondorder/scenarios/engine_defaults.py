"""What an engine chooses for settings that nobody states: by its version and the accelerator's memory.

>>> from secondorder.fleets.accelerators import accelerators
>>> chosen = engine_defaults("vllm 0.33", accelerators.h100_sxm, max_model_len=131_072)
>>> chosen.max_num_batched_tokens, chosen.max_num_seqs, chosen.gpu_memory_utilization
(8192, 1024, 0.92)
>>> engine_defaults("vllm 0.33", accelerators.a100_80gb, max_model_len=131_072).max_num_batched_tokens
2048
"""

from dataclasses import dataclass

from secondorder.fleets.accelerators import Accelerator
from secondorder.scenarios.engines import engine_version

GIB = 2.0**30
LARGE, HUGE = 70 * GIB, 160 * GIB
"""Memory in bytes from which an engine takes more tokens a step."""
SLOW_FOR_THEIR_MEMORY = ("a100", "gb10")
"""Accelerators that are treated as small ones whatever their memory."""


@dataclass(frozen=True, kw_only=True)
class EngineDefaults:
    """Settings as an engine chooses them; the names are those of ``Serving``."""

    max_num_batched_tokens: int
    max_num_seqs: int
    gpu_memory_utilization: float
    enable_prefix_caching: bool = True
    async_scheduling: bool = True


def engine_defaults(
    engine: str, accelerator: Accelerator, *, max_model_len: int, chunked_prefill: bool = True
) -> EngineDefaults:
    """What a server of this version chooses on this accelerator, for a model of this many tokens.

    *Source*: vLLM 0.19.0, 0.24.0 and 0.33.0, ``EngineArgs.get_batch_defaults`` for the API server; the tier of 160 GiB
    came after 0.24. Errors: ``UnknownName`` for an engine that is not known.
    """
    version, memory = engine_version(engine), accelerator.visible
    small = memory < LARGE or any(word in accelerator.name.lower() for word in SLOW_FOR_THEIR_MEMORY)
    huge = version.has_huge_tier and memory >= HUGE
    tokens, sequences = (16_384, 1_024) if huge else (2_048, 256) if small else (8_192, 1_024)
    if not chunked_prefill:
        tokens = max(tokens, max_model_len)
    tokens = min(tokens, sequences * max_model_len)
    return EngineDefaults(
        max_num_batched_tokens=tokens,
        max_num_seqs=min(sequences, tokens),
        gpu_memory_utilization=version.utilization,
    )
