"""Families of today whose layers differ from each other in size, share caches, or hold more than one of each part."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from secondorder.workloads.configurations.configuration import Configuration
from secondorder.workloads.configurations.decoders import (
    Decoder,
    context_of,
    experts_of,
    head_dim_of,
    heads_of,
    hidden_of,
    kv_heads_of,
    latent,
    layers_of,
    network,
    stacked,
)
from secondorder.workloads.configurations.layer_kinds import (
    FULL,
    SLIDING,
    flagged,
    kinds,
    last_of,
    sparse_layers,
    window,
)
from secondorder.workloads.feed_forwards import dense, mixture
from secondorder.workloads.layers import Cache, Layer, Stack, Weight
from secondorder.workloads.mixers import attention, norms, vector

_PLAIN = Decoder(mlp_bias=False)


def _per_layer(c: Configuration, key: str, layers: int) -> list[int]:
    """A number for each layer: as listed, or the one number for all."""
    value = c.given(key)
    if isinstance(value, list):
        return [int(str(one)) for one in c.listed(key, layers) or ()]
    return [c.number(key)] * layers


def _per_layer_inputs(c: Configuration, layers: int) -> tuple[Layer, tuple[Weight, ...]]:
    """A small embedding for each layer (Gemma 3n, Gemma 4): what a layer has of it, and its table."""
    hidden, inner = hidden_of(c), c.count("hidden_size_per_layer_input")
    c.given("vocab_size_per_layer_input")
    if not inner:
        return Layer(), ()
    each = (
        Weight("per_layer_input_gate", inner, hidden),
        Weight("per_layer_projection", hidden, inner),
        vector("post_per_layer_input_norm", hidden),
    )
    table = (
        Weight("embed_tokens_per_layer", c.number("vocab_size_per_layer_input"), layers * inner, kind="table"),
        Weight("per_layer_model_projection", layers * inner, hidden),
        vector("per_layer_projection_norm", inner),
    )
    return Layer(weights=each), table


def gemma3n(c: Configuration) -> Stack:
    """Alternating updates of four streams, low-rank residuals, an embedding a layer; the last layers reuse caches."""
    layers, hidden, context = layers_of(c), hidden_of(c), context_of(c)
    streams, rank = c.number("altup_num_inputs", default=4), c.number("laurel_rank", default=64)
    every = kinds(c, layers, last_of("sliding_window_pattern", period=5))
    inner, own = _per_layer(c, "intermediate_size", layers), layers - c.count("num_kv_shared_layers")
    beside, tables = _per_layer_inputs(c, layers)
    altup = (
        Weight("altup.correction_coefs", streams, streams, kind="router"),
        Weight("altup.prediction_coefs", streams * streams, streams, kind="router"),
        Weight("altup.modality_router", streams, hidden, kind="router"),
        Weight("laurel.linear_left", rank, hidden),
        Weight("laurel.linear_right", hidden, rank),
        vector("altup.norms", 3 * hidden),
    )
    common = norms(hidden, 4) + Layer(weights=altup) + beside
    count = heads_of(c)
    blocks = tuple(
        common
        + _gemma_attention(c, count, kv_heads_of(c, count), kind, context, reused=layer >= own)
        + dense(hidden=hidden, intermediate=inner[layer])
        for layer, kind in enumerate(every)
    )
    return stacked(c, _PLAIN, blocks, *tables, Weight("altup_projections", hidden, hidden, 2 * (streams - 1)))


def _gemma_attention(
    c: Configuration,
    heads: int,
    kv_heads: int,
    kind: str,
    context: int,
    *,
    reused: bool,
    dim: int = 0,
    same: bool = False,
) -> Layer:
    dim = dim or head_dim_of(c, hidden_of(c), heads)
    return attention(
        hidden=hidden_of(c),
        heads=heads,
        kv_heads=kv_heads,
        head_dim=dim,
        window=window(c, kind, context),
        norm=dim if reused else 2 * dim,
        shared_cache=reused,
        values_are_keys=same,
    )


def gemma4(c: Configuration) -> Stack:
    """Windowed layers, and full ones with wider heads; an embedding a layer, reused caches, experts."""
    layers, hidden, context, count = layers_of(c), hidden_of(c), context_of(c), heads_of(c)
    every = kinds(c, layers, last_of(period=6))
    own = layers - c.count("num_kv_shared_layers")
    beside, tables = _per_layer_inputs(c, layers)
    same, wide, experts = c.flag("attention_k_eq_v"), c.flag("use_double_wide_mlp"), c.flag("enable_moe_block")
    full_dim, full_heads = _gemma_full_heads(c, count, every)
    extra = norms(hidden, 4) + beside + Layer(weights=(vector("layer_scalar", 1),))
    if experts:
        extra += norms(hidden, 4) + mixture(
            hidden=hidden,
            count=c.number("num_experts"),
            top_k=c.number("top_k_experts"),
            intermediate=c.number("moe_intermediate_size"),
            correction=True,
        )
    blocks = []
    for layer, kind in enumerate(every):
        full, reused = kind == FULL, layer >= own
        mixer = _gemma_attention(
            c,
            count,
            full_heads if full else kv_heads_of(c, count),
            kind,
            context,
            reused=reused,
            dim=full_dim if full else 0,
            same=same and full,
        )
        inner = c.number("intermediate_size") * (2 if wide and reused else 1)
        blocks.append(extra + mixer + dense(hidden=hidden, intermediate=inner))
    return stacked(c, _PLAIN, blocks, *tables)


def _gemma_full_heads(c: Configuration, heads: int, every: Sequence[str]) -> tuple[int, int]:
    """Channels and key-value heads of the full layers: by keys of their own, or by ``per_layer_config``."""
    dim, usual = c.number("global_head_dim", default=512), kv_heads_of(c, heads)
    own = c.number("num_global_key_value_heads", default=usual) if c.flag("attention_k_eq_v") else usual
    changes = c.table("per_layer_config")
    if changes is None:
        return dim, own
    if {int(layer) for layer in changes.values} != {layer for layer, kind in enumerate(every) if kind == FULL}:
        raise c.fault("per_layer_config", given=", ".join(changes.values), expected="the layers of full attention")
    parts = [table for layer in changes.values if (table := changes.table(layer)) is not None]
    sizes = {
        (part.number("head_dim", default=dim), part.number("num_key_value_heads", default=usual)) for part in parts
    }
    if len(sizes) != 1:
        raise c.fault("per_layer_config", given=sorted(sizes), expected="one head_dim and num_key_value_heads for all")
    return sizes.pop()


def longcat_flash(c: Configuration) -> Stack:
    """Two latent attentions and two networks a layer, and one mixture some of whose routes do nothing."""
    hidden, count = hidden_of(c), c.number("n_routed_experts")
    idle = c.count("zero_expert_num")
    layer = norms(hidden, 4) + latent(c) + latent(c)
    for _ in range(2):
        layer += dense(hidden=hidden, intermediate=c.number("ffn_hidden_size", "intermediate_size"), prefix="mlps")
    layer += mixture(
        hidden=hidden,
        count=count,
        top_k=c.number("moe_topk", "num_experts_per_tok"),
        intermediate=c.number("expert_ffn_hidden_size", "moe_intermediate_size"),
        routes=count + idle,
        correction=True,
    )
    layers = c.number("num_layers", "num_hidden_layers")
    return stacked(c, _PLAIN, (layer,) * layers)


def pruned(c: Configuration) -> Stack:
    """Llama layers of which a search took attention or width (Nemotron NAS): ``block_configs``, one for each layer."""
    hidden, count, context = hidden_of(c), heads_of(c), context_of(c)
    dim, layers = head_dim_of(c, hidden, count), layers_of(c)
    blocks = []
    for number, block in enumerate(c.listed("block_configs", layers) or ()):
        if not isinstance(block, Mapping):
            raise c.fault(f"block_configs[{number}]", given=repr(block), expected="a table")
        part = Configuration(c.path, block, c.model_type, f"{c.inside}block_configs[{number}].")
        blocks.append(_pruned_layer(part, hidden, count, dim, context))
    if not blocks:
        raise c.fault("block_configs", given="nothing", expected=f"a list of {layers} tables")
    return stacked(c, _PLAIN, tuple(blocks))


def _pruned_layer(c: Configuration, hidden: int, heads: int, dim: int, context: int) -> Layer:
    mixer, network_ = c.table("attention"), c.table("ffn")
    layer = Layer()
    if mixer is not None and not mixer.flag("no_op"):
        if mixer.flag("replace_with_linear"):
            layer += norms(hidden, 1) + Layer(weights=(Weight("self_attn.linear_attn", hidden, hidden),))
        else:
            size = mixer.number("window_length", default=context)
            grouped = mixer.number("n_heads_in_group")
            layer += norms(hidden, 1) + attention(
                hidden=hidden,
                heads=heads,
                kv_heads=heads // grouped,
                head_dim=dim,
                window=size if size < context else None,
            )
    if network_ is not None and not network_.flag("no_op"):
        if network_.flag("replace_with_linear"):
            return layer + norms(hidden, 1) + Layer(weights=(Weight("mlp.linear_mlp", hidden, hidden),))
        layer += norms(hidden, 1) + dense(hidden=hidden, intermediate=_pruned_width(network_, hidden))
    return layer


def _pruned_width(c: Configuration, hidden: int) -> int:
    """Two thirds of the multiple of the width, rounded up to 256."""
    if c.given("intermediate_size") is not None:
        return c.number("intermediate_size")
    multiple = c.given("ffn_mult")
    if isinstance(multiple, bool) or not isinstance(multiple, int | float) or multiple <= 0:
        raise c.fault("ffn_mult", given=repr(multiple), expected="a number above 0")
    return -(-int(2 * multiple * hidden / 3) // 256) * 256


def mimo_v2_flash(c: Configuration) -> Stack:
    """Windowed layers with heads of their own and sinks, full ones without; keys and values of different width."""
    layers, hidden, context, count = layers_of(c), hidden_of(c), context_of(c), heads_of(c)
    every = kinds(c, layers, flagged("hybrid_layer_pattern"))
    sparse = sparse_layers(c, layers)
    dim, value = c.number("head_dim"), c.number("v_head_dim")
    blocks = []
    for kind, experts in zip(every, sparse, strict=True):
        slides = kind == SLIDING
        own = kv_heads_of(c, count)
        mixer = attention(
            hidden=hidden,
            heads=c.number("swa_num_attention_heads", default=count) if slides else count,
            kv_heads=c.number("swa_num_key_value_heads", default=2 * own) if slides else own,
            head_dim=c.number("swa_head_dim", default=dim) if slides else dim,
            value_dim=c.number("swa_v_head_dim", default=value) if slides else value,
            window=_mimo_window(c, context) if slides else None,
            sinks=count
            if c.flag("add_swa_attention_sink_bias" if slides else "add_full_attention_sink_bias", slides)
            else 0,
        )
        rest = experts_of(c, Decoder(correction=True)) if experts else network(c, _PLAIN)
        blocks.append(norms(hidden, 2) + mixer + rest)
    return stacked(c, _PLAIN, tuple(blocks))


def _mimo_window(c: Configuration, context: int) -> int | None:
    size = c.number("sliding_window", "sliding_window_size")
    return size if size < context else None


def step3p5(c: Configuration) -> Stack:
    """Windowed layers with more heads than the full ones; a gate a head on attention's result."""
    layers, hidden, context = layers_of(c), hidden_of(c), context_of(c)
    every = kinds(c, layers, last_of(period=4))
    dim, sparse = c.number("head_dim"), sparse_layers(c, layers)
    other = c.table("attention_other_setting")
    traits = Decoder(mlp_bias=False, correction=True)
    if c.word("moe_layers_enum") or c.listed("moe_layers_enum"):
        chosen = str(c.given("moe_layers_enum")).strip("[]").replace(" ", "").split(",")
        sparse = [str(layer) in chosen for layer in range(layers)]
    blocks = []
    for kind, experts in zip(every, sparse, strict=True):
        count, groups = heads_of(c), c.number("num_attention_groups", "num_key_value_heads")
        if kind == SLIDING and other is not None:
            count = other.number("num_attention_heads")
            groups = other.number("num_attention_groups", "num_key_value_heads", default=groups)
        elif kind == SLIDING:
            count = c.number("num_sliding_attention_heads", default=count)
        mixer = attention(
            hidden=hidden,
            heads=count,
            kv_heads=groups,
            head_dim=dim,
            window=window(c, kind, context),
            norm=2 * dim,
            gate=count if c.flag("use_head_wise_attn_gate", True) else 0,
        )
        rest = _step_experts(c, hidden, traits) if experts else network(c, traits)
        blocks.append(norms(hidden, 2) + mixer + rest)
    return stacked(c, traits, tuple(blocks))


