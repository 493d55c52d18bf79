"""What each accelerator holds while it trains: weights, gradients, optimiser state, activations.

Counted: 2 + 2 + 12 bytes a parameter (mixed precision, Adam), shared out by the ZeRO stage; activations of the
microbatches in flight, by the formulas of Korthikanti and others. Not counted: the working memory of kernels,
what recomputation brings back for one layer at a time, communication buffers, fragmentation, the runtime.

With ``a`` heads of ``d``, ``k`` key-value heads, feed-forward width ``f``, ``s`` tokens, ``b`` sequences, ``h``
hidden, a layer keeps in 2 bytes (masks of dropout in 1)::

    replicated   4h (norms) + 2h + 2h (inputs of attention and feed-forward) + 2h (masks)
    split by t   2(a d + 2 k d) + 2 a d (query, key, value, context) + 4f, or 6f where gated; k at least t
    quadratic    5 a s (scores, their mask, their dropout), not kept with selective recomputation

times ``s b``; sequence parallelism splits the first line too. For GPT (``f = 4h``, ``k = a``, ``a d = h``) that is
``s b h (10 + 24/t + 5 a s/(h t))`` and ``s b h/t (34 + 5 a s/h)``, equations 1 to 6 of the source; full
recomputation keeps ``2 s b h``.

*Source*: Korthikanti and others, Reducing activation recomputation in large transformer models (2022), sections
4 and 5; Rajbhandari and others, ZeRO (2020), section 5, for the 16 bytes and their shares.

>>> from secondorder.workloads.models import models
>>> from secondorder.workloads.training import Layout, TrainingJob
>>> job = TrainingJob(model=models.gpt_3_175b, global_batch=1536, sequence_length=2048, dropout=True,
...     layout=Layout(data_parallel=32, tensor_parallel=4, pipeline_parallel=2, zero_stage=2))
>>> print(fullest(job))
stage 0 of 2: weights 43.8 GB, gradients 1.37 GB, optimiser 8.21 GB, activations 2 x 10.3 GB: 73.9 GB
"""

from collections.abc import Sequence
from dataclasses import dataclass

from secondorder.quantities import pretty
from secondorder.workloads.training import GRADIENT_BYTES, OPTIMISER_BYTES, WEIGHT_BYTES, TrainingJob
from secondorder.workloads.transformer import Transformer


@dataclass(frozen=True, kw_only=True)
class StageMemory:
    """Of one accelerator of a stage, in byte; ``in_flight`` counts microbatches, and may end in a part of one.

    ``head``: the loss's input, logits in fp32, of one microbatch, on the last stage.
    """

    stage: int
    stages: int
    weights: float
    gradients: float
    optimiser: float
    microbatch: float
    in_flight: float
    head: float = 0.0

    @property
    def state(self) -> float:
        """Weights, gradients and optimiser."""
        return self.weights + self.gradients + self.optimiser

    @property
    def activations(self) -> float:
        """Of all microbatches in flight."""
        return self.microbatch * self.in_flight + self.head

    @property
    def total(self) -> float:
        """Everything that is counted."""
        return self.state + self.activations

    def __str__(self) -> str:
        parts = [("weights", self.weights), ("gradients", self.gradients), ("optimiser", self.optimiser)]
        text = ", ".join(f"{name} {pretty(size, 'byte')}" for name, size in parts)
        text += f", activations {self.in_flight:.3g} x {pretty(self.microbatch, 'byte')}"
        text += f", head {pretty(self.head, 'byte')}" if self.head else ""
        return f"stage {self.stage} of {self.stages}: {text}: {pretty(self.total, 'byte')}"


def stage_memory(job: TrainingJob) -> tuple[StageMemory, ...]:
    """What one accelerator of each stage holds."""
    return tuple(_stage(job, stage) for stage in range(job.layout.pipeline_parallel))


def fullest(job: TrainingJob) -> StageMemory:
    """The stage that holds most: the one that must fit."""
    return max(stage_memory(job), key=lambda memory: memory.total)


def rank_parameters(job: TrainingJob, chunks: Sequence[int]) -> tuple[float, float]:
    """Parameters of these chunks whose weights one accelerator works with: dense ones, and those of routed experts.

    Everything is split by the tensor-parallel ranks, except for key and value matrices where there are more ranks
    than key-value heads: each rank keeps one head's.
    """
    layout, model = job.layout, job.model
    dense = sum(job.dense_parameters(chunk) for chunk in chunks)
    if model.latent is None:
        copies = max(0, layout.tensor_parallel - model.kv_heads)
        dense += sum(job.chunk_layers[chunk] for chunk in chunks) * 2 * model.hidden * model.head_dim * copies
    routed = sum(job.routed_parameters(chunk) for chunk in chunks)
    return dense / layout.tensor_parallel, routed / layout.tensor_parallel / layout.expert_parallel


