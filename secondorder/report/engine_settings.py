"""The engine of a service as it is simulated: each setting, what an engine would choose, and where the memory goes."""

from collections.abc import Iterator

from secondorder.errors import DoesNotFit
from secondorder.quantities import pretty
from secondorder.scenarios.engine_defaults import engine_defaults
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
        max_model_len=scenario.context_limit,
        chunked_prefill=scenario.enable_chunked_prefill,
    )
    for name in (
        "max_num_batched_tokens",
        "max_num_seqs",
        "gpu_memory_utilization",
        "enable_prefix_caching",
        "async_scheduling",
    ):
        value, theirs = getattr(scenario, name), getattr(chosen, name)
        same = "as the engine chooses" if value == theirs else f"the engine would choose {_text(theirs)}"
        yield name, _text(value), f"{same} on {scenario.accelerator.name}"
    yield "max_model_len", _text(scenario.context_limit), "longest prompt plus output"
    yield "kv_precision", scenario.placement.kv_precision, "number format of the cache"


def _memory(scenario: Serving) -> Iterator[tuple[str, str, str]]:
    ranks = scenario.tensor_parallel_size
    yield "weights", pretty(scenario.model.weight_bytes(scenario.precision) / ranks, "byte"), "of each accelerator"
    why = "stated" if scenario.reserved_memory is not None else "estimated: activations, graphs, runtime"
    yield "reserved", pretty(scenario.reserved, "byte"), f"of each accelerator, {why}"
    yield "kv_blocks", _text(scenario.kv_blocks), f"of {scenario.block_size} tokens; one is never used"
    yield "kv_tokens", _text(scenario.kv_tokens), _band(scenario)
    full = scenario.kv_tokens / scenario.context_limit
    yield "concurrency", f"{full:,.2f}", f"requests of {scenario.context_limit:,} tokens"


def _band(scenario: Serving) -> str:
    """What the estimate of the memory says of the cache."""
    try:
        memory = scenario.memory
    except DoesNotFit:
        return "the estimate of the memory leaves no room for a cache"
    each = scenario.placement.kv_bytes_per_token / scenario.tensor_parallel_size
    low, high = (max(0.0, end) / each for end in memory.band)
    return f"the estimate of the memory: {low:,.0f} to {high:,.0f}, nine times in ten"


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:,}" if isinstance(value, int) else str(value)
