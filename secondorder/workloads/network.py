"""A network that is not a language model, by the few numbers that a roofline needs.

>>> from secondorder.workloads.models import models
>>> resnet = models.resnet50
>>> resnet.weight_bytes("fp16") / 1e6, round(resnet.flops(32) / 1e9, 1)
(51.114064, 261.7)
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated

from annotated_types import Ge

from secondorder.arrays import Real, at_most
from secondorder.errors import InputError
from secondorder.fleets.accelerators import bytes_per_value
from secondorder.quantities import Checked, Computation, Count, si
from secondorder.zoo import Source

CountOrZero = Annotated[int, Ge(0)]


@dataclass(frozen=True, kw_only=True)
class Network(Checked):
    """One forward pass over one input of a fixed size (``note`` says which).

    ``flops_per_input`` counts a multiply-accumulate as two FLOPs; many sources print the
    multiply-accumulates themselves under the name of FLOPs. ``layers`` is how many weighted
    layers run one after the other, each at least one kernel. ``activations`` is how many
    values these layers write for one input, and ``held_activations`` how many of them are
    alive at once; either is absent where no source gives it.

    Of the ``parameters``, ``looked_up_parameters`` stand in tables of which one input reads
    ``looked_up_per_input`` values: a recommendation model holds 100 GB and reads kilobytes.

    >>> small = Network(name="a table", parameters=10**9, flops_per_input="1 MFLOP", layers=3,
    ...                 looked_up_parameters=10**9 - 10**4, looked_up_per_input=1280)
    >>> small.weight_bytes("fp32"), small.touched_bytes(100, "fp32")
    (4000000000.0, 552000.0)
    """

    name: str
    parameters: Count
    flops_per_input: Computation
    layers: Count
    activations: Count | None = None
    held_activations: Count | None = None
    looked_up_parameters: CountOrZero = 0
    looked_up_per_input: CountOrZero = 0
    note: str = ""
    sources: Mapping[str, Source] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.looked_up_parameters > self.parameters:
            most = f"at most the {self.parameters} parameters"
            raise InputError("looked_up_parameters", given=self.looked_up_parameters, expected=most)
        if bool(self.looked_up_parameters) != bool(self.looked_up_per_input):
            given = f"{self.looked_up_per_input} of {self.looked_up_parameters} looked_up_parameters"
            raise InputError("looked_up_per_input", given=given, expected="both above 0, or neither")

    def flops(self, batch_size: Real) -> Real:
        """FLOPs of a forward pass over ``batch_size`` inputs."""
        return si(self.flops_per_input) * batch_size

    def weight_bytes(self, precision: str) -> float:
        """Bytes that the weights take in memory, tables included."""
        return self.parameters * bytes_per_value(precision)

    def touched_bytes(self, batch_size: Real, precision: str) -> Real:
        """Bytes of weights that a pass over ``batch_size`` inputs reads: the matrices once, and rows for each input.

        ``[parameters - T + min(batch_size L, T)] bytes``, ``T`` the values in tables and ``L`` those that one input
        looks up. *Upper bound* where inputs share rows: a row met twice in a batch counts twice.
        """
        table = self.looked_up_parameters
        looked_up = at_most(batch_size * self.looked_up_per_input, table)
        return (self.parameters - table + looked_up) * bytes_per_value(precision)

    def activation_bytes(self, batch_size: Real, precision: str) -> Real:
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
