"""Where an engine's memory goes when it starts, and what is left for the cache: an estimate with a band.

vLLM measures this itself: it loads the weights, runs one profiled step of as many tokens and sequences as it allows,
and gives the rest of its budget to the cache::

    cache = visible utilisation - weights - runtime - activations - graphs (from 0.21 on)

- ``visible`` is what the driver shows, less than the nominal capacity.
- ``weights``: the checkpoint's, shared out by the tensor-parallel ranks; fp8 and int8 at run time quantise the linear
  layers and leave embedding and head in 16 bits.
- ``activations``: what stays (``KEPT``, and the workspace of experts) and the larger of a layer's forward pass over
  the token budget and the sampler's copies of the logits of ``max_num_seqs`` rows: ``k rows vocabulary 4 bytes``.
- ``runtime``: memory beside the framework's allocator: the context's growth, communicators, all-reduce workspaces.
- ``graphs``: captured CUDA graphs, ``GRAPH`` a layer and batch size, twice (whole and piecewise).

*Valid when* the card is the engine's alone. It is a small difference of large numbers: an engine's own start-up line
(``engine_log``) or ``num_gpu_blocks`` replaces it. *Source*: identity and constants from vLLM's start-up lines in public
repositories and issues, 0.6 to 0.30 (docs/models.md); shapes of the sampler as in its code.

>>> from secondorder.fleets.accelerators import accelerators
>>> from secondorder.workloads.models import models
>>> memory = engine_memory(models.llama_3_1_8b, accelerators.h100_sxm, version="0.19", gpu_memory_utilization=0.95,
...     max_num_batched_tokens=8192, max_num_seqs=1024)
>>> round(memory.cache / GIB, 1), round(memory.activations / GIB, 2)
(58.1, 1.9)
"""

import math
import re
from dataclasses import dataclass

from secondorder.errors import DoesNotFit, InputError
from secondorder.fleets.accelerators import Accelerator, bytes_per_value
from secondorder.quantities import pretty
from secondorder.workloads.transformer import Transformer

GIB = 2.0**30

KEPT = 0.39 * GIB
"""Bytes of the profiled step that stay allocated: input buffers, attention's workspace."""
BUFFERS = 0.04 * GIB
"""Bytes that a rank loads beside its weights: rotary tables, scales, fragments."""
GRAPH = 0.2 * 2**20
"""Bytes of one captured graph for each layer."""
CAPTURED = 512
"""Largest batch that is captured; sizes are 1, 2, 4 and every 8 up to 256, every 16 from there on."""


@dataclass(frozen=True)
class _Version:
    """What differs between versions of vLLM, from ``since`` on.

    ``copies`` of the fp32 logits in the sampler; ``alone`` and ``together``: runtime memory of one rank and of several
    (GiB); ``graphs``: whether captured graphs are taken off; ``utilisation``: the default.
    """

    since: tuple[int, int]
    copies: float
    alone: float
    together: float
    graphs: bool
    utilisation: float


