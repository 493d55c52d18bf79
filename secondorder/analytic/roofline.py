"""The roofline of one forward pass: what binds, arithmetic, memory or overhead.

>>> from secondorder.fleets.accelerators import accelerators
>>> from secondorder.workloads.models import models
>>> roofline(models.resnet50, accelerators.a100_80gb, batch_size=1, precision="fp16").bottleneck
'overhead'
>>> roofline(models.resnet50, accelerators.a100_80gb, batch_size=256, precision="fp16").bottleneck
'compute'
"""

from dataclasses import dataclass

from secondorder.errors import DoesNotFit, InputError
from secondorder.fleets.accelerators import Accelerator
from secondorder.quantities import Quantity, pretty, quantity, si
from secondorder.workloads.network import Network
from secondorder.workloads.transformer import Transformer


@dataclass(frozen=True, kw_only=True)
class RooflineAnswer:
    """One forward pass. Seconds, bytes and FLOPs as SI floats.

    ``latency = max(compute, memory) + overhead``; ``bottleneck`` names the largest of the
    three. ``intensity`` (FLOP/byte) is that of the pass, ``ridge_point`` that of the device
    at the given efficiencies. ``mfu`` is the share of the datasheet's peak. ``energy`` (J)
    is at full power, an upper bound.
    """

    model: str
    accelerator: str
    precision: str
    batch_size: int
    compute: float
    memory: float
    overhead: float
    flops: float
    bytes: float
    ridge_point: float
    footprint: float
    peak: float
    power: float

    @property
    def latency(self) -> float:
        return max(self.compute, self.memory) + self.overhead

    @property
    def throughput(self) -> float:
        """Inputs (sequences) per second."""
        return self.batch_size / self.latency

    @property
    def intensity(self) -> float:
        return self.flops / self.bytes

    @property
    def bottleneck(self) -> str:
        times = {"compute": self.compute, "memory": self.memory, "overhead": self.overhead}
        return max(times, key=lambda name: times[name])

    @property
    def mfu(self) -> float:
        return self.flops / (self.latency * self.peak)

    @property
    def energy(self) -> float:
        return self.power * self.latency


def roofline(
    model: Transformer | Network,
    accelerator: Accelerator,
    *,
    batch_size: int = 1,
    precision: str = "fp16",
    input_tokens: int | None = None,
    context_tokens: int = 0,
    compute_efficiency: float = 1.0,
    memory_efficiency: float = 1.0,
    kernel_overhead: Quantity | str = "10 µs",
) -> RooflineAnswer:
    """The time of one forward pass, and what binds it.

    ``latency = max(FLOPs/(peak e_c), bytes/(bandwidth e_m)) + layers kernel_overhead``.

    A ``Network`` passes ``batch_size`` inputs; bytes are its weights once, and its
    activations written and read where their number is known. A ``Transformer`` computes
    ``input_tokens`` new tokens of each of ``batch_size`` sequences after ``context_tokens``
    cached ones: a prefill, or with ``input_tokens=1`` a decode step.

    *Valid when* kernels overlap loads with arithmetic and run one after the other; the
    overhead of a layer is a convention (10 µs: one launch that nothing hides), so a pass that
    it binds should be measured. *Source*: Williams, Waterman, Patterson 2009.
    ``DoesNotFit`` when weights, cache or activations exceed the memory.
    """
    if batch_size < 1 or batch_size != int(batch_size):
        raise InputError("batch_size", given=batch_size, expected="an integer of at least 1")
    for name, share in (("compute_efficiency", compute_efficiency), ("memory_efficiency", memory_efficiency)):
        if not 0 < share <= 1:
            raise InputError(name, given=share, expected="a number above 0 and at most 1")
    if not isinstance(accelerator, Accelerator):
        raise InputError(
            "accelerator", given=repr(accelerator), expected="an Accelerator such as so.accelerators.h100_sxm"
        )
    peak = accelerator.peak_flops(precision)
    if isinstance(model, Network):
        if input_tokens is not None or context_tokens:
            raise InputError("input_tokens", given=input_tokens, expected=f"none, as {model.name} reads no tokens")
        flops, moved, footprint = _network_work(model, batch_size, precision)
    elif not isinstance(model, Transformer):
        raise InputError("model", given=repr(model), expected="a model such as so.models.resnet50")
    else:
        flops, moved, footprint = _transformer_work(model, batch_size, precision, input_tokens, context_tokens)
    if footprint > si(accelerator.memory_capacity):
        raise DoesNotFit(
            f"{model.name} in {precision} with batch {batch_size} takes {pretty(footprint, 'byte')}, "
            f"{accelerator.name} has {pretty(si(accelerator.memory_capacity), 'byte')}; "
            "use a smaller batch or precision, or a larger accelerator"
        )
    speed, bandwidth = peak * compute_efficiency, si(accelerator.memory_bandwidth) * memory_efficiency
    return RooflineAnswer(
        model=model.name,
        accelerator=accelerator.name,
        precision=precision,
        batch_size=int(batch_size),
        compute=flops / speed,
        memory=moved / bandwidth,
        overhead=model.layers * si(quantity(kernel_overhead, "s", "kernel_overhead")),
        flops=flops,
        bytes=moved,
        ridge_point=speed / bandwidth,
        footprint=footprint,
        peak=peak,
        power=si(accelerator.power),
    )


def _network_work(model: Network, batch: int, precision: str) -> tuple[float, float, float]:
    """FLOPs, bytes moved and bytes held; activations are written once and read once."""
    weights = model.weight_bytes(precision)
    activations = model.activation_bytes(batch, precision) if model.activations is not None else 0.0
    return model.flops(batch), weights + 2 * activations, weights + activations


def _transformer_work(
    model: Transformer, batch: int, precision: str, new: int | None, context: int
) -> tuple[float, float, float]:
    if new is None:
        raise InputError(
            "input_tokens",
            given="none",
            expected=f"the new tokens of each sequence of {model.name}",
            remedy="1 is a decode step",
        )
    if new < 1 or context < 0 or new + context > model.max_context:
        raise InputError(
            "input_tokens",
            given=f"{new} after {context} cached",
            expected=f"at least 1 and together at most {model.max_context}",
        )
    pairs = new * context + new * (new + 1) / 2
    per_pair = model.flops_per_pair if new == 1 else model.prefill_flops_per_pair
    flops = batch * (model.flops_per_token * new + per_pair * pairs + model.flops_per_row)
    cache = model.kv_bytes_per_token(precision) * batch
    moved = model.touched_bytes(batch * new, precision) + cache * (context + 2 * new)
    return flops, moved, model.weight_bytes(precision) + cache * (context + new)
