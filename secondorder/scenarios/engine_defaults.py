"""What an engine chooses for settings that nobody states: by its version, the accelerator's memory and the model.

>>> from secondorder.fleets.accelerators import accelerators
>>> from secondorder.workloads.models import models
>>> chosen = engine_defaults("vllm 0.33", accelerators.h100_sxm, models.llama_3_1_8b)
>>> chosen.max_num_batched_tokens, chosen.max_num_seqs, chosen.gpu_memory_utilization
(8192, 1024, 0.92)
>>> engine_defaults("vllm 0.33", accelerators.a100_80gb, models.llama_3_1_8b).max_num_batched_tokens
2048
"""

from dataclasses import dataclass

from secondorder.fleets.accelerators import Accelerator
from secondorder.scenarios.engines import engine_version
from secondorder.workloads.transformer import Transformer

GIB = 2.0**30
LARGE, HUGE = 70 * GIB, 160 * GIB
"""Memory in bytes from which an engine takes more tokens a step."""
SLOW_FOR_THEIR_MEMORY = ("a100", "gb10", "tpu")
"""Accelerators that are treated as small ones whatever their memory."""
TOKENS_OF_TPUS = {"tpu v5e": 512, "tpu v5p": 256, "tpu v6e": 1_024}
"""Tokens that a step may process on these."""


@dataclass(frozen=True, kw_only=True)
class EngineSettings:
    """Settings that an engine chooses where they are not given; the names are those of ``Serving``."""

    max_num_batched_tokens: int
    max_num_seqs: int
    gpu_memory_utilization: float
    enable_prefix_caching: bool
    async_scheduling: bool


def engine_defaults(
    engine: str,
    accelerator: Accelerator,
    model: Transformer,
    *,
    max_model_len: int | None = None,
    chunked_prefill: bool = True,
    max_num_seqs: int | None = None,
    max_num_batched_tokens: int | None = None,
) -> EngineSettings:
    """What a server of this version chooses on this accelerator for this model.

    A choice follows what is given: ``max_num_seqs`` is at most the tokens of a step, and the tokens of a step are at
    most those of as many requests of ``max_model_len``. A model with states per sequence keeps prefixes from 0.33 on,
    one of states alone never.

    *Source*: vLLM 0.19.0, 0.24.0 and 0.33.0, defaults of the API server (``vllm/engine/arg_utils.py``) and
    ``ModelConfig.is_prefix_caching_supported``; the tier of 160 GiB came after 0.24. Errors: ``UnknownName`` for an
    engine that is not known.
    """
    version, longest = engine_version(engine), max_model_len or model.max_context
    usual_tokens, usual_sequences = _by_memory(accelerator, huge_tier=version.has_huge_tier)
    sequences = max_num_seqs or usual_sequences
    tokens = max_num_batched_tokens
    if tokens is None:
        tokens = usual_tokens if chunked_prefill else max(usual_tokens, longest)
        tokens = min(tokens, sequences * longest)
    return EngineSettings(
        max_num_batched_tokens=tokens,
        max_num_seqs=max_num_seqs or min(sequences, tokens),
        gpu_memory_utilization=version.utilization,
        enable_prefix_caching=_keeps_prefixes(model, with_states=version.keeps_prefixes_of_states),
        async_scheduling=True,
    )


def _by_memory(accelerator: Accelerator, *, huge_tier: bool) -> tuple[int, int]:
    """Tokens and sequences of a step."""
    name = accelerator.name.lower()
    tpu = next((tokens for word, tokens in TOKENS_OF_TPUS.items() if word in name), None)
    if accelerator.visible < LARGE or any(word in name for word in SLOW_FOR_THEIR_MEMORY):
        return tpu or 2_048, 256
    return (16_384 if huge_tier and accelerator.visible >= HUGE else 8_192), 1_024


def _keeps_prefixes(model: Transformer, *, with_states: bool) -> bool:
    """Whether blocks are kept for later requests: of states a version may not, of a model without attention none."""
    states, caches = model.counted.states, model.counted.caches
    return bool(caches) and (with_states or not states)
