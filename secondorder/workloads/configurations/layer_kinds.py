"""Which layer is of which kind: full or windowed attention, a recurrence; dense or a mixture of experts.

A file says it in one of a dozen ways: a list with a word for each layer, a period, a pattern of letters, the first
layers that differ. The families that say nothing have a rule in their code: it is given as ``rule``.
"""

from collections.abc import Callable

from secondorder.workloads.configurations.configuration import Configuration

FULL, SLIDING, CHUNKED, LINEAR = "full", "sliding", "chunked", "linear"

_WORDS = {
    "full_attention": FULL,
    "attention": FULL,
    "full": FULL,
    "global": FULL,
    "global_attention": FULL,
    "indexed_attention": FULL,
    "sliding_attention": SLIDING,
    "sliding": SLIDING,
    "local": SLIDING,
    "local_attention": SLIDING,
    "chunked_attention": CHUNKED,
    "linear_attention": LINEAR,
    "mamba": LINEAR,
    "mamba2": LINEAR,
    "conv": LINEAR,
    "recurrent": LINEAR,
    "linear": LINEAR,
}
"""Words of ``layer_types``."""

_TOLD_AGAIN = (
    "sliding_window_pattern",
    "_sliding_window_pattern",
    "global_attn_every_n_layers",
    "layer_group_size",
    "full_attention_interval",
    "no_rope_layers",
    "no_rope_layer_interval",
    "full_attn_idxs",
    "attn_layer_period",
    "attn_layer_offset",
    "max_window_layers",
    "use_sliding_window",
    "prefix_dense_sliding_window_pattern",
)
"""Keys that say the same as a list of kinds, which rules."""

Rule = Callable[[Configuration, int], list[str]]
"""The kinds of a family whose file does not list them, for this many layers."""


def kinds(c: Configuration, layers: int, rule: Rule) -> list[str]:
    """The kind of each layer: as listed, or by the family's rule."""
    for key in ("layer_types", "layers_block_type"):
        if c.has(key):
            c.used.update((*_TOLD_AGAIN, "sliding_window"))
        if (listed := c.listed(key, layers)) is not None:
            for word in listed:
                if word not in _WORDS:
                    raise c.fault(key, given=repr(word), expected=f"one of {', '.join(_WORDS)}")
            return [_WORDS[str(word)] for word in listed]
    if (listed := c.listed("attn_type_list", layers)) is not None:
        return [FULL if one else LINEAR for one in listed]
    return rule(c, layers)


def all_full(c: Configuration, layers: int) -> list[str]:
    return [FULL] * layers


def windowed_if_given(c: Configuration, layers: int) -> list[str]:
    """Every layer slides where ``sliding_window`` is a number (Mistral, Phi-3, Starcoder 2)."""
    return [SLIDING if c.count("sliding_window") else FULL] * layers


def on_request(c: Configuration, layers: int) -> list[str]:
    """Layers from ``max_window_layers`` on slide where ``use_sliding_window`` is true (Qwen)."""
    if not c.flag("use_sliding_window"):
        c.used.update(("max_window_layers", "sliding_window"))
        return [FULL] * layers
    first = c.count("max_window_layers")
    return [SLIDING if layer >= first else FULL for layer in range(layers)]


def last_of(*keys: str, period: int) -> Rule:
    """Of each ``period`` layers the last is full, the others slide; one of ``keys`` may say another period."""

    def rule(c: Configuration, layers: int) -> list[str]:
        every = c.number(*keys, default=period) if keys else period
        return [FULL if (layer + 1) % every == 0 else SLIDING for layer in range(layers)]

    return rule


def even_slide(c: Configuration, layers: int) -> list[str]:
    """The first, the third, ... layer slides (Gemma 2, gpt-oss)."""
    return [SLIDING if layer % 2 == 0 else FULL for layer in range(layers)]