def _step_experts(c: Configuration, hidden: int, traits: Decoder) -> Layer:
    return mixture(
        hidden=hidden,
        count=c.number("moe_num_experts", "n_routed_experts"),
        top_k=c.number("moe_top_k", "num_experts_per_tok"),
        intermediate=c.number("moe_intermediate_size"),
        shared=c.number("share_expert_dim"),
        correction=traits.correction,
    )


def laguna(c: Configuration) -> Stack:
    """As many query heads in each layer as ``num_attention_heads_per_layer`` says, gated by the head."""
    layers, hidden, context = layers_of(c), hidden_of(c), context_of(c)
    every, sparse = kinds(c, layers, last_of(period=1)), sparse_layers(c, layers)
    counts = c.listed("num_attention_heads_per_layer", layers) or [heads_of(c)] * layers
    dim, gated, traits = c.number("head_dim"), c.flag("gating", True), Decoder(mlp_bias=False, correction=True)
    blocks = []
    for kind, experts, count in zip(every, sparse, counts, strict=True):
        own = int(str(count))
        mixer = attention(
            hidden=hidden,
            heads=own,
            kv_heads=kv_heads_of(c, own),
            head_dim=dim,
            window=window(c, kind, context),
            norm=2 * dim,
            gate=own * gated,
        )
        blocks.append(norms(hidden, 2) + mixer + (experts_of(c, traits) if experts else network(c, traits)))
    return stacked(c, traits, tuple(blocks))


