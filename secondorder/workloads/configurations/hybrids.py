"""Families with recurrences: in all layers, in most of them, or beside attention in each."""

from collections.abc import Sequence
from dataclasses import replace

from secondorder.workloads.configurations.configuration import PRECISIONS, Configuration
from secondorder.workloads.configurations.decoders import (
    Decoder,
    context_of,
    experts_of,
    has_experts,
    head_dim_of,
    heads,
    heads_of,
    hidden_of,
    latent,
    layers_of,
    network,
    read_decoder,
    stacked,
)
from secondorder.workloads.configurations.layer_kinds import FULL, LINEAR, kinds, linear_but_every, sparse_layers
from secondorder.workloads.feed_forwards import dense, mixture
from secondorder.workloads.layers import Layer, Stack
from secondorder.workloads.mixers import (
    gated_delta_net,
    gated_linear_recurrence,
    kimi_delta_attention,
    lightning_attention,
    mamba1,
    mamba2,
    norms,
    short_convolution,
    vector,
)

_PLAIN = Decoder()


def _precision(c: Configuration) -> str:
    """Of the recurrent state: fp32 unless the file says otherwise, as engines keep it for these families."""
    for key in ("mamba_ssm_cache_dtype", "mamba_ssm_dtype"):
        if c.given(key) is not None:
            word = c.word(key)
            if word not in PRECISIONS:
                raise c.fault(key, given=repr(word), expected=f"one of {', '.join(PRECISIONS)}")
            return PRECISIONS[word]
    return "fp32"


# Gated delta net


def _delta(c: Configuration) -> Layer:
    return gated_delta_net(
        hidden=hidden_of(c),
        key_heads=c.number("linear_num_key_heads"),
        value_heads=c.number("linear_num_value_heads"),
        key_dim=c.number("linear_key_head_dim"),
        value_dim=c.number("linear_value_head_dim"),
        convolution=c.number("linear_conv_kernel_dim", default=4),
        precision=_precision(c),
    )


def qwen3_next(c: Configuration) -> Stack:
    """Three gated delta nets, then one full attention whose result is gated."""
    gate = "value" if c.flag("attn_output_gate", True) else ""
    traits = Decoder(
        query_norm="head",
        mlp_bias=False,
        gate=gate,
        shared_gate=True,
        recurrence=_delta,
        windows=linear_but_every("full_attention_interval", period=4),
    )
    return read_decoder(c, traits)


def lara(c: Configuration) -> Stack:
    """Gated delta nets, windows and full attention, as ``layer_types`` lists them."""
    traits = Decoder(query_norm="head", mlp_bias=False, recurrence=_delta)
    return read_decoder(c, traits)


def olmo_hybrid(c: Configuration) -> Stack:
    traits = Decoder(query_norm="whole", mlp_bias=False, recurrence=_delta, windows=linear_but_every(period=4))
    return read_decoder(c, traits)


# Kimi delta attention, lightning attention


def kimi_linear(c: Configuration) -> Stack:
    """Kimi delta attention, and latent attention in the layers that ``linear_attn_config`` lists from 1 on."""
    layers, nested = layers_of(c), c.table("linear_attn_config")
    if nested is None:
        count, dim = c.number("linear_num_heads"), c.number("linear_head_dim")
        taps = c.number("linear_conv_kernel_dim", "short_conv_kernel_size", default=4)
        c.given("short_conv_kernel_size")
        every = kinds(c, layers, linear_but_every("layer_group_size", period=4))
    else:
        count, dim = nested.number("num_heads"), nested.number("head_dim")
        taps = nested.number("short_conv_kernel_size", default=4)
        full, linear = nested.listed("full_attn_layers") or [], nested.listed("kda_layers") or []
        if sorted(map(str, [*full, *linear])) != sorted(map(str, range(1, layers + 1))):
            raise nested.fault("full_attn_layers", given=f"{len(full)} layers", expected="with kda_layers, every layer")
        every = [FULL if layer + 1 in full else LINEAR for layer in range(layers)]
    low = 0 if c.model_type == "bailing_hybrid" else dim
    delta = kimi_delta_attention(
        hidden=hidden_of(c),
        heads=count,
        head_dim=dim,
        convolution=taps,
        rank=low,
        gate_rank=low,
        precision=_precision(c),
    )
    attention = latent(c, gate="head" if c.model_type == "bailing_hybrid" else "")
    return _mixed(c, every, {FULL: attention, LINEAR: delta}, Decoder(mlp_bias=False, correction=True))


