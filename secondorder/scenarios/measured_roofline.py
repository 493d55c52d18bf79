"""A step time whose constants were fitted on real engines, and tried on systems and models left out of the fit.

Where ``Roofline`` takes the slower of arithmetic and memory, this one adds up what a step does kernel by kernel:
loading, arithmetic, attention, the floor of each layer's kernels, collectives, and the engine's own work.
"""

from dataclasses import dataclass, replace
from functools import cache
from typing import NamedTuple

import numpy as np

from secondorder.arrays import Real
from secondorder.errors import InputError, UnknownName
from secondorder.fleets.accelerators import Accelerator, bytes_per_value
from secondorder.fleets.clusters import nodes
from secondorder.quantities import Bandwidth, Checked, Duration, Efficiency, si
from secondorder.scenarios.step_band import UNKNOWN, StepBand
from secondorder.scenarios.steptime import (
    Placement,
    StepFunction,
    TouchedWeights,
    touched_weights,
    weight_seconds,
)

ACTIVATION_BYTES = 2.0
"""Bytes of an activation on the links: 16 bits, whatever the weights are stored in."""
REDUCTIONS_PER_LAYER = 2
"""All-reduces of a layer under tensor parallelism: after attention and after the feed-forward network."""
TILE = 64
"""Rows that tensor cores compute at least: on H20 a product of 16 rows takes as long as one of 64.

*Source*: 92.9 and 91.6 us for 16 and 64 rows, N = 24,576, K = 7,168, 8 bits, DeepGEMM (vLLM pull 49932); 64 rows are
those of Hopper's instruction."""
WHOLE = 0.9
"""Share of the plain bytes from which weights count as stored as wide as they are computed on."""
BAND = StepBand(0.64, 1.43)
"""Measured over predicted time per output token: 5th and 95th percentile of rows whose system and model were left out
of the fit (``benchmarks/step_times.py`` prints them again)."""
OLD_BAND = StepBand(0.57, 1.74)
"""The same of vLLM 0.11, from decode steps on H100 with models left out (``benchmarks/decode_steps.py``)."""


class Engine(NamedTuple):
    """What an engine adds, in s: to each step, for each sequence that decodes, and for each layer of 8-bit experts."""

    per_step: float
    per_sequence: float
    per_fp8_expert_layer: float = 0.0
    band: StepBand = BAND


ENGINES = {
    "vllm": Engine(1.2e-4, 2.8e-6),
    "vllm-0.11": Engine(1.1e-3, 3.8e-5, 1.3e-4, OLD_BAND),
    "vllm-0.9": Engine(2.6e-3, 8.5e-5, 1.3e-4, OLD_BAND),
    "sglang": Engine(9.4e-4, 2.4e-5),
    "tensorrt-llm": Engine(9.6e-4, 1.4e-5),
}
"""Host work of current engines (late 2025 to early 2026), fitted with the constants of ``MeasuredRoofline``.

``vllm-0.11`` is that of 2025, before asynchronous scheduling hid most of it, with expert kernels that quantise
activations to 8 bits apart: fitted on decode steps of H100 (``benchmarks/decode_steps.py``). ``vllm-0.9`` is that of
June 2025 and before: its time a step was fitted on one model on A100, that of a sequence is the middle of what older
engines showed; its band is that of 0.11, as its rows are too few for one of their own."""