def minimax_m3(c: Configuration) -> Stack:
    """Grouped attention whose later layers choose blocks of keys by a small index of their own."""
    layers, hidden, count = layers_of(c), hidden_of(c), heads_of(c)
    chosen = c.table("sparse_attention_config")
    words = c.listed("layer_types", layers)
    if chosen is not None and chosen.has("sparse_attention_freq"):
        indexed = [bool(one) for one in chosen.listed("sparse_attention_freq", layers) or ()]
    else:
        indexed = [word == "minimax_m3_sparse" for word in words or ["full_attention"] * layers]
    source, dim = chosen or c, head_dim_of(c, hidden, count)
    names = ("sparse_num_index_heads", "index_n_heads"), ("sparse_index_dim", "index_head_dim")
    heads, width = (source.count(*keys) for keys in names)
    blocks_read = source.count("sparse_topk_blocks", "index_topk_blocks") * source.count(
        "sparse_block_size", "index_block_size"
    )
    traits, sparse = Decoder(mlp_bias=False, correction=True), sparse_layers(c, layers)
    plain = attention(hidden=hidden, heads=count, kv_heads=kv_heads_of(c, count), head_dim=dim, norm=2 * dim)
    blocks = []
    for has_index, experts in zip(indexed, sparse, strict=True):
        mixer = _block_index(plain, hidden, heads, width, blocks_read) if has_index else plain
        blocks.append(norms(hidden, 2) + mixer + (experts_of(c, traits) if experts else network(c, traits)))
    return stacked(c, traits, tuple(blocks))