def in_flight(job: TrainingJob, stage: int) -> float:
    """Microbatches whose activations a stage holds at most.

    gpipe all ``m``; 1f1b ``min(m, p - i)``; interleaved ``min(m v, 2(p-i-1) + (v-1)p + 1)`` chunks of ``1/v``,
    on the first stage the ``p (1 + (p-1)/(p v))`` of Korthikanti and others.
    """
    layout, m = job.layout, job.microbatches
    p, v = layout.pipeline_parallel, layout.interleaving
    match layout.schedule:
        case "gpipe":
            return float(m)
        case "1f1b":
            return float(min(m, p - stage))
    return min(m * v, 2 * (p - stage - 1) + (v - 1) * p + 1) / v


def layer_activations(job: TrainingJob, experts: bool) -> float:
    """Of one layer and one microbatch on one accelerator, in byte, by the formulas of the module."""
    layout, model = job.layout, job.model
    t = layout.tensor_parallel
    apart = t if layout.sequence_parallel else 1
    if layout.recomputation == "full":
        return 2.0 * job.micro_tokens * model.hidden / apart
    replicated, split = _attention(model, t)
    inputs, inner = _feed_forward(model, experts)
    replicated += 4.0 * model.hidden + inputs + (2.0 * model.hidden if job.dropout else 0.0)
    quadratic = 0.0
    if layout.recomputation == "none":
        quadratic = (5.0 if job.dropout else 2.0) * model.heads * job.sequence_length
    return job.micro_tokens * (replicated / apart + (split + inner + quadratic) / t)


def _attention(model: Transformer, ranks: int) -> tuple[float, float]:
    """Bytes a token of an attention block: whole on each rank, and split."""
    if model.latent is None:
        return 2.0 * model.hidden, 2.0 * model.head_dim * (2 * model.heads + 2 * max(model.kv_heads, ranks))
    latent = model.latent
    compressed = latent.query_rank + latent.kv_rank + latent.rope_dim
    per_head = 2 * (latent.nope_dim + latent.rope_dim) + 2 * latent.value_dim
    return 2.0 * (model.hidden + compressed), 2.0 * model.heads * per_head


def _feed_forward(model: Transformer, experts: bool) -> tuple[float, float]:
    """Bytes a token of a feed-forward block: its input, and what lies within.

    Routed tokens are copied to each of their experts, beside the one input of router and shared experts; load is taken
    as even.
    """
    matrices = 6.0 if model.gated else 4.0
    if not experts or model.experts is None:
        return 2.0 * model.hidden, matrices * model.intermediate
    seen = model.experts.top_k + model.experts.shared
    return 2.0 * model.hidden * (1 + model.experts.top_k), matrices * model.experts.intermediate * seen


def _stage(job: TrainingJob, stage: int) -> StageMemory:
    layout, model = job.layout, job.model
    chunks = range(stage, layout.chunks, layout.pipeline_parallel)
    dense, routed = rank_parameters(job, chunks)
    dense_ranks, routed_ranks = layout.data_parallel, layout.data_parallel // layout.expert_parallel

    def held(per_parameter: float, from_stage: int) -> float:
        apart = layout.zero_stage >= from_stage
        return per_parameter * (dense / (dense_ranks if apart else 1) + routed / (routed_ranks if apart else 1))

    moe = sum(job.chunk_moe_layers[chunk] for chunk in chunks)
    plain = sum(job.chunk_layers[chunk] for chunk in chunks) - moe
    microbatch = moe * layer_activations(job, True) + plain * layer_activations(job, False)
    token = model.hidden / (layout.tensor_parallel if layout.sequence_parallel else 1)
    if stage == 0 and job.dropout:
        microbatch += job.micro_tokens * token  # the mask of the embedding's dropout
    head = 0.0
    if stage == layout.pipeline_parallel - 1:
        head = 4.0 * job.micro_tokens * (token + model.vocab / layout.tensor_parallel)
    return StageMemory(
        stage=stage,
        stages=layout.pipeline_parallel,
        weights=held(WEIGHT_BYTES, 3),
        gradients=held(GRADIENT_BYTES, 2),
        optimiser=held(OPTIMISER_BYTES, 1),
        microbatch=microbatch,
        in_flight=in_flight(job, stage),
        head=head,
    )