@dataclass(frozen=True, kw_only=True)
class MeasuredRoofline(Checked):
    """Datasheet rates, efficiencies by kind of kernel, and least times, which bind small models and small batches.

    ``t = bytes/(bandwidth memory_efficiency) + FLOPs/(peak efficiency) + attention + floors + all-reduces + host``:

    - each weight that the step's tokens touch is read once; arithmetic adds to it, at the efficiency of its precision,
      and routed experts at ``grouped_efficiency`` of that (few rows an expert); both together take at least the
      arithmetic of a tile of 64 rows at ``bf16_efficiency`` of the peak, routed experts left out (this binds on H20);
    - attention reads the cache at ``attention_memory_efficiency``, or computes at ``attention_compute_efficiency`` of
      the peak if that takes longer: that of 8 bits where decodes read a cache of 8 bits, else of 16; a prompt's pairs
      are computed in 16 bits;
    - floors: ``layers layer_floor + layers with experts expert_floor``, and ``layers prefill_floor`` where there is a
      prompt, whose launches no graph hides;
    - two all-reduces a layer over ``n`` ranks within one NVLink domain, of ``V = 2 hidden tokens`` bytes:
      ``reduce_latency + min((n - 1) V/(.6 link), second_phase + 2 (n - 1)/n V/(.75 link))``: each rank reads all
      others' values (one-shot), or reduces a part of them (two-shot); ``reduce_latency`` is that of the links'
      generation if not given: 4.5 us on H100 and H200, 7.6 us on B200 and B300, 5.3 us elsewhere; over PCIe two ranks
      take ``reduce_latency + V/(.68 link)``, more of them 24 us and ``2 (n - 1)/n V/(.6 link)``; ranks on several
      nodes (of 8, or of the zoo) add ``network_latency`` to each, and each token's values cross at
      ``network_bandwidth``;
    - host: ``engine`` adds ``per_step + per_sequence decodes`` (vllm, vllm-0.11 or vllm-0.9 for versions up to
      them, sglang or tensorrt-llm), or what is given as ``per_step`` and ``per_sequence``; the two older ones also
      have a higher floor of 8-bit experts.

    *Valid for* engines of 2025 and 2026 on H100 to B300, no speculation; the network's two numbers are of H100. A step
    of a system and model left out of the fit was between .64 and 1.43 times this in 90 of 100 cases, of vLLM 0.11 and
    older between .57 and 1.74: ``band``. Workers that compute prompts alone give each expert more rows:
    ``for_prefill`` takes ``prefill_grouped_efficiency``.
    *Source*: fitted on 2,045 medians of vLLM, SGLang and TensorRT-LLM (silicon sample of aiconfigurator-core 0.12.0);
    memory, attention and 16-bit efficiencies from public kernel tables, not fitted. The network's numbers and
    ``prefill_grouped_efficiency`` were fitted on 417 medians with prefill and decode apart
    (``benchmarks/disaggregated.py``).

    >>> import secondorder as so
    >>> placement = Placement(model=so.models.llama_3_1_8b, accelerator=so.accelerators.h100_sxm, precision="bf16",
    ...     kv_precision="bf16")
    >>> step = MeasuredRoofline().seconds(placement)
    >>> f"{step(0, 0, 0, 8, 8 * 500, 8) * 1e3:.1f} ms"
    '6.3 ms'
    """

    engine: str = "vllm"
    memory_efficiency: Efficiency = 0.9
    bf16_efficiency: Efficiency = 0.8
    fp8_efficiency: Efficiency = 0.47
    fp4_efficiency: Efficiency = 0.7
    grouped_efficiency: Efficiency = 0.19
    prefill_grouped_efficiency: Efficiency = 0.28
    attention_memory_efficiency: Efficiency = 0.8
    attention_compute_efficiency: Efficiency = 0.5
    layer_floor: Duration = "26 µs"
    expert_floor: Duration = "52 µs"
    prefill_floor: Duration = "5.2 µs"
    reduce_latency: Duration | None = None
    second_phase: Duration = "5 µs"
    network_latency: Duration = "73 µs"
    network_bandwidth: Bandwidth = "62 GB/s"
    per_step: Duration | None = None
    per_sequence: Duration | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.engine not in ENGINES:
            raise UnknownName.among("engine", self.engine, ENGINES)

    @property
    def band(self) -> StepBand:
        """Measured over predicted steps of nine in ten rows that were left out of the fit."""
        return ENGINES[self.engine].band if self == _by_default(self.engine) else UNKNOWN

    @property
    def host(self) -> Engine:
        """What the engine adds, or what is given in its place."""
        known = ENGINES[self.engine]
        given = (self.per_step, self.per_sequence)
        step, sequence = (fact if own is None else si(own) for fact, own in zip(known[:2], given, strict=True))
        return known._replace(per_step=step, per_sequence=sequence)

    def seconds(self, placement: Placement) -> "StepFunction[MeasuredCoefficients]":
        return StepFunction(measured_seconds, self.coefficients(placement))

    def coefficients(self, placement: Placement) -> "MeasuredCoefficients":
        """The numbers of ``measured_seconds`` for one placement."""
        model, device, ranks = placement.model, placement.accelerator, placement.tensor_parallel_size
        host = self.host
        per_token, per_row = self._arithmetic(placement)
        per_pair, per_cached_token = self._attention(placement)
        bandwidth = si(device.memory_bandwidth) * self.memory_efficiency * ranks
        expert_floor = si(self.expert_floor) + (host.per_fp8_expert_layer if placement.precision == "fp8" else 0.0)
        floors = model.layers * si(self.layer_floor) + model.moe_layers * expert_floor
        one_shot, two_shot = self._links(placement)
        return MeasuredCoefficients(
            tile=self._tile(placement, bandwidth),
            per_token=per_token,
            weights=touched_weights(model, placement.precision, bandwidth),
            reductions=float(REDUCTIONS_PER_LAYER * model.layers) if ranks > 1 else 0.0,
            reduce_latency=self.latency_of(device, ranks),
            one_shot_per_token=one_shot,
            second_phase=si(self.second_phase),
            two_shot_per_token=two_shot,
            fixed=floors + host.per_step,
            per_prefill_pair=per_pair,
            per_row=per_row,
            per_cached_token=per_cached_token,
            per_decode=host.per_sequence,
            per_prefill_step=model.layers * si(self.prefill_floor),
        )

    def _arithmetic(self, placement: Placement) -> tuple[float, float]:
        """Seconds of a token through all matrices, and of a row through the output head."""
        model, device, ranks = placement.model, placement.accelerator, placement.tensor_parallel_size
        speed = device.peak_flops(placement.precision) * self.efficiency_of(placement.precision) * ranks
        routed = 2.0 * sum(used * size for _, used, size in model.counted.choices)
        per_token = (model.flops_per_token - routed + routed / self.grouped_efficiency) / speed
        return per_token, model.flops_per_row / (_peak_16(device) * self.bf16_efficiency * ranks)

    def _tile(self, placement: Placement, bandwidth: float) -> float:
        """Seconds of a tile of rows through layers and head; 0 where loading takes longer, or weights are narrower."""
        model, device, precision = placement.model, placement.accelerator, placement.precision
        always = float(model.touched_bytes(0, precision))
        plain = float(replace(model, stored=None).touched_bytes(0, precision))
        if "fp8" not in device.peak or bytes_per_value(precision) < 1 or always < WHOLE * plain:
            return 0.0  # older cards have smaller tiles, or none
        routed = 2.0 * sum(used * size for _, used, size in model.counted.choices)
        layers = (model.flops_per_token - routed) / device.peak_flops(precision)
        speed = self.bf16_efficiency * placement.tensor_parallel_size
        tile = float(TILE * (layers + model.flops_per_row / _peak_16(device)) / speed)
        return tile if tile > always / bandwidth else 0.0

    def _attention(self, placement: Placement) -> tuple[float, float]:
        """Seconds of a pair in prefill, and of a cached token that is read."""
        device, ranks = placement.accelerator, placement.tensor_parallel_size
        prefill, _ = placement.pair_flops
        speed = _peak_16(device) * self.attention_compute_efficiency * ranks
        return prefill / speed, self.cached_token_seconds(placement)

    def cached_token_seconds(self, placement: Placement, queries: int = 1) -> float:
        """Seconds of a cached token that is read once and compared with ``queries`` tokens of its sequence."""
        device, ranks = placement.accelerator, placement.tensor_parallel_size
        eight = placement.kv_precision == "fp8" and "fp8" in device.peak
        peak = device.peak_flops("fp8") if eight else _peak_16(device)
        bandwidth = si(device.memory_bandwidth) * self.attention_memory_efficiency * ranks
        _, decode = placement.pair_flops
        computed = queries * decode / (peak * self.attention_compute_efficiency * ranks)
        return max(placement.kv_bytes_per_token / bandwidth, computed)

    def for_prefill(self) -> "MeasuredRoofline":
        """The step time of a worker that computes prompts alone, whose experts have many rows each."""
        return replace(self, grouped_efficiency=self.prefill_grouped_efficiency)

    def latency_of(self, device: Accelerator, ranks: int = 1) -> float:
        """Seconds of a small all-reduce: as given, or by the generation of the links; across nodes more."""
        within = reduce_latency(device, ranks) if self.reduce_latency is None else si(self.reduce_latency)
        return within + (si(self.network_latency) if ranks > node_size(device) else 0.0)

    def network_seconds(self, device: Accelerator, ranks: int, size: float) -> float:
        """Seconds in which ``size`` bytes cross from node to node; 0 where all ranks are on one."""
        return size / si(self.network_bandwidth) if ranks > node_size(device) else 0.0

    def _links(self, placement: Placement) -> tuple[float, float]:
        """Seconds per token of a one-shot and of a two-shot all-reduce; across nodes there is no one-shot."""
        ranks, device = placement.tensor_parallel_size, placement.accelerator
        one, two = _links(placement)
        if ranks <= node_size(device):
            return one, two
        two += self.network_seconds(device, ranks, placement.model.hidden * ACTIVATION_BYTES)
        return two, two

    def efficiency_of(self, precision: str) -> float:
        """Share of the peak that large products reach, by the bytes of a value."""
        if precision in ("fp8", "int8", "fp6"):
            return self.fp8_efficiency
        return self.fp4_efficiency if precision in ("fp4", "int4") else self.bf16_efficiency


