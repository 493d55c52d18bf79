"""How long one engine step lasts: three interchangeable models behind one small protocol.

Each model turns into coefficients (plain numbers) and a pure function of them and of what a step
processes, so that a compiled kernel can take both: see ``StepFunction``.

The closed forms and the simulators take the same one, so their disagreement is never the
step time's fault; and no comparison of the two can find a wrong step time, only a measured
run can.

A step processes prefill chunks and decoding sequences together. What it costs depends on

=================  =====================================================================
``prefill_tokens``  prompt tokens computed in this step (``P``)
``prefill_pairs``   attention pairs of those tokens: a chunk of ``n`` after ``c`` computed
                    ones has ``n c + n (n + 1)/2`` (``A``)
``prefill_context`` tokens of cache that the chunks read, their own included (``C``)
``decodes``         sequences that decode one token (``D``)
``decode_context``  tokens of cache that those read, their own included (``K``)
``rows``            rows through the output head: decodes, and chunks that end a prompt (``S``)
=================  =====================================================================
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Generic, NamedTuple, Protocol, TypeAlias, TypeVar

import numpy as np

from secondorder.arrays import Floats, Real
from secondorder.errors import InputError
from secondorder.fleets.accelerators import Accelerator, bytes_per_value
from secondorder.quantities import Checked, Count, Duration, Efficiency, NonNegative, si
from secondorder.scenarios.step_band import UNKNOWN, StepBand
from secondorder.workloads.transformer import Transformer

StepSeconds: TypeAlias = Callable[[Real, Real, Real, Real, Real, Real], Real]
"""``seconds(P, A, C, D, K, S)``: floats or arrays, elementwise."""

Coefficients = TypeVar("Coefficients", bound=tuple[object, ...])


@dataclass(frozen=True)
class StepFunction(Generic[Coefficients]):
    """A step time as data: ``coefficients`` (a named tuple of numbers or arrays) and a pure ``function`` of them.

    ``function(coefficients, P, A, C, D, K, S)`` has no other input and no side effect. Calling the object calls it.

    >>> from secondorder.fleets.accelerators import accelerators
    >>> from secondorder.workloads.models import models
    >>> placement = Placement(model=models.llama_3_1_8b, accelerator=accelerators.h100_sxm, precision="bf16",
    ...     kv_precision="bf16")
    >>> step = Affine(per_step=1e-3, per_prefill_token=1e-5, per_decode=1e-4).seconds(placement)
    >>> step.coefficients.per_decode, step(0, 0, 0, 10, 5_000, 10)
    (0.0001, 0.002)
    """

    function: Callable[[Coefficients, Real, Real, Real, Real, Real, Real], Real]
    coefficients: Coefficients

    def __call__(self, P: Real, A: Real, C: Real, D: Real, K: Real, S: Real) -> Real:
        return self.function(self.coefficients, P, A, C, D, K, S)

    @property
    def bound(self) -> StepSeconds:
        """The same without the detour through this object, for loops."""
        return partial(self.function, self.coefficients)


@dataclass(frozen=True, kw_only=True)
class Placement(Checked):
    """A model placed on ``tensor_parallel_size`` accelerators.

    ``context``: mean tokens of a decoding sequence, at which the cache of a model with windows or states is taken as
    proportional to the length; without it every layer counts as if it kept all tokens.
    ``data_parallel_size`` such groups of accelerators share the routed experts, whole ones if
    ``enable_expert_parallel``.
    """

    model: Transformer
    accelerator: Accelerator
    precision: str
    kv_precision: str
    tensor_parallel_size: Count = 1
    context: NonNegative | None = None
    data_parallel_size: Count = 1
    enable_expert_parallel: bool = False

    @property
    def spreads_experts(self) -> bool:
        """Whether experts lie elsewhere than the rest of the layers."""
        return self.data_parallel_size > 1 or self.enable_expert_parallel

    @property
    def kv_copies(self) -> float:
        """How often the ranks together keep a token's cache: a key-value head is not split."""
        ranks = self.tensor_parallel_size
        return float(ranks) if self.model.latent is not None else max(1.0, ranks / self.model.kv_heads)

    @property
    def kv_bytes_per_token(self) -> float:
        """Cache of one token, all ranks together: ``cache(L)/L`` at the mean context where it is not proportional."""
        if self.context is not None and not self.model.linear_cache:
            return self.model.cache_bytes(self.context, self.kv_precision) / self.context * self.kv_copies
        return self.model.kv_bytes_per_token(self.kv_precision) * self.kv_copies

    @property
    def pair_flops(self) -> tuple[float, float]:
        """FLOPs of a pair in prefill and in decoding, at the mean context where layers read a part of it."""
        if self.context is None:
            return self.model.prefill_flops_per_pair, self.model.flops_per_pair
        context, half = self.context, max(self.context / 2, 1.0)
        prefill, decode = self.model.pair_flops(half, prefill=True), self.model.pair_flops(context)
        return prefill / half, decode / context


