"""The roofline of a forward pass: what binds it, arithmetic, memory or overhead.

>>> from secondorder.fleets.accelerators import accelerators
>>> from secondorder.workloads.models import models
>>> roofline(models.resnet50, accelerators.a100_80gb, batch_size=1, precision="fp16").bottleneck
'overhead'
>>> roofline(models.resnet50, accelerators.a100_80gb, batch_size=256, precision="fp16").bottleneck
'compute'

Batch sizes and lengths may be arrays; every figure of the answer is then an array too:

>>> sweep = roofline(models.resnet50, accelerators.t4, batch_size=np.array([1, 8, 2_000]))
>>> sweep.bottleneck.tolist(), sweep.throughput.round()
(['overhead', 'memory', 'does not fit'], array([1252., 4517.,   nan]))
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from secondorder.arrays import EqualByValue, Real
from secondorder.errors import DoesNotFit, InputError
from secondorder.fleets.accelerators import Accelerator, no_power
from secondorder.quantities import Quantity, pretty, quantity, si
from secondorder.workloads.forward_pass import ForwardPass, Whole, Work, forward_pass
from secondorder.workloads.network import Network
from secondorder.workloads.transformer import Transformer

BOUNDS = ("compute", "memory", "overhead")


@dataclass(frozen=True, kw_only=True, eq=False)
class RooflineAnswer(EqualByValue):
    """A forward pass: seconds, bytes and FLOPs as SI floats, or arrays of one shape over batch sizes and lengths.

    ``latency = max(compute, memory) + overhead``; ``bottleneck`` names the largest of the three. ``intensity``
    (FLOP/byte) is that of the pass, ``ridge_point`` that of the device at the given efficiencies; ``peak`` and
    ``bandwidth`` are the datasheet's, and ``mfu`` the share of that peak. ``footprint`` is what the pass holds.
    Where an array's point exceeds ``capacity``, ``feasible`` is False, its times are nan, and its bottleneck reads
    ``does not fit``; one point alone is refused.
    """

    model: str
    accelerator: str
    precision: str
    batch_size: Whole
    compute: Real
    memory: Real
    overhead: Real
    flops: Real
    bytes: Real
    ridge_point: float
    footprint: Real
    capacity: float
    peak: float
    bandwidth: float
    power: float | None
    idle_power: float

    @property
    def latency(self) -> Real:
        return self._busy + self.overhead

    @property
    def throughput(self) -> Real:
        """Inputs (sequences) per second."""
        return self.batch_size / self.latency

    @property
    def intensity(self) -> Real:
        return self.flops / self.bytes

    @property
    def bottleneck(self) -> "str | npt.NDArray[np.str_]":
        """``compute``, ``memory`` or ``overhead``; of an array, an array."""
        times = [self.compute, self.memory, self.overhead]
        if not isinstance(self.latency, np.ndarray):
            return BOUNDS[times.index(max(times))]
        largest = np.where(self.overhead > self._busy, 2, np.greater(self.memory, self.compute))
        return np.array([*BOUNDS, "does not fit"])[np.where(np.isnan(self.latency), 3, largest)]

    @property
    def feasible(self) -> "bool | npt.NDArray[np.bool_]":
        """Whether it fits: True, or an array."""
        return self.footprint <= self.capacity

    @property
    def mfu(self) -> Real:
        return self.flops / (self.latency * self.peak)

    @property
    def utilisation(self) -> Real:
        """Share of the time in which a kernel runs: ``1 - overhead/latency``."""
        return self._busy / self.latency

    @property
    def energy(self) -> Real:
        """Energy of the pass in J: ``power (s + (1 - s) utilisation) latency = power (busy + s overhead)``.

        *Valid when* power grows in a straight line from the share ``s = idle_power`` of the maximum when nothing
        runs to the maximum while a kernel does. *Upper bound* where kernels leave a part of the chip idle: measured
        inference draws 50 to 100 % of the board's limit. ``InputError`` where the part's power is not known.
        *Source*: Fan, Weber, Barroso, Power Provisioning for a Warehouse-sized Computer (2007), section 3.
        """
        if self.power is None:
            raise no_power(self.accelerator)
        return self.power * (self._busy + self.idle_power * self.overhead)

    @property
    def energy_per_input(self) -> Real:
        """In J: of the pass, over its inputs (sequences)."""
        return self.energy / self.batch_size

    @property
    def _busy(self) -> Real:
        compute, memory = self.compute, self.memory
        if isinstance(compute, np.ndarray) or isinstance(memory, np.ndarray):
            return np.maximum(compute, memory)
        return compute if compute > memory else memory


class RooflineOptions(Work, total=False):
    """Options of ``roofline`` other than the batch size."""

    precision: str
    compute_efficiency: float
    memory_efficiency: float
    kernel_overhead: Quantity | str
    idle_power: float


def roofline(
    model: Transformer | Network,
    accelerator: Accelerator,
    *,
    batch_size: Whole = 1,
    precision: str = "fp16",
    weight_precision: str | None = None,
    kv_precision: str | None = None,
    input_tokens: Whole | None = None,
    context_tokens: Whole = 0,
    passes: int = 1,
    compute_efficiency: float = 1.0,
    memory_efficiency: float = 1.0,
    kernel_overhead: Quantity | str = "10 µs",
    idle_power: float = 0.3,
) -> RooflineAnswer:
    """The time of a forward pass, and what binds it.

    ``latency = max(FLOPs/(peak e_c), bytes/(bandwidth e_m)) + layers kernel_overhead``, all times ``passes``.

    A ``Network`` passes ``batch_size`` inputs; bytes are the weights it touches (of a table only the rows looked up),
    and its activations written and read where their number is known. A ``Transformer`` computes ``input_tokens`` new
    tokens of each of ``batch_size`` sequences after ``context_tokens`` cached ones: a prefill, or with
    ``input_tokens=1`` a decode step. ``passes`` are the denoising steps of a diffusion model. Arithmetic runs at
    ``precision``, which the part must have; weights and cache may be stored in another.

    *Valid when* kernels overlap loads with arithmetic and run one after the other (a core that loads and computes in
    turns, as a microcontroller's, takes up to twice as long); the overhead of a layer is a convention (10 µs: one
    launch that nothing hides; see ``Inference`` for launches that overlap), so a pass that it binds should be
    measured. Efficiencies of 1 are the datasheet's best case: no pass is faster.
    *Source*: Williams, Waterman, Patterson 2009.
    ``batch_size``, ``input_tokens`` and ``context_tokens`` broadcast. Errors: ``DoesNotFit`` when weights, cache or
    activations exceed the memory at every point, ``UnknownName`` for a precision that the part lacks, ``InputError``.
    """
    _check(accelerator, compute_efficiency=compute_efficiency, memory_efficiency=memory_efficiency)
    work = forward_pass(
        model,
        batch_size=batch_size,
        precision=precision,
        weight_precision=weight_precision,
        kv_precision=kv_precision,
        input_tokens=input_tokens,
        context_tokens=context_tokens,
        passes=passes,
    )
    peak = accelerator.peak_flops(precision)
    return timed(
        work,
        model,
        accelerator,
        batch_size=batch_size,
        precision=precision,
        speed=peak * compute_efficiency,
        bandwidth=si(accelerator.memory_bandwidth) * memory_efficiency,
        kernel_overhead=kernel_overhead,
        idle_power=idle_power,
    )


def _check(accelerator: Accelerator, **efficiencies: float) -> None:
    for name, share in efficiencies.items():
        if not 0 < share <= 1:
            raise InputError(name, given=share, expected="a number above 0 and at most 1")
    if not isinstance(accelerator, Accelerator):
        raise InputError(
            "accelerator", given=repr(accelerator), expected="an Accelerator such as so.accelerators.h100_sxm"
        )


def timed(
    work: ForwardPass,
    model: Transformer | Network,
    accelerator: Accelerator,
    *,
    batch_size: Whole,
    precision: str,
    speed: float,
    bandwidth: float,
    kernel_overhead: Quantity | str,
    idle_power: float = 0.3,
    compute: Real | None = None,
) -> RooflineAnswer:
    """The answer for work that is counted already, at ``speed`` FLOP/s and ``bandwidth`` byte/s.

    ``compute`` (s) is given where it is not ``flops / speed``. Errors: ``DoesNotFit``, ``InputError``.
    """
    if not 0 <= idle_power <= 1:
        raise InputError("idle_power", given=idle_power, expected="a share of the power, 0 to 1")
    capacity = si(accelerator.memory_capacity)
    footprint = work.footprint
    if compute is None:
        compute = work.flops / speed
    memory, overhead = work.bytes / bandwidth, work.layers * _seconds(kernel_overhead)
    if np.ndim(footprint) or np.ndim(compute) or np.ndim(memory):
        fits = np.asarray(footprint) <= capacity
        if not fits.all():
            if not fits.any():
                raise _does_not_fit(work, model, accelerator, precision, batch_size)
            compute, memory = np.where(fits, compute, np.nan), np.where(fits, memory, np.nan)
    elif footprint > capacity:
        raise _does_not_fit(work, model, accelerator, precision, batch_size)
    return RooflineAnswer(
        model=model.name,
        accelerator=accelerator.name,
        precision=precision,
        batch_size=np.asarray(batch_size) if np.ndim(batch_size) else int(batch_size),
        compute=compute,
        memory=memory,
        overhead=overhead,
        flops=work.flops,
        bytes=work.bytes,
        ridge_point=speed / bandwidth,
        footprint=footprint,
        capacity=capacity,
        peak=accelerator.peak_flops(precision),
        bandwidth=si(accelerator.memory_bandwidth),
        power=None if accelerator.power is None else si(accelerator.power),
        idle_power=idle_power,
    )


def _does_not_fit(
    work: ForwardPass, model: Transformer | Network, accelerator: Accelerator, precision: str, batch_size: Whole
) -> DoesNotFit:
    capacity, least = si(accelerator.memory_capacity), float(np.min(work.footprint))
    remedy = "use a smaller batch or precision, or a larger accelerator"
    whole = isinstance(model, Network) and model.activations is not None and model.held_activations is None
    if whole and work.held_weights <= capacity:
        remedy += "; activations of all layers are counted, give the model's held_activations if they are freed"
    return DoesNotFit(
        f"{model.name} in {precision} with batch {np.min(batch_size):.0f} takes {pretty(least, 'byte')}, "
        f"{accelerator.name} has {pretty(capacity, 'byte')}; {remedy}"
    )


def _seconds(value: Quantity | str) -> float:
    return _read(value) if isinstance(value, str) else si(quantity(value, "s", "kernel_overhead"))


@lru_cache(maxsize=64)
def _read(text: str) -> float:
    return si(quantity(text, "s", "kernel_overhead"))
