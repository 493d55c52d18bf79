"""The roofline the other way round: what a part must have for an objective to be met."""

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge

from secondorder.errors import InputError
from secondorder.quantities import Checked, Count, Duration, Efficiency, Quantity, SampleRate, Unit
from secondorder.workloads.network import Network
from secondorder.workloads.transformer import Transformer


@dataclass(frozen=True, kw_only=True)
class InverseRoofline(Checked):
    """A model and how fast a pass of it must be.

    - ``model``: network that runs, from the zoo (llama_3_1_8b, resnet50).
    - ``precision``: number format of weights, cache and arithmetic, such as bf16.
    - ``latency``: longest time that a pass may take ("10 ms"); or give a throughput.
    - ``throughput``: least rate of inputs or sequences ("500 sample/s"); or give a latency.
    - ``batch_size``: inputs, or sequences, of a pass.
    - ``input_tokens``: new tokens of each sequence, required for a language model; 1 is a decode step.
    - ``context_tokens``: tokens of each sequence that are cached already.
    - ``compute_efficiency``: share of a datasheet's FLOP/s that is reached.
    - ``memory_efficiency``: share of a datasheet's memory bandwidth that is reached.
    - ``kernel_overhead``: time of each layer that nothing hides ("5 us").
    - ``name``: name of the scenario in results.

    Errors: ``InputError`` for contradictory values.
    """

    model: Transformer | Network
    precision: str
    latency: Annotated[Quantity | str, Unit("s", positive=True)] | None = None
    throughput: SampleRate | None = None
    batch_size: Count = 1
    input_tokens: Count | None = None
    context_tokens: Annotated[int, Ge(0)] = 0
    compute_efficiency: Efficiency = 1.0
    memory_efficiency: Efficiency = 1.0
    kernel_overhead: Duration = "10 µs"
    name: str = "inverse roofline"

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.latency is None) == (self.throughput is None):
            given = "none" if self.latency is None else "two objectives"
            raise InputError("latency", given=given, expected="a latency or a throughput, one of the two")