class StepTime(Protocol):
    """A model of the time of a step."""

    def seconds(self, placement: Placement) -> StepSeconds:
        """The step time as a function, for one placement."""
        ...


ROOFLINE_BAND = StepBand(0.87, 2.31)
"""5th and 95th percentile of measured over predicted time per token by ``Roofline()``, which was fitted on none."""


@dataclass(frozen=True, kw_only=True)
class Roofline(Checked):
    """Datasheet rates times efficiencies: the slower of arithmetic and memory, plus overheads.

    ``t = max(FLOPs/(peak compute_efficiency), bytes/(bandwidth memory_efficiency))
    + all-reduces + host_overhead``, with

    - FLOPs ``= f_token (P + D) + f_pair (A + K) + f_row S`` (latent attention has two ``f_pair``);
    - bytes ``= weights touched by P + D tokens + kv (C + K) read + kv (P + D) written``;
    - two ring all-reduces a layer over ``n`` accelerators:
      ``2 layers [2 (n - 1) link_latency + 2 (n - 1)/n (P + D) hidden bytes/link]``.

    *Valid when* kernels overlap their loads with their arithmetic. Efficiencies do not carry
    from card to card: of 2,045 medians of current engines nine in ten times per token were .87 to
    2.31 times what the defaults say: ``band``. *Source*: Williams, Waterman, Patterson 2009.
    """

    compute_efficiency: Efficiency = 0.7
    memory_efficiency: Efficiency = 0.8
    host_overhead: Duration = "1 ms"
    link_latency: Duration = "2 µs"

    @property
    def band(self) -> StepBand:
        """Measured over predicted time per token of nine in ten rows (``benchmarks/step_times.py``)."""
        return ROOFLINE_BAND if self == _by_default() else UNKNOWN

    def seconds(self, placement: Placement) -> "StepFunction[RooflineCoefficients]":
        return StepFunction(roofline_seconds, self.coefficients(placement))

    def coefficients(self, placement: Placement) -> "RooflineCoefficients":
        """The numbers of ``roofline_seconds`` for one placement."""
        model, device, ranks = placement.model, placement.accelerator, placement.tensor_parallel_size
        speed = device.peak_flops(placement.precision) * self.compute_efficiency * ranks
        bandwidth = si(device.memory_bandwidth) * self.memory_efficiency * ranks
        fixed, per_token = self._fixed_and_communication(placement)
        prefill_pair, decode_pair = placement.pair_flops
        return RooflineCoefficients(
            per_token=model.flops_per_token / speed,
            per_prefill_pair=prefill_pair / speed,
            per_decode_pair=decode_pair / speed,
            per_row=model.flops_per_row / speed,
            per_cached_token=placement.kv_bytes_per_token / bandwidth,
            weights=touched_weights(model, placement.precision, bandwidth),
            per_token_on_links=per_token,
            fixed=fixed,
        )

    def _fixed_and_communication(self, placement: Placement) -> tuple[float, float]:
        """Seconds of a step that do not depend on the batch, and seconds per token on the links."""
        ranks, model = placement.tensor_parallel_size, placement.model
        if ranks == 1:
            return si(self.host_overhead), 0.0
        link = placement.accelerator.shared_link
        if link is None:
            raise InputError(
                "tensor_parallel_size",
                given=f"{ranks} with {placement.accelerator.name}, whose link_bandwidth is not known",
                expected="1, or an accelerator with a link",
                remedy="give it one: dataclasses.replace(accelerator, link_bandwidth='64 GB/s'), or in a plan "
                "accelerator = { like = ..., link_bandwidth = '64 GB/s' }",
            )
        reductions = 2 * model.layers
        latency = reductions * 2 * (ranks - 1) * si(self.link_latency)
        moved = reductions * 2 * (ranks - 1) / ranks * model.hidden * bytes_per_value(placement.precision)
        return si(self.host_overhead) + latency, moved / link


