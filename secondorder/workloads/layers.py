"""A model layer by layer, as data: its weights, the cache that it keeps per token, its state per sequence.

Every count of a model (parameters, active parameters, FLOPs, bytes) is a sum over these values, so a layer of a new
kind needs no new formula. ``mixers`` and ``feed_forwards`` build the layers that released models have.

>>> layer = Layer(weights=(Weight("self_attn.q_proj", 4096, 4096), Weight("input_layernorm", 4096, kind="vector")),
...               caches=(Cache(2048, window=1024, decode_flops=4 * 4096, prefill_flops=4 * 4096),))
>>> layer.parameters(), layer.cached_values(500), layer.cached_values(100_000)
(16781312.0, 1024000.0, 2097152.0)
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

Kind = Literal["linear", "router", "table", "vector"]


@dataclass(frozen=True)
class Weight:
    """``copies`` matrices of ``outputs`` by ``inputs``, of which ``used`` (all, where not given) see one token.

    ``kind``: a ``linear`` matrix is multiplied and may be quantised; a ``router`` is multiplied and kept in 16 bits;
    a ``table`` is looked up; a ``vector`` (norm, bias, short convolution) is neither. ``name`` is the module's name
    inside its layer, by which a quantised checkpoint tells which modules it left alone.
    """

    name: str
    outputs: int
    inputs: int = 1
    copies: int = 1
    used: int | None = None
    kind: Kind = "linear"

    @property
    def size(self) -> int:
        """Parameters of one copy."""
        return self.outputs * self.inputs

    @property
    def multiplied(self) -> bool:
        """Whether a token is multiplied with it: two FLOPs a parameter."""
        return self.kind in ("linear", "router")

    @property
    def passed(self) -> int:
        """Copies that one token passes through."""
        return self.copies if self.used is None else self.used


@dataclass(frozen=True)
class Cache:
    """What one layer keeps of each token, and what a query does with each token kept.

    ``values`` are kept of each of the last ``window`` tokens (of all, without one). A query reads at most ``reads`` of
    them (sparse attention; all, without one), at ``decode_flops`` or ``prefill_flops`` each.
    ``values`` 0: the layer reads the cache of another one.
    """

    values: int
    window: int | None = None
    reads: int | None = None
    decode_flops: float = 0.0
    prefill_flops: float = 0.0

    @property
    def horizon(self) -> float:
        """Tokens that a query reads, at most."""
        return min(self.window or math.inf, self.reads or math.inf)


@dataclass(frozen=True)
class State:
    """``values`` kept of a sequence whatever its length, at ``precision`` (the cache's own where none is given)."""

    values: int
    precision: str | None = None


@dataclass(frozen=True, kw_only=True)
class Layer:
    """Weights, caches and states of one layer; layers add up."""

    weights: tuple[Weight, ...] = ()
    caches: tuple[Cache, ...] = ()
    states: tuple[State, ...] = ()

    def __add__(self, other: "Layer") -> "Layer":
        return Layer(
            weights=self.weights + other.weights,
            caches=self.caches + other.caches,
            states=self.states + other.states,
        )

    def parameters(self, experts: float | None = None) -> float:
        """All of them, or ``experts`` copies of the weights that a token passes in part."""
        return float(sum(_counted(weight, experts) * weight.size for weight in self.weights))

    def cached_values(self, tokens: float) -> float:
        """Values kept of a sequence of ``tokens``, without its state."""
        return float(sum(cache.values * min(tokens, cache.window or math.inf) for cache in self.caches))


def _counted(weight: Weight, experts: float | None) -> float:
    return weight.copies if experts is None or weight.used is None else experts


@dataclass(frozen=True, kw_only=True)
class Stack:
    """The layers of a model in order, and the weights ``outside`` of them: embedding, last norm, head.

    ``head``: name of the matrix that makes the logits: ``lm_head``, or ``embed_tokens`` where the two are one.
    ``beside``: parts that a release ships and one token of text does not pass: a vision tower, multi-token prediction.
    """

    blocks: tuple[Layer, ...]
    outside: tuple[Weight, ...]
    head: str
    beside: Mapping[str, tuple[Weight, ...]] = field(default_factory=dict)

    def __hash__(self) -> int:
        return hash((self.blocks, self.outside, self.head))

    @cached_property
    def runs(self) -> tuple[tuple[Layer, int], ...]:
        """Each different layer and how many of it there are."""
        counts: dict[Layer, int] = {}
        for layer in self.blocks:
            counts[layer] = counts.get(layer, 0) + 1
        return tuple(counts.items())

    @cached_property
    def weights(self) -> tuple[tuple[Weight, int], ...]:
        """Each different weight of the layers and in how many layers it is."""
        counts: dict[Weight, int] = {}
        for layer, many in self.runs:
            for weight in layer.weights:
                counts[weight] = counts.get(weight, 0) + many
        return tuple(counts.items())

    @cached_property
    def caches(self) -> tuple[tuple[Cache, int], ...]:
        """Each different cache and how many layers have it."""
        counts: dict[Cache, int] = {}
        for layer, many in self.runs:
            for cache in layer.caches:
                counts[cache] = counts.get(cache, 0) + many
        return tuple(counts.items())

    @cached_property
    def states(self) -> tuple[tuple[State, int], ...]:
        """Each different state and how many layers have it."""
        counts: dict[State, int] = {}
        for layer, many in self.runs:
            for state in layer.states:
                counts[state] = counts.get(state, 0) + many
        return tuple(counts.items())

    @property
    def head_parameters(self) -> int:
        """Of the matrix that makes the logits."""
        return next(weight.size for weight in self.outside if weight.name == self.head)

    @property
    def looked_up(self) -> int:
        """Parameters of the tables outside the layers that make no logits: embedding and positions."""
        return sum(w.size for w in self.outside if w.kind == "table" and w.name != self.head)

    @property
    def vectors(self) -> int:
        """Norms, biases and the like that a token passes, inside the layers and outside."""
        inside = sum(many * w.size * w.passed for w, many in self.weights if w.kind == "vector")
        return inside + sum(w.size for w in self.outside if w.kind == "vector")

    @cached_property
    def choices(self) -> tuple[tuple[int, int, float], ...]:
        """Of the weights that a token passes in part: (copies, used, parameters of one copy over all layers)."""
        sizes: dict[tuple[int, int], float] = {}
        for weight, many in self.weights:
            if weight.used is not None:
                key = weight.copies, weight.used
                sizes[key] = sizes.get(key, 0.0) + many * weight.size
        return tuple((copies, used, size) for (copies, used), size in sizes.items())

    @cached_property
    def always(self) -> float:
        """Parameters inside the layers that every token passes."""
        return float(sum(many * w.copies * w.size for w, many in self.weights if w.used is None))


def total(weights: Iterable[Weight]) -> int:
    """Parameters of some weights, all copies."""
    return sum(weight.size * weight.copies for weight in weights)