def lettered(c: Configuration, layers: int) -> list[str]:
    """EXAONE 4: ``LLLG`` repeated, or a period, and no window at all where ``sliding_window`` is null."""
    pattern = c.given("sliding_window_pattern")
    if c.given("sliding_window") is None:
        return [FULL] * layers
    if isinstance(pattern, str) and pattern and set(pattern) <= {"L", "G"}:
        every = [FULL if pattern[layer % len(pattern)] == "G" else SLIDING for layer in range(layers)]
        every[-1] = FULL  # as its configuration class has it
        return every
    return last_of("sliding_window_pattern", period=4)(c, layers)


def chunked(c: Configuration, layers: int) -> list[str]:
    """Llama 4: full where ``no_rope_layers`` has a 0, or every fourth layer; the others see their own chunk."""
    listed = c.listed("no_rope_layers")
    if listed:
        if len(listed) != layers:
            raise c.fault("no_rope_layers", given=f"{len(listed)} values", expected=f"{layers}, one for each layer")
        return [CHUNKED if one else FULL for one in listed]
    every = c.number("no_rope_layer_interval", default=4)
    return [FULL if (layer + 1) % every == 0 else CHUNKED for layer in range(layers)]


def flagged(key: str) -> Rule:
    """A list of 1 (slides) and 0 (full) for each layer."""

    def rule(c: Configuration, layers: int) -> list[str]:
        listed = c.listed(key, layers)
        if listed is None:
            raise c.fault(key, given="nothing", expected=f"a list of {layers} values, 1 for a windowed layer")
        return [SLIDING if one else FULL for one in listed]

    return rule


def linear_but_every(*keys: str, period: int) -> Rule:
    """Of each ``period`` layers the last has full attention, the others a recurrence (Qwen 3-Next)."""

    def rule(c: Configuration, layers: int) -> list[str]:
        every = c.number(*keys, default=period)
        return [FULL if (layer + 1) % every == 0 else LINEAR for layer in range(layers)]

    return rule


def window(c: Configuration, kind: str, context: int) -> int | None:
    """Tokens that a layer of this kind keeps; none where the whole context fits anyway."""
    if kind == SLIDING:
        size = c.number("sliding_window", "sliding_window_size", "attention_window_size", "window_size")
    elif kind == CHUNKED:
        size = c.number("attention_chunk_size")
    else:
        return None
    return size if size < context else None


def sparse_layers(c: Configuration, layers: int) -> list[bool]:
    """Whether each layer has experts, whichever of its keys says so."""
    if c.has("mlp_layer_types") or c.has("moe_layers"):
        c.used.update(("interleave_moe_layer_step", "first_k_dense_replace", "decoder_sparse_step", "num_dense_layers"))
        c.used.update(("moe_layer_freq", "mlp_only_layers"))
    if (listed := c.listed("mlp_layer_types", layers)) is not None:
        return [word in ("sparse", "moe", "hash_moe") for word in listed]
    if (flags := c.listed("is_moe_layer", layers)) is not None:
        c.given("first_k_dense_replace")
        return [bool(flag) for flag in flags]
    if (chosen := c.listed("moe_layers")) is not None:
        return [layer in chosen for layer in range(layers)]
    if isinstance(enumerated := c.given("moe_layers_enum"), str):
        return [str(layer) in enumerated.split(",") for layer in range(layers)]
    every = c.given("moe_layer_freq")
    if isinstance(every, list):
        return [bool(one) for one in c.listed("moe_layer_freq", layers) or ()]
    return [_by_period(c, layer) for layer in range(layers)]


def _by_period(c: Configuration, layer: int) -> bool:
    first = c.count("first_k_dense_replace", "num_dense_layers", "moe_layer_start_index")
    only_dense = c.listed("mlp_only_layers") or []
    last = c.given("moe_layer_end_index")
    if layer < first or layer in only_dense or (isinstance(last, int) and 0 <= last < layer):
        return False
    if (period := c.count("expert_layer_period")) > 1:
        return layer % period == c.count("expert_layer_offset")
    steps = ("decoder_sparse_step", "interleave_moe_layer_step", "moe_layer_interval", "moe_layer_frequency")
    if (period := c.number(*steps, default=1)) > 1:
        return (layer + 1) % period == 0
    return layer % c.number("moe_layer_freq", default=1) == 0