def _block_index(plain: Layer, hidden: int, heads: int, width: int, reads: int) -> Layer:
    cache = replace(plain.caches[0], reads=reads or None)
    per_pair = 2.0 * heads * width
    index = Layer(
        weights=(
            Weight("self_attn.indexer.q_proj", heads * width, hidden),
            Weight("self_attn.indexer.k_proj", width, hidden),
            vector("self_attn.indexer.norm", 2 * width),
        ),
        caches=(Cache(width, decode_flops=per_pair, prefill_flops=per_pair),),
    )
    return Layer(weights=plain.weights, caches=(cache,)) + index


def mllama(c: Configuration) -> Stack:
    """Llama whose layers in ``cross_attention_layers`` see the image instead of the text, and keep nothing of it."""
    layers, hidden, count = layers_of(c), hidden_of(c), heads_of(c)
    crossing = c.listed("cross_attention_layers") or []
    dim = head_dim_of(c, hidden, count)
    plain = attention(hidden=hidden, heads=count, kv_heads=kv_heads_of(c, count), head_dim=dim)
    cross = Layer(weights=(*plain.weights, vector("cross_attn.norm", 2 * dim + 2)))
    rest = norms(hidden, 2) + network(c, _PLAIN)
    blocks = [rest + (cross if layer in crossing else plain) for layer in range(layers)]
    return stacked(c, _PLAIN, blocks, Weight("embed_tokens.special", 8, hidden, kind="table"))


