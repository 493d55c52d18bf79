"""One step of training: a job, laid out on a cluster, and what its parts take.

>>> from secondorder.fleets.clusters import clusters
>>> from secondorder.workloads.models import models
>>> from secondorder.workloads.training import Layout
>>> step = TrainingStep(
...     job=TrainingJob(
...         model=models.bloom_176b, global_batch=2048, sequence_length=2048, dropout=False,
...         layout=Layout(data_parallel=8, tensor_parallel=4, pipeline_parallel=12, micro_batch_size=2,
...             recomputation="full", sequence_parallel=False, stage_layers=(5, *[6] * 10, 5))),
...     cluster=clusters.bloom)
>>> print(step.memory)
stage 0 of 12: weights 7.96 GB, gradients 7.96 GB, optimiser 5.97 GB, activations 12 x 587 MB: 28.9 GB

The scenario holds what both witnesses need, in seconds and bytes: ``parts``. How these add up to a step is
theirs. What is counted:

- **Arithmetic**: matrices, ``2 x parameters x tokens`` a pass; attention over the causal half of the pairs; the head on
  the last stage. Backward is twice the forward; full recomputation repeats the forward of the layers in it,
  selective recomputation that of attention. Over ``peak x compute_efficiency`` of the tensor-parallel ranks.
  Not counted: norms, activations, the loss, the embedding's look-up, kernel launches: ``compute_efficiency``
  is measured with them in it.
- **Tensor parallel**: four ring all-reduces of ``s b h`` values of 2 bytes a layer and microbatch, two in each
  direction (as many bytes with sequence parallelism, as all-gather and reduce-scatter), two more with full
  recomputation, one for the embedding and one for the head; on the node's link, overlapped with nothing.
- **Experts**: an all-to-all to them and one back, in each direction, of ``top_k s b h`` values; even load;
  overlapped with nothing.
- **Pipeline**: a send of ``s b h`` values between chunks, each way; nobody is kept busy by it.
- **Data parallel**: gradients go round in ``buckets`` while the last microbatch's backward makes them; ZeRO 0 by an
  all-reduce; 1 and 2 by a reduce-scatter, and after the optimiser an all-gather of the weights that nothing
  overlaps. Where only a share is kept, it also goes round for every other microbatch: gradients with
  ZeRO 2 and 3, weights in both directions with ZeRO 3. That hides behind the pass of the same microbatch
  as far as it can. All of it has one link: what a pass needs goes first (with ZeRO 3 the weights of the last
  backward pass too), gradients that wait go when it has gone. Replicas meet at the end of the step only: the
  waiting for one another within a step that ZeRO 2 and 3 cause under jitter is not counted.
- **Optimiser**: reads 12 bytes of state and 2 of gradient a parameter, writes 12 and 2, at the memory's bandwidth.

Not counted: the all-reduce of a tied embedding between first and last stage, that of the gradient's norm, loading
of data, congestion on an oversubscribed fabric (lower ``network_efficiency``), and that data-parallel rings share
their link with sends and with the exchange of tensor-parallel ranks and experts.

Placement: tensor-parallel ranks side by side, then data-parallel ones, then stages (Megatron's order). A ring that
leaves the node has as many ways out as the node has of its ranks; it is no faster than the node's link.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import gcd
from typing import Annotated, NamedTuple

import numpy as np
from annotated_types import Ge

from secondorder.arrays import Floats
from secondorder.errors import DoesNotFit, InputError
from secondorder.fleets.clusters import Cluster, Link
from secondorder.laws import Service, Timed
from secondorder.quantities import DataSize, Efficiency, pretty, si
from secondorder.workloads.training import WEIGHT_BYTES, TrainingJob
from secondorder.workloads.training_memory import StageMemory, fullest, rank_parameters

OPTIMISER_TRAFFIC = 28.0
"""Bytes of memory traffic that Adam needs for a parameter: 12 of state and 2 of gradient read, 12 and 2 written."""


class Message(NamedTuple):
    """What goes round a ring of ``ranks``: ``size`` in byte, ``bandwidth`` in byte/s, ``latency`` in s a hop."""

    size: float
    ranks: int
    bandwidth: float
    latency: float

    def seconds(self, rounds: int = 1) -> float:
        """``rounds (n-1) (latency + size/(n bandwidth))``: one round gathers or scatters, two reduce to all."""
        return rounds * (self.ranks - 1) * (self.latency + self.size / self.ranks / self.bandwidth)


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What a step is made of, chunk by chunk (chunk ``k`` on stage ``k mod stages``), in seconds for one microbatch.

    A pass takes ``max(compute x jitter + exchange, floor)``: its arithmetic, what it exchanges meanwhile with nothing
    overlapped, and the least that its overlapped collectives need. ``last_floor`` is the floor of the last
    microbatch's backward pass, whose gradients go by ``gradients`` instead. Floors and gradients of a stage keep
    one link busy: gradients go when the floors of the passes begun so far have gone.
    """

    stages: int
    microbatches: int
    replicas: int
    schedule: str
    interleaving: int
    forward: Floats
    backward: Floats
    forward_exchange: Floats
    backward_exchange: Floats
    forward_floor: Floats
    backward_floor: Floats
    last_floor: Floats
    send: float
    gradients: tuple[tuple[Message, ...], ...]
    """Messages of each chunk, in all its buckets together."""
    gradient_rounds: int
    buckets: int
    """Buckets of each chunk."""
    weights: tuple[tuple[Message, ...], ...]
    """Messages of each stage, gathered after the optimiser; empty where they need not be."""
    optimiser: float

    def silent(self) -> "Parts":
        """The same step if communication took no time."""
        nothing = np.zeros_like(self.forward)
        return replace(
            self,
            forward_exchange=nothing,
            backward_exchange=nothing,
            forward_floor=nothing,
            backward_floor=nothing,
            last_floor=nothing,
            send=0.0,
            gradients=((),) * len(self.gradients),
            weights=((),) * len(self.weights),
        )