@cache
def _by_default() -> Roofline:
    return Roofline()


class TouchedWeights(NamedTuple):
    """The weights that a step reads, all of them or of those with ``experts`` the ones that its tokens hit.

    The seconds are ``least``, or ``(model.touched_bytes(tokens, precision) + more_bytes) / bandwidth``, which a kernel
    tabulates by the tokens of a step.
    """

    model: Transformer
    precision: str
    bandwidth: float
    more_bytes: float
    least: float
    experts: bool


def touched_weights(model: Transformer, precision: str, bandwidth: float, more_bytes: float = 0.0) -> TouchedWeights:
    """The weights of a model, read at this many bytes a second; ``more_bytes`` whatever the step."""
    least = float(model.touched_bytes(1, precision) + more_bytes) / bandwidth
    return TouchedWeights(model, precision, bandwidth, more_bytes, least, bool(model.counted.choices))


def weight_seconds(weights: TouchedWeights, tokens: Real) -> Real:
    """Seconds to read the weights that a step over ``tokens`` tokens touches."""
    if not weights.experts:
        return weights.least
    return (weights.model.touched_bytes(tokens, weights.precision) + weights.more_bytes) / weights.bandwidth


class RooflineCoefficients(NamedTuple):
    """Seconds per unit of what a step processes, by ``Roofline``."""

    per_token: float
    per_prefill_pair: float
    per_decode_pair: float
    per_row: float
    per_cached_token: float
    weights: TouchedWeights
    per_token_on_links: float
    fixed: float


def roofline_seconds(c: RooflineCoefficients, P: Real, A: Real, C: Real, D: Real, K: Real, S: Real) -> Real:
    """``max(arithmetic, memory) + links + fixed``, see ``Roofline``."""
    per_token, per_prefill_pair, per_decode_pair, per_row, per_cached_token, weights, per_token_on_links, fixed = c
    tokens = P + D
    compute = per_token * tokens + per_prefill_pair * A + per_decode_pair * K + per_row * S
    reading = weight_seconds(weights, tokens) if weights.experts else weights.least
    memory = reading + per_cached_token * (C + K + tokens)
    return _slower(compute, memory) + per_token_on_links * tokens + fixed


@dataclass(frozen=True, kw_only=True)
class Affine(Checked):
    """A step time linear in what the step processes: at most six coefficients, in seconds.

    ``t = per_step + per_prefill_step [P > 0] + per_prefill_token P + per_prefill_pair A
    + per_decode D + per_context_token (C + K)``.

    *Valid when* fitted on the very card, model and engine; see ``validation.affine_fit``.
    """

    per_step: NonNegative
    per_prefill_token: NonNegative
    per_decode: NonNegative
    per_context_token: NonNegative = 0.0
    per_prefill_pair: NonNegative = 0.0
    per_prefill_step: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for what, least in (
            ("a decode step", self.per_step + self.per_decode),
            ("a prefill step", self.per_step + self.per_prefill_step + self.per_prefill_token),
        ):
            if least <= 0:
                raise InputError("step_time", given=f"{what} of {least:.3g} s", expected="steps that take time")

    def seconds(self, placement: Placement) -> "StepFunction[AffineCoefficients]":
        return StepFunction(affine_seconds, self.coefficients)

    @property
    def coefficients(self) -> "AffineCoefficients":
        """The numbers of ``affine_seconds``."""
        return AffineCoefficients(*(getattr(self, name) for name in AffineCoefficients._fields))


class AffineCoefficients(NamedTuple):
    """Those of ``Affine``, in s."""

    per_step: float
    per_prefill_step: float
    per_prefill_token: float
    per_prefill_pair: float
    per_decode: float
    per_context_token: float


def affine_seconds(c: AffineCoefficients, P: Real, A: Real, C: Real, D: Real, K: Real, S: Real) -> Real:
    """The sum of ``Affine``."""
    prefill = c.per_step + c.per_prefill_step * _positive(P) + c.per_prefill_token * P + c.per_prefill_pair * A
    return prefill + c.per_decode * D + c.per_context_token * (C + K)


def _positive(value: Real) -> Real:
    """1 where ``value`` is above 0, else 0."""
    return (value > 0).astype(np.float64) if isinstance(value, np.ndarray) else float(value > 0)


