"""A service whose prompts begin with what the cache still holds.

>>> from secondorder.fleets.accelerators import accelerators
>>> from secondorder.workloads.arrivals import Poisson
>>> from secondorder.workloads.lengths import Lengths
>>> from secondorder.workloads.models import models
>>> serving = Serving(
...     model=models.llama_3_1_8b, accelerator=accelerators.h100_sxm,
...     arrivals=Poisson("8 request/s"), lengths=Lengths(input=2048, output=256))
>>> PrefixCaching(serving=serving, hit_ratio=0.75).cached.max_num_batched_tokens
32768
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Annotated, NamedTuple

from annotated_types import Ge

from secondorder.arrays import Real
from secondorder.errors import InputError
from secondorder.quantities import Checked, registry
from secondorder.scenarios.serving import Serving
from secondorder.scenarios.steptime import Placement, StepFunction, StepSeconds, StepTime
from secondorder.workloads.arrivals import Poisson
from secondorder.workloads.requests import Requests
from secondorder.workloads.traces import Trace


@dataclass(frozen=True, kw_only=True)
class CachedPrompts(Checked):
    """The step time of prompts whose first ``hit_ratio`` is cached: only the rest is computed.

    Of ``P`` prompt tokens ``(1 - h) P`` are computed, of their ``A`` attention pairs ``(1 - h^2) A`` (the cached
    tokens would have had the fewest), and all ``C`` tokens of cache are read.
    """

    step_time: StepTime
    hit_ratio: Annotated[float, Ge(0)]

    def seconds(self, placement: Placement) -> StepFunction["CachedPromptsCoefficients"]:
        return StepFunction(
            cached_prompts_seconds, CachedPromptsCoefficients(self.step_time.seconds(placement), self.hit_ratio)
        )


class CachedPromptsCoefficients(NamedTuple):
    """The step time of whole prompts, and the share of them that is cached."""

    whole: StepSeconds
    hit: float


def cached_prompts_seconds(c: CachedPromptsCoefficients, P: Real, A: Real, C: Real, D: Real, K: Real, S: Real) -> Real:
    """``whole`` with what is computed of the prompts."""
    return c.whole((1 - c.hit) * P, (1 - c.hit**2) * A, C, D, K, S)


@dataclass(frozen=True, kw_only=True)
class PrefixCaching(Checked):
    """A service that keeps the cache of finished prompts, and the share of prompt tokens found in it.

    - ``serving``: the service: arrivals with lengths, which may share prefixes, or a trace that knows its prefixes
      (``hash_ids``).
    - ``hit_ratio``: share of the prompt tokens that is found in the cache, 0 to below 1; not needed if the service
      knows its prefixes.
    - ``name``: name of the scenario in results.

    With a ``hit_ratio`` each prompt finds the same share. Of prefixes the share is computed, for a cache that forgets
    the least recently used.

    Errors: ``InputError`` where both or neither say what is shared.
    """

    serving: Serving
    hit_ratio: Annotated[float, Ge(0)] | None = None
    name: str = "prefix caching"

    def __post_init__(self) -> None:
        super().__post_init__()
        mean = self.serving.offered.mean_input
        if self.hit_ratio is not None and (1 - self.hit_ratio) * mean < 1 - 1e-9:
            most = f"at most {1 - 1 / mean:.9g} with prompts of {mean:,.6g} tokens"
            why = "the last token of a prompt is always computed"
            raise InputError("hit_ratio", given=self.hit_ratio, expected=f"below 1, {most}: {why}")
        if self.hit_ratio is not None and self.serving.cache_tiers is not None:
            given = "a ratio with cache_tiers, whose hits follow from their sizes"
            raise InputError("hit_ratio", given=given, expected="prefixes, or a trace with hash_ids")
        known = self.serving.prefixes is not None or (self.recorded is not None and self.recorded.hash_ids is not None)
        if known == (self.hit_ratio is not None):
            given = (
                "a ratio with requests that know their prefixes" if known else "no ratio, and no prefixes in a trace"
            )
            raise InputError("hit_ratio", given=given, expected="either a ratio, or prefixes, or a trace with hash_ids")

    @property
    def recorded(self) -> Requests | None:
        """The requests of the trace, if there is one."""
        return self.serving.arrivals.requests if isinstance(self.serving.arrivals, Trace) else None

    @cached_property
    def cached(self) -> Serving:
        """The service of the ``hit_ratio`` as one without a cache: with the step time and the budget of the rest."""
        assert self.hit_ratio is not None
        return self.with_hits(self.hit_ratio)

    @property
    def caching(self) -> Serving:
        """The service whose engine keeps the blocks of finished requests, for requests that know their prefixes."""
        return replace(self.serving, enable_prefix_caching=True, name=self.name)

    def with_hits(self, hit_ratio: float) -> Serving:
        """The same for another ratio; a trace is taken for Poisson arrivals of its rate."""
        serving = self.serving
        replayed = isinstance(serving.arrivals, Trace)
        return replace(
            serving.pinned,
            arrivals=Poisson(registry.Quantity(serving.rate, "request/s")) if replayed else serving.arrivals,
            lengths=serving.offered,
            step_time=CachedPrompts(step_time=serving.step_time, hit_ratio=hit_ratio),
            max_num_batched_tokens=round(serving.settings.max_num_batched_tokens / (1 - hit_ratio)),
            enable_prefix_caching=False,
            cache_tiers=None,
            prefixes=None,
            name=self.name,
        )
