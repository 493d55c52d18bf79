"""How long one engine step lasts: three interchangeable models behind one small protocol.

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
from typing import Any, Protocol

import numpy as np

from secondorder.errors import InputError
from secondorder.fleets.accelerators import Accelerator, bytes_per_value
from secondorder.quantities import Checked, Count, Duration, Efficiency, NonNegative, si
from secondorder.workloads.transformer import Transformer

StepSeconds = Callable[[Any, Any, Any, Any, Any, Any], Any]
"""``seconds(P, A, C, D, K, S)``: floats or arrays, elementwise."""


@dataclass(frozen=True, kw_only=True)
class Engine(Checked):
    """What executes a step: a model on ``tensor_parallel_size`` accelerators."""

    model: Transformer
    accelerator: Accelerator
    precision: str
    kv_precision: str
    tensor_parallel_size: Count = 1

    @property
    def kv_copies(self) -> float:
        """How often the ranks together keep a token's cache: a key-value head is not split."""
        ranks = self.tensor_parallel_size
        return float(ranks) if self.model.latent is not None else max(1.0, ranks / self.model.kv_heads)

    @property
    def kv_bytes_per_token(self) -> float:
        """Cache of one token, all ranks together."""
        return self.model.kv_bytes_per_token(self.kv_precision) * self.kv_copies


class StepTime(Protocol):
    """A model of the time of a step."""

    def seconds(self, engine: Engine) -> StepSeconds:
        """The step time as a function, for one engine."""
        ...


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
    from card to card: with .7 and .8, decode on two measured cards was 10 % too fast and 5 %
    too slow, so read the result as a band. *Source*: Williams, Waterman, Patterson 2009.
    """

    compute_efficiency: Efficiency = 0.7
    memory_efficiency: Efficiency = 0.8
    host_overhead: Duration = "1 ms"
    link_latency: Duration = "2 µs"

    def seconds(self, engine: Engine) -> StepSeconds:
        model, device, ranks = engine.model, engine.accelerator, engine.tensor_parallel_size
        speed = device.peak_flops(engine.precision) * self.compute_efficiency * ranks
        bandwidth = si(device.memory_bandwidth) * self.memory_efficiency * ranks
        token, row = model.flops_per_token / speed, model.flops_per_row / speed
        prefill_pair, decode_pair = model.prefill_flops_per_pair / speed, model.flops_per_pair / speed
        cached = engine.kv_bytes_per_token / bandwidth
        weights = _weight_seconds(model, engine.precision, bandwidth)
        fixed, per_token = self._fixed_and_communication(engine)

        def seconds(P: Any, A: Any, C: Any, D: Any, K: Any, S: Any) -> Any:  # noqa: N803 - the table's letters
            tokens = P + D
            compute = token * tokens + prefill_pair * A + decode_pair * K + row * S
            memory = weights(tokens) + cached * (C + K + tokens)
            return _slower(compute, memory) + per_token * tokens + fixed

        return seconds

    def _fixed_and_communication(self, engine: Engine) -> tuple[float, float]:
        """Seconds of a step that do not depend on the batch, and seconds per token on the links."""
        ranks, model = engine.tensor_parallel_size, engine.model
        if ranks == 1:
            return si(self.host_overhead), 0.0
        link = engine.accelerator.link_bandwidth
        if link is None:
            raise InputError(
                "tensor_parallel_size",
                given=f"{ranks} with {engine.accelerator.name}, whose link_bandwidth is not known",
                expected="1, or an accelerator with a link",
                remedy="give it one: dataclasses.replace(accelerator, link_bandwidth='64 GB/s'), or in a plan "
                "accelerator = { like = ..., link_bandwidth = '64 GB/s' }",
            )
        reductions = 2 * model.layers
        latency = reductions * 2 * (ranks - 1) * si(self.link_latency)
        moved = reductions * 2 * (ranks - 1) / ranks * model.hidden * bytes_per_value(engine.precision)
        return si(self.host_overhead) + latency, moved / si(link)


@dataclass(frozen=True, kw_only=True)
class Affine(Checked):
    """A step time linear in what the step processes: at most six coefficients, in seconds.

    ``t = per_step + per_prefill_step [P > 0] + per_prefill_token P + per_prefill_pair A
    + per_decode D + per_context_token (C + K)``.

    *Valid when* fitted on the very card, model and engine; see ``validation.calibration``.
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

    def seconds(self, engine: Engine) -> StepSeconds:
        step, prefill_step = self.per_step, self.per_prefill_step
        token, pair, decode, context = (
            self.per_prefill_token,
            self.per_prefill_pair,
            self.per_decode,
            self.per_context_token,
        )

        def seconds(P: Any, A: Any, C: Any, D: Any, K: Any, S: Any) -> Any:  # noqa: N803
            return step + prefill_step * (P > 0) + token * P + pair * A + decode * D + context * (C + K)

        return seconds