@cache
def _by_default(engine: str) -> MeasuredRoofline:
    return MeasuredRoofline(engine=engine)


def _peak_16(device: Accelerator) -> float:
    """FLOP/s at 16 bits, in which attention and the output head are computed."""
    return device.peak_flops("bf16" if "bf16" in device.peak else "fp16")


def _links(placement: Placement) -> tuple[float, float]:
    """Seconds per token of a one-shot and of a two-shot all-reduce, at the shares of the link that they reach."""
    ranks, device = placement.tensor_parallel_size, placement.accelerator
    if ranks == 1:
        return 0.0, 0.0
    link = link_of(device, "tensor_parallel_size", ranks)
    moved = placement.model.hidden * ACTIVATION_BYTES
    if over_pcie(device):
        one = pcie_bytes(ranks, moved) / link
        return one, one
    return all_reduce_bytes(ranks, moved, one_shot=True) / link, all_reduce_bytes(ranks, moved) / link


def link_of(device: Accelerator, field: str, ranks: int) -> float:
    """Bytes a second of the links between ranks. Errors: ``InputError`` where the card has none that is known."""
    if device.shared_link is None:
        raise InputError(
            field,
            given=f"{ranks} with {device.name}, whose link_bandwidth is not known",
            expected="1, or an accelerator with a link",
            remedy="give it one: dataclasses.replace(accelerator, link_bandwidth='64 GB/s'), in a plan "
            "accelerator = { like = ..., link_bandwidth = '64 GB/s' }, for a measured run "
            "--setting 'link_bandwidth=64 GB/s'",
        )
    return device.shared_link