def minimax(c: Configuration) -> Stack:
    """Lightning attention, and full attention where ``attn_type_list`` has a 1."""
    layers, hidden, count = layers_of(c), hidden_of(c), heads_of(c)
    c.given("block_size")
    every = kinds(c, layers, lambda _, n: [FULL if layer % 2 == 0 else LINEAR for layer in range(n)])
    traits = Decoder(qkv_bias=False, output_bias=False, mlp_bias=False)
    lightning = lightning_attention(
        hidden=hidden, heads=count, head_dim=head_dim_of(c, hidden, count), precision=_precision(c)
    )
    return _mixed(c, every, {FULL: heads(c, traits, FULL, context_of(c)), LINEAR: lightning}, traits)


def _mixed(c: Configuration, every: Sequence[str], mixers: dict[str, Layer], traits: Decoder) -> Stack:
    """Layers of two norms, the mixer of their kind, and experts where they have them."""
    sparse = sparse_layers(c, len(every)) if has_experts(c) else [False] * len(every)
    two = norms(hidden_of(c), traits.norms)
    with_experts = experts_of(c, traits) if any(sparse) else Layer()
    without = network(c, traits) if not all(sparse) else Layer()
    blocks = [two + mixers[k] + (with_experts if s else without) for k, s in zip(every, sparse, strict=True)]
    return stacked(c, traits, tuple(blocks))


# State spaces