@dataclass(frozen=True, kw_only=True)
class Table(Checked):
    """Measured step times, interpolated linearly between the points of two grids.

    ``prefill`` has rows ``(tokens, seconds)``: steps that compute so many prompt tokens.
    ``decode`` has rows ``(sequences, context, seconds)``, a full grid: steps that decode so
    many sequences with so many tokens of cache each. A mixed step costs its tokens as if all
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
        object.__setattr__(self, "prefill", tuple(sorted(map(_row, self.prefill))))
        object.__setattr__(self, "decode", tuple(sorted(map(_row, self.decode))))
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

    def seconds(self, engine: Engine) -> StepSeconds:
        tokens, prefill_times = ([row[column] for row in self.prefill] for column in (0, 1))
        sequences, contexts = self._axes
        grid = np.array([row[2] for row in self.decode]).reshape(len(sequences), len(contexts))

        def decode(batch: float, context: float) -> float:
            batch = max(batch, 1.0)  # a mean may lie below one sequence, a step cannot
            _inside("decoding sequences of a step", batch, sequences)
            _inside("context of a decoding sequence", context, contexts)
            return float(np.interp(batch, sequences, [np.interp(context, contexts, times) for times in grid]))

        def step(P: float, D: float, K: float) -> float:  # noqa: N803 - the table's letters
            if not P:
                return decode(D, K / D) if D else 0.0
            _inside("tokens of a prefill step", P + D, tokens)
            cache = decode(D, K / D) - decode(D, contexts[0]) if D else 0.0
            return float(np.interp(P + D, tokens, prefill_times)) + cache

        every = np.vectorize(step, otypes=[float])

        def seconds(P: Any, A: Any, C: Any, D: Any, K: Any, S: Any) -> Any:  # noqa: N803
            found = every(P, D, K)
            return found if found.ndim else float(found)

        return seconds


def _row(row: Sequence[float]) -> tuple[float, ...]:
    numbers = tuple(float(number) for number in row)
    if not all(math.isfinite(number) and number >= 0 for number in numbers):
        raise InputError("table", given=row, expected="finite numbers of at least 0")
    return numbers


def _inside(what: str, value: float, axis: Sequence[float]) -> None:
    if not axis[0] <= value <= axis[-1]:
        raise InputError(
            what,
            given=f"{value:g}",
            expected=f"within the measured {axis[0]:g} to {axis[-1]:g}",
            remedy="measure further, or use another step time",
        )


def _weight_seconds(model: Transformer, precision: str, bandwidth: float) -> Callable[[Any], Any]:
    """Seconds to read the weights that a step over so many tokens touches."""
    if model.experts is None:
        dense = model.touched_bytes(1, precision) / bandwidth
        return lambda tokens: dense
    return lambda tokens: model.touched_bytes(tokens, precision) / bandwidth


def _slower(compute: Any, memory: Any) -> Any:
    if isinstance(compute, np.ndarray) or isinstance(memory, np.ndarray):
        return np.maximum(compute, memory)
    return compute if compute > memory else memory


def picoseconds(seconds: float) -> int:
    """The engine's clock: a duration rounded once, to whole picoseconds."""
    return round(seconds * 1e12)