PCIE = 64e9
"""Bytes a second, in one direction, up to which a link is one of PCIe: 5.0 with 16 lanes."""
PCIE_LATENCY = 24e-6
"""Seconds of a small all-reduce of NCCL over PCIe: 24.1 to 24.6 us for 256 B to 64 KiB on eight RTX PRO 6000.

*Source*: rtx6kpro, March 2026 (``benchmarks/pcie_all_reduces.csv``)."""


def over_pcie(device: Accelerator) -> bool:
    """Whether its ranks reduce over the host's bus."""
    return device.shared_link is not None and device.shared_link <= PCIE


def pcie_bytes(ranks: int, size: float) -> float:
    """Bytes that a rank's link carries over PCIe, divided by the share of its bandwidth that is reached.

    Two ranks read each other's values at .68 of the link (43 of 63 GB/s), as vLLM's own kernel does up to 8 MiB; more
    of them use NCCL, at .6 (38 of 63 GB/s), and so do two beyond 8 MiB. *Source*: vLLM issue 56128, September 2026;
    rtx6kpro, March 2026.
    """
    return size / 0.68 if ranks == 2 else 2 * (ranks - 1) / ranks * size / 0.6


LATENCIES = ((900e9, 7.6e-6), (450e9, 4.5e-6), (0.0, 5.3e-6))
"""Seconds of a small all-reduce by the least bandwidth of a link (byte/s): NVLink 5, NVLink 4, what is slower."""