_VERSIONS = (
    _Version((0, 0), 7.0, 0.09, 0.6, False, 0.90),
    _Version((0, 9), 9.0, 0.13, 0.6, False, 0.90),
    _Version((0, 15), 3.1, 0.13, 0.6, False, 0.90),
    _Version((0, 19), 3.1, 0.25, 2.1, False, 0.90),
    _Version((0, 21), 3.1, 0.25, 1.7, True, 0.92),
)
"""Copies: three in fp32 with the fused sampler; sorting keeps values, 8-byte indices, sums and masks: nine; before
V1 (0.9) seven."""


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
        """Tokens that the cache holds at so many bytes a token on this rank, in whole blocks."""
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
    max_num_batched_tokens: int = 2048,
    max_num_seqs: int = 256,
    gpu_memory_utilization: float | None = None,
    enforce_eager: bool = False,
) -> EngineMemory:
    """What one rank of an engine of this ``version`` keeps, and what it leaves to the cache.

    ``precision`` is that of arithmetic, and of the weights where the checkpoint is not quantised. Errors:
    ``InputError`` for a version that is none, ``DoesNotFit`` where the weights alone exceed the budget.
    """
    about = _version(version)
    ranks = tensor_parallel_size
    weights = rank_weights(model, precision, ranks)
    activations = _activations(model, about, precision, ranks, max_num_batched_tokens, max_num_seqs)
    graphs = 0.0
    if about.graphs and not enforce_eager:
        graphs = 2 * _captured(max_num_seqs) * model.layers * GRAPH
    memory = EngineMemory(
        visible=accelerator.visible,
        utilisation=about.utilisation if gpu_memory_utilization is None else gpu_memory_utilization,
        weights=weights,
        activations=activations,
        graphs=graphs,
        runtime=(about.alone if ranks == 1 else about.together) * GIB,
        spread=_spread(model, activations, graphs, weights, ranks),
    )
    if memory.cache <= 0:
        raise DoesNotFit(
            f"{model.name} on {ranks} x {accelerator.name}: {memory}; use more accelerators (tensor_parallel_size), "
            "a larger one, a smaller precision or fewer max_num_batched_tokens"
        )
    return memory


def rank_weights(model: Transformer, precision: str, ranks: int) -> float:
    """Bytes of weights that one rank loads: linear layers at ``precision``, embedding and head in at least 16 bits.

    A quantised checkpoint as it is stored, its vision tower with it. Of more ranks than key-value heads each keeps one
    head's matrices whole.
    """
    outside = model.head_parameters + model.embedding_parameters
    if model.stored is not None and model.stored.format:
        whole = model.stored.text + model.stored.beside.get("vision", 0.0)
    else:
        width = bytes_per_value(precision)
        vision = 0 if model.stack is None else sum(w.size * w.copies for w in model.stack.beside.get("vision", ()))
        whole = (model.parameters - outside) * width + (outside + vision) * max(width, 2.0)
    copies = max(0, ranks - model.kv_heads) if model.latent is None else 0
    copied = 2.0 * model.layers * model.hidden * model.head_dim * copies * bytes_per_value(precision)
    return (whole + copied) / ranks + BUFFERS


def _activations(model: Transformer, about: _Version, precision: str, ranks: int, tokens: int, rows: int) -> float:
    """The profiled step's peak: what stays, and the larger of a layer's pass and the sampler."""
    width = max(bytes_per_value(precision), 2.0)
    inner = 0.0 if model.experts is not None and not model.experts.dense_layers else model.intermediate / ranks
    forward = tokens * width * (3 * inner + 3 * model.hidden)
    sampler = about.copies * rows * model.vocab * 4.0
    experts = 0.0
    if model.experts is not None:
        sent = tokens * model.experts.top_k * width
        narrow = model.experts.intermediate / ranks
        experts = sent * (max(2 * narrow, model.hidden) + narrow)
    return KEPT + experts + max(forward, sampler)


def _captured(rows: int) -> int:
    """Batch sizes that are captured for so many sequences."""
    most = min(CAPTURED, 2 * rows)
    sizes = [1, 2, 4, *range(8, 257, 8), *range(272, CAPTURED + 1, 16)]
    return sum(size <= most for size in sizes)


def _spread(model: Transformer, activations: float, graphs: float, weights: float, ranks: int) -> float:
    """Standard deviation: a fifth of the activations, two fifths of the graphs, .1 GiB alone or .5 GiB in parallel."""
    several = 0.5 * GIB if ranks > 1 else 0.15 * GIB
    return math.hypot(0.2 * activations, 0.4 * graphs, several, 0.005 * weights * (1 + (model.experts is not None)))


def _version(text: str) -> _Version:
    """The newest entry that is not newer than a version such as ``0.19.0`` or ``vllm 0.33``."""
    match = re.search(r"(\d+)\.(\d+)", text)
    if match is None:
        raise InputError("version", given=repr(text), expected="a version of vLLM such as 0.33")
    number = int(match[1]), int(match[2])
    return next(entry for entry in reversed(_VERSIONS) if entry.since <= number)
