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
from typing import Any

import numpy as np

from secondorder.arrays import Real
from secondorder.errors import InputError
from secondorder.fleets.clusters import Link
from secondorder.quantities import Checked, Count, registry, si
from secondorder.scenarios.serving import Serving
from secondorder.scenarios.steptime import Placement, StepFunction, StepSeconds, StepTime
from secondorder.workloads.arrivals import Poisson
from secondorder.workloads.lengths import Empirical, Lengths


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
    - ``name``: name of the scenario in results.

    Errors: ``InputError`` for arrivals whose random split is not known, or a trace.
    """

    serving: Serving
    prefill_replicas: Count
    decode_replicas: Count
    link: Link
    name: str = "disaggregated"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.serving.arrivals, Poisson):
            given = type(self.serving.arrivals).__name__
            expected = "Poisson arrivals, whose random split is Poisson again"
            raise InputError("serving.arrivals", given=given, expected=expected)

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
        return self._with(self.rate / self.prefill_replicas, lengths=short, name=f"{self.name}: prefill")

    @cached_property
    def decode(self) -> Serving:
        """One decode replica with its share of the requests, whose prompts take no time and no budget."""
        sequences = self.serving.settings.max_num_seqs
        budget = self.serving.context_limit + sequences * math.ceil(4 * self.serving.offered.mean_input)
        return self._with(
            self.rate / self.decode_replicas,
            step_time=DecodeOnly(step_time=self.serving.step_time),
            max_num_seqs=sequences,
            max_num_batched_tokens=budget,
            num_gpu_blocks=self.serving.kv_blocks,
            long_prefill_token_threshold=None,
            name=f"{self.name}: decode",
        )

    @cached_property
    def collocated(self) -> Serving:
        """One of as many replicas that do both, with its share of the requests."""
        replicas = self.prefill_replicas + self.decode_replicas
        return self._with(self.rate / replicas, name=f"{self.name}: collocated")

    def _with(self, rate: float, **changes: Any) -> Serving:
        return replace(self.serving, arrivals=Poisson(registry.Quantity(rate, "request/s")), **changes)

    def transfer_seconds(self, tokens: Real) -> Real:
        """Of the cache of ``tokens`` over the link, alone: ``latency + kv_bytes_per_token tokens / bandwidth``."""
        each = self.serving.placement.kv_bytes_per_token / si(self.link.bandwidth)
        return si(self.link.latency) + each * tokens
