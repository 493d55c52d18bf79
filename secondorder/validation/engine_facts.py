"""What a measured run states about its engine, as fields of ``Serving``; what those cannot express is refused."""

import re
from collections.abc import Mapping
from typing import Any

from secondorder.errors import FileError, InputError
from secondorder.scenarios.engines import ENGINES
from secondorder.workloads.transformer import Transformer

SETTINGS = (
    "max_num_seqs", "max_num_batched_tokens", "max_model_len", "tensor_parallel_size", "block_size",
    "long_prefill_token_threshold", "enable_chunked_prefill", "gpu_memory_utilization", "num_gpu_blocks",
)  # fmt: skip
"""Facts that are fields of ``Serving`` under the same name."""
_SAME = {
    "num_gpu_blocks_override": "num_gpu_blocks", "kv_blocks": "num_gpu_blocks", "tp": "tensor_parallel_size",
    "dp": "data_parallel_size", "attention_data_parallel_size": "data_parallel_size", "ep": "moe_expert_parallel_size",
}  # fmt: skip
_PRECISION = {
    "bfloat16": "bf16", "float16": "fp16", "half": "fp16", "float32": "fp32", "float": "fp32", "auto": "bf16",
}  # fmt: skip
_CACHE = {"fp8": "fp8", "fp8_e4m3": "fp8", "fp8_e5m2": "fp8", "bfloat16": "bf16", "float16": "fp16", "half": "fp16"}
_ALONE = ("pipeline_parallel_size", "pp", "decode_context_parallel_size")
"""Degrees of parallelism that no scenario has: 1, or refused."""
_OFF = ("speculative_config", "dp_attention", "enable_dp_attention", "lora_modules")
"""Settings that no scenario has, or that engines mean different things by: off, or refused."""
_NOTHING: tuple[object, ...] = (None, False, "", "none", "None", "false", "False", {}, [])


