"""Where an engine's memory goes when it starts, and what is left for the cache: an estimate with a band.

vLLM measures this itself: it loads the weights, runs one profiled step of as many tokens and sequences as it allows,
and gives the rest of its budget to the cache::

    cache = visible utilisation - weights - runtime - activations - graphs (from 0.21 on)

- ``visible`` is what the driver shows, less than the nominal capacity.
- ``weights``: the checkpoint's, shared out by the tensor-parallel ranks; fp8 and int8 at run time quantise the linear
  layers and leave embedding and head in 16 bits.
- ``activations``: what stays (``KEPT`` values a token and channel, and the workspace of experts) and the larger of a
  layer's forward pass over the token budget and the sampler's copies of the logits of ``max_num_seqs`` rows,
  ``k rows vocabulary 4 bytes``.
- ``runtime``: memory beside the framework's allocator: the context's growth, communicators, all-reduce workspaces.
- ``graphs``: captured CUDA graphs, ``GRAPH`` a layer and batch size, twice (whole and piecewise).

*Valid when* the card is the engine's alone. It is a small difference of large numbers: an engine's own start-up line
(``engine_log``) or ``num_gpu_blocks`` replaces it. *Source*: identity and constants from vLLM's start-up lines in
public repositories and issues, 0.6 to 0.30 (docs/models.md).

>>> from secondorder.fleets.accelerators import accelerators
>>> from secondorder.workloads.models import models
>>> memory = engine_memory(models.llama_3_1_8b, accelerators.h100_sxm, version="0.19", gpu_memory_utilization=0.95,
...     max_num_batched_tokens=8192, max_num_seqs=1024)
>>> round(memory.cache / GIB, 1), round(memory.activations / GIB, 2)
(58.1, 1.87)
"""

import math
import re
from dataclasses import dataclass

from secondorder.errors import DoesNotFit, InputError
from secondorder.fleets.accelerators import Accelerator, bytes_per_value
from secondorder.quantities import pretty
from secondorder.workloads.transformer import Transformer

GIB = 2.0**30

KEPT = 4.5
"""Values of the model's width that each token of the profiled step keeps: residual, hidden states, queries, keys."""
BUFFERS = 0.04 * GIB
"""Bytes that a rank loads beside its weights: rotary tables, scales, fragments."""
GRAPH = 0.2 * 2**20
"""Bytes of one captured graph for each layer."""
CAPTURED = 512
"""Largest batch that is captured; sizes are 1, 2, 4 and every 8 up to 256, every 16 from there on."""


@dataclass(frozen=True)
class _Version:
    """What differs between versions of vLLM, from ``since`` on.

    ``copies`` of the fp32 logits in the sampler; ``alone``: runtime memory of one rank, ``each`` what every further
    rank adds, up to ``most`` (GiB); ``graphs``: whether captured graphs are taken off; ``workspace``: whether that of
    experts stays allocated; ``utilisation``: the default.
    """

    since: tuple[int, int]
    copies: float
    alone: float
    each: float
    most: float
    graphs: bool
    workspace: bool
    utilisation: float

    def runtime(self, ranks: int) -> float:
        """Bytes beside the framework's allocator."""
        return min(self.alone + self.each * (ranks - 1), max(self.alone, self.most)) * GIB


_VERSIONS = (
    _Version((0, 0), 9.2, 0.09, 0.5, 2.0, False, False, 0.90),
    _Version((0, 9), 9.2, 0.13, 0.45, 1.9, False, False, 0.90),
    _Version((0, 15), 3.25, 0.13, 0.45, 1.9, False, False, 0.90),
    _Version((0, 19), 3.25, 0.25, 1.85, 2.1, False, True, 0.90),
    _Version((0, 21), 3.25, 0.25, 1.5, 1.75, True, True, 0.92),
)
"""Copies: sorting keeps values, 8-byte indices, sums and masks, nine times the logits; the fused sampler three. From
0.19 on several ranks hold the workspace of a fused all-reduce."""


