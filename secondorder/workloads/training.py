"""Training jobs: a model, a batch, and how both are laid out over accelerators.

Chunks: an interleaved pipeline gives each of its ``p`` stages ``v`` chunks of the model; chunk ``k`` of the
``p v`` lies on stage ``k mod p``. Without interleaving a stage is one chunk.

>>> from secondorder.workloads.models import models
>>> job = TrainingJob(
...     model=models.gpt_3_175b, global_batch=1536, sequence_length=2048,
...     layout=Layout(data_parallel=32, tensor_parallel=4, pipeline_parallel=2))
>>> job.layout.accelerators, job.microbatches, job.tokens
(256, 48, 3145728)
>>> round(job.checkpoint_bytes / 1e12, 2)
2.44
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Literal, get_args

from annotated_types import Ge, Le

from secondorder.errors import InputError, UnknownName
from secondorder.quantities import Checked, Count
from secondorder.workloads.transformer import Transformer

Schedule = Literal["gpipe", "1f1b", "interleaved"]
Recomputation = Literal["none", "selective", "full"]
MIXED_PRECISIONS = ("bf16", "fp16", "fp8")

WEIGHT_BYTES, GRADIENT_BYTES, OPTIMISER_BYTES = 2.0, 2.0, 12.0
"""Of one parameter in mixed precision with Adam: the weight, its gradient, and fp32 weight, momentum and variance."""


@dataclass(frozen=True, kw_only=True)
class Layout(Checked):
    """How a job is spread: ``data_parallel x tensor_parallel x pipeline_parallel`` accelerators.

    - ``data_parallel``: replicas of the model.
    - ``tensor_parallel``: accelerators that share each layer.
    - ``pipeline_parallel``: stages that the layers are split into.
    - ``expert_parallel``: data-parallel ranks that the experts are distributed over; divides them.
    - ``micro_batch_size``: sequences that pass through the pipeline together.
    - ``schedule``: order of forward and backward passes in the pipeline.
    - ``interleaving``: chunks of the model on a stage, for interleaved only.
    - ``zero_stage``: what is sharded over data-parallel ranks: nothing (0), the optimiser's state (1), also gradients
      (2),
      also weights (3).
    - ``recomputation``: activations recomputed in the backward pass: none, attention's part that is quadratic in
      the sequence (selective), or all but the layers' inputs (full).
    - ``sequence_parallel``: whether tensor-parallel ranks also split the activations between the split matrices.
    - ``stage_layers``: layers of each chunk, in the model's order, if the chunks differ (7,14x8,7).

    Fused attention kernels recompute as selective does. 0 in ``stage_layers`` leaves a chunk with only the embedding or
    the head.

    >>> Layout(data_parallel=8, pipeline_parallel=4, schedule="interleaved")
    Traceback (most recent call last):
    secondorder.errors.InputError: interleaving: got 1 with the schedule interleaved, expected at least 2 chunks a stage

    Errors: ``InputError`` for what no job could have.
    """

    data_parallel: Count = 1
    tensor_parallel: Count = 1
    pipeline_parallel: Count = 1
    expert_parallel: Count = 1
    micro_batch_size: Count = 1
    schedule: Schedule = "1f1b"
    interleaving: Count = 1
    zero_stage: Annotated[int, Ge(0), Le(3)] = 1
    recomputation: Recomputation = "selective"
    sequence_parallel: bool = True
    stage_layers: Sequence[int] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, words in (("schedule", get_args(Schedule)), ("recomputation", get_args(Recomputation))):
            if getattr(self, name) not in words:
                raise UnknownName.among(name, str(getattr(self, name)), words)
        if self.data_parallel % self.expert_parallel:
            expected = f"a divisor of data_parallel {self.data_parallel}"
            raise InputError("expert_parallel", given=self.expert_parallel, expected=expected)
        self._check_schedule()
        if self.stage_layers is not None:
            object.__setattr__(self, "stage_layers", self._read_stage_layers(self.stage_layers))

    def _check_schedule(self) -> None:
        given = f"{self.interleaving} with the schedule {self.schedule}"
        if self.schedule != "interleaved":
            if self.interleaving > 1:
                raise InputError("interleaving", given=given, expected="1", remedy="or choose the schedule interleaved")
            return
        if self.interleaving < 2:
            raise InputError("interleaving", given=given, expected="at least 2 chunks a stage")
        if self.pipeline_parallel < 2:
            expected = "at least 2 stages with the schedule interleaved"
            raise InputError("pipeline_parallel", given=self.pipeline_parallel, expected=expected)

    def _read_stage_layers(self, given: Sequence[int]) -> tuple[int, ...]:
        whole = [isinstance(layers, int) and not isinstance(layers, bool) and layers >= 0 for layers in given]
        if len(given) != self.chunks or not all(whole):
            expected = f"whole numbers of at least 0, one for each of the {self.chunks} chunks"
            raise InputError("stage_layers", given=repr(given), expected=expected)
        return tuple(given)

    @property
    def accelerators(self) -> int:
        """How many it takes."""
        return self.data_parallel * self.tensor_parallel * self.pipeline_parallel

    @property
    def chunks(self) -> int:
        """Of the model, on all stages together: ``pipeline_parallel x interleaving``."""
        return self.pipeline_parallel * self.interleaving


@dataclass(frozen=True, kw_only=True)
class TrainingJob(Checked):
    """What a step of training has to do: ``global_batch`` sequences of ``sequence_length`` tokens through the model.

    - ``model``: language model that is trained, from the zoo (llama_3_1_8b) or from a Hugging Face config.json.
    - ``global_batch``: sequences of a step, all replicas together.
    - ``sequence_length``: tokens of a sequence.
    - ``layout``: how the job is spread over accelerators.
    - ``precision``: number format of the matrix arithmetic: bf16, fp16 or fp8.
    - ``dropout``: whether dropout masks are kept, 1 byte an activation, as in GPT-3.

    Training is of mixed precision: weights and gradients take 2 bytes a parameter whatever the ``precision``. Most
    models after GPT-3 train without ``dropout``.

    Errors: ``InputError`` where the layout does not divide the model or the batch, in one line that says which.
    """

    model: Transformer
    global_batch: Count
    sequence_length: Count
    layout: Layout = field(default_factory=Layout)
    precision: str = "bf16"
    dropout: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self.model.check_uniform("model")
        if self.precision not in MIXED_PRECISIONS:
            raise UnknownName.among("precision", self.precision, MIXED_PRECISIONS)
        if self.sequence_length > self.model.max_context:
            expected = f"at most the {self.model.max_context} tokens of {self.model.name}"
            raise InputError("sequence_length", given=self.sequence_length, expected=expected)
        self._check_split()
        self._check_batch()

    def _check_split(self) -> None:
        model, layout = self.model, self.layout
        if layout.stage_layers is not None and sum(layout.stage_layers) != model.layers:
            expected = f"the {model.layers} layers of {model.name} in all"
            raise InputError("layout.stage_layers", given=f"{sum(layout.stage_layers)} in all", expected=expected)
        if layout.stage_layers is None and model.layers % layout.chunks:
            raise InputError(
                "layout.pipeline_parallel",
                given=f"{layout.chunks} chunks (pipeline_parallel x interleaving)",
                expected=f"a divisor of the {model.layers} layers of {model.name}",
                remedy="or give stage_layers, the layers of each chunk",
            )
        model.check_tensor_parallel("layout.tensor_parallel", layout.tensor_parallel)
        count = model.experts.count if model.experts else 1
        if count % layout.expert_parallel:
            expected = f"a divisor of the {count} experts of {model.name}" if model.experts else "1: no experts"
            raise InputError("layout.expert_parallel", given=layout.expert_parallel, expected=expected)

    def _check_batch(self) -> None:
        layout = self.layout
        share = layout.data_parallel * layout.micro_batch_size
        if self.global_batch % share:
            expected = f"a multiple of data_parallel x micro_batch_size = {share}"
            raise InputError("global_batch", given=self.global_batch, expected=expected)
        if layout.schedule == "interleaved" and self.microbatches % layout.pipeline_parallel:
            given = f"{self.microbatches} microbatches a replica"
            expected = f"a multiple of the {layout.pipeline_parallel} stages with the schedule interleaved"
            raise InputError("global_batch", given=given, expected=expected)

    # The batch

    @property
    def tokens(self) -> int:
        """Of one step."""
        return self.global_batch * self.sequence_length

    @property
    def microbatches(self) -> int:
        """That each replica puts through its pipeline in a step."""
        return self.global_batch // (self.layout.data_parallel * self.layout.micro_batch_size)

    @property
    def micro_tokens(self) -> int:
        """Tokens of one microbatch."""
        return self.layout.micro_batch_size * self.sequence_length

    @property
    def checkpoint_bytes(self) -> float:
        """Weights and optimiser state that a checkpoint holds: 2 + 12 bytes a parameter, no gradients."""
        return (WEIGHT_BYTES + OPTIMISER_BYTES) * self.model.parameters

    # The model, chunk by chunk

    @cached_property
    def chunk_layers(self) -> tuple[int, ...]:
        """Layers of each chunk, in the model's order."""
        chunks = self.layout.chunks
        return tuple(self.layout.stage_layers or [self.model.layers // chunks] * chunks)

    @cached_property
    def chunk_moe_layers(self) -> tuple[int, ...]:
        """Those of them with experts: all but the model's first ``dense_layers``."""
        found, first = [], 0
        dense = self.model.layers - self.model.moe_layers
        for layers in self.chunk_layers:
            found.append(max(0, first + layers - max(first, dense)))
            first += layers
        return tuple(found)

    def dense_parameters(self, chunk: int) -> float:
        """Of a chunk, without the routed experts: the first also has the embedding, the last the head.

        A tied head is kept twice, on the first and the last chunk, where these are two.
        """
        model, layers, moe = self.model, self.chunk_layers[chunk], self.chunk_moe_layers[chunk]
        norms = (model.norm_parameters - model.hidden) / model.layers
        total = layers * (model.attention_parameters + norms) + (layers - moe) * model.dense_feed_forward_parameters
        if model.experts is not None:
            total += moe * (model.hidden * model.experts.count + model.experts.shared * model.expert_parameters)
        last = chunk == self.layout.chunks - 1
        if chunk == 0:
            total += model.embedding_parameters
            total += model.head_parameters if model.tied_embeddings and not last else 0
        return total + (model.head_parameters + model.hidden if last else 0)

    def routed_parameters(self, chunk: int) -> float:
        """Of the routed experts of a chunk, all of them."""
        if self.model.experts is None:
            return 0.0
        return float(self.chunk_moe_layers[chunk] * self.model.experts.count * self.model.expert_parameters)

    def chunk_flops(self, chunk: int) -> float:
        """Forward FLOPs of one microbatch in the layers of a chunk, all tensor-parallel ranks together."""
        model, layers = self.model, self.chunk_layers[chunk]
        norms = layers * (model.norm_parameters - model.hidden) / model.layers
        embedding = model.embedding_parameters if chunk == 0 else 0
        copies = model.tied_embeddings and chunk == 0 and self.layout.chunks > 1
        outside = embedding + (model.head_parameters if copies else 0)
        if chunk == self.layout.chunks - 1:
            outside += model.head_parameters + model.hidden
        matrices = self.dense_parameters(chunk) - outside - norms
        if model.experts is not None:
            matrices += self.chunk_moe_layers[chunk] * model.experts.top_k * model.expert_parameters
        return 2.0 * matrices * self.micro_tokens + self.attention_flops(chunk)

    def attention_flops(self, chunk: int) -> float:
        """Those of them that are quadratic in the sequence: ``s (s + 1) / 2`` causal pairs a sequence."""
        pairs = self.layout.micro_batch_size * self.sequence_length * (self.sequence_length + 1) / 2
        return self.model.prefill_flops_per_pair / self.model.layers * self.chunk_layers[chunk] * pairs

    @property
    def head_flops(self) -> float:
        """Forward FLOPs of one microbatch in the output head, which sees every token."""
        return self.model.flops_per_row * self.micro_tokens

    @property
    def model_flops(self) -> float:
        """Of one step, forward and backward (twice the forward), without what is recomputed: the MFU's numerator.

        ``3 [tokens (matrices + head) + sequences s(s+1)/2 pairs]``: the causal half of attention is counted.
        Megatron's formula counts the whole of it, which at GPT-3's shape adds 1.4 %; "6 x parameters x
        tokens" counts the embedding table and no attention.
        """
        each = self.model.flops_per_token + self.model.flops_per_row
        pairs = self.global_batch * self.sequence_length * (self.sequence_length + 1) / 2
        return 3.0 * (self.tokens * each + pairs * self.model.prefill_flops_per_pair)
