"""A service without one of its effects."""

from dataclasses import dataclass, replace

import numpy as np

from secondorder.arrays import Real
from secondorder.quantities import si
from secondorder.scenarios.serving import Serving
from secondorder.scenarios.steptime import Placement, StepSeconds, StepTime
from secondorder.workloads.arrivals import Deterministic, Gamma, MarkovModulated, Poisson, TraceArrivals
from secondorder.workloads.lengths import Lengths
from secondorder.workloads.traces import Trace

MANY_SEQUENCES, MANY_TOKENS, MANY_BLOCKS = 100_000, 2**40, 2**31
"""Limits that are never reached."""
KEPT_BLOCKS = 2**20
"""Blocks of a cache without limit that keeps what was in them: 16 million tokens with blocks of 16."""


@dataclass(frozen=True, kw_only=True)
class PrefillElsewhere:
    """Step time of an engine whose prompts are computed elsewhere, each alone and at once.

    A prompt that comes in takes part in its first step as a sequence that decodes. ``step_time`` is that of the
    engine that computes both; a prompt alone takes steps of at most ``chunk`` tokens there.
    """

    step_time: StepTime
    chunk: int

    def seconds(self, placement: Placement) -> StepSeconds:
        """``seconds(0, 0, 0, D + E, K + C, D + E)``: the ``E`` prompts that end in the step count as sequences."""
        both = self.step_time.seconds(placement)

        def decode(P: Real, A: Real, C: Real, D: Real, K: Real, S: Real) -> Real:
            return both(0, 0, 0, S, K + C, S)

        return decode

    def prompt_seconds(self, placement: Placement, tokens: int) -> float:
        """How long a prompt takes alone."""
        both, done, spent = self.step_time.seconds(placement), 0, 0.0
        while done < tokens:
            n = min(self.chunk, tokens - done)
            spent += float(both(n, n * done + n * (n + 1) // 2, done + n, 0, 0, int(done + n == tokens)))
            done += n
        return spent


def bursty(arrivals: object) -> bool:
    """Whether arrivals come in bursts, more unevenly than Poisson ones."""
    return isinstance(arrivals, MarkovModulated | TraceArrivals) or (isinstance(arrivals, Gamma) and arrivals.scv > 1)


def without_bursts(scenario: Serving) -> Serving:
    """Poisson arrivals of the same rate, where they come in bursts."""
    return replace(scenario, arrivals=Poisson(scenario.arrivals.rate)) if bursty(scenario.arrivals) else scenario


def with_even_arrivals(scenario: Serving) -> Serving:
    """Arrivals at equal intervals, at the same rate; those in bursts stay as they are."""
    arrivals = scenario.arrivals
    if isinstance(arrivals, Trace):
        times = np.linspace(0, si(arrivals.duration), len(arrivals))
        return replace(scenario, arrivals=replace(arrivals, requests=replace(arrivals.requests, arrival=times)))
    even = isinstance(arrivals, Deterministic) or bursty(arrivals)
    return scenario if even else replace(scenario, arrivals=Deterministic(arrivals.rate))


def with_equal_lengths(scenario: Serving) -> Serving:
    """Every prompt and every output of the mean length, in whole tokens; a trace keeps its own."""
    if isinstance(scenario.arrivals, Trace):
        return scenario
    law = scenario.offered
    if law.scv_input == 0 == law.scv_output:
        return scenario
    return replace(scenario, lengths=Lengths(input=round(law.mean_input), output=max(1, round(law.mean_output))))


def without_prefill_interference(scenario: Serving) -> Serving:
    """Each prompt is computed elsewhere, alone and at once; nothing waits for it but its own request.

    Its request still waits for a slot and for blocks of the engine.
    """
    chunk = min(scenario.settings.max_num_batched_tokens, scenario.long_prefill_token_threshold or MANY_TOKENS)
    return replace(
        scenario.pinned,
        step_time=PrefillElsewhere(step_time=scenario.step_time, chunk=chunk),
        max_num_batched_tokens=MANY_TOKENS,
        long_prefill_token_threshold=None,
        enable_prefix_caching=False,
        cache_tiers=None,
    )


def without_batch_limit(scenario: Serving) -> Serving:
    """As many sequences at once as there are."""
    return replace(scenario.pinned, max_num_seqs=MANY_SEQUENCES)


def without_cache_limit(scenario: Serving) -> Serving:
    """Blocks of cache for whatever runs."""
    most = KEPT_BLOCKS if scenario.settings.enable_prefix_caching else MANY_BLOCKS
    return replace(scenario, num_gpu_blocks=max(most, scenario.kv_blocks))


def without_prefix_reuse(scenario: Serving) -> Serving:
    """No block is kept for another request."""
    return replace(scenario, enable_prefix_caching=False, cache_tiers=None)


def with_steps_in_turn(scenario: Serving) -> Serving:
    """A step is scheduled when the one before it has ended."""
    return replace(scenario, async_scheduling=False)
