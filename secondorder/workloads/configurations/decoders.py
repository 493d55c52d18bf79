"""The decoder that most families are: one mixer and one feed-forward network a layer, with a few traits."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from secondorder.workloads.configurations.configuration import Configuration, class_default
from secondorder.workloads.configurations.layer_kinds import (
    LINEAR,
    Rule,
    all_full,
    kinds,
    sparse_layers,
    window,
)
from secondorder.workloads.feed_forwards import dense, mixture
from secondorder.workloads.layers import Layer, Stack, Weight
from secondorder.workloads.mixers import attention, latent_attention, norms, vector

Switch = bool | str
"""A trait that a family always has or never, or the key that says so."""

Mixer = Callable[[Configuration], Layer]


@dataclass(frozen=True, kw_only=True)
class Decoder:
    """What a family's layers have beyond their sizes.

    - ``norms``: norms of the layer's width; with ``norm_bias`` they have a shift; ``more_norms_if`` is the key by which
      there are two more.
    - ``query_norm``: ``head`` (a scale a channel, shared by the heads), ``whole`` (a scale for each value), ``each``
      (the heads' own), or none.
    - ``windows``: the rule for files that list no kinds of layers.
    - ``recurrence``: the mixer of the layers that are not attention; ``latent``: attention on a compressed vector.
    - ``residual``: a dense network beside the experts; ``always_shared``: one shared expert, though no key says so.
    """

    norms: int = 2
    more_norms_if: str = ""
    norm_bias: bool = False
    final_norm: bool = True
    qkv_bias: Switch = "attention_bias"
    output_bias: Switch = "attention_bias"
    mlp_bias: Switch = "mlp_bias"
    head_bias: Switch = False
    gated: bool = True
    query_norm: str = ""
    query_norm_if: Switch = True
    gate: str = ""
    sinks: bool = False
    expert_bias: bool = False
    shared_gate: bool = False
    correction: bool = False
    windows: Rule = all_full
    recurrence: Mixer | None = None
    latent: bool = False
    residual: bool = False
    always_shared: bool = False
    extra: Callable[[Configuration], Layer] | None = None


def on(c: Configuration, switch: Switch) -> bool:
    return c.flag(switch) if isinstance(switch, str) else switch


def layers_of(c: Configuration) -> int:
    return c.number("num_hidden_layers", "n_layer", "n_layers", "num_layers")


def hidden_of(c: Configuration) -> int:
    return c.number("hidden_size", "n_embd", "d_model", "dim")


def heads_of(c: Configuration) -> int:
    return c.number("num_attention_heads", "n_head", "n_heads")


def kv_heads_of(c: Configuration, heads: int) -> int:
    """Key-value heads; one for each head where the class's own default says nothing else or the key is null."""
    if "num_key_value_heads" in c.values and c.given("num_key_value_heads") is None:
        return heads
    needed = bool(class_default(c.model_type, "num_key_value_heads"))
    return c.number("num_key_value_heads", "num_kv_heads", "num_query_groups", default=None if needed else heads)


def head_dim_of(c: Configuration, hidden: int, heads: int) -> int:
    """Channels of a head: as given, else the family's own, else the width shared out by the heads."""
    if c.has("attention_head_dim", "kv_channels") and c.given("head_dim") is None:
        return c.number("attention_head_dim", "kv_channels")
    if c.given("head_dim") is None and "head_dim" not in c.values and (own := c.default("head_dim")):
        return c.number("head_dim", default=int(str(own)))
    if c.given("head_dim") is None and hidden % heads:
        raise c.fault("head_dim", given="nothing", expected=f"a number, as {heads} heads do not divide {hidden}")
    return c.number("head_dim", "attention_head_dim", "kv_channels", default=hidden // heads)


_SHORT = ("falcon", "RefinedWeb", "RefinedWebModel")
"""Families whose files state no context, 2,048 tokens."""


def context_of(c: Configuration) -> int:
    """The longest context in tokens; a recurrence that states none has no bound, and counts as a million."""
    keys = ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length", "max_sequence_length")
    more = ("model_max_length", "context_length", "n_ctx", "model_max_seq_len")
    if c.model_type in _SHORT:
        return c.number(*keys, *more, default=2048)
    bounded = any(class_default(c.model_type, key) is not None for key in keys)
    endless = not bounded or c.word("position_embedding_type") == "nope"
    return c.number(*keys, *more, default=1 << 20 if endless else None)


def read_decoder(c: Configuration, traits: Decoder) -> Stack:
    """The layers of a file of this family."""
    layers, context = layers_of(c), context_of(c)
    every = kinds(c, layers, traits.windows)
    sparse = sparse_layers(c, layers) if has_experts(c) else [False] * layers
    indexed = [word != "shared" for word in c.listed("indexer_types", layers) or [""] * layers]
    made: dict[tuple[str, bool, bool], Layer] = {}
    for key in dict.fromkeys(zip(every, sparse, indexed, strict=True)):
        made[key] = _layer(c, traits, *key, context)
    blocks = [made[key] for key in zip(every, sparse, indexed, strict=True)]
    return stacked(c, traits, tuple(blocks))


def _layer(c: Configuration, traits: Decoder, kind: str, experts: bool, indexed: bool, context: int) -> Layer:
    hidden = hidden_of(c)
    if kind == LINEAR:
        if traits.recurrence is None:
            raise c.fault("layer_types", given="a layer of linear attention", expected=f"none in {c.model_type}")
        mixer = traits.recurrence(c)
    else:
        mixer = latent(c, gate=traits.gate, indexed=indexed) if traits.latent else heads(c, traits, kind, context)
    feed_forward = experts_of(c, traits) if experts else network(c, traits)
    count = traits.norms + 2 * bool(traits.more_norms_if and c.flag(traits.more_norms_if))
    layer = norms(hidden, count, bias=traits.norm_bias) + mixer + feed_forward
    if experts and traits.residual:
        layer += dense(hidden=hidden, intermediate=hidden, prefix="residual_mlp") + norms(hidden, 1)
    return layer + traits.extra(c) if traits.extra else layer


def heads(c: Configuration, traits: Decoder, kind: str, context: int) -> Layer:
    """Attention of heads, with the family's norms, biases, gate and sinks."""
    hidden, count = hidden_of(c), heads_of(c)
    dim, kv_heads = head_dim_of(c, hidden, count), kv_heads_of(c, count)
    if count % kv_heads:
        raise c.fault("num_key_value_heads", given=kv_heads, expected=f"a divisor of the {count} heads")
    norm = 0
    if traits.query_norm and on(c, traits.query_norm_if):
        norm = {"head": 2 * dim, "whole": (count + kv_heads) * dim, "each": (count + kv_heads) * dim}[traits.query_norm]
    return attention(
        hidden=hidden,
        heads=count,
        kv_heads=kv_heads,
        head_dim=dim,
        window=window(c, kind, context),
        bias=on(c, traits.qkv_bias),
        output_bias=on(c, traits.output_bias),
        norm=norm,
        gate={"value": count * dim, "head": count, "": 0}[traits.gate],
        sinks=count if traits.sinks else 0,
    )


def latent(c: Configuration, *, gate: str = "", indexed: bool = True) -> Layer:
    """Latent attention by DeepSeek's keys, with its index where there is one and the layer has its own."""
    count, value = heads_of(c), c.number("v_head_dim")
    told = class_default(c.model_type, "q_lora_rank") or not class_default(c.model_type, "kv_lora_rank")
    if "q_lora_rank" not in c.values and not c.inside and told:
        raise c.fault("q_lora_rank", given="nothing", expected="a whole number, or null for none")
    return latent_attention(
        hidden=hidden_of(c),
        heads=count,
        kv_rank=c.number("kv_lora_rank"),
        query_rank=c.number("q_lora_rank", default=0, least=0) if c.given("q_lora_rank") is not None else 0,
        rope_dim=c.number("qk_rope_head_dim"),
        nope_dim=c.number("qk_nope_head_dim"),
        value_dim=value,
        index_heads=c.count("index_n_heads") * indexed,
        index_dim=c.count("index_head_dim"),
        index_reads=c.count("index_topk"),
        bias=c.flag("attention_bias"),
        gate={"value": count * value, "head": count, "": 0}[gate],
    )


def network(c: Configuration, traits: Decoder) -> Layer:
    """The feed-forward network of a layer without experts."""
    keys = (
        "dense_intermediate_size",
        "prefix_dense_intermediate_size",
        "intermediate_size_mlp",
        "intermediate_size",
        "ffn_hidden_size",
        "ffn_dim",
    )
    return dense(hidden=hidden_of(c), intermediate=c.number(*keys), gated=traits.gated, bias=on(c, traits.mlp_bias))


EXPERTS = ("num_experts", "n_routed_experts", "num_local_experts", "moe_num_experts", "num_routed_experts")
CHOSEN = ("num_experts_per_tok", "num_experts_per_token", "moe_topk", "moe_k", "moe_top_k", "top_k_experts")


def has_experts(c: Configuration) -> bool:
    c.used.update(EXPERTS)
    return c.count(*EXPERTS) > 1


def experts_of(c: Configuration, traits: Decoder) -> Layer:
    """The mixture of a layer, whichever names its keys have."""
    count, top_k = c.number(*EXPERTS), c.number(*CHOSEN)
    if top_k > count:
        raise c.fault(next(k for k in CHOSEN if c.has(k)), given=top_k, expected=f"at most the {count} experts")
    c.used.update(("dense_intermediate_size", "intermediate_size_mlp"))
    width = c.number("moe_intermediate_size", "expert_ffn_hidden_size", "ffn_hidden_size", "intermediate_size")
    return mixture(
        hidden=hidden_of(c),
        count=count,
        top_k=top_k,
        intermediate=width,
        gated=traits.gated,
        bias=traits.expert_bias,
        shared=width if traits.always_shared else shared_width(c, width),
        shared_gate=traits.shared_gate and shared_width(c, width) > 0,
        correction=traits.correction,
        inner=c.count("moe_latent_size") or None,
    )


def shared_width(c: Configuration, width: int) -> int:
    """Width of the experts that every token passes, taken as one."""
    c.used.update(("n_shared_experts", "num_shared_experts", "moe_num_shared_experts", "num_shared_expert"))
    for key in ("moe_shared_expert_intermediate_size", "shared_expert_intermediate_size", "shared_intermediate_size"):
        if c.given(key) is not None:
            shares = c.number("n_shared_experts", default=1, least=0) if key.startswith("moe_") else 1
            return c.count(key) * shares
    return width * c.count("n_shared_experts", "num_shared_experts", "moe_num_shared_experts", "num_shared_expert")


def stacked(c: Configuration, traits: Decoder, blocks: Sequence[Layer], *more: Weight) -> Stack:
    """The layers with what is outside of them: embedding, last norm, head, and ``more``."""
    hidden, vocab = hidden_of(c), c.number("vocab_size", "padded_vocab_size")
    tied = c.flag("tie_word_embeddings")
    weights = [Weight("embed_tokens", vocab, hidden, kind="table")]
    if traits.final_norm:
        weights.append(vector("norm", hidden * (2 if traits.norm_bias else 1)))
    if not tied:
        weights.append(Weight("lm_head", vocab, hidden))
    if on(c, traits.head_bias):
        weights.append(vector("lm_head.bias", vocab))
    head = "embed_tokens" if tied else "lm_head"
    return Stack(blocks=tuple(blocks), outside=(*weights, *more), head=head)
