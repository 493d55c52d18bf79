"""Which layouts of a training job fit a cluster, and which of them is the fastest."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import TypedDict, Unpack

from secondorder.analytic.training_step import mean_step
from secondorder.errors import DoesNotFit, InputError
from secondorder.fleets.clusters import Cluster
from secondorder.laws import Service
from secondorder.quantities import DataSize, Efficiency
from secondorder.scenarios.training_step import TrainingStep
from secondorder.workloads.training import Layout, Recomputation, TrainingJob

MICRO_BATCHES = (1, 2, 4, 8)
ZERO_STAGES = (0, 1, 2, 3)
RECOMPUTATIONS: tuple[Recomputation, ...] = ("none", "selective", "full")


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A layout that fits: its ``step``, and the ``seconds`` that one takes."""

    step: TrainingStep
    seconds: float

    @property
    def layout(self) -> Layout:
        return self.step.job.layout

    @property
    def mfu(self) -> float:
        """Share of the peak that the model's own FLOPs make use of."""
        return self.step.model_flops_utilisation(self.seconds)

    @property
    def memory(self) -> float:
        """Bytes that the fullest accelerator holds."""
        return self.step.memory.total


class StepOptions(TypedDict, total=False):
    """What a ``TrainingStep`` takes besides its job and its cluster."""

    compute_efficiency: Efficiency
    network_efficiency: Efficiency
    jitter: Service | str | None
    slow_ranks: Mapping[int, float]
    buckets: int
    reserved_memory: DataSize
    name: str


def layouts(job: TrainingJob, cluster: Cluster, **options: Unpack[StepOptions]) -> list[Candidate]:
    """Every layout of a job on a cluster that fits, the fastest first; ``options`` are those of ``TrainingStep``.

    Tensor parallel within a node, pipelines of equal stages by 1f1b, data parallel the rest; microbatches of 1 to 8,
    ZeRO 0 to 3 (2 and 3 without a pipeline: their gradients or weights would travel for every microbatch), every
    recomputation. Judged by ``mean_step``. The job's own layout does not count, except for ``sequence_parallel``;
    uneven stages, interleaving and expert parallelism are not tried.

    Errors: ``DoesNotFit`` where none fits; those of ``TrainingStep`` for its options.

    >>> from secondorder.fleets.clusters import clusters
    >>> from secondorder.workloads.models import models
    >>> job = TrainingJob(model=models.llama_3_1_8b, global_batch=576, sequence_length=8192)
    >>> best = layouts(job, clusters.gb200_nvl72_rack)[0]
    >>> best.layout.accelerators, best.memory < 192e9
    (72, True)
    """
    found = [each for layout in _layouts(job, cluster) if (each := _tried(job, cluster, layout, options)) is not None]
    if not found:
        raise DoesNotFit(
            f"{job.model.name}, {job.global_batch:,} sequences of {job.sequence_length:,} tokens: no layout fits "
            f"{cluster.name}; use more nodes, or a global batch with more divisors"
        )
    return sorted(found, key=lambda each: each.seconds)


def _layouts(job: TrainingJob, cluster: Cluster) -> Iterator[Layout]:
    total = cluster.accelerators
    for tensor in _divisors(cluster.node.accelerators):
        for stages in _divisors(total // tensor):
            zeros = ZERO_STAGES if stages == 1 else ZERO_STAGES[:2]
            for micro, zero, recomputation in product(MICRO_BATCHES, zeros, RECOMPUTATIONS):
                yield Layout(
                    data_parallel=total // tensor // stages,
                    tensor_parallel=tensor,
                    pipeline_parallel=stages,
                    micro_batch_size=micro,
                    zero_stage=zero,
                    recomputation=recomputation,
                    sequence_parallel=job.layout.sequence_parallel,
                )


def _divisors(number: int) -> list[int]:
    return [each for each in range(1, number + 1) if number % each == 0]


def _tried(job: TrainingJob, cluster: Cluster, layout: Layout, options: StepOptions) -> Candidate | None:
    """The layout's step, or None where it is not possible or does not fit."""
    try:
        laid = replace(job, layout=layout)
    except InputError:  # it does not divide the heads, the layers or the batch
        return None
    try:
        step = TrainingStep(job=laid, cluster=cluster, **options)
    except DoesNotFit:
        return None
    return Candidate(step=step, seconds=mean_step(step))
