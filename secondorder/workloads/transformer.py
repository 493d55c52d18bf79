"""What a transformer costs: parameters, FLOPs, bytes, and the cache that it keeps per token.

Everything here is counted from the published shape of the model. Notation: ``layers`` of
width ``hidden``; attention of ``heads`` query heads and ``kv_heads`` key-value heads of
``head_dim``; a feed-forward network of ``intermediate`` width, gated (three matrices) or
not (two); ``vocab`` rows in the embedding and in the output head.

A model whose layers differ (windows, recurrences, pruned widths) brings its ``stack``: its layers as data. One that
does not is counted from its shape: all matrices, the scales of the norms, learned positions, no biases. Modules
beside the model, such as DeepSeek-V3's multi-token prediction, are no part of ``parameters``.

>>> from secondorder.workloads.models import models
>>> llama = models.llama_3_1_8b
>>> round(llama.parameters / 1e9, 2), llama.kv_bytes_per_token("bf16")
(8.03, 131072.0)
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Annotated

from annotated_types import Ge

from secondorder.arrays import Real
from secondorder.errors import InputError
from secondorder.fleets.accelerators import bytes_per_value
from secondorder.quantities import Checked, Count
from secondorder.workloads.checkpoints import Stored
from secondorder.workloads.feed_forwards import dense, mixture
from secondorder.workloads.layers import Layer, Stack, Weight, total
from secondorder.workloads.mixers import attention, latent_attention, norms, vector
from secondorder.zoo import Source

CountOrZero = Annotated[int, Ge(0)]


@dataclass(frozen=True, kw_only=True)
class Experts(Checked):
    """A mixture of experts in place of the feed-forward network.

    ``top_k`` of ``count`` routed experts of width ``intermediate`` see each token, and so do
    ``shared`` experts of the same width. The first ``dense_layers`` layers keep an ordinary
    feed-forward network of the model's own width.
    """

    count: Count
    top_k: Count
    intermediate: Count
    shared: CountOrZero = 0
    dense_layers: CountOrZero = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.top_k > self.count:
            raise InputError("top_k", given=self.top_k, expected=f"at most the {self.count} experts")


@dataclass(frozen=True, kw_only=True)
class LatentAttention(Checked):
    """Multi-head latent attention: the cache holds one compressed vector.

    Per token and layer the cache is ``kv_rank + rope_dim`` values instead of keys and values
    of every head. Queries and keys are ``nope_dim + rope_dim`` wide, values ``value_dim``.
    ``query_rank`` 0 means an uncompressed query projection.

    *Source*: DeepSeek-AI, DeepSeek-V2 (2024), section 2.1.
    """

    kv_rank: Count
    query_rank: CountOrZero
    rope_dim: Count
    nope_dim: Count
    value_dim: Count


@dataclass(frozen=True, kw_only=True)
class Transformer(Checked):
    """A decoder-only transformer, by its published shape.

    ``tied_embeddings``: the output head is the embedding. ``learned_positions``: a table of
    ``max_context`` rows is added to the embedding. ``qk_norm``: each layer normalises queries
    and keys, with one scale of ``head_dim`` each. Every layer attends to the whole context, unless ``stack`` gives the
    layers themselves; the shape then describes the usual one. ``stored`` is how a released checkpoint stores them.
    """

    name: str
    layers: Count
    hidden: Count
    heads: Count
    kv_heads: Count
    head_dim: Count
    intermediate: Count
    vocab: Count
    max_context: Count
    gated: bool = True
    tied_embeddings: bool = False
    learned_positions: bool = False
    qk_norm: bool = False
    experts: Experts | None = None
    latent: LatentAttention | None = None
    stack: Stack | None = field(default=None, repr=False)
    stored: Stored | None = field(default=None, repr=False)
    note: str = ""
    sources: Mapping[str, Source] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.heads % self.kv_heads:
            raise InputError("kv_heads", given=self.kv_heads, expected=f"a divisor of the {self.heads} heads")
        if self.experts is not None and self.experts.dense_layers > self.layers:
            given = self.experts.dense_layers
            raise InputError("experts.dense_layers", given=given, expected=f"at most the {self.layers} layers")
        if self.stack is not None and (len(self.stack.blocks), self.stack.head_parameters) != (
            self.layers,
            self.vocab * self.hidden,
        ):
            found = f"{len(self.stack.blocks)} layers and {self.stack.head_parameters} values in the head"
            expected = f"the {self.layers} layers and {self.vocab} x {self.hidden} of the shape"
            raise InputError(
                "stack", given=found, expected=expected, remedy="change the config.json, and read it again"
            )

    def check_tensor_parallel(self, what: str, ranks: int) -> None:
        """``InputError`` where heads do not split evenly; of more ranks than key-value heads each keeps one head's."""
        if not self.counted.caches:
            return  # a recurrence alone: its channels split evenly
        if self.heads % ranks or (self.kv_heads % ranks and ranks % self.kv_heads):
            expected = f"a divisor of the {self.heads} heads of {self.name} that divides its {self.kv_heads} key-value "
            raise InputError(what, given=ranks, expected=expected + "heads or is a multiple of them")

    @cached_property
    def counted(self) -> Stack:
        """The layers that everything is counted from: those given, or alike ones by the shape."""
        return self.stack if self.stack is not None else _by_shape(self)

    @property
    def uniform(self) -> bool:
        """Whether the shape alone describes the layers, as formulas per layer (training, pipelines) need it.

        True where counting by the shape gives the parameters within 0.1 % and no layer has a window or a state.
        """
        if self.stack is None:
            return True
        plain = not self.stack.states and all(cache.horizon == math.inf for cache, _ in self.stack.caches)
        return plain and abs(replace(self, stack=None, stored=None).parameters / self.parameters - 1) < 1e-3

    def check_uniform(self, what: str) -> None:
        """``InputError`` where the layers differ and a formula takes them as alike."""
        if not self.uniform:
            raise InputError(
                what,
                given=f"{self.name}, whose layers differ",
                expected="a model of alike layers, dense or with experts after the first ones",
                remedy="describe the nearest alike model by its shape: model = { like = ..., layers = ... }",
            )

    # Parameters

    @property
    def attention_parameters(self) -> int:
        """Of one layer: query, key, value and output projections, by the shape."""
        return total(weight for weight in _mixer(self).weights if weight.kind != "vector")

    @property
    def dense_feed_forward_parameters(self) -> int:
        """Of one layer with an ordinary feed-forward network."""
        return (3 if self.gated else 2) * self.hidden * self.intermediate

    @property
    def expert_parameters(self) -> int:
        """Of one expert."""
        assert self.experts is not None
        return (3 if self.gated else 2) * self.hidden * self.experts.intermediate

    @property
    def moe_layers(self) -> int:
        return self.layers - self.experts.dense_layers if self.experts else 0

    @property
    def norm_parameters(self) -> int:
        """Scales of the norms of each layer, of the last one, and of those inside attention; biases where counted."""
        return self.counted.vectors

    @property
    def head_parameters(self) -> int:
        """Of the output head (the embedding's own matrix where the two are tied)."""
        return self.counted.head_parameters

    @property
    def embedding_parameters(self) -> int:
        """Of the tables that are looked up: tokens, unless they are the head's, and learned positions."""
        return self.counted.looked_up

    @cached_property
    def _always(self) -> float:
        """Parameters that every token passes, without head and tables."""
        stack = self.counted
        return stack.always + total(stack.outside) - stack.looked_up - stack.head_parameters

    def layer_parameters(self, experts_per_layer: float) -> float:
        """Of all layers together, counting ``experts_per_layer`` routed experts in each."""
        return self._always + sum(experts_per_layer * size for _, _, size in self.counted.choices)

    @property
    def parameters(self) -> float:
        """All parameters, embedding and head included."""
        routed = sum(copies * size for copies, _, size in self.counted.choices)
        return self._always + routed + self.head_parameters + self.embedding_parameters

    @property
    def active_parameters(self) -> float:
        """Parameters that one token passes through, embedding and head included.

        Published counts round this, and some leave the embedding out: DeepSeek-V3's 37e9
        lies between 36.6e9 without and 37.6e9 with it.
        """
        routed = sum(used * size for _, used, size in self.counted.choices)
        return self._always + routed + self.head_parameters + self.embedding_parameters

    # Work

    @property
    def flops_per_token(self) -> float:
        """Matrix FLOPs of one token through the layers: twice the active matrices (no head, no norms).

        With latent attention this holds in both its forms: the matrix that expands the
        compressed vector is applied once per new token, either to that vector or to the
        query and the output.
        """
        stack = self.counted
        inside = sum(many * w.size * w.passed for w, many in stack.weights if w.multiplied)
        outside = sum(w.size * w.copies for w in stack.outside if w.multiplied and w.name != stack.head)
        return 2.0 * (inside + outside)

    @property
    def flops_per_pair(self) -> float:
        """Attention FLOPs for one query token against one cached token, all layers, in decoding.

        ``4 layers heads head_dim``: scores and the weighted sum of values. Latent attention
        works on the compressed vector (its absorbed form), scores over ``kv_rank + rope_dim``
        and values over ``kv_rank``: ``2 layers heads (2 kv_rank + rope_dim)``.
        *Upper bound* past a layer's window: ``pair_flops`` counts what is read.
        """
        return sum(many * cache.decode_flops for cache, many in self.counted.caches)

    def pair_flops(self, context: float, *, prefill: bool = False) -> float:
        """Attention FLOPs of one query token after ``context`` cached ones, each layer up to what it reads."""
        flops = 0.0
        for cache, many in self.counted.caches:
            each = cache.prefill_flops if prefill else cache.decode_flops
            flops += many * each * min(context, cache.horizon)
        return flops

    @property
    def prefill_flops_per_pair(self) -> float:
        """Attention FLOPs for one query token against one other token, all layers, in prefill.

        The same as in decoding, except for latent attention: a prompt is worked on with
        expanded keys and values, ``2 layers heads (nope_dim + rope_dim + value_dim)``.
        *Valid when* the whole prompt is one chunk; engines expand the cache again for
        every later chunk.

        >>> from secondorder.workloads.models import models
        >>> deepseek = models.deepseek_v3
        >>> deepseek.flops_per_pair / deepseek.prefill_flops_per_pair
        3.4
        """
        return sum(many * cache.prefill_flops for cache, many in self.counted.caches)

    @property
    def flops_per_row(self) -> float:
        """FLOPs of the output head for one sampled row."""
        return 2.0 * self.head_parameters

    # Bytes

    def weight_bytes(self, precision: str | None = None) -> float:
        """Bytes that the weights take in memory at ``precision``; as the checkpoint stores them where none is given.

        A quantised checkpoint has its own bytes, scales and modules in 16 bits included, whatever ``precision``: that
        is then the format of the arithmetic.
        """
        if self.stored is not None and (precision is None or self.stored.format):
            return self.stored.text
        return self.parameters * bytes_per_value(precision or "bf16")

    @property
    def checkpoint_bytes(self) -> float:
        """Bytes of the released weights: those of the language model and of what is shipped with it, where known."""
        if self.stored is not None:
            return self.stored.text + sum(self.stored.beside.values())
        return self.parameters * bytes_per_value("bf16")

    def touched_bytes(self, tokens: Real, precision: str) -> Real:
        """Bytes of weights that a step over ``tokens`` tokens reads, each matrix once.

        The embedding table is looked up, not read; the output head is read. Of ``E`` experts
        the batch hits ``E (1 - (1 - k/E)^tokens)`` distinct ones on average.

        *Valid when* each token's ``k`` experts are a uniform choice, independent of the other
        tokens': real routing is skewed, and hits fewer.

        >>> from secondorder.workloads.models import models
        >>> mixtral = models.mixtral_8x7b
        >>> [round(mixtral.touched_bytes(tokens, "bf16") / 1e9, 1) for tokens in (1, 4, 64)]
        [25.5, 64.6, 93.1]
        """
        if self.stored is not None and self.stored.format:
            return self.stored.touched(tokens)
        hit: Real = 0.0
        for copies, used, size in self.counted.choices:
            hit = hit + copies * (1 - (1 - used / copies) ** tokens) * size
        return (self._always + hit + self.head_parameters) * bytes_per_value(precision)

    def expert_bytes(self, precision: str) -> tuple[tuple[int, int, float], ...]:
        """Of each kind of routed experts: the copies in a layer, those that a token uses, bytes of all in all layers.

        >>> from secondorder.workloads.models import models
        >>> [(copies, used, round(size / 1e9, 1)) for copies, used, size in models.mixtral_8x7b.expert_bytes("bf16")]
        [(8, 2, 90.2)]
        """
        if self.stored is not None and self.stored.format:
            return tuple((copies, used, copies * size) for copies, used, size in self.stored.choices)
        width = bytes_per_value(precision)
        return tuple((copies, used, copies * size * width) for copies, used, size in self.counted.choices)

    def kv_bytes_per_token(self, precision: str) -> float:
        """Bytes that the cache keeps for one token: ``2 layers kv_heads head_dim bytes``.

        Latent attention keeps one compressed vector: ``layers (kv_rank + rope_dim) bytes``, and its index a key.
        *Upper bound* past a layer's window; a state per sequence is no part of it: ``cache_bytes`` counts both.

        >>> from secondorder.workloads.models import models
        >>> models.deepseek_v3.kv_bytes_per_token("bf16")
        70272.0
        """
        return sum(many * cache.values for cache, many in self.counted.caches) * bytes_per_value(precision)

    def cache_bytes(self, tokens: float, precision: str) -> float:
        """Bytes that a sequence of ``tokens`` keeps: each layer's last tokens up to its window, and its state.

        ``sum over layers of values min(tokens, window) bytes + state``.
        """
        kept = sum(many * cache.values * min(tokens, cache.window or math.inf) for cache, many in self.counted.caches)
        return kept * bytes_per_value(precision) + self.state_bytes(precision)

    def state_bytes(self, precision: str) -> float:
        """Bytes that a sequence keeps whatever its length: states of recurrences, inputs of short convolutions."""
        return float(
            sum(
                many * state.values * bytes_per_value(state.precision or precision)
                for state, many in self.counted.states
            )
        )

    @property
    def whole_cache(self) -> bool:
        """Whether every layer keeps and reads all tokens, and nothing else."""
        return not self.counted.states and all(cache.horizon == math.inf for cache, _ in self.counted.caches)

    @property
    def linear_cache(self) -> bool:
        """Whether a sequence's cache is proportional to its length: no window, no state."""
        return not self.counted.states and all(cache.window is None for cache, _ in self.counted.caches)


