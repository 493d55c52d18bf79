"""Families of before 2024: learned positions, biases everywhere, fused matrices, keys of their own."""

from secondorder.workloads.configurations.configuration import Configuration
from secondorder.workloads.configurations.decoders import (
    Decoder,
    context_of,
    heads_of,
    hidden_of,
    layers_of,
    stacked,
)
from secondorder.workloads.feed_forwards import dense, mixture
from secondorder.workloads.layers import Layer, Stack, Weight
from secondorder.workloads.mixers import attention, norms, vector


def _plain(
    c: Configuration,
    *,
    kv_heads: int,
    inner: int,
    head_dim: int = 0,
    norm_count: int = 2,
    norm_bias: bool = True,
    bias: bool = True,
    output_bias: bool = True,
    mlp_bias: bool = True,
    gated: bool = False,
    query_norm: int = 0,
) -> Layer:
    hidden, count = hidden_of(c), heads_of(c)
    dim = head_dim or hidden // count
    return (
        norms(hidden, norm_count, bias=norm_bias)
        + attention(
            hidden=hidden,
            heads=count,
            kv_heads=kv_heads,
            head_dim=dim,
            bias=bias,
            output_bias=output_bias,
            norm=query_norm,
        )
        + dense(hidden=hidden, intermediate=inner, gated=gated, bias=mlp_bias)
    )


def _stack(c: Configuration, layer: Layer, traits: Decoder, *more: Weight) -> Stack:
    return stacked(c, traits, [layer] * layers_of(c), *more)


_BIASED = Decoder(norm_bias=True)


def gpt2(c: Configuration) -> Stack:
    hidden = hidden_of(c)
    layer = _plain(c, kv_heads=heads_of(c), inner=c.number("n_inner", default=4 * hidden))
    return _stack(c, layer, _BIASED, Weight("wpe", context_of(c), hidden, kind="table"))


def gpt_bigcode(c: Configuration) -> Stack:
    """As GPT-2, with one key-value head where ``multi_query`` says so."""
    hidden = hidden_of(c)
    one = c.flag("multi_query", True)
    layer = _plain(c, kv_heads=1 if one else heads_of(c), inner=c.number("n_inner", default=4 * hidden))
    return _stack(c, layer, _BIASED, Weight("wpe", context_of(c), hidden, kind="table"))


def gptj(c: Configuration) -> Stack:
    hidden = hidden_of(c)
    layer = _plain(
        c,
        kv_heads=heads_of(c),
        inner=c.number("n_inner", default=4 * hidden),
        norm_count=1,
        bias=False,
        output_bias=False,
    )
    c.given("rotary_dim")
    return _stack(c, layer, Decoder(norm_bias=True, head_bias=True))


def gpt_neox(c: Configuration) -> Stack:
    bias = c.flag("attention_bias", True)
    layer = _plain(c, kv_heads=heads_of(c), inner=c.number("intermediate_size"), bias=bias, output_bias=bias)
    return _stack(c, layer, _BIASED)


def qwen(c: Configuration) -> Stack:
    """The first Qwen: ``intermediate_size`` counts both matrices of the gate."""
    layer = _plain(
        c,
        kv_heads=heads_of(c),
        inner=c.number("intermediate_size") // 2,
        norm_bias=False,
        output_bias=False,
        mlp_bias=False,
        gated=True,
    )
    c.given("kv_channels")
    return _stack(c, layer, Decoder())


def opt(c: Configuration) -> Stack:
    hidden = hidden_of(c)
    if not c.flag("do_layer_norm_before", True):
        raise c.fault("do_layer_norm_before", given="false", expected="true, as in all OPT but OPT-350M")
    inner = c.number("word_embed_proj_dim", default=hidden)
    if inner != hidden:
        raise c.fault("word_embed_proj_dim", given=inner, expected=f"hidden_size, {hidden}, as in all OPT but OPT-350M")
    bias = c.flag("enable_bias", True)
    layer = _plain(c, kv_heads=heads_of(c), inner=c.number("ffn_dim"), bias=bias, output_bias=bias, mlp_bias=bias)
    return _stack(c, layer, _BIASED, Weight("embed_positions", context_of(c) + 2, hidden, kind="table"))


def bloom(c: Configuration) -> Stack:
    hidden = hidden_of(c)
    layer = _plain(c, kv_heads=heads_of(c), inner=4 * hidden)
    return _stack(c, layer, _BIASED, vector("word_embeddings_layernorm", 2 * hidden))