@dataclass(frozen=True, kw_only=True)
class TrainingStep(Timed):
    """One step of ``job`` on ``cluster``.

    - ``job``: training job: model, batch and layout.
    - ``cluster``: cluster that runs it, from the zoo (llama_3_16k), or one of them changed
      ({like = "llama_3_16k", nodes = 64}).
    - ``compute_efficiency``: share of the peak that the arithmetic reaches by itself, without bubbles and
      communication; measured, not derived.
    - ``network_efficiency``: share of the links' bandwidth that collectives reach.
    - ``jitter``: law of a factor of mean 1, drawn for each microbatch's pass on each stage ("lognormal scv=0.01").
    - ``slow_ranks``: factors on the arithmetic of replicas that are always slow, by their index ({"3": 1.2}).
    - ``buckets``: buckets in which a stage's gradients go out.
    - ``reserved_memory``: memory of each accelerator for what the formulas do not count ("2 GiB").
    - ``name``: name of the scenario in results.

    BLOOM implies a ``compute_efficiency`` of 0.58, Llama 3 of 0.56 (``tests/analytic/test_training_step.py``).

    Errors: ``DoesNotFit`` where the fullest stage exceeds an accelerator's memory, ``InputError`` for a layout that
    does not divide the cluster.
    """

    _shapes = ("jitter",)
    job: TrainingJob
    cluster: Cluster
    compute_efficiency: Efficiency = 0.5
    network_efficiency: Efficiency = 0.8
    jitter: Service | str | None = None
    slow_ranks: Mapping[int, float] = field(default_factory=dict)
    buckets: Annotated[int, Ge(1)] = 8
    reserved_memory: DataSize = "1.5 GiB"
    name: str = "training step"

    def __post_init__(self) -> None:
        super().__post_init__()
        ranks = {int(rank) if str(rank).isdigit() else rank: factor for rank, factor in self.slow_ranks.items()}
        object.__setattr__(self, "slow_ranks", ranks)  # plan files write numbers as text
        self._check_layout()
        self._check_slow_ranks()
        if self.jitter is not None and abs(self.law("jitter").moment(1) - 1) > 1e-9:
            given = f"a law of mean {self.law('jitter').moment(1):.6g} s"
            raise InputError("jitter", given=given, expected="a factor, so a law of mean 1 s")
        self._check_memory()
        self.cluster.accelerator.peak_flops(self.job.precision)  # a precision that the part lacks is refused here

    def _check_layout(self) -> None:
        layout, cluster = self.job.layout, self.cluster
        if layout.accelerators != cluster.accelerators:
            split = f"{layout.data_parallel} x {layout.tensor_parallel} x {layout.pipeline_parallel}"
            raise InputError(
                "job.layout",
                given=f"{layout.accelerators} accelerators (data x tensor x pipeline parallel, {split})",
                expected=f"the {cluster.accelerators} of {cluster.name}",
                remedy="change the layout, or the cluster's nodes",
            )
        if cluster.node.accelerators % layout.tensor_parallel:
            raise InputError(
                "job.layout.tensor_parallel",
                given=layout.tensor_parallel,
                expected=f"a divisor of the {cluster.node.accelerators} accelerators of a node",
                remedy="its all-reduces need the node's link",
            )

    def _check_slow_ranks(self) -> None:
        replicas = self.job.layout.data_parallel
        for rank, factor in self.slow_ranks.items():
            if isinstance(rank, bool) or not isinstance(rank, int) or not 0 <= rank < replicas:
                raise InputError("slow_ranks", given=repr(rank), expected=f"a replica's index, 0 to {replicas - 1}")
            if isinstance(factor, bool) or not isinstance(factor, int | float) or not 0 < factor < float("inf"):
                raise InputError(f"slow_ranks[{rank}]", given=repr(factor), expected="a finite factor above 0")

    def _check_memory(self) -> None:
        part = self.cluster.accelerator
        usable = si(part.memory_capacity) - si(self.reserved_memory)
        if usable <= 0:
            expected = f"less than the {pretty(si(part.memory_capacity), 'byte')} of {part.name}"
            raise InputError("reserved_memory", given=pretty(si(self.reserved_memory), "byte"), expected=expected)
        if self.memory.total > usable:
            raise DoesNotFit(
                f"{self.job.model.name}: {self.memory} does not fit in {pretty(usable, 'byte')} of {part.name} "
                f"({pretty(si(self.reserved_memory), 'byte')} reserved); {self._remedy()}"
            )

    def _remedy(self) -> str:
        layout, memory = self.job.layout, self.memory
        if memory.state >= memory.activations:
            stage = layout.zero_stage
            first = f"zero_stage {stage + 1}" if stage < 3 and layout.data_parallel > 1 else "a larger accelerator"
            return f"use {first}, or more tensor_parallel or pipeline_parallel"
        if layout.micro_batch_size > 1:
            return "use a smaller micro_batch_size or more recomputation"
        more = {"none": "selective or full recomputation", "selective": "full recomputation"}
        return f"use {more.get(layout.recomputation, 'more tensor_parallel with sequence_parallel')}"

    # What follows from the fields

    @cached_property
    def memory(self) -> StageMemory:
        """What the fullest accelerator holds."""
        return fullest(self.job)

    @property
    def peak(self) -> float:
        """Peak of all accelerators together, in FLOP/s."""
        return self.cluster.accelerators * self.cluster.accelerator.peak_flops(self.job.precision)

    def model_flops_utilisation(self, seconds: float) -> float:
        """``model_flops / (seconds x peak of all accelerators)`` of a step that takes so long."""
        return self.job.model_flops / (seconds * self.peak)

    @property
    def slowness(self) -> Floats:
        """The factor on each replica's arithmetic."""
        factors = np.ones(self.job.layout.data_parallel)
        for rank, factor in self.slow_ranks.items():
            factors[rank] = factor
        return factors

    @cached_property
    def parts(self) -> Parts:
        """What the step is made of; see the module for what is counted."""
        layout, job = self.job.layout, self.job
        chunks = range(layout.chunks)
        forward, backward = np.array([self._compute(chunk) for chunk in chunks]).T
        ahead, behind = np.array([self._exchange(chunk) for chunk in chunks]).T
        gather = np.array([sum(m.seconds() for m in self._messages(chunk)) for chunk in chunks])
        gathered, scattered = layout.zero_stage == 3, layout.zero_stage >= 2
        buckets = -(-self.buckets // layout.interleaving)
        update = [self._messages(stage, layout.pipeline_parallel) for stage in range(layout.pipeline_parallel)]
        return Parts(
            stages=layout.pipeline_parallel,
            microbatches=job.microbatches,
            replicas=layout.data_parallel,
            schedule=layout.schedule,
            interleaving=layout.interleaving,
            forward=forward,
            backward=backward,
            forward_exchange=ahead,
            backward_exchange=behind,
            forward_floor=gather * gathered,
            backward_floor=gather * (gathered + scattered),
            last_floor=gather * gathered,
            send=self._send(),
            gradients=tuple(self._messages(chunk) for chunk in chunks),
            gradient_rounds=2 if layout.zero_stage == 0 else 1,
            buckets=buckets,
            weights=tuple(update) if layout.zero_stage in (1, 2) else ((),) * len(update),
            optimiser=max(self._optimiser(stage) for stage in range(layout.pipeline_parallel)),
        )

    # Arithmetic

    def _compute(self, chunk: int) -> tuple[float, float]:
        """Forward and backward of one microbatch, in s."""
        job, layout = self.job, self.job.layout
        layers = job.chunk_flops(chunk) + self._copied_flops(chunk)
        head = job.head_flops if chunk == layout.chunks - 1 else 0.0
        again = {"none": 0.0, "selective": job.attention_flops(chunk), "full": layers}[layout.recomputation]
        speed = self.cluster.accelerator.peak_flops(job.precision) * self.compute_efficiency * layout.tensor_parallel
        return (layers + head) / speed, (2 * (layers + head) + again) / speed

    def _copied_flops(self, chunk: int) -> float:
        """FLOPs of the key-value heads that more than one rank computes, where there are more ranks than heads."""
        job, model = self.job, self.job.model
        copies = max(0, job.layout.tensor_parallel - model.kv_heads) if model.latent is None else 0
        return 4.0 * model.hidden * model.head_dim * copies * job.chunk_layers[chunk] * job.micro_tokens

    def _optimiser(self, stage: int) -> float:
        """One update of what an accelerator of a stage keeps, in s."""
        layout = self.job.layout
        dense, routed = rank_parameters(self.job, range(stage, layout.chunks, layout.pipeline_parallel))
        if layout.zero_stage >= 1:
            dense, routed = dense / layout.data_parallel, routed * layout.expert_parallel / layout.data_parallel
        return OPTIMISER_TRAFFIC * (dense + routed) / si(self.cluster.accelerator.memory_bandwidth)

    # Communication

    def _exchange(self, chunk: int) -> tuple[float, float]:
        """What tensor-parallel ranks and experts exchange in the two passes of one microbatch, in s."""
        job, layout = self.job, self.job.layout
        node = self._wire(self.cluster.node.link)
        reduction = Message(2.0 * job.micro_tokens * job.model.hidden, layout.tensor_parallel, *node).seconds(rounds=2)
        swap = 2 * job.chunk_moe_layers[chunk] * self._all_to_all()
        once = 2 * job.chunk_layers[chunk] * reduction + swap
        ahead = once + (reduction if chunk == 0 else 0.0)
        behind = once + (reduction if chunk == layout.chunks - 1 else 0.0)
        return ahead, behind + (once if layout.recomputation == "full" else 0.0)

    def _all_to_all(self) -> float:
        """Routed tokens to the ranks that keep their experts, in s: ``(n-1) (latency + S/(n B))``."""
        job, layout = self.job, self.job.layout
        if job.model.experts is None:
            return 0.0
        within = layout.tensor_parallel * layout.expert_parallel <= self.cluster.node.accelerators
        wire = self._wire(self.cluster.node.link if within else self.cluster.fabric.link)
        size = 2.0 * job.micro_tokens * job.model.hidden * job.model.experts.top_k
        size /= layout.tensor_parallel if layout.sequence_parallel else 1
        return Message(size, layout.expert_parallel, *wire).seconds()

    def _send(self) -> float:
        """Time to send a microbatch's activations, or their gradients, from stage to stage, in s."""
        job, layout = self.job, self.job.layout
        if layout.pipeline_parallel == 1:
            return 0.0
        within = layout.accelerators <= self.cluster.node.accelerators
        bandwidth, latency = self._wire(self.cluster.node.link if within else self.cluster.fabric.link)
        size = 2.0 * job.micro_tokens * job.model.hidden
        return latency + size / (layout.tensor_parallel if layout.sequence_parallel else 1) / bandwidth

    def _messages(self, chunk: int, every: int = 0) -> tuple[Message, ...]:
        """What goes round the data-parallel ranks for ``chunk``, or each ``every``-th after it: 2 bytes a parameter."""
        job, layout = self.job, self.job.layout
        chunks = range(chunk, layout.chunks, every) if every else (chunk,)
        dense, routed = (WEIGHT_BYTES * parameters for parameters in rank_parameters(job, chunks))
        rings = [(dense, layout.data_parallel, 1)]
        rings.append((routed, layout.data_parallel // layout.expert_parallel, layout.expert_parallel))
        return tuple(
            Message(size, ranks, *self._ring(ranks, stride)) for size, ranks, stride in rings if size and ranks > 1
        )

    def _ring(self, ranks: int, stride: int) -> tuple[float, float]:
        """Bandwidth and latency of a ring of data-parallel ranks, ``stride`` of them apart."""
        place = self.cluster.node.accelerators // self.job.layout.tensor_parallel // stride
        node, fabric = self._wire(self.cluster.node.link), self._wire(self.cluster.fabric.link)
        if ranks <= place:
            return node
        ways = gcd(ranks, place) if place else 1
        return min(node[0], ways * fabric[0]), fabric[1]

    def _wire(self, link: Link) -> tuple[float, float]:
        return si(link.bandwidth) * self.network_efficiency, si(link.latency)
