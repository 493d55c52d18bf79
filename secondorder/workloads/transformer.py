"""What a transformer costs: parameters, FLOPs, bytes, and the cache that it keeps per token.

Everything here is counted from the published shape of the model. Notation: ``layers`` of
width ``hidden``; attention of ``heads`` query heads and ``kv_heads`` key-value heads of
``head_dim``; a feed-forward network of ``intermediate`` width, gated (three matrices) or
not (two); ``vocab`` rows in the embedding and in the output head.

Counted: all matrices, the scales of the norms, learned positions. Not counted: biases (at
most a few hundredths of a percent) and modules beside the model, such as DeepSeek-V3's
multi-token prediction.

>>> from secondorder.workloads.models import models
>>> llama = models.llama_3_1_8b
>>> round(llama.parameters / 1e9, 2), llama.kv_bytes_per_token("bf16")
(8.03, 131072.0)
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated

from annotated_types import Ge

from secondorder.errors import InputError
from secondorder.fleets.accelerators import bytes_per_value
from secondorder.quantities import Checked, Count
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
    and keys, with one scale of ``head_dim`` each. Every layer attends to the whole context.
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
    note: str = ""
    sources: Mapping[str, Source] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.heads % self.kv_heads:
            raise InputError("kv_heads", given=self.kv_heads, expected=f"a divisor of the {self.heads} heads")
        if self.experts is not None and self.experts.dense_layers > self.layers:
            given = self.experts.dense_layers
            raise InputError("experts.dense_layers", given=given, expected=f"at most the {self.layers} layers")

    def check_tensor_parallel(self, what: str, ranks: int) -> None:
        """``InputError`` where heads do not split evenly; of more ranks than key-value heads each keeps one head's."""
        if self.heads % ranks or (self.kv_heads % ranks and ranks % self.kv_heads):
            expected = f"a divisor of the {self.heads} heads of {self.name} that divides its {self.kv_heads} key-value "
            raise InputError(what, given=ranks, expected=expected + "heads or is a multiple of them")

    # Parameters

    @property
    def attention_parameters(self) -> int:
        """Of one layer: query, key, value and output projections."""
        if self.latent is None:
            return self.hidden * self.head_dim * (2 * self.heads + 2 * self.kv_heads)
        latent, per_query = self.latent, self.latent.nope_dim + self.latent.rope_dim
        query = (
            latent.query_rank * (self.hidden + self.heads * per_query)
            if latent.query_rank
            else self.hidden * self.heads * per_query
        )
        keys_values = self.hidden * (latent.kv_rank + latent.rope_dim)
        expand = latent.kv_rank * self.heads * (latent.nope_dim + latent.value_dim)
        return query + keys_values + expand + self.heads * latent.value_dim * self.hidden

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
        """Scales of the two norms of each layer, of the last one, and of those inside attention."""
        inside = 2 * self.head_dim if self.qk_norm else 0
        if self.latent is not None:
            inside += self.latent.kv_rank + self.latent.query_rank
        return (2 * self.layers + 1) * self.hidden + self.layers * inside

    @property
    def head_parameters(self) -> int:
        """Of the output head (the embedding's own matrix where the two are tied)."""
        return self.vocab * self.hidden

    @property
    def embedding_parameters(self) -> int:
        """Of the tables that are looked up: tokens, unless they are the head's, and learned positions."""
        tokens = 0 if self.tied_embeddings else self.vocab
        positions = self.max_context if self.learned_positions else 0
        return (tokens + positions) * self.hidden

    def layer_parameters(self, experts_per_layer: float) -> float:
        """Of all layers together, counting ``experts_per_layer`` routed experts in each."""
        dense = (self.layers - self.moe_layers) * self.dense_feed_forward_parameters
        attention = self.layers * self.attention_parameters
        total = attention + dense + self.norm_parameters
        if self.experts is None:
            return float(total)
        router = self.hidden * self.experts.count
        seen = experts_per_layer + self.experts.shared
        return total + self.moe_layers * (router + seen * self.expert_parameters)

    @property
    def parameters(self) -> float:
        """All parameters, embedding and head included."""
        count = self.experts.count if self.experts else 0
        return self.layer_parameters(count) + self.head_parameters + self.embedding_parameters

    @property
    def active_parameters(self) -> float:
        """Parameters that one token passes through, embedding and head included.

        Published counts round this, and some leave the embedding out: DeepSeek-V3's 37e9
        lies between 36.6e9 without and 37.6e9 with it.
        """
        top_k = self.experts.top_k if self.experts else 0
        return self.layer_parameters(top_k) + self.head_parameters + self.embedding_parameters

    # Work

    @property
    def flops_per_token(self) -> float:
        """Matrix FLOPs of one token through the layers: twice the active matrices (no head, no norms).

        With latent attention this holds in both its forms: the matrix that expands the
        compressed vector is applied once per new token, either to that vector or to the
        query and the output.
        """
        return 2.0 * (self.layer_parameters(self.experts.top_k if self.experts else 0) - self.norm_parameters)

    @property
    def flops_per_pair(self) -> float:
        """Attention FLOPs for one query token against one cached token, all layers, in decoding.

        ``4 layers heads head_dim``: scores and the weighted sum of values. Latent attention
        works on the compressed vector (its absorbed form), scores over ``kv_rank + rope_dim``
        and values over ``kv_rank``: ``2 layers heads (2 kv_rank + rope_dim)``.
        """
        if self.latent is None:
            return 4.0 * self.layers * self.heads * self.head_dim
        return 2.0 * self.layers * self.heads * (2 * self.latent.kv_rank + self.latent.rope_dim)

    @property
    def prefill_flops_per_pair(self) -> float:
        """Attention FLOPs for one query token against one other token, all layers, in prefill.

        The same as in decoding, but for latent attention: a prompt is worked on with
        expanded keys and values, ``2 layers heads (nope_dim + rope_dim + value_dim)``.
        *Valid when* the whole prompt is one chunk; engines expand the cache again for
        every later chunk.

        >>> from secondorder.workloads.models import models
        >>> deepseek = models.deepseek_v3
        >>> deepseek.flops_per_pair / deepseek.prefill_flops_per_pair
        3.4
        """
        if self.latent is None:
            return self.flops_per_pair
        per_pair = self.latent.nope_dim + self.latent.rope_dim + self.latent.value_dim
        return 2.0 * self.layers * self.heads * per_pair

    @property
    def flops_per_row(self) -> float:
        """FLOPs of the output head for one sampled row."""
        return 2.0 * self.head_parameters

    # Bytes

    def weight_bytes(self, precision: str) -> float:
        """Bytes that the weights take in memory."""
        return self.parameters * bytes_per_value(precision)

    def touched_bytes(self, tokens: float, precision: str) -> float:
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
        hit = 0.0
        if self.experts is not None:
            hit = self.experts.count * (1 - (1 - self.experts.top_k / self.experts.count) ** tokens)
        return (self.layer_parameters(hit) + self.head_parameters) * bytes_per_value(precision)

    def kv_bytes_per_token(self, precision: str) -> float:
        """Bytes that the cache keeps for one token: ``2 layers kv_heads head_dim bytes``.

        Latent attention keeps one compressed vector: ``layers (kv_rank + rope_dim) bytes``.

        >>> from secondorder.workloads.models import models
        >>> models.deepseek_v3.kv_bytes_per_token("bf16")
        70272.0
        """
        values = 2 * self.kv_heads * self.head_dim
        if self.latent is not None:
            values = self.latent.kv_rank + self.latent.rope_dim
        return self.layers * values * bytes_per_value(precision)
