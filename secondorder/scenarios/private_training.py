"""Training with differential privacy: what clipping every sample's gradient costs."""

from dataclasses import dataclass
from typing import Literal, get_args

from secondorder.errors import InputError, UnknownName
from secondorder.quantities import Checked, Count, si
from secondorder.workloads.network import Network
from secondorder.workloads.transformer import Transformer

Clipping = Literal["per_sample", "ghost"]


@dataclass(frozen=True, kw_only=True)
class PrivateTraining(Checked):
    """A step of DP-SGD: each sample's gradient is clipped, the gradients are summed, and noise is added.

    - ``model``: network that is trained, from the zoo (llama_3_1_8b, resnet50).
    - ``batch_size``: samples whose gradients are held at once.
    - ``sequence_length``: tokens of a sample of a language model; none for other networks.
    - ``clipping``: how gradients are clipped: each written out and its norm taken (per_sample), or norms without
      gradients and a second backward pass with the samples weighted (ghost).
    - ``gradient_bytes``: bytes of one value of a gradient.
    - ``name``: name of the scenario in results.

    *Source*: Abadi et al., Deep learning with differential privacy (2016), algorithm 1; Li et al., Large language
    models can be strong differentially private learners (2022), section 4, for ghost clipping.
    """

    model: Transformer | Network
    batch_size: Count
    sequence_length: Count | None = None
    clipping: Clipping = "per_sample"
    gradient_bytes: Count = 4
    name: str = "private training"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.clipping not in get_args(Clipping):
            raise UnknownName.among("clipping", self.clipping, get_args(Clipping))
        if isinstance(self.model, Transformer) != (self.sequence_length is not None):
            expected = "the tokens of a sample of a language model, and none of another"
            raise InputError("sequence_length", given=self.sequence_length, expected=expected)

    @property
    def forward_flops(self) -> float:
        """FLOPs of the forward pass of one sample, its output head included."""
        if isinstance(self.model, Network):
            return si(self.model.flops_per_input)
        assert self.sequence_length is not None
        tokens = self.sequence_length
        pairs = tokens * (tokens + 1) / 2
        per_token = self.model.flops_per_token + self.model.flops_per_row
        return per_token * tokens + self.model.prefill_flops_per_pair * pairs
