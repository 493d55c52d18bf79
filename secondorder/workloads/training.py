"""Training jobs: a model, a batch, and how both are laid out over accelerators."""

from dataclasses import dataclass, field
from typing import Literal

from secondorder.quantities import Checked, Count
from secondorder.workloads.transformer import Transformer

Schedule = Literal["gpipe", "1f1b", "interleaved"]
Recomputation = Literal["none", "selective", "full"]


@dataclass(frozen=True, kw_only=True)
class Layout(Checked):
    """How a job is spread: ``data_parallel x tensor_parallel x pipeline_parallel`` accelerators."""

    data_parallel: Count = 1
    tensor_parallel: Count = 1
    pipeline_parallel: Count = 1
    expert_parallel: Count = 1
    micro_batch_size: Count = 1
    schedule: Schedule = "1f1b"
    interleaving: Count = 1
    zero_stage: int = 1
    recomputation: Recomputation = "selective"
    sequence_parallel: bool = True

    @property
    def accelerators(self) -> int:
        """How many it takes."""
        return self.data_parallel * self.tensor_parallel * self.pipeline_parallel


@dataclass(frozen=True, kw_only=True)
class TrainingJob(Checked):
    """What a step of training has to do: ``global_batch`` sequences of ``sequence_length`` tokens through the model."""

    model: Transformer
    global_batch: Count
    sequence_length: Count
    layout: Layout = field(default_factory=Layout)
    precision: str = "bf16"

    @property
    def tokens(self) -> int:
        """Of one step."""
        return self.global_batch * self.sequence_length

    @property
    def checkpoint_bytes(self) -> float:
        """Weights and optimiser state that a checkpoint holds."""
        return 14.0 * self.model.parameters