@dataclass(frozen=True, kw_only=True)
class EngineMemory:
    """Bytes of one rank: what the budget holds, and the cache's share with a band of nine in ten."""

    visible: float
    utilisation: float
    weights: float
    activations: float
    graphs: float
    runtime: float
    spread: float
    """Standard deviation of the estimate."""

    @property
    def budget(self) -> float:
        """What the engine may use."""
        return self.visible * self.utilisation

    @property
    def cache(self) -> float:
        """Left for the cache; below 0 where nothing is."""
        return self.budget - self.weights - self.activations - self.graphs - self.runtime

    @property
    def band(self) -> tuple[float, float]:
        """Between these the cache lies nine times in ten: 1.645 standard deviations, at most 12 %."""
        half = min(1.645 * self.spread, 0.12 * max(self.cache, 0.0))
        return self.cache - half, self.cache + half

    @property
    def reserved(self) -> float:
        """Taken off beside the weights."""
        return self.activations + self.graphs + self.runtime

    def tokens(self, bytes_per_token: float, block_size: int = 16) -> int:
        """Tokens that the cache holds at this many bytes a token on this rank, in whole blocks."""
        return max(0, math.floor(self.cache / (bytes_per_token * block_size))) * block_size

    def concurrency(self, bytes_per_sequence: float) -> float:
        """Sequences of this size that the cache holds: the engine's "maximum concurrency"."""
        return max(0.0, self.cache) / bytes_per_sequence

    def __str__(self) -> str:
        low, high = self.band
        return (
            f"{pretty(self.visible, 'byte')} visible x {self.utilisation:g}: weights {pretty(self.weights, 'byte')}, "
            f"activations {pretty(self.activations, 'byte')}, graphs {pretty(self.graphs, 'byte')}, "
            f"runtime {pretty(self.runtime, 'byte')}, cache {pretty(self.cache, 'byte')} "
            f"({pretty(low, 'byte')} to {pretty(high, 'byte')})"
        )


def engine_memory(
    model: Transformer,
    accelerator: Accelerator,
    *,
    version: str = "0.33",
    precision: str = "bf16",
    tensor_parallel_size: int = 1,
    data_parallel_size: int = 1,
    pipeline_parallel_size: int = 1,
    max_num_batched_tokens: int = 2048,
    max_num_seqs: int = 256,
    gpu_memory_utilization: float | None = None,
    enforce_eager: bool = False,
) -> EngineMemory:
    """What one rank of an engine of this ``version`` keeps, and what it leaves to the cache.

    ``precision`` is that of arithmetic, and of the weights where the checkpoint is not quantised. Experts are spread
    over ``data_parallel_size`` times the accelerators of a rank, layers over ``pipeline_parallel_size`` stages. Errors:
    ``InputError`` for a version that is none, ``DoesNotFit`` where the weights alone exceed the budget.
    """
    about = _version(version)
    ranks = tensor_parallel_size
    weights = rank_weights(model, precision, ranks, ranks * data_parallel_size) / pipeline_parallel_size
    activations = _activations(model, about, precision, ranks, max_num_batched_tokens, max_num_seqs)
    graphs = 0.0
    if about.graphs and not enforce_eager:
        graphs = 2 * _captured(max_num_seqs) * model.layers / pipeline_parallel_size * GRAPH
    memory = EngineMemory(
        visible=accelerator.visible,
        utilisation=about.utilisation if gpu_memory_utilization is None else gpu_memory_utilization,
        weights=weights,
        activations=activations,
        graphs=graphs,
        runtime=about.runtime(ranks),
        spread=_spread(activations, graphs, weights, ranks),
    )
    if memory.cache <= 0:
        parts = {"weights": weights, "activations": activations, "graphs": graphs, "runtime": memory.runtime}
        told = ", ".join(f"{name} {pretty(value, 'byte')}" for name, value in parts.items())
        raise DoesNotFit(
            f"{model.name} on {ranks} x {accelerator.name}: {told} do not fit in {pretty(memory.budget, 'byte')} "
            f"({memory.utilisation:g} of {pretty(memory.visible, 'byte')} visible); use more accelerators "
            "(tensor_parallel_size), a larger one, a smaller precision or fewer max_num_batched_tokens"
        )
    return memory