def node_size(device: Accelerator) -> int:
    """Accelerators that one scale-up network joins: of the largest node of the zoo with this one, or 8.

    >>> import secondorder as so
    >>> node_size(so.accelerators.gb300), node_size(so.accelerators.b300)
    (72, 8)
    """
    return _node_sizes().get(device.name, 8)


@cache
def _node_sizes() -> dict[str, int]:
    """By the name of the accelerator."""
    sizes: dict[str, int] = {}
    for node in map(nodes.__getitem__, nodes):
        sizes[node.accelerator.name] = max(node.accelerators, sizes.get(node.accelerator.name, 0))
    return sizes


def reduce_latency(device: Accelerator, ranks: int = 2) -> float:
    """Seconds of a small all-reduce in a CUDA graph, whatever the ranks up to eight; over PCIe more of three and more.

    *Source*: fitted on all-reduces of vLLM 0.20.0 on A100, H100 and B200, one number each; numbers of ranks left out of
    the fit are met within 5 to 9 % in the median (``benchmarks/decode_steps.py``).

    >>> import secondorder as so
    >>> reduce_latency(so.accelerators.h100_sxm), reduce_latency(so.accelerators.b200)
    (4.5e-06, 7.6e-06)
    """
    if ranks > 2 and over_pcie(device):
        return PCIE_LATENCY
    bandwidth = 0.0 if device.link_bandwidth is None else si(device.link_bandwidth)
    return next(seconds for least, seconds in LATENCIES if bandwidth >= least)


def all_reduce_bytes(ranks: int, size: float, *, one_shot: bool = False) -> float:
    """Bytes that a rank's link carries, divided by the share of its bandwidth that the kernel reaches.

    One-shot ``(n - 1) S / .6``, two-shot ``2 (n - 1)/n S / .75``. *Source*: fitted on all-reduces of vLLM 0.20.0 in a
    CUDA graph on A100, H100 and B200 (campaign tables of ai-dynamo/aiconfigurator): median error 6 %.
    """
    return (ranks - 1) * size / 0.6 if one_shot else 2 * (ranks - 1) / ranks * size / 0.75


class MeasuredCoefficients(NamedTuple):
    """Seconds per unit of what a step processes, by ``MeasuredRoofline``."""

    per_token: float
    weights: TouchedWeights
    reductions: float
    reduce_latency: float
    one_shot_per_token: float
    second_phase: float
    two_shot_per_token: float
    fixed: float
    per_prefill_pair: float
    per_row: float
    per_cached_token: float
    per_decode: float
    per_prefill_step: float
    tile: float = 0.0


def seconds_by_tokens(c: MeasuredCoefficients, tokens: Real) -> Real:
    """The part of a step that depends on its number of tokens alone, which a kernel tabulates."""
    time: Real = weight_seconds(c.weights, tokens) + c.per_token * tokens
    if c.tile:
        time = _greater(time, c.tile)
    time = time + c.fixed
    if not c.reductions:
        return time
    one, two = c.one_shot_per_token * tokens, c.second_phase + c.two_shot_per_token * tokens
    time = time + c.reductions * (c.reduce_latency + _lesser(one, two))
    return time


def measured_seconds(c: MeasuredCoefficients, P: Real, A: Real, C: Real, D: Real, K: Real, S: Real) -> Real:
    """The sum of ``MeasuredRoofline``."""
    time = seconds_by_tokens(c, P + D)
    time = time + (c.per_prefill_pair * A + c.per_cached_token * (C + K))
    prefills = np.sign(P) if isinstance(P, np.ndarray) else float(P > 0)
    return time + (c.per_row * S + c.per_decode * D + c.per_prefill_step * prefills)


def _greater(one: Real, two: float) -> Real:
    if isinstance(one, float | int):
        return one if one > two else two
    return np.asarray(np.maximum(one, two), np.float64)


def _lesser(one: Real, two: Real) -> Real:
    if isinstance(one, float | int) and isinstance(two, float | int):
        return one if one < two else two
    return np.asarray(np.minimum(one, two), np.float64)