def settings_of(facts: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Fields of ``Serving``. ``FileError`` for a setting that a replay would have to ignore.

    >>> settings_of({"tensor_parallel_size": 2, "dtype": "bfloat16", "kv_cache": {"num_gpu_blocks": 2588}}, "meta.json")
    {'tensor_parallel_size': 2, 'num_gpu_blocks': 2588, 'precision': 'bf16'}
    """
    facts = {**facts, **(facts.get("kv_cache") or {})}
    facts = {_SAME.get(name, name): value for name, value in facts.items()}
    for name in _ALONE:
        if facts.get(name) not in (None, 0, 1, "1"):
            raise _ignored(where, name, facts[name], "1: a replay can have no other")
    for name in _OFF:
        if facts.get(name) not in _NOTHING:
            raise _ignored(where, name, facts[name], "none: a replay cannot have it")
    if drafted := next((name for name in facts if name.startswith("spec_decode_") and facts[name] is not None), None):
        raise _ignored(where, drafted, facts[drafted], "no speculation: a replay cannot have it")
    if facts.get("quantization"):
        raise _ignored(where, "quantization", facts["quantization"], "an unquantised model, or precision= as well")
    found = {name: _value(facts[name]) for name in SETTINGS if facts.get(name) is not None}
    if (dtype := facts.get("dtype")) is not None:
        found["precision"] = _PRECISION.get(dtype, dtype)
    cache = facts.get("kv_cache_dtype", "auto")
    if cache not in ("auto", dtype):
        found["kv_precision"] = _CACHE.get(cache, cache)
    for name in ("enable_prefix_caching", "async_scheduling"):
        if facts.get(name) is not None:
            found[name] = _value(facts[name])
    if facts.get("vllm_version"):
        found["engine"] = _version(str(facts["vllm_version"]))
    return found | _experts(facts, where)


def _version(stated: str) -> str:
    """The latest engine known that is not newer than the one stated, or the oldest.

    >>> _version("0.19.0"), _version("v0.27.1rc2"), _version("0.11.2")
    ('vllm 0.19', 'vllm 0.24', 'vllm 0.19')
    """
    numbers = {name: _numbers(engine.number) for name, engine in ENGINES.items()}
    older = [name for name, number in numbers.items() if number <= _numbers(stated)]
    return max(older, key=numbers.__getitem__) if older else min(numbers, key=numbers.__getitem__)


def _numbers(version: str) -> tuple[int, ...]:
    """The first two numbers of a version."""
    return tuple(map(int, re.findall(r"\d+", version)[:2]))


def _experts(facts: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Data-parallel ranks, and whether their accelerators have whole experts, where the file states either.

    A degree of expert parallelism is 1 or all the accelerators, as no scenario has both splits.

    >>> _experts({"data_parallel_size": "4", "tensor_parallel_size": 2, "moe_expert_parallel_size": 8}, "result.json")
    {'data_parallel_size': 4, 'enable_expert_parallel': True}
    """
    found: dict[str, Any] = {}
    ranks = _degree(facts, "data_parallel_size", where)
    if ranks is not None:
        found["data_parallel_size"] = ranks
    if facts.get("enable_expert_parallel") is not None:
        found["enable_expert_parallel"] = facts["enable_expert_parallel"] not in _NOTHING
    degree = _degree(facts, "moe_expert_parallel_size", where)
    if degree is None:
        return found
    whole = (_degree(facts, "tensor_parallel_size", where) or 1) * (ranks or 1)
    stated = found.get("enable_expert_parallel")
    if degree not in (1, whole) or (stated is not None and whole > 1 and stated != (degree == whole)):
        expected = f"1 without enable_expert_parallel, or all {whole} accelerators with it"
        raise _ignored(where, "moe_expert_parallel_size", degree, expected)
    return {**found, "enable_expert_parallel": found.get("enable_expert_parallel", degree > 1)}


def _degree(facts: Mapping[str, Any], name: str, where: str) -> int | None:
    """A degree of parallelism; 0 and nothing are none."""
    value = _value(facts.get(name))
    if value in (None, 0, ""):
        return None
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise _ignored(where, name, value, "a whole number of at least 1")
    return value


def _value(stated: object) -> object:
    """Numbers and truths that a file has as text, as ``vllm bench serve --metadata`` writes them."""
    if not isinstance(stated, str):
        return stated
    if stated.lower() in ("true", "false"):
        return stated.lower() == "true"
    try:
        return float(stated) if "." in stated else int(stated)
    except ValueError:
        return stated


def _ignored(where: str, name: str, value: object, expected: str) -> FileError:
    return FileError(f"{where}, {name}", given=repr(value), expected=expected)


def check_model(stated: str, model: Transformer) -> None:
    """``InputError`` where a run names another model than the scenario's.

    Names are compared by their words and numbers; one that has no size in it ("m") says nothing.

    >>> from secondorder.workloads.models import models
    >>> check_model("meta-llama/Llama-3.1-8B-Instruct", models.llama_3_1_8b)
    >>> check_model("Qwen/Qwen3-32B", models.llama_3_1_8b)
    Traceback (most recent call last):
    secondorder.errors.InputError: model: got Llama 3.1 8B, expected that of the run, Qwen/Qwen3-32B
    """
    told, ours = _words(stated), _words(model.name)
    if any(re.fullmatch(r"\d+b", word) for word in told) and not ours <= told:
        raise InputError("model", given=model.name, expected=f"that of the run, {stated}")


def quantised(stated: str) -> bool:
    """Whether a model's name says that its weights have fewer than 16 bits.

    >>> quantised("RedHatAI/Llama-3.1-8B-Instruct-FP8"), quantised("meta-llama/Llama-3.1-8B")
    (True, False)
    """
    return re.search(r"fp8|fp4|awq|gptq|int[48]|w[48]a|[48]bit|bnb|gguf", stated.lower()) is not None


def _words(name: str) -> set[str]:
    return set(re.findall(r"\d+b|[a-z]+|\d+", name.rsplit("/", 1)[-1].lower().replace("instruct", "")))
