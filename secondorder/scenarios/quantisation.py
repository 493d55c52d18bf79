"""A service with weights, cache and arithmetic at precisions of their own.

>>> from secondorder.fleets.accelerators import accelerators
>>> from secondorder.workloads.arrivals import Poisson
>>> from secondorder.workloads.lengths import Lengths
>>> from secondorder.workloads.models import models
>>> serving = Serving(
...     model=models.llama_3_1_8b, accelerator=accelerators.h100_sxm,
...     arrivals=Poisson("8 request/s"), lengths=Lengths(input=1024, output=256))
>>> small = Quantisation(serving=serving, weight_precision="int4", compute_precision="bf16")
>>> round(small.weight_bytes / 1e9, 2), round(serving.model.weight_bytes("bf16") / 1e9, 2)
(5.59, 16.06)
>>> Quantisation(serving=serving, weight_precision="int4", compute_precision="int4")
Traceback (most recent call last):
secondorder.errors.UnknownName: precision of NVIDIA H100 SXM: got 'int4', expected fp64, fp32, tf32, fp16, bf16, ...
"""

import math
from dataclasses import dataclass, fields, replace
from functools import cached_property

from secondorder.errors import DoesNotFit, InputError
from secondorder.fleets.accelerators import bytes_per_value
from secondorder.quantities import Checked, Count, pretty
from secondorder.scenarios.engine_memory import BUFFERS
from secondorder.scenarios.serving import Serving
from secondorder.scenarios.steptime import Placement, Roofline, RooflineCoefficients, touched_weights


def quantised_bytes(values: float, precision: str, kept: float, kept_precision: str) -> float:
    """Bytes of ``values`` weights at ``precision``, ``kept`` of which stay at ``kept_precision``."""
    return (values - kept) * bytes_per_value(precision) + kept * bytes_per_value(kept_precision)


@dataclass(frozen=True, kw_only=True)
class QuantisedRoofline(Roofline):
    """A roofline whose weights are read at one precision and multiplied at another, the engine's.

    ``bytes = (touched weights - head) w + head h + kv (C + K + P + D)``, with ``w`` the bytes of a weight and ``h``
    those of a value of the output head; FLOPs at the rate of the engine's precision. *Valid when* turning weights
    into the arithmetic's precision is hidden behind the loads (not so for small kernels, nor for large batches).
    """

    weight_precision: str
    embedding_precision: str

    def coefficients(self, placement: Placement) -> RooflineCoefficients:
        """Those of the roofline, except for the weights that are read."""
        found, model = super().coefficients(placement), placement.model
        bandwidth = found.weights.bandwidth
        more = bytes_per_value(self.embedding_precision) - bytes_per_value(self.weight_precision)
        return found._replace(
            weights=touched_weights(model, self.weight_precision, bandwidth, model.head_parameters * more)
        )


@dataclass(frozen=True, kw_only=True)
class Quantisation(Checked):
    """A service, and the same service with other precisions.

    - ``serving``: the service as it is; its step time must be a Roofline, for a measured one holds for one precision.
    - ``weight_precision``: number format that the weights of the layers are stored in, such as int4.
    - ``compute_precision``: number format of the arithmetic (bf16); the accelerator must have a rate for it.
    - ``kv_precision``: number format of the quantised service's KV cache; that of the original service if not given.
    - ``embedding_precision``: number format of embedding and output head, which are seldom quantised; the service's own
      if not given.
    - ``tensor_parallel_size``: accelerators of the quantised service; as many as the original service has if not given.
    - ``name``: name of the scenario in results.

    Scales of quantised groups are not counted: 3 % more bytes for int4 in groups of 128.

    Errors: ``UnknownName`` for a precision that the accelerator has no rate for, never that of another one;
    ``DoesNotFit``; ``InputError``.
    """

    serving: Serving
    weight_precision: str
    compute_precision: str
    kv_precision: str | None = None
    embedding_precision: str | None = None
    tensor_parallel_size: Count | None = None
    name: str = "quantisation"

    def __post_init__(self) -> None:
        super().__post_init__()
        if type(self.serving.step_time) is not Roofline:
            given = f"a {type(self.serving.step_time).__name__}"
            expected = "a Roofline: a measured step time holds for the precision that it was measured at"
            raise InputError("serving.step_time", given=given, expected=expected)
        self.serving.accelerator.peak_flops(self.compute_precision)
        self.quantised  # a model that does not fit is refused here  # noqa: B018

    @property
    def kept_precision(self) -> str:
        """Precision of embedding and output head."""
        return self.embedding_precision or self.serving.precision

    @property
    def ranks(self) -> int:
        """Accelerators of the quantised service."""
        return self.tensor_parallel_size or self.serving.tensor_parallel_size

    @property
    def weight_bytes(self) -> float:
        """Bytes of all weights."""
        model = self.serving.model
        kept = model.embedding_parameters + model.head_parameters
        return quantised_bytes(model.parameters, self.weight_precision, kept, self.kept_precision)

    @cached_property
    def quantised(self) -> Serving:
        """The service at the new precisions: with its step time, and the cache that the weights leave."""
        serving, given = self.serving, self.serving.step_time
        assert isinstance(given, Roofline)
        efficiencies = {field.name: getattr(given, field.name) for field in fields(Roofline)}
        step_time = QuantisedRoofline(
            **efficiencies, weight_precision=self.weight_precision, embedding_precision=self.kept_precision
        )
        kv_precision = self.kv_precision or serving.placement.kv_precision
        return replace(
            serving,
            precision=self.compute_precision,
            kv_precision=kv_precision,
            tensor_parallel_size=self.ranks,
            step_time=step_time,
            num_gpu_blocks=serving.num_gpu_blocks or self._blocks(kv_precision),
            name=self.name,
        )

    def _blocks(self, kv_precision: str) -> int:
        serving, ranks = self.serving, self.ranks
        usable = serving.usable_memory * ranks
        left = usable - self.weight_bytes - (BUFFERS + serving.reserved) * ranks
        placement = replace(serving.placement, kv_precision=kv_precision, tensor_parallel_size=ranks)
        block = placement.kv_bytes_per_token * serving.block_size
        if left < 2 * block:
            weights, reserved = pretty(self.weight_bytes, "byte"), pretty(serving.reserved * ranks, "byte")
            raise DoesNotFit(
                f"{serving.model.name} with weights in {self.weight_precision}: {weights} and {reserved} reserved do "
                f"not fit in {pretty(usable, 'byte')} of {ranks} x {serving.accelerator.name}; "
                "use more accelerators or a smaller precision"
            )
        return math.floor(left / block)
