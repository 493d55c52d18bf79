"""Prefill and decode on replicas of their own, with a link between them that carries the cache.

>>> from secondorder.fleets.accelerators import accelerators
>>> from secondorder.workloads.arrivals import Poisson
>>> from secondorder.workloads.lengths import Lengths
>>> from secondorder.workloads.models import models
>>> serving = Serving(
...     model=models.llama_3_1_8b, accelerator=accelerators.h100_sxm,
...     arrivals=Poisson("20 request/s"), lengths=Lengths(input=2048, output=256))
>>> split = Disaggregated(
...     serving=serving, prefill_replicas=2, decode_replicas=2, link=Link(bandwidth="50 GB/s", latency="10 us"))
>>> round(float(split.transfer_seconds(2048)) * 1e3, 2)
5.38
"""

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge, Le

from secondorder.arrays import Floats, Real
from secondorder.errors import InputError
from secondorder.fleets.clusters import Link
from secondorder.quantities import Checked, Count, registry, si
from secondorder.scenarios.pool import DecodeSteps, Pool, accepted, decode_steps, prefill_steps
from secondorder.scenarios.serving import Serving
from secondorder.scenarios.steptime import Placement, StepFunction, StepSeconds, StepTime
from secondorder.workloads.arrivals import Poisson
from secondorder.workloads.lengths import Empirical, Lengths

ACCEPTANCE = 0.6
"""Share of DeepSeek R1's own drafts that it accepts, fitted (``benchmarks/disaggregated.py``)."""


@dataclass(frozen=True, kw_only=True)
class DecodeOnly(Checked):
    """The step time of an engine that is handed its prompts computed: prompt tokens take no time.

    A step lasts what its decodes take; one with nothing but new prompts lasts a decode step of one sequence.
    """

    step_time: StepTime

    def seconds(self, placement: Placement) -> StepFunction[tuple[StepSeconds]]:
        return StepFunction(decode_only_seconds, (self.step_time.seconds(placement),))


def decode_only_seconds(c: tuple[StepSeconds], P: Real, A: Real, C: Real, D: Real, K: Real, S: Real) -> Real:
    """The one step time in ``c``, of the decodes alone."""
    sequences, context = np.maximum(D, 1.0), np.where(np.asarray(D) > 0, K, np.maximum(C, 1.0))
    zero = np.zeros(np.broadcast_shapes(np.shape(P), np.shape(D), np.shape(K)))
    found = c[0](zero, zero, zero, sequences + zero, context + zero, sequences + zero)
    return found if np.ndim(found) else float(found)


