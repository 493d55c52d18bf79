"""The roofline the other way round: what a part must have for an objective to be met."""

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge

from secondorder.errors import InputError
from secondorder.quantities import Checked, Count, Duration, Efficiency, Rate
from secondorder.workloads.network import Network
from secondorder.workloads.transformer import Transformer


@dataclass(frozen=True, kw_only=True)
class InverseRoofline(Checked):
    """A model and how fast a pass of it must be.

    - ``model``: what runs.
    - ``latency``: the most that a pass may take; or ``throughput``, inputs or sequences per second.
    - ``precision``: of weights, cache and arithmetic.
    - ``batch_size``: inputs, or sequences, of a pass.
    - ``input_tokens``, ``context_tokens``: new and cached tokens of each sequence of a language model.
    - ``compute_efficiency``, ``memory_efficiency``: shares of a datasheet's rates.

    Errors: ``InputError`` for what cannot be meant.
    """

    model: Transformer | Network
    precision: str
    latency: Duration | None = None
    throughput: Rate | None = None
    batch_size: Count = 1
    input_tokens: Count | None = None
    context_tokens: Annotated[int, Ge(0)] = 0
    compute_efficiency: Efficiency = 1.0
    memory_efficiency: Efficiency = 1.0
    name: str = "inverse_roofline"

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.latency is None) == (self.throughput is None):
            given = "none" if self.latency is None else "two objectives"
            raise InputError("latency", given=given, expected="a latency or a throughput, one of the two")