def _mixer(model: Transformer) -> Layer:
    """The attention of one layer, by the shape."""
    if model.latent is None:
        norm = 2 * model.head_dim if model.qk_norm else 0
        return attention(
            hidden=model.hidden, heads=model.heads, kv_heads=model.kv_heads, head_dim=model.head_dim, norm=norm
        )
    latent = model.latent
    return latent_attention(
        hidden=model.hidden,
        heads=model.heads,
        kv_rank=latent.kv_rank,
        query_rank=latent.query_rank,
        rope_dim=latent.rope_dim,
        nope_dim=latent.nope_dim,
        value_dim=latent.value_dim,
    )


def _by_shape(model: Transformer) -> Stack:
    """Alike layers, dense first where there are experts."""
    common = norms(model.hidden, 2) + _mixer(model)
    plain = common + dense(hidden=model.hidden, intermediate=model.intermediate, gated=model.gated)
    blocks = (plain,) * model.layers
    if (experts := model.experts) is not None:
        sparse = common + mixture(
            hidden=model.hidden,
            count=experts.count,
            top_k=experts.top_k,
            intermediate=experts.intermediate,
            gated=model.gated,
            shared=experts.shared * experts.intermediate,
        )
        blocks = (plain,) * experts.dense_layers + (sparse,) * (model.layers - experts.dense_layers)
    outside = [Weight("embed_tokens", model.vocab, model.hidden, kind="table"), vector("norm", model.hidden)]
    if model.learned_positions:
        outside.append(Weight("wpe", model.max_context, model.hidden, kind="table"))
    if not model.tied_embeddings:
        outside.append(Weight("lm_head", model.vocab, model.hidden))
    return Stack(blocks=blocks, outside=tuple(outside), head="embed_tokens" if model.tied_embeddings else "lm_head")