@dataclass(frozen=True, kw_only=True)
class Disaggregated(Checked):
    """A service of ``prefill_replicas`` that compute prompts and ``decode_replicas`` that continue them.

    A request goes to a prefill replica picked at random; its cache then crosses the ``link`` of that replica, whole
    and alone; a decode replica picked at random takes it over. Both kinds are engines with the settings of
    ``serving``.

    - ``serving``: settings of one replica; its arrivals are the load of the whole system, Poisson.
    - ``prefill_replicas``: engines that compute prompts.
    - ``decode_replicas``: engines that generate the tokens after the first.
    - ``link``: link that carries the cache from a prefill replica ("50 GB/s latency=10 us").
    - ``prefill_pool``: what prefill replicas have of their own: "1 data_parallel_size=8 enable_expert_parallel=true".
    - ``decode_pool``: what decode replicas have of their own: "8 max_num_seqs=64".
    - ``users``: clients that each send a request when their last one is answered; the arrivals then do not count.
    - ``draft_tokens``: tokens that the model itself proposes in a decode step (multi-token prediction).
    - ``acceptance``: probability that a proposed token is accepted, each independently of the others.
    - ``stream_interval``: decode steps from one message to the client to the next.
    - ``front_end``: decode steps that pass before the front end hands a request on, for a busy host.
    - ``name``: name of the scenario in results.

    With ``users`` a prompt goes to the first prefill replica that is free and then to the decode replica with the
    fewest sequences; where all of these are full it waits in line.

    Errors: ``InputError`` for arrivals whose random split is not known, or a trace; without ``users`` for ranks,
    whole experts and drafts; with them for a step time that does not know these.
    """

    serving: Serving
    prefill_replicas: Count
    decode_replicas: Count
    link: Link
    prefill_pool: Pool | None = None
    decode_pool: Pool | None = None
    users: Count | None = None
    draft_tokens: Annotated[int, Ge(0)] = 0
    acceptance: Annotated[float, Ge(0), Le(1)] = ACCEPTANCE
    stream_interval: Count = 1
    front_end: Annotated[float, Ge(0)] = 0.0
    name: str = "disaggregated"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.users is not None:
            self.decode_steps  # a step time that does not know them is refused here  # noqa: B018
            return
        self._check_open()
        if not isinstance(self.serving.arrivals, Poisson):
            given = type(self.serving.arrivals).__name__
            expected = "Poisson arrivals, whose random split is Poisson again"
            raise InputError("serving.arrivals", given=given, expected=expected)

    def _check_open(self) -> None:
        """Refuse what only a closed loop of users knows."""
        spread = {
            f"{name}.{field}": value
            for name, pool in (("prefill_pool", self.prefill_pool), ("decode_pool", self.decode_pool))
            for field, value in (pool.given if pool is not None else {}).items()
            if field in ("data_parallel_size", "enable_expert_parallel") and value > 1 - (value is True)
        }
        loop = {"draft_tokens": self.draft_tokens, "front_end": self.front_end}
        loop["stream_interval"] = self.stream_interval - 1
        for field, value in (spread | {name: value for name, value in loop.items() if value}).items():
            raise InputError(
                field, given=f"{value} with arrivals", expected="none: only a scenario with users can have it",
                remedy="give users=..., the clients that wait for their answers",
            )  # fmt: skip

    @property
    def rate(self) -> float:
        """Of the whole system, request/s."""
        return self.serving.rate

    @cached_property
    def prefill(self) -> Serving:
        """One prefill replica with its share of the requests, each of which ends with its first token."""
        law = self.serving.offered
        short: Lengths | Empirical
        if isinstance(law, Empirical):
            short = replace(law, output=np.ones(len(law), dtype=np.int64))
        else:
            short = replace(law, output=1)
        pool = self.prefill_pool.given if self.prefill_pool is not None else {}
        return self._with(self.rate / self.prefill_replicas, lengths=short, name=f"{self.name}: prefill", **pool)

    @cached_property
    def decode(self) -> Serving:
        """One decode replica with its share of the requests, whose prompts take no time and no budget."""
        whole = self.decode_replica
        sequences = whole.settings.max_num_seqs
        budget = self.serving.context_limit + sequences * math.ceil(4 * self.serving.offered.mean_input)
        pool = self.decode_pool.given if self.decode_pool is not None else {}
        return self._with(
            self.rate / self.decode_replicas,
            tensor_parallel_size=pool.get("tensor_parallel_size", self.serving.tensor_parallel_size),
            step_time=DecodeOnly(step_time=self.serving.step_time),
            max_num_seqs=sequences,
            max_num_batched_tokens=budget,
            num_gpu_blocks=whole.kv_blocks,
            long_prefill_token_threshold=None,
            name=f"{self.name}: decode",
        )

    # A closed loop of users

    @cached_property
    def prefill_replica(self) -> Serving:
        """A prefill replica by its own settings, whatever is asked of it."""
        return self._own(self.prefill_pool, "prefill")

    @cached_property
    def decode_replica(self) -> Serving:
        """A decode replica by its own settings, whatever is asked of it."""
        return self._own(self.decode_pool, "decode")

    def _own(self, pool: Pool | None, kind: str) -> Serving:
        given = {} if pool is None else pool.given
        return replace(self.serving, **given, name=f"{self.name}: {kind}")

    @cached_property
    def places(self) -> int:
        """Sequences that a decode replica runs at once: by its slots, its cache of mean requests, and the users."""
        most = self.decode_replica.most_running
        return most if self.users is None else min(most, self.users)

    @cached_property
    def prefill_steps(self) -> Floats:
        """Seconds of a step of a prefill replica over 0 prompts and more, of the mean length."""
        return prefill_steps(self.prefill_replica, self.serving.offered.mean_input)

    @cached_property
    def decode_steps(self) -> DecodeSteps:
        """Seconds of a step of a decode replica."""
        return decode_steps(self.decode_replica, self.places, self.draft_tokens)

    @property
    def tokens_per_step(self) -> float:
        """Tokens that a decode step yields for a sequence."""
        return accepted(self.acceptance, self.draft_tokens)

    @property
    def steps_late(self) -> float:
        """Decode steps that a first token comes later to the client than it is there.

        ``max(stream_interval / 2, front_end)``: a message goes out each ``stream_interval`` steps, of which half have
        passed on average; a busy host takes a request up late, and is not waited for twice.
        """
        interval = self.stream_interval / 2 if self.stream_interval > 1 else 0.0
        return max(interval, self.front_end)

    @cached_property
    def collocated(self) -> Serving:
        """One of as many replicas that do both, with its share of the requests."""
        replicas = self.prefill_replicas + self.decode_replicas
        return self._with(self.rate / replicas, name=f"{self.name}: collocated")

    def _with(self, rate: float, **changes: Any) -> Serving:
        return replace(self.serving, arrivals=Poisson(registry.Quantity(rate, "request/s")), **changes)

    def transfer_seconds(self, tokens: Real) -> Real:
        """Of the cache of ``tokens`` over the link, alone: ``latency + kv_bytes_per_token tokens / bandwidth``."""
        each = self.prefill_replica.placement.kv_bytes_per_token / si(self.link.bandwidth)
        return si(self.link.latency) + each * tokens