def _mamba2(c: Configuration, *, norm: bool = True, prefix: str = "mamba") -> Layer:
    hidden = hidden_of(c)
    dim = c.number("mamba_d_head", "mamba_head_dim", "head_dim", "mamba_headdim")
    inner = c.number("mamba_d_ssm", default=c.number("mamba_expand", "expand", default=2) * hidden)
    count = c.number("mamba_n_heads", "mamba_num_heads", "num_heads", "n_mamba_heads", default=inner // dim)
    return mamba2(
        hidden=hidden,
        heads=count,
        head_dim=dim,
        groups=c.number("mamba_n_groups", "n_groups", "mamba_ngroups", default=1),
        state=c.number("mamba_d_state", "ssm_state_size", "state_size"),
        convolution=c.number("mamba_d_conv", "conv_kernel", default=4),
        norm=norm,
        convolution_bias=c.flag("mamba_conv_bias", True) and c.flag("use_conv_bias", True),
        bias=c.flag("mamba_proj_bias") or c.flag("use_bias"),
        precision=_precision(c),
        prefix=prefix,
    )


def mamba(c: Configuration) -> Stack:
    """Mamba layers alone, of the first or the second kind."""
    hidden = hidden_of(c)
    if c.model_type == "mamba2":
        mixer = _mamba2(c, prefix="mixer")
    else:
        mixer = mamba1(
            hidden=hidden,
            inner=c.number("intermediate_size", default=c.number("expand", default=2) * hidden),
            state=c.number("state_size"),
            convolution=c.number("conv_kernel", default=4),
            rank=c.number("time_step_rank", default=-(-hidden // 16)),
            convolution_bias=c.flag("use_conv_bias", True),
            bias=c.flag("use_bias"),
            precision=_precision(c),
        )
    c.given("expand")
    return stacked(c, _PLAIN, (norms(hidden, 1) + mixer,) * layers_of(c))


def jamba(c: Configuration) -> Stack:
    """Mamba, and attention in one layer of each period; experts in every other layer."""
    layers, hidden = layers_of(c), hidden_of(c)
    period, offset = c.number("attn_layer_period", default=8), c.number("attn_layer_offset", default=4, least=0)
    every = [FULL if layer % period == offset else LINEAR for layer in range(layers)]
    rank, state = c.number("mamba_dt_rank", default=-(-hidden // 16)), c.number("mamba_d_state", default=16)
    mixer = mamba1(
        hidden=hidden,
        inner=c.number("mamba_expand", default=2) * hidden,
        state=state,
        convolution=c.number("mamba_d_conv", default=4),
        rank=rank,
        convolution_bias=c.flag("mamba_conv_bias", True),
        bias=c.flag("mamba_proj_bias"),
        norm=(rank + 2 * state) * c.flag("mamba_inner_layernorms", True),
        precision=_precision(c),
        prefix="mamba",
    )
    traits = Decoder(qkv_bias=False, output_bias=False, mlp_bias=False)
    return _mixed(c, every, {FULL: heads(c, traits, FULL, context_of(c)), LINEAR: mixer}, traits)


def falcon_h1(c: Configuration) -> Stack:
    """Attention and a state space side by side in each layer."""
    mixer = _mamba2(c, norm=c.flag("mamba_rms_norm"))
    attention = heads(c, _PLAIN, FULL, context_of(c))
    block = norms(hidden_of(c), 2) + attention + mixer + network(c, _PLAIN)
    return stacked(c, _PLAIN, (block,) * layers_of(c))


def bamba(c: Configuration) -> Stack:
    """Mamba-2, and attention in the layers that ``attn_layer_indices`` lists."""
    chosen = c.listed("attn_layer_indices") or []
    every = [FULL if layer in chosen else LINEAR for layer in range(layers_of(c))]
    return _mixed(c, every, {FULL: heads(c, _PLAIN, FULL, context_of(c)), LINEAR: _mamba2(c)}, _PLAIN)


def granite_hybrid(c: Configuration) -> Stack:
    """Mamba-2 or attention, then experts and a shared network, in each layer."""
    every = kinds(c, layers_of(c), lambda _, n: [LINEAR] * n)
    hidden, traits = hidden_of(c), Decoder(mlp_bias=False)
    shared = dense(hidden=hidden, intermediate=c.number("shared_intermediate_size"), prefix="shared_mlp")
    feed_forward = shared
    if c.count("num_local_experts"):
        feed_forward = shared + mixture(
            hidden=hidden,
            count=c.number("num_local_experts"),
            top_k=c.number("num_experts_per_tok"),
            intermediate=c.number("intermediate_size"),
            prefix="block_sparse_moe",
        )
    mixers = {FULL: heads(c, traits, FULL, context_of(c)), LINEAR: _mamba2(c)}
    blocks = tuple(norms(hidden, 2) + mixers[kind] + feed_forward for kind in every)
    return stacked(c, traits, blocks)


_NEMOTRON_LETTERS = {"M": "mamba", "*": "attention", "-": "mlp", "E": "moe"}
_NEMOTRON_WORDS = {"linear_attention": "mamba", "full_attention": "attention", "sliding_attention": "attention"}


def nemotron_h(c: Configuration) -> Stack:
    """One thing a layer, by a pattern of letters: M Mamba-2, * attention, - network, E experts."""
    traits = Decoder(gated=False, norms=1, correction=True)
    listed = c.listed("layers_block_type")
    if listed is None:
        pattern = c.word("hybrid_override_pattern")
        if wrong := set(pattern) - set(_NEMOTRON_LETTERS) or not pattern:
            raise c.fault("hybrid_override_pattern", given=repr(pattern), expected="the letters M, *, - and E")
        listed = [_NEMOTRON_LETTERS[letter] for letter in pattern]
        del wrong
    words = [_NEMOTRON_WORDS.get(str(word), str(word)) for word in listed]
    if len(words) != c.number("num_hidden_layers", default=len(words)):
        raise c.fault("hybrid_override_pattern", given=f"{len(words)} layers", expected=f"{layers_of(c)}")
    one = norms(hidden_of(c), 1)
    make = {
        "mamba": lambda: _mamba2(c, prefix="mixer"),
        "attention": lambda: heads(c, traits, FULL, context_of(c)),
        "mlp": lambda: network(c, traits),
        "moe": lambda: experts_of(c, traits),
    }
    made = {word: one + make[word]() for word in dict.fromkeys(words) if word in make}
    if unknown := [word for word in words if word not in made]:
        raise c.fault("layers_block_type", given=repr(unknown[0]), expected=f"one of {', '.join(make)}")
    return stacked(c, traits, tuple(made[word] for word in words))


# Convolutions, gated recurrences, RWKV


def lfm2(c: Configuration) -> Stack:
    """Gated short convolutions, and attention where ``layer_types`` or ``full_attn_idxs`` says."""
    hidden, layers = hidden_of(c), layers_of(c)
    chosen = c.listed("full_attn_idxs")
    every = kinds(c, layers, lambda _, n: [FULL if chosen is None or i in chosen else LINEAR for i in range(n)])
    traits = Decoder(query_norm="head", qkv_bias=False, output_bias=False, mlp_bias=False, correction=True)
    mixers = {
        FULL: heads(c, traits, FULL, context_of(c)),
        LINEAR: short_convolution(hidden=hidden, taps=c.number("conv_L_cache", default=3), bias=c.flag("conv_bias")),
    }
    if has_experts(c):
        c.flag("use_expert_bias")
        return _mixed(c, every, mixers, traits)
    inner = c.number("intermediate_size", "block_ff_dim")
    if c.flag("block_auto_adjust_ff_dim", True):
        inner = 2 * inner // 3
        multiplier, multiple = c.given("block_ffn_dim_multiplier"), c.number("block_multiple_of", default=256)
        if isinstance(multiplier, int | float):
            inner = int(multiplier * inner)
        inner = multiple * -(-inner // multiple)
    blocks = [
        norms(hidden, 2) + mixers[k] + dense(hidden=hidden, intermediate=inner, prefix="feed_forward") for k in every
    ]
    return stacked(c, traits, tuple(blocks))


def recurrent_gemma(c: Configuration) -> Stack:
    """Two gated linear recurrences, then attention to a window."""
    layers, hidden = layers_of(c), hidden_of(c)
    pattern = c.listed("block_types", None) or c.listed("_block_types", None) or ["recurrent", "recurrent", "attention"]
    count, width = heads_of(c), c.number("lru_width", default=hidden)
    traits = replace(_PLAIN, output_bias=True, mlp_bias=True)
    mixers = {
        "attention": heads(c, traits, "sliding", context_of(c)),
        "recurrent": gated_linear_recurrence(
            hidden=hidden, width=width, heads=count, convolution=c.number("conv1d_width", default=4)
        ),
    }
    inner = c.number("intermediate_size") // 2
    rest = norms(hidden, 2) + dense(hidden=hidden, intermediate=inner, bias=True, prefix="mlp_block")
    blocks = tuple(mixers[str(pattern[layer % len(pattern)])] + rest for layer in range(layers))
    return stacked(c, traits, blocks)


def rwkv7(c: Configuration) -> Stack:
    """A matrix state a head, its decay, gate and step by low-rank matrices; the first layer differs by two parts."""
    from secondorder.workloads.layers import State, Weight

    hidden, size = hidden_of(c), c.number("head_size", "head_dim", default=64)
    inner = c.number("intermediate_size", default=4 * hidden)
    ranks = [c.number(f"{name}_low_rank_dim") for name in ("decay", "a", "gate")]
    value_rank = c.number("v_low_rank_dim")

    def low(name: str, rank: int) -> tuple[Weight, ...]:
        return Weight(f"attention.{name}1", rank, hidden), Weight(f"attention.{name}2", hidden, rank)

    matrices = tuple(Weight(f"attention.{name}", hidden, hidden) for name in ("receptance", "key", "value", "output"))
    block = Layer(
        weights=(
            *matrices,
            *(weight for name, rank in zip(("w", "a", "g"), ranks, strict=True) for weight in low(name, rank)),
            Weight("feed_forward.key", inner, hidden),
            Weight("feed_forward.value", hidden, inner),
            vector("attention.vectors", 13 * hidden),
            vector("norms", 5 * hidden),
        ),
        states=(State(hidden * size, "fp32"), State(2 * hidden)),
    )
    later = block + Layer(weights=(*low("v", value_rank), vector("attention.v0", hidden)))
    first = block + norms(hidden, 1, bias=True)
    c.given("num_attention_heads")
    return stacked(c, Decoder(norm_bias=True), (first, *(later,) * (layers_of(c) - 1)))
