"""The engine of a service as it is simulated: each setting and who chose it, and where the memory goes."""

from collections.abc import Iterator, Mapping

from secondorder.errors import DoesNotFit
from secondorder.quantities import pretty, si
from secondorder.scenarios.engine_defaults import engine_defaults
from secondorder.scenarios.engine_memory import rank_weights
from secondorder.scenarios.serving import Serving


def shown_settings(scenario: Serving) -> str:
    """A line for each setting and each part of the memory."""
    rows = [*_settings(scenario), *_memory(scenario)]
    widths = [max(len(row[place]) for row in rows) for place in (0, 1)]
    return "\n".join(f"{name:{widths[0]}}  {value:>{widths[1]}}  {why}".rstrip() for name, value, why in rows)


def _settings(scenario: Serving) -> Iterator[tuple[str, str, str]]:
    yield "engine", scenario.engine, "whose rules hold"
    chosen = engine_defaults(
        scenario.engine,
        scenario.accelerator,
        scenario.model,
        max_model_len=scenario.max_model_len,
        chunked_prefill=scenario.enable_chunked_prefill,
    )
    for name, why in _reasons(scenario).items():
        value = getattr(scenario.settings, name)
        if getattr(scenario, name) is None:
            yield name, _text(value), f"chosen {why}"
        else:
            theirs = getattr(chosen, name)
            yield (
                name,
                _text(value),
                "given" + ("" if value == theirs else f"; the engine would choose {_text(theirs)}"),
            )
    limit = "given" if scenario.max_model_len is not None else "the model's own"
    yield "max_model_len", _text(scenario.context_limit), f"longest prompt plus output, {limit}"
    cache = "given" if scenario.kv_precision is not None else "the model's own"
    yield "kv_precision", scenario.placement.kv_precision, f"of the cache, {cache}"


def _reasons(scenario: Serving) -> Mapping[str, str]:
    """Why the engine chooses each setting."""
    memory = f"for {scenario.accelerator.name}, {scenario.accelerator.visible / 2**30:.4g} GiB"
    model = f"for {scenario.model.name}"
    states = scenario.model.counted.states
    return {
        "max_num_batched_tokens": memory,
        "max_num_seqs": memory,
        "gpu_memory_utilization": f"by {scenario.engine}",
        "enable_prefix_caching": f"{model}, which keeps states" if states else model,
        "async_scheduling": f"by {scenario.engine}",
    }


def _memory(scenario: Serving) -> Iterator[tuple[str, str, str]]:
    nominal = pretty(si(scenario.accelerator.memory_capacity), "byte")
    share = f"{scenario.settings.gpu_memory_utilization:g}"
    yield "usable", pretty(scenario.usable_memory, "byte"), f"{share} of the visible part of {nominal}"
    weights = rank_weights(scenario.model, scenario.precision, scenario.tensor_parallel_size, scenario.accelerators)
    yield "weights", pretty(weights, "byte"), "of each accelerator"
    yield from _reserved(scenario)
    given = ", given" if scenario.num_gpu_blocks is not None else ""
    given += f", on each of {ranks} ranks" if (ranks := scenario.data_parallel_size) > 1 else ""
    yield "kv_blocks", _text(scenario.kv_blocks), f"of {scenario.block_size} tokens{given}; one is never used"
    yield "kv_tokens", _text(scenario.kv_tokens), _band(scenario)
    full = scenario.kv_tokens / scenario.context_limit
    short = "" if full >= 1 else ": the engine would not start"
    yield "concurrency", f"{full:,.2f}", f"of {scenario.context_limit:,} tokens each{short}"


def _reserved(scenario: Serving) -> Iterator[tuple[str, str, str]]:
    """Memory that is neither for weights nor for the cache, and its purpose."""
    if scenario.reserved_memory is not None:
        yield "reserved", pretty(scenario.reserved, "byte"), "beside the weights, given"
        return
    try:
        memory = scenario.memory
    except DoesNotFit:
        return
    settings = scenario.settings
    step = f"of a step of {settings.max_num_batched_tokens:,} tokens, {settings.max_num_seqs:,} requests"
    yield "activations", pretty(memory.activations, "byte"), step
    captured = "captured" if memory.graphs else f"of batches, which {scenario.engine} does not take off"
    yield "graphs", pretty(memory.graphs, "byte"), captured
    yield "runtime", pretty(memory.runtime, "byte"), "context, communicators"


def _band(scenario: Serving) -> str:
    """What the estimate of the memory says about the cache."""
    try:
        memory = scenario.memory
    except DoesNotFit:
        return "the estimate of the memory leaves no room for a cache"
    each = scenario.placement.kv_bytes_per_token / scenario.tensor_parallel_size
    low, high = (max(0.0, end) / each for end in memory.band)
    return f"estimated: {low:,.0f} to {high:,.0f}, nine in ten"


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:,}" if isinstance(value, int) else str(value)