def mpt(c: Configuration) -> Stack:
    hidden, count = hidden_of(c), heads_of(c)
    bias, attn, ffn = not c.flag("no_bias", True), c.table("attn_config"), c.table("ffn_config")
    kv_heads = count if attn is None else attn.number("kv_n_heads", default=count)
    layer = _plain(
        c,
        kv_heads=kv_heads,
        inner=c.number("expansion_ratio", default=4) * hidden,
        norm_bias=bias,
        bias=bias,
        output_bias=bias,
        mlp_bias=bias,
    )
    if ffn is not None and ffn.word("ffn_type", "mptmlp") != "mptmlp":
        raise ffn.fault("ffn_type", given=ffn.word("ffn_type"), expected="mptmlp")
    learned = () if attn is None or attn.flag("alibi", True) else ("wpe",)
    tables = [Weight(name, context_of(c), hidden, kind="table") for name in learned if c.flag("learned_pos_emb", True)]
    c.used.update(("embedding_fraction", "norm_type"))
    return _stack(c, layer, Decoder(norm_bias=bias), *tables)


def falcon(c: Configuration) -> Stack:
    """Multi-query, grouped in the new decoder; attention and network in parallel under one norm, or two."""
    hidden, count, bias = hidden_of(c), heads_of(c), c.flag("bias")
    grouped, parallel = c.flag("new_decoder_architecture"), c.flag("parallel_attn", True)
    c.used.update(("num_kv_heads", "n_head_kv", "multi_query"))
    kv_heads = (
        c.number("num_kv_heads", "n_head_kv", default=count) if grouped else 1 if c.flag("multi_query", True) else count
    )
    two = c.number("num_ln_in_parallel_attn", default=2) == 2 if grouped else not parallel
    layer = _plain(
        c,
        kv_heads=kv_heads,
        inner=c.number("ffn_hidden_size", default=4 * hidden),
        norm_count=2 if two else 1,
        bias=bias,
        output_bias=bias,
        mlp_bias=bias,
    )
    c.flag("alibi")
    return _stack(c, layer, _BIASED)


def phi(c: Configuration) -> Stack:
    count = heads_of(c)
    dim = hidden_of(c) // count
    norm = 4 * dim if c.flag("qk_layernorm") else 0
    layer = _plain(
        c,
        kv_heads=c.number("num_key_value_heads", default=count),
        inner=c.number("intermediate_size"),
        norm_count=1,
        query_norm=norm,
    )
    return _stack(c, layer, Decoder(norm_bias=True, head_bias=True))


def persimmon(c: Configuration) -> Stack:
    count = heads_of(c)
    norm = 4 * (hidden_of(c) // count) if c.flag("qk_layernorm", True) else 0
    return _stack(c, _plain(c, kv_heads=count, inner=c.number("intermediate_size"), query_norm=norm), _BIASED)


def chatglm(c: Configuration) -> Stack:
    """ChatGLM 2 and 3 and GLM-4 9B in their first form."""
    layers, count = c.number("num_layers", "num_hidden_layers"), heads_of(c)
    kv_heads = c.number("multi_query_group_num") if c.flag("multi_query_attention") else count
    bias = c.flag("add_bias_linear")
    layer = _plain(
        c,
        kv_heads=kv_heads,
        inner=c.number("ffn_hidden_size"),
        head_dim=c.number("kv_channels"),
        norm_bias=False,
        bias=c.flag("add_qkv_bias") or bias,
        output_bias=bias,
        mlp_bias=bias,
        gated=True,
    )
    return stacked(c, Decoder(), [layer] * layers)


def dbrx(c: Configuration) -> Stack:
    """Sixteen experts, of which four see each token; clipped queries, keys and values."""
    hidden, count, attn, ffn = hidden_of(c), heads_of(c), c.table("attn_config"), c.table("ffn_config")
    if attn is None or ffn is None:
        missing = "attn_config" if attn is None else "ffn_config"
        raise c.fault(missing, given="nothing", expected="a table")
    layer = (
        norms(hidden, 2)
        + attention(hidden=hidden, heads=count, kv_heads=attn.number("kv_n_heads"), head_dim=hidden // count)
        + mixture(
            hidden=hidden,
            count=ffn.number("moe_num_experts"),
            top_k=ffn.number("moe_top_k"),
            intermediate=ffn.number("ffn_hidden_size"),
        )
    )
    return _stack(c, layer, Decoder())


def grok(c: Configuration) -> Stack:
    """Four norms a layer, eight experts of which two see each token."""
    hidden, count = hidden_of(c), heads_of(c)
    layer = (
        norms(hidden, 4)
        + attention(
            hidden=hidden,
            heads=count,
            kv_heads=c.number("num_key_value_heads"),
            head_dim=c.number("head_dim", default=128),
        )
        + mixture(
            hidden=hidden,
            count=c.number("num_local_experts", "num_experts"),
            top_k=c.number("num_experts_per_tok"),
            intermediate=c.number("moe_intermediate_size", "intermediate_size"),
        )
    )
    if c.flag("residual_moe"):
        layer += dense(hidden=hidden, intermediate=c.number("intermediate_size"))
    return _stack(c, layer, Decoder())