@dataclass(frozen=True, kw_only=True)
class Table(Checked):
    """Measured step times, interpolated linearly between the points of two grids.

    ``prefill`` has rows ``(tokens, seconds)``: steps that compute ``tokens`` prompt tokens.
    ``decode`` has rows ``(sequences, context, seconds)``, a full grid: steps that decode
    ``sequences`` with ``context`` tokens of cache each. A mixed step costs its tokens as if all
    were prompt tokens, and what the cache of its decodes adds:

    ``t = prefill(P + D) + decode(D, K/D) - decode(D, least context)``; ``decode(D, K/D)``
    without a prompt.

    *Valid* inside the grids, for the very card, model and engine; a step outside them is an
    ``InputError``, never an extrapolation.
    """

    prefill: Sequence[tuple[float, float]]
    decode: Sequence[tuple[float, float, float]]

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "prefill", tuple(sorted(_row(row, 2) for row in self.prefill)))
        object.__setattr__(self, "decode", tuple(sorted(_row(row, 3) for row in self.decode)))
        sequences, contexts = self._axes
        if len(self.decode) != len(sequences) * len(contexts) or len(self.decode) < 1 or len(self.prefill) < 2:
            raise InputError(
                "table",
                given=f"{len(self.prefill)} prefill and {len(self.decode)} decode points",
                expected="at least two of prefill, and a decode point for every pair of sequences and context",
            )

    @property
    def _axes(self) -> tuple[list[float], list[float]]:
        return sorted({row[0] for row in self.decode}), sorted({row[1] for row in self.decode})

    def seconds(self, placement: Placement) -> "StepFunction[TableCoefficients]":
        return StepFunction(table_seconds, self.coefficients)

    @property
    def coefficients(self) -> "TableCoefficients":
        """The points of ``table_seconds``."""
        tokens, times = np.array(self.prefill).T
        sequences, contexts = (np.array(axis) for axis in self._axes)
        grid = np.array([row[2] for row in self.decode]).reshape(len(sequences), len(contexts))
        return TableCoefficients(tokens, times, sequences, contexts, grid)


class TableCoefficients(NamedTuple):
    """The points of a ``Table``: times of prefill by tokens, times of decode by sequences (rows) and contexts."""

    tokens: Floats
    prefill: Floats
    sequences: Floats
    contexts: Floats
    decode: Floats


def table_seconds(c: TableCoefficients, P: Real, A: Real, C: Real, D: Real, K: Real, S: Real) -> Real:
    """The interpolation of ``Table``, step by step."""
    found = np.vectorize(lambda p, d, k: _table_step(c, p, d, k), otypes=[float])(P, D, K)
    return found if found.ndim else float(found)


def _table_step(c: TableCoefficients, P: float, D: float, K: float) -> float:
    if not P:
        return _table_decode(c, D, K / D) if D else 0.0
    _inside("tokens of a prefill step", P + D, c.tokens)
    cache = _table_decode(c, D, K / D) - _table_decode(c, D, float(c.contexts[0])) if D else 0.0
    return float(np.interp(P + D, c.tokens, c.prefill)) + cache


def _table_decode(c: TableCoefficients, batch: float, context: float) -> float:
    batch = max(batch, 1.0)  # a mean may lie below one sequence, a step cannot
    _inside("decoding sequences of a step", batch, c.sequences)
    _inside("context of a decoding sequence", context, c.contexts)
    return float(np.interp(batch, c.sequences, [np.interp(context, c.contexts, times) for times in c.decode]))


def _row(row: Sequence[float], length: int) -> tuple[float, ...]:
    try:
        numbers = tuple(float(number) for number in row)
    except (TypeError, ValueError, OverflowError):
        numbers = ()
    if len(numbers) != length:
        raise InputError("table", given=repr(row), expected=f"rows of {length} numbers")
    if not all(math.isfinite(number) and number >= 0 for number in numbers):
        raise InputError("table", given=row, expected="finite numbers of at least 0")
    return numbers


def _inside(what: str, value: float, axis: Floats) -> None:
    if not axis[0] <= value <= axis[-1]:
        raise InputError(
            what,
            given=f"{value:g}",
            expected=f"within the measured {axis[0]:g} to {axis[-1]:g}",
            remedy="measure further, or use another step time",
        )


def _slower(compute: Real, memory: Real) -> Real:
    if isinstance(compute, np.ndarray) or isinstance(memory, np.ndarray):
        return np.maximum(compute, memory)
    return compute if compute > memory else memory


def picoseconds(seconds: Real) -> int:
    """The engine's clock: a duration rounded once, to whole picoseconds."""
    return round(float(seconds) * 1e12)
