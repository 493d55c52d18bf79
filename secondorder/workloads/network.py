"""A network that is not a language model, by the four numbers that a roofline needs.

>>> from secondorder.workloads.models import models
>>> resnet = models.resnet50
>>> resnet.weight_bytes("fp16") / 1e6, round(resnet.flops(32) / 1e9, 1)
(51.114064, 261.7)
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from secondorder.errors import InputError
from secondorder.fleets.accelerators import bytes_per_value
from secondorder.quantities import Checked, Computation, Count, si
from secondorder.zoo import Source


@dataclass(frozen=True, kw_only=True)
class Network(Checked):
    """One forward pass over one input of a fixed size (``note`` says which).

    ``flops_per_input`` counts a multiply-accumulate as two FLOPs; many sources print the
    multiply-accumulates themselves under the name of FLOPs. ``layers`` is how many weighted
    layers run one after the other, each at least one kernel. ``activations`` is how many
    values these layers write for one input; absent where no source gives it.
    """

    name: str
    parameters: Count
    flops_per_input: Computation
    layers: Count
    activations: Count | None = None
    note: str = ""
    sources: Mapping[str, Source] = field(default_factory=dict, repr=False, compare=False)

    def flops(self, batch_size: float) -> float:
        """FLOPs of a forward pass over ``batch_size`` inputs."""
        return si(self.flops_per_input) * batch_size

    def weight_bytes(self, precision: str) -> float:
        """Bytes that the weights take in memory, and that a pass reads once."""
        return self.parameters * bytes_per_value(precision)

    def activation_bytes(self, batch_size: float, precision: str) -> float:
        """Bytes that the layers write in a pass over ``batch_size`` inputs (and read again, if not fused).

        ``InputError`` where the number of activations is not known.
        """
        if self.activations is None:
            raise InputError(
                f"activations of {self.name}",
                given="no figure",
                expected="the values that its layers write for one input",
                remedy="give it with dataclasses.replace(model, activations=...)",
            )
        return self.activations * batch_size * bytes_per_value(precision)