_RATES = {
    "compressed_sparse_attention": 4,
    "heavily_compressed_attention": 128,
    "sliding_attention": 0,
    0: 0,
    4: 4,
    128: 128,
}


def deepseek_v4(c: Configuration) -> Stack:
    """One key-value vector a token in a window, and one for every 4 or 128 tokens beyond; streams that mix."""
    layers, hidden, count, dim = layers_of(c), hidden_of(c), heads_of(c), c.number("head_dim")
    rank, groups, low = c.number("q_lora_rank"), c.number("o_groups"), c.number("o_lora_rank")
    size, streams = c.number("sliding_window"), c.number("hc_mult")
    if (told := c.table("compress_rates")) is not None and not set(told.values.values()) <= {4, 128}:
        raise c.fault("compress_rates", given=dict(told.values), expected="4 and 128")
    rates = c.listed("layer_types", layers) or (c.listed("compress_ratios") or [])[:layers]
    if len(rates) != layers or any(rate not in _RATES for rate in rates):
        raise c.fault("compress_ratios", given=repr(rates), expected=f"{layers} of 0, 4 and 128, one for each layer")
    c.used.update(("mlp_layer_types", "num_hash_layers"))
    mixed = streams * (streams + 2)
    common = norms(hidden, 2) + Layer(
        weights=(
            Weight("self_attn.q_a_proj", rank, hidden),
            Weight("self_attn.q_b_proj", count * dim, rank),
            Weight("self_attn.kv_proj", dim, hidden),
            Weight("self_attn.o_a_proj", groups * low, count * dim // groups),
            Weight("self_attn.o_b_proj", hidden, groups * low),
            Weight("hc.fn", mixed, streams * hidden, 2, kind="router"),
            vector("self_attn.norm", rank + dim + count + 2 * (mixed + 3)),
        ),
        caches=(Cache(dim, window=size, decode_flops=4.0 * count * dim, prefill_flops=4.0 * count * dim),),
    )
    common += experts_of(c, Decoder(correction=True))
    made = {rate: common + _compressor(c, _RATES[rate], hidden, dim, rank) for rate in dict.fromkeys(rates)}
    head = Weight("hc_head", streams, streams * hidden, kind="router")
    return stacked(c, _PLAIN, [made[rate] for rate in rates], head)


def _compressor(c: Configuration, rate: int, hidden: int, dim: int, rank: int) -> Layer:
    if not rate:
        return Layer()
    overlap = 2 if rate == 4 else 1
    prefix = "self_attn.compressor"
    per_pair = 4.0 * heads_of(c) * dim / rate
    reads = c.number("index_topk") * rate if rate == 4 else None
    layer = Layer(
        weights=(
            Weight(f"{prefix}.kv_proj", overlap * dim, hidden),
            Weight(f"{prefix}.gate_proj", overlap * dim, hidden),
            vector(f"{prefix}.position_bias", rate * overlap * dim + dim),
        ),
        caches=(Cache(dim // rate, reads=reads, decode_flops=per_pair, prefill_flops=per_pair),),
    )
    if rate != 4:
        return layer
    count, inner = c.number("index_n_heads"), c.number("index_head_dim")
    scored = 2.0 * count * inner / rate
    return layer + Layer(
        weights=(
            Weight(f"{prefix}.indexer.kv_proj", overlap * inner, hidden),
            Weight(f"{prefix}.indexer.gate_proj", overlap * inner, hidden),
            Weight(f"{prefix}.indexer.q_b_proj", count * inner, rank),
            Weight(f"{prefix}.indexer.weights_proj", count, hidden, kind="router"),
            vector(f"{prefix}.indexer.position_bias", rate * overlap * inner + inner),
        ),
        caches=(Cache(inner // rate, decode_flops=scored, prefill_flops=scored),),
    )