def rank_weights(model: Transformer, precision: str, ranks: int, expert_ranks: int | None = None) -> float:
    """Bytes of weights that one rank loads: linear layers at ``precision``, embedding and head in at least 16 bits.

    Routed experts are shared by ``expert_ranks``, all else by ``ranks``; by the same if not given.
    A quantised checkpoint as it is stored, its vision tower with it. Of more ranks than key-value heads each keeps one
    head's matrices whole.
    """
    outside = model.head_parameters + model.embedding_parameters
    padded = 0.0
    if model.stored is not None and model.stored.format:
        whole = model.stored.text + model.stored.beside.get("vision", 0.0)
        padded = _padding(model)
    else:
        width = bytes_per_value(precision)
        vision = 0 if model.stack is None else sum(w.size * w.copies for w in model.stack.beside.get("vision", ()))
        whole = (model.parameters - outside) * width + (outside + vision) * max(width, 2.0)
    copies = max(0, ranks - model.kv_heads) if model.latent is None else 0
    copied = 2.0 * model.layers * model.hidden * model.head_dim * copies * bytes_per_value(precision)
    routed = sum(size for _, _, size in model.expert_bytes(precision)) + padded
    return (whole + copied + padded - routed) / ranks + routed / (expert_ranks or ranks) + BUFFERS


def _padding(model: Transformer) -> float:
    """Bytes by which kernels for mxfp4 widen experts: to the next multiple of 256."""
    if model.stored is None or model.stored.format != "mxfp4" or model.experts is None:
        return 0.0
    width = model.experts.intermediate
    routed = sum(copies * size for copies, _, size in model.stored.choices)
    return routed * (-(-width // 256) * 256 / width - 1)


def _activations(model: Transformer, about: _Version, precision: str, ranks: int, tokens: int, rows: int) -> float:
    """The profiled step's peak: what stays, and the larger of a layer's pass and the sampler."""
    width = max(bytes_per_value(precision), 2.0)
    inner = 0.0 if model.experts is not None and not model.experts.dense_layers else model.intermediate / ranks
    forward = tokens * width * (3 * inner + 3 * model.hidden)
    sampler = about.copies * rows * model.vocab * 4.0
    experts = 0.0
    if model.experts is not None and about.workspace:
        sent = tokens * model.experts.top_k * width
        narrow = model.experts.intermediate / ranks
        experts = sent * (max(2 * narrow, model.hidden) + narrow)
    return tokens * model.hidden * KEPT * width + experts + max(forward, sampler)


def _captured(rows: int) -> int:
    """Batch sizes that are captured for this many sequences."""
    most = min(CAPTURED, 2 * rows)
    sizes = [1, 2, 4, *range(8, 257, 8), *range(272, CAPTURED + 1, 16)]
    return sum(size <= most for size in sizes)


def _spread(activations: float, graphs: float, weights: float, ranks: int) -> float:
    """Standard deviation: a tenth of the activations, half of the graphs, .35 GiB alone or .6 GiB in parallel."""
    several = 0.6 * GIB if ranks > 1 else 0.35 * GIB
    return math.hypot(0.1 * activations, 0.5 * graphs, several, 0.004 * weights)


def _version(text: str) -> _Version:
    """The newest entry that is not newer than a version such as ``0.19.0`` or ``vllm 0.33``."""
    match = re.search(r"(\d+)\.(\d+)", text)
    if match is None:
        raise InputError("version", given=repr(text), expected="a version of vLLM such as 0.33")
    number = int(match[1]), int(match[2])
    return next(entry for entry in reversed(_VERSIONS) if entry.since <= number)
