"""An LLM service: one engine with continuous batching, what it runs, and what is asked of it.

>>> import secondorder as so
>>> scenario = so.Serving(
...     model=so.models.llama_3_1_8b, accelerator=so.accelerators.h100_sxm,
...     arrivals=so.Poisson("8 request/s"), lengths=so.Lengths(input=1024, output=256))
>>> scenario.settings.max_num_batched_tokens, scenario.settings.max_num_seqs
(8192, 1024)
>>> scenario.kv_blocks, scenario.kv_tokens
(28210, 451344)
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge, Lt

from secondorder.errors import DoesNotFit, InputError, UnknownName
from secondorder.fleets.accelerators import Accelerator, bytes_per_value
from secondorder.fleets.clusters import Link
from secondorder.quantities import Checked, Count, DataSize, Efficiency, Quantity, Unit, pretty, registry, si
from secondorder.scenarios.cache_tiers import CacheTiers
from secondorder.scenarios.engine_defaults import EngineSettings, engine_defaults
from secondorder.scenarios.engine_memory import EngineMemory, engine_memory, rank_weights
from secondorder.scenarios.engines import NEWEST, EngineVersion, engine_version
from secondorder.scenarios.expert_ranks import Load, RankCoefficients, even_seconds, rank_coefficients, step_of_loads
from secondorder.scenarios.measured_roofline import MeasuredRoofline
from secondorder.scenarios.pipeline_stages import PipelineStages
from secondorder.scenarios.steptime import Placement, Roofline, StepFunction, StepSeconds, StepTime
from secondorder.workloads.arrivals import Arrivals, Poisson
from secondorder.workloads.lengths import Empirical, Lengths
from secondorder.workloads.prefixes import SharedPrefixes
from secondorder.workloads.priorities import PriorityShares
from secondorder.workloads.requests import Requests
from secondorder.workloads.traces import Trace
from secondorder.workloads.transformer import Transformer

Share = Annotated[float, Ge(0), Lt(1)]
RARE = 1e-6
"""Probability of a length that the engine could never serve, up to which closed forms leave it out of account."""


@dataclass(frozen=True, kw_only=True)
class Serving(Checked):
    """An LLM served by one replica of an engine with vLLM V1's scheduler.

    The settings have vLLM's names and meaning. What is not given, the engine chooses (``settings``).

    - ``model``: language model, from the zoo (llama_3_1_8b) or from a Hugging Face config.json.
    - ``accelerator``: accelerator that the engine runs on, from the zoo (h100_sxm).
    - ``arrivals``: law of the arrivals ("poisson 8 request/s"), or a trace, which has its own lengths (trace.csv).
    - ``lengths``: prompt and output tokens: from the zoo (azure_conv_2023) or laws ("input=1024 output=geometric
      256"), required unless the arrivals are a trace.
    - ``prefixes``: prefixes that prompts share ("100 tokens=1024 share=0.8 exponent=0.9"); none if not given, and none
      with a trace, which has its own.
    - ``priorities``: share of the requests of each priority, the lower the more urgent ("0=0.2 1=0.8"); 0 for all if
      not given, or those of a trace.
    - ``precision``: number format of weights and arithmetic, such as bf16 or fp8.
    - ``kv_precision``: number format of the KV cache; if not given, the model's own 16 bits, whatever the precision of
      the weights.
    - ``tensor_parallel_size``: accelerators that share each layer.
    - ``pipeline_parallel_size``: stages of ``tensor_parallel_size`` accelerators, each with an equal share of the
      layers; as many batches are under way at once.
    - ``pipeline_link``: link from one stage to the next ("50 GB/s latency=10 us"); the accelerators' own, without
      latency, if not given.
    - ``data_parallel_size``: ranks of ``tensor_parallel_size`` accelerators, each with its own cache, slots and
      requests; they share experts and step together.
    - ``enable_expert_parallel``: whether each accelerator has whole experts; else each expert is split over all.
    - ``max_num_seqs``: sequences that run at once, at most; by the accelerator's memory if not given (256, or 1024 from
      70 GiB on).
    - ``max_num_batched_tokens``: tokens that a step may process, prompts and decodes together; by the accelerator's
      memory if not given (2048; 8192 from 70 GiB on, 16384 from 160 GiB on).
    - ``max_model_len``: longest prompt plus output in tokens; the model's own limit if not given.
    - ``gpu_memory_utilization``: share of the memory that the engine may use; 0.92 if not given, 0.9 before vllm 0.24.
    - ``reserved_memory``: memory of each accelerator kept for activations, CUDA graphs and the runtime ("2 GiB");
      estimated from budget and model if not given.
    - ``block_size``: tokens in a block of the KV cache.
    - ``num_gpu_blocks``: blocks of the KV cache; as many as fit if not given.
    - ``long_prefill_token_threshold``: tokens that a step may take of one prompt; no limit if not given.
    - ``long_prefill_token_threshold_adaptive``: whether each prompt may take an even share of the step's tokens, where
      that is more than the threshold.
    - ``watermark``: share of the blocks that an admission leaves free while others run.
    - ``scheduler_reserve_full_isl``: whether a prompt is admitted only if all of it fits in the free blocks; else only
      what the step computes must.
    - ``scheduling_policy``: "fcfs" or "priority": the lowest number goes first, the highest is preempted first.
    - ``prefill_schedule_interval``: steps from one with prefill to the next, unless requests are left waiting.
    - ``enable_chunked_prefill``: whether a prompt may be spread over several steps.
    - ``enable_prefix_caching``: whether blocks of finished requests are kept; the least recently used go first. On if
      not given, unless the engine's version does not keep those of the model.
    - ``cache_tiers``: tiers below the cache, which take the blocks that it evicts and bring them back over their link
      ("host 200 GB 25 GB/s, disk 2 TB 5 GB/s"); none if not given.
    - ``async_scheduling``: whether a step is scheduled while the one before it runs; on if not given.
    - ``engine``: engine and version whose rules hold: "vllm 0.19", "vllm 0.24" or "vllm 0.33".
    - ``step_time``: how long a step takes: "roofline compute_efficiency=0.6 memory_efficiency=0.8", or measured,
      "affine 5e-3 per_prefill_token=1e-5 per_decode=1e-4" (in s).
    - ``goodput``: latency limits of a good request, {"ttft": "200 ms", "tpot": "50 ms"}; e2el is known too.
    - ``name``: name of the scenario in results.

    The cache: of the share ``gpu_memory_utilization`` of the visible memory, weights and ``reserved_memory`` are taken
    off, and the rest holds the cache, in blocks of ``block_size`` tokens; ``num_gpu_blocks`` states their number
    instead. The cache of a model with windows or states is taken as proportional to the length, right at the mean
    context. In Python ``arrivals`` may be any law of ``workloads.arrivals`` or a whole ``Trace``, which brings lengths
    and prefixes; ``step_time`` a ``Roofline``, ``Affine`` or ``Table``.
    """

    model: Transformer
    accelerator: Accelerator
    arrivals: Arrivals | Trace
    lengths: Lengths | Empirical | None = None
    prefixes: SharedPrefixes | None = None
    priorities: PriorityShares | None = None
    precision: str = "bf16"
    kv_precision: str | None = None
    tensor_parallel_size: Count = 1
    pipeline_parallel_size: Count = 1
    pipeline_link: Link | None = None
    data_parallel_size: Count = 1
    enable_expert_parallel: bool = False
    max_num_seqs: Count | None = None
    max_num_batched_tokens: Count | None = None
    max_model_len: Count | None = None
    gpu_memory_utilization: Efficiency | None = None
    reserved_memory: DataSize | None = None
    block_size: Count = 16
    num_gpu_blocks: Count | None = None
    long_prefill_token_threshold: Count | None = None
    long_prefill_token_threshold_adaptive: bool = False
    watermark: Share = 0.0
    scheduler_reserve_full_isl: bool = True
    scheduling_policy: Literal["fcfs", "priority"] = "fcfs"
    prefill_schedule_interval: Count = 1
    enable_chunked_prefill: bool = True
    enable_prefix_caching: bool | None = None
    cache_tiers: CacheTiers | None = None
    async_scheduling: bool | None = None
    engine: str = NEWEST
    step_time: StepTime = field(default_factory=Roofline)
    goodput: Mapping[str, Quantity | str] = field(default_factory=dict)
    name: str = "serving"

    def __post_init__(self) -> None:
        if isinstance(self.priorities, Mapping):
            object.__setattr__(self, "priorities", PriorityShares(shares=self.priorities))
        if isinstance(self.cache_tiers, tuple | list):
            object.__setattr__(self, "cache_tiers", CacheTiers(tiers=tuple(self.cache_tiers)))
        super().__post_init__()
        if isinstance(self.arrivals, Trace) and self.lengths is not None:
            raise InputError(
                "lengths",
                given="lengths with a whole trace, which has its own",
                expected="one of the two",
                remedy="pass arrivals=trace.arrivals to keep only its times",
            )
        if isinstance(self.arrivals, Trace) and self.prefixes is not None:
            raise InputError("prefixes", given="prefixes with a whole trace", expected="one of the two")
        if (
            self.priorities is not None
            and isinstance(self.arrivals, Trace)
            and self.arrivals.requests.priorities is not None
        ):
            raise InputError("priorities", given="shares with a trace that has its own", expected="one of the two")
        if not isinstance(self.arrivals, Trace) and self.lengths is None:
            expected = 'lengths of prompts and outputs, such as "azure_conv_2023" or "input=512 output=256"'
            raise InputError("lengths", given="none", expected=expected)
        if self.context_limit > self.model.max_context:
            raise InputError(
                "max_model_len",
                given=self.max_model_len,
                expected=f"at most the {self.model.max_context} tokens of {self.model.name}",
            )
        if not hasattr(self.step_time, "seconds"):
            raise InputError("step_time", given=repr(self.step_time), expected="Roofline(), Affine(...) or Table(...)")
        self._check_ranks()
        self._check_stages()
        self.engine_version.check(self)
        self.model.check_tensor_parallel("tensor_parallel_size", self.tensor_parallel_size)
        unknown = [name for name in self.goodput if name not in ("ttft", "tpot", "e2el")]
        if unknown:
            raise UnknownName.among("goodput", unknown[0], ["ttft", "tpot", "e2el"])
        object.__setattr__(
            self, "goodput", {k: Unit("s", positive=True).read(v, f"goodput.{k}") for k, v in self.goodput.items()}
        )
        if not self.enable_chunked_prefill and self.settings.max_num_batched_tokens < self.context_limit:
            raise InputError(
                "max_num_batched_tokens",
                given=self.settings.max_num_batched_tokens,
                expected=f"at least max_model_len {self.context_limit} without chunked prefill",
                remedy="raise it, lower max_model_len, or enable chunked prefill",
            )
        self.step_seconds  # an engine that cannot run (precision, link) is refused here  # noqa: B018
        self.kv_blocks  # and so is a model that does not fit  # noqa: B018
        self._check_tiers()
        if isinstance(self.arrivals, Trace):
            self.check(self.arrivals.requests)

    def _check_ranks(self) -> None:
        """Refuse ranks of a model without experts, and step times that do not know where experts lie."""
        for name in ("data_parallel_size", "enable_expert_parallel"):
            given = getattr(self, name)
            if not given or (given == 1 and given is not True):
                continue
            if not self.model.counted.choices:
                remedy = "its ranks would share nothing: take replicas of a deployment" if given is not True else ""
                raise InputError(
                    name, given=f"{given} with {self.model.name}", expected="a model with experts", remedy=remedy
                )
            if not isinstance(self.step_time, MeasuredRoofline):
                raise InputError(
                    name,
                    given=f"{given} with a step time by {type(self.step_time).__name__}",
                    expected="one that knows where experts lie",
                    remedy='take step_time="measured-roofline"',
                )

    def _check_stages(self) -> None:
        """Refuse stages beside what they are not known with, and more stages than layers."""
        stages = self.pipeline_parallel_size
        if stages == 1:
            return
        for name, value in (
            ("data_parallel_size", self.data_parallel_size > 1),
            ("enable_expert_parallel", self.enable_expert_parallel),
            ("cache_tiers", self.cache_tiers is not None),
            ("async_scheduling", self.settings.async_scheduling),
        ):
            if value:
                given = f"{getattr(self, name)} with {stages} pipeline stages"
                raise InputError(name, given=given, expected="one of the two", remedy=f"leave out {name}")
        if stages > self.model.layers:
            raise InputError(
                "pipeline_parallel_size", given=stages, expected=f"at most the {self.model.layers} layers of the model"
            )
        if self.pipeline_link is None and self.accelerator.link_bandwidth is None:
            given = f"none with {self.accelerator.name}, whose link_bandwidth is not known"
            raise InputError("pipeline_link", given=given, expected='a link such as "50 GB/s latency=10 us"')

    def check_one_stage(self, what: str) -> None:
        """Refuse pipeline-parallel stages in ``what``, which knows of one batch under way."""
        if self.pipeline_parallel_size > 1:
            raise InputError(
                "pipeline_parallel_size",
                given=f"{self.pipeline_parallel_size} in {what}",
                expected="1: only a service and a deployment can have stages",
                remedy="solve, simulate or compare the service itself",
            )

    def _check_tiers(self) -> None:
        """Refuse tiers that would never be asked, and tiers too small for a block."""
        if self.cache_tiers is None:
            return
        if not self.settings.enable_prefix_caching:
            raise InputError(
                "cache_tiers",
                given="tiers below a cache that keeps no prefixes",
                expected="prefix caching",
                remedy="set enable_prefix_caching=True, or leave out the tiers",
            )
        self.check_one_scheduler("a service with cache_tiers")
        for tier, blocks in zip(self.cache_tiers.tiers, self.tier_blocks, strict=True):
            if not blocks:
                expected = f"room for a block of {pretty(self.block_bytes, 'byte')}"
                raise InputError(f"cache_tiers.{tier.name}", given=pretty(si(tier.capacity), "byte"), expected=expected)

    def check_one_cache(self, what: str) -> None:
        """Refuse tiers of the cache in ``what``, which knows of the engine's own cache alone."""
        if self.cache_tiers is not None:
            raise InputError(
                "cache_tiers",
                given=f"{self.cache_tiers} in {what}",
                expected="none: only a service, its prefix caching and a deployment can have lower tiers",
                remedy="leave out cache_tiers",
            )

    def check_one_scheduler(self, what: str) -> None:
        """Refuse data-parallel ranks in ``what``, which knows of one scheduler."""
        if self.data_parallel_size > 1:
            raise InputError(
                "data_parallel_size",
                given=f"{self.data_parallel_size} in {what}",
                expected="1: only a service can have ranks in lockstep",
                remedy="solve, simulate or compare the service itself",
            )

    def check_law(self, kv_tokens: int | None = None) -> None:
        """Refuse lengths if more than one in a million exceed the context, or the cache.

        The cache has ``kv_tokens``; those of the engine if not given.
        """
        room = self.kv_tokens if kv_tokens is None else kv_tokens
        beyond = self.offered.expect(lambda i, o: np.asarray(i + o > self.context_limit + 0.5, float))
        if beyond > RARE:
            raise InputError(
                "lengths",
                given=f"requests longer than max_model_len with probability {beyond:.2g}",
                expected=f"at most max_model_len {self.context_limit}",
                remedy='raise max_model_len, or cut the law: "lognormal 1500 cv=1 maximum=30000"',
            )
        too_big = self.offered.expect(lambda i, o: np.asarray(i + o - 1 > room + 0.5, float))
        if too_big > RARE:
            raise DoesNotFit(
                f"{self.name}: prompt plus output hold more tokens than the cache of {room} with probability "
                f"{too_big:.2g}; use more accelerators, a smaller kv_precision or shorter lengths"
            )

    @cached_property
    def placement(self) -> Placement:
        return Placement(
            model=self.model,
            accelerator=self.accelerator,
            precision=self.precision,
            kv_precision=self.kv_precision or ("bf16" if bytes_per_value(self.precision) < 2 else self.precision),
            tensor_parallel_size=self.tensor_parallel_size,
            context=None if self.model.whole_cache else self._mean_context,
            data_parallel_size=self.data_parallel_size,
            enable_expert_parallel=self.enable_expert_parallel,
        )

    @property
    def _mean_context(self) -> float:
        """Tokens that a decoding sequence holds on average: ``E[(I + O/2) O] / E[O]``."""
        return self.offered.expect(lambda i, o: (i + o / 2) * o) / self.offered.mean_output

    @cached_property
    def step_seconds(self) -> StepSeconds:
        """The step time as a function of the batch, see ``steptime``; of ranks that all have the same to do."""
        if self.placement.spreads_experts:
            return StepFunction(even_seconds, self._ranks)
        if self.pipeline_parallel_size > 1:
            return self.stages.seconds(self.placement)
        return self.step_time.seconds(self.placement)

    @cached_property
    def stages(self) -> PipelineStages:
        """Its pipeline stages; the slowest has ``ceil(layers / n)`` of the layers."""
        count, layers = self.pipeline_parallel_size, self.model.layers
        link = self.pipeline_link
        if link is None:
            assert self.accelerator.link_bandwidth is not None
            link = Link(bandwidth=self.accelerator.link_bandwidth)
        return PipelineStages(
            step_time=self.step_time, stages=count, share=math.ceil(layers / count) / layers, hop=link
        )

    @cached_property
    def lane(self) -> "Serving":
        """What one of its batches under way is to closed forms: an engine whose step goes through all stages.

        It has an even share of slots, cache and requests, which are taken for Poisson ones.
        """
        count = self.pipeline_parallel_size
        return replace(
            self.pinned,
            arrivals=Poisson(registry.Quantity(self.rate / count, "request/s")),
            lengths=self.offered,
            prefixes=None,
            priorities=None,
            pipeline_parallel_size=1,
            pipeline_link=None,
            step_time=self.stages,
            max_num_seqs=math.ceil(self.settings.max_num_seqs / count),
            num_gpu_blocks=(self.kv_blocks - 1) // count + 1,
        )

    def step_of_loads(self, loads: Sequence[Load]) -> float:
        """Seconds of a step of data-parallel ranks with these loads ``(P, A, C, D, K, S)``."""
        return step_of_loads(self._ranks, loads)

    @cached_property
    def _ranks(self) -> RankCoefficients:
        """Where the step time knows where experts lie."""
        assert isinstance(self.step_time, MeasuredRoofline)
        return rank_coefficients(self.step_time, self.placement)

    @property
    def accelerators(self) -> int:
        """Of all ranks."""
        return self.tensor_parallel_size * self.data_parallel_size * self.pipeline_parallel_size

    @cached_property
    def settings(self) -> EngineSettings:
        """The engine's settings: those that are given, and else what the engine chooses."""
        chosen = engine_defaults(
            self.engine,
            self.accelerator,
            self.model,
            max_model_len=self.max_model_len,
            chunked_prefill=self.enable_chunked_prefill,
            max_num_seqs=self.max_num_seqs,
            max_num_batched_tokens=self.max_num_batched_tokens,
        )
        if self.pipeline_parallel_size > 1:  # the next batch is decided while others are under way as it is
            chosen = replace(chosen, async_scheduling=False)
        given = {each.name: value for each in fields(chosen) if (value := getattr(self, each.name)) is not None}
        return replace(chosen, **given)

    @cached_property
    def pinned(self) -> "Serving":
        """The same with all settings and the blocks of the cache given: a change of one leaves the others."""
        given = {each.name: getattr(self.settings, each.name) for each in fields(self.settings)}
        return replace(self, **given, num_gpu_blocks=self.kv_blocks)

    @property
    def shares_prefixes(self) -> bool:
        """Whether the engine keeps prefixes, and requests are known to share them."""
        recorded = isinstance(self.arrivals, Trace) and self.arrivals.requests.hash_ids is not None
        return self.settings.enable_prefix_caching and (recorded or self.prefixes is not None)

    @cached_property
    def priority_levels(self) -> tuple[int, ...]:
        """The priorities that its requests have, each of which is measured; none where nobody said any."""
        if self.priorities is not None:
            return tuple(level for level, _ in self.priorities.shares)
        if isinstance(self.arrivals, Trace) and self.arrivals.requests.priorities is not None:
            return tuple(np.unique(self.arrivals.requests.priority).tolist())
        return ()

    @property
    def engine_version(self) -> EngineVersion:
        """What the engine's version does."""
        return engine_version(self.engine)

    @property
    def objectives(self) -> dict[str, float]:
        """The goodput objectives in s."""
        return {name: si(most) for name, most in self.goodput.items()}

    @property
    def context_limit(self) -> int:
        """The longest prompt plus output, in tokens."""
        return self.max_model_len or self.model.max_context

    @property
    def offered(self) -> Lengths | Empirical:
        """The law of the lengths, those of the trace where one is replayed."""
        return self.arrivals.lengths if isinstance(self.arrivals, Trace) else self._lengths

    @property
    def _lengths(self) -> Lengths | Empirical:
        assert self.lengths is not None
        return self.lengths

    @property
    def most_running(self) -> int:
        """Requests of mean length that run at once, at most, by slots and cache; on all ranks."""
        length = self.offered.mean_input + self.offered.mean_output
        return self.data_parallel_size * max(1, min(self.settings.max_num_seqs, round(self.kv_tokens / length)))

    @property
    def rate(self) -> float:
        """Mean offered load, request/s."""
        return si(self.arrivals.rate)

    @cached_property
    def kv_blocks(self) -> int:
        """Blocks of cache that the engine has (each rank); one of them is the null block, never used.

        ``(visible utilization - weights - reserved) / (kv bytes per token block_size)`` of one of ``n`` accelerators,
        each with its share of weights and cache. ``DoesNotFit`` when nothing is left.
        """
        if self.num_gpu_blocks is not None:
            return self.num_gpu_blocks
        n, stages = self.tensor_parallel_size, self.pipeline_parallel_size
        weights, reserved = rank_weights(self.model, self.precision, n, self.accelerators // stages), self.reserved
        left = self.usable_memory - weights / stages - reserved
        block = self.placement.kv_bytes_per_token * self.block_size / (n * stages)
        if left < 2 * block:
            raise DoesNotFit(
                f"{self.model.name} in {self.precision}: weights {pretty(weights / stages, 'byte')} and "
                f"{pretty(reserved, 'byte')} reserved do not fit in "
                f"{pretty(self.usable_memory, 'byte')} of each of {n * stages} x {self.accelerator.name}; "
                "use more accelerators (tensor_parallel_size), a larger one or a smaller precision"
            )
        return math.floor(left / block)

    @property
    def usable_memory(self) -> float:
        """Bytes of each accelerator that the engine may use."""
        return self.accelerator.visible * self.settings.gpu_memory_utilization

    @cached_property
    def memory(self) -> EngineMemory:
        """Where one accelerator's memory goes, by the estimate with its band; ``DoesNotFit`` where nothing is left."""
        return engine_memory(
            self.model,
            self.accelerator,
            version=self.engine_version.number,
            precision=self.precision,
            tensor_parallel_size=self.tensor_parallel_size,
            data_parallel_size=self.data_parallel_size,
            pipeline_parallel_size=self.pipeline_parallel_size,
            max_num_batched_tokens=self.settings.max_num_batched_tokens,
            max_num_seqs=self.settings.max_num_seqs,
            gpu_memory_utilization=self.settings.gpu_memory_utilization,
        )

    @property
    def reserved(self) -> float:
        """Bytes of each accelerator that neither weights nor cache may have."""
        return self.memory.reserved if self.reserved_memory is None else si(self.reserved_memory)

    @property
    def block_bytes(self) -> float:
        """Of a block of the cache, on all its accelerators together."""
        return self.placement.kv_bytes_per_token * self.block_size

    @property
    def tier_blocks(self) -> tuple[int, ...]:
        """Blocks that each tier below the cache holds."""
        return tuple(tier.blocks(self.block_bytes) for tier in self.cache_tiers.tiers) if self.cache_tiers else ()

    @property
    def kv_tokens(self) -> int:
        """Tokens of cache that requests can hold."""
        return (self.kv_blocks - 1) * self.block_size

    def requests(self, count: int, arrivals: np.random.Generator, lengths: np.random.Generator) -> Requests:
        """``count`` requests: drawn from the laws, or the first ones of the trace."""
        if isinstance(self.arrivals, Trace):
            drawn = self.arrivals.head(count).requests
        else:
            prompts, outputs = self._lengths.sample(count, lengths)
            drawn = Requests(arrival=self.arrivals.times(count, arrivals), input_tokens=prompts, output_tokens=outputs)
        kinds, urgency = lengths.spawn(2)  # after the lengths, which spawn streams of their own and stay the same
        if self.prefixes is not None and not isinstance(self.arrivals, Trace):
            drawn = replace(drawn, hash_ids=self.prefixes.draw(count, kinds), hash_block=self.prefixes.tokens)
        if self.priorities is not None:
            drawn = replace(drawn, priorities=self.priorities.draw(len(drawn), urgency))
        return drawn

    def check(self, drawn: Requests) -> None:
        """Refuse requests that the engine could never serve.

        ``InputError`` for one longer than the context limit, ``DoesNotFit`` for one that the
        whole cache cannot hold.
        """
        total = np.asarray(drawn.input_tokens) + np.asarray(drawn.output_tokens)
        if int((too_long := total > self.context_limit).sum()):
            raise InputError(
                "lengths",
                given=f"{int(too_long.sum())} of {len(drawn):,} requests longer, up to {total.max():,} tokens",
                expected=f"prompt plus output of at most max_model_len {self.context_limit}",
                remedy='raise max_model_len, or cut the law: "lognormal 1500 cv=1 maximum=30000"',
            )
        if int((too_big := total > self.kv_tokens + 1).sum()):  # the last token is never cached
            raise DoesNotFit(
                f"{int(too_big.sum())} of {len(drawn)} requests hold more tokens than the cache of {self.kv_tokens} "
                f"(the largest {total.max()}); use more accelerators, a smaller kv_precision or shorter lengths"
            )
