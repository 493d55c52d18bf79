"""Where the second order of a service holds."""

import numpy as np

from secondorder.analytic.serving.bursts import dispersion
from secondorder.analytic.serving.decode_batch import DecodeBatch
from secondorder.workloads.arrivals import Arrivals, Gamma, MarkovModulated, Poisson
from secondorder.workloads.traces import Trace

RARE = 0.005  # share of requests that may wait for a slot: near 1 % the 99th percentile is a leap
SHORT_OF_CACHE = 0.002  # share that may wait for the cache: it makes the 99th percentile the 99.2th, some 5 % longer
WIDE = 2.0  # scv of the answers past which a wait for a slot is much overstated
LONG_PROMPTS = 1.5  # token budgets in the prompt of a mean token
FULL_STEPS = 2 / 3  # share of the time that prompts add, past which steps are bare or full and answers see either
MOST_BUNCHED = 2.5  # index of dispersion up to which p99s were within 10 % of simulations; at 4 up to 20 % low
FEW_STEPS, MANY_SHORT = (
    16,
    0.05,
)  # steps of a short answer, and share of them from which bursts make p99s up to 14 % low
SPENT = 0.9  # of their dispersion: bursts that end while the backlog that they make is served


def cache_overflow(batch: DecodeBatch) -> float:
    """Probability that an unlimited cache would hold so much that the real one had no room for an arriving prompt.

    What the running sequences and the prompt hold together has a gamma law of its mean and variance,
    ``E[N] Var[m] + Var[N] E[m]^2`` for ``N`` sequences of ``m`` tokens each (Campbell's theorem, and the spread of
    ``N`` beyond Poisson's). ``m`` is length-biased.
    """
    from scipy.special import gammaincc

    law, steps = batch.scenario.offered, batch.demand.decode_steps
    spread = batch.variance
    mean, square = law.mean_input, law.expect(lambda i, _: i**2)
    filling = batch.running - batch.decoding  # prompts under way, taken as whole
    total, variance = (filling + 1) * mean, filling * square + square - mean**2
    if steps > 0:
        held = batch.demand.held
        squares = law.expect(lambda i, o: (o - 1) * (i**2 + i * o + o * (2 * o - 1) / 6)) / steps
        total += batch.decoding * held
        variance += batch.decoding * max(squares - held**2, 0.0) + spread * held**2
    if variance < 1e-9 * total**2:
        return float(total > batch.scenario.kv_tokens)
    return float(gammaincc(total**2 / variance, batch.scenario.kv_tokens * total / variance))


def outside(batch: DecodeBatch, waits: float, overflow: float) -> list[str]:
    """Conditions of the second order that do not hold; empty where all do.

    ``waits``: share of requests that wait for a slot. ``overflow``: share that find the cache full.
    """
    scenario, found = batch.scenario, []
    if waits > RARE:
        share = f"{waits:.{0 if waits > 0.05 else 1}%}"
        rough = "too long, as answers spread widely" if batch.decode_scv > WIDE else "rough"
        found.append(f"{share} of the requests wait for a slot: the tail of the wait is {rough}")
    if overflow > SHORT_OF_CACHE:
        found.append(f"the KV cache lacks room for {overflow:.1%} of the prompts; waits for it are not counted")
    law = scenario.offered
    if law.mean_input * (1 + law.scv_input) > LONG_PROMPTS * scenario.settings.max_num_batched_tokens:
        found.append("most prompt tokens are of prompts longer than the token budget")
    if batch.demand.decode_steps > 0 and batch.prompt_share > FULL_STEPS:
        found.append(f"prompts take {batch.prompt_share:.0%} of the steps' time: times per token have two humps")
    if scenario.long_prefill_token_threshold is not None:
        found.append("long_prefill_token_threshold is not counted")
    if scenario.prefill_schedule_interval > 1:
        found.append("prefill_schedule_interval is not counted")
    if isinstance(scenario.arrivals, Trace):
        found.append("a finite trace, taken for Poisson arrivals of its mean rate")
    elif beyond := _not_tried(scenario.arrivals, batch.burst):
        found.append(f"arrivals are not Poisson (scv {scenario.arrivals.scv:.3g}): {beyond}")
    if scenario.shares_prefixes:
        found.append("prefix hits are not counted")
    return found


def short_answers(batch: DecodeBatch) -> str:
    """Why times per token are outside their domain: bursts, and answers that end before the bursts have passed."""
    steps, weight, _ = batch.lengths
    share = (1 - batch.single) * float(weight[steps <= FEW_STEPS].sum())
    if batch.burst == 1 or share <= MANY_SHORT:
        return ""
    return (
        f"arrivals bunch: the first steps after a prompt are longer than counted, and {share:.0%} of answers are short"
    )


def _not_tried(arrivals: Arrivals, burst: float) -> str:
    """Why the arrivals are outside the domain; nothing where they are not. ``burst``: see ``DecodeBatch.burst``."""
    if isinstance(arrivals, Poisson):
        return ""
    if not isinstance(arrivals, Gamma | MarkovModulated):
        return "waits for steadier ones are too long" if arrivals.scv < 1 else "taken for Poisson arrivals"
    index = float(dispersion(arrivals, np.zeros(1))[0])
    if index < 1:
        return "waits for steadier ones are too long"
    if index > MOST_BUNCHED:
        return f"tried up to an index of dispersion of {MOST_BUNCHED:.3g}, not {index:.3g}"
    if isinstance(arrivals, MarkovModulated) and 2 * burst - 2 < SPENT * (index - 1):
        return "their bursts outlast the queue of prompts, whose waits are too short"
    return ""
