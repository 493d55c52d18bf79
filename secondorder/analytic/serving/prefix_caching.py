"""Prefix caching: how much of the prompts is found, and what that saves.

A hit saves the computation of its tokens, not their place: the cache still holds them, and every decode step still
reads them. The share that is found follows from the trace and the size of the cache, or is given.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

import numpy as np

from secondorder.analytic.arguments import Floats, Real, non_negative, plain, positive
from secondorder.analytic.serving.cache_tiers import fetch_mean, recorded_rungs, tier_loads, tier_rungs
from secondorder.analytic.serving.idle import weighted_quantile
from secondorder.analytic.serving.ladder import ladder
from secondorder.analytic.serving.least_recently_used import hit_ratio
from secondorder.analytic.serving.saturation import demand, saturation
from secondorder.analytic.serving.stack_distances import hit_tokens, stack_depths
from secondorder.answers.answer import Answer
from secondorder.answers.estimate import Claim, Estimate, Rung, rung
from secondorder.answers.metric import QUANTILES
from secondorder.errors import InputError, Unstable
from secondorder.quantities import si
from secondorder.scenarios.prefix_caching import PrefixCaching
from secondorder.scenarios.serving import Serving
from secondorder.workloads.requests import Requests

CHE = "Che's approximation (2002)"
STACK, GIVEN, ALONE = "stack distances (Mattson 1970)", "given", "idle engine"
CROWDED = 0.2
"""Share of a step's budget up to which its decodes may be neglected."""


def effective_prefill(*, prompt: Real, hit_ratio: Real) -> Real:
    """Tokens of a prompt that are computed: ``(1 - h) I``. *Exact*; both broadcast. Errors: ``InputError``.

    >>> effective_prefill(prompt=2048.0, hit_ratio=0.75)
    512.0
    """
    hit = non_negative("hit_ratio", hit_ratio)
    if (hit >= 1).any():
        raise InputError("hit_ratio", given=float(hit.max()), expected="below 1: the last token is always computed")
    return plain((1 - hit) * positive("prompt", prompt))


# What a hit saves


def prompt_seconds(serving: Serving, prompts: Floats, cached: Floats) -> Floats:
    """Time in s to compute each prompt alone, after its first ``cached`` tokens, in chunks of the budget.

    *Exact* for the scenario's step time. Arrays of one length.
    """
    room = serving.long_prefill_token_threshold or serving.settings.max_num_batched_tokens
    room = min(room, serving.settings.max_num_batched_tokens)
    total, before = np.zeros_like(prompts), cached.astype(float)
    while (before < prompts).any():
        chunk = np.minimum(prompts - before, room)
        pairs, after = chunk * before + chunk * (chunk + 1) / 2, before + chunk
        seconds = serving.step_seconds(chunk, pairs, after, 0 * chunk, 0 * chunk, (after == prompts) * (chunk > 0))
        total += np.where(chunk > 0, seconds, 0.0)
        before = after
    return total


def solve_prefix_caching(scenario: PrefixCaching) -> Answer:
    """The metrics of a service with its hits, and without them.

    With a ratio given: the ladder of the service whose prompts each hit that share. With a trace: order 0 with each
    request's own hits, and orders 1 and 2 for Poisson arrivals of its rate, each prompt with the mean share.
    ``uncached_...`` are the service's without hits.
    """
    serving = scenario.serving
    if scenario.hit_ratio is not None:
        serving.check_law()
        ratio, rows = scenario.hit_ratio, [*_uniform(scenario)]
    elif serving.prefixes is not None:
        serving.check_law()
        ratio, rows = _drawn(scenario)
    else:
        ratio, rows = _recorded(scenario)
    bare, kept = saturation(scenario.with_hits(0.0)), saturation(scenario.with_hits(ratio))
    doubts = []
    if kept.decodes > CROWDED * serving.settings.max_num_batched_tokens:
        doubts.append(f"{kept.decodes:.0f} decodes leave less of the budget than is counted")
    if kept.binds == "KV cache":
        doubts.append("blocks that running requests share are counted for each of them, with them it is higher")
    source = GIVEN if scenario.hit_ratio is not None else CHE if serving.prefixes is not None else STACK
    mean = serving.offered.mean_input
    told = {e.metric for e in rows}
    most, binds = min([(kept.rate, kept.binds), *_link_limits(serving.rate, rows)])
    rows = [e for e in rows if e.metric not in ("saturation_rate", "utilisation")]
    if "prefix_hit_rate" not in told:
        rows.append(_row("prefix_hit_rate", ratio, "", source, 1))
    rows += [
        _row("prefill_tokens_mean", float(effective_prefill(prompt=mean, hit_ratio=ratio)), "token", source, 1),
        replace(
            _row("saturation_rate", most, "request/s", "balance of slots and tokens", 2),
            outside="; ".join(doubts), note=f"bound by the {binds}",
        ),
        _row("uncached_saturation_rate", bare.rate, "request/s", "balance of slots and tokens", 2),
        _row("utilisation", serving.rate / most, "", "balance of slots and tokens", 2),
    ]  # fmt: skip
    how = f"closed forms at {serving.rate:.4g} request/s, {ratio:.1%} of the prompt tokens found"
    return Answer(scenario=scenario.name, estimates=tuple(rows), how=how)


def _link_limits(rate: float, rows: list[Estimate]) -> list[tuple[float, str]]:
    """The rates that each link to a lower tier can carry, whose load grows with the rate."""
    loads = [(e.amount, e.metric.partition("_tier_")[2]) for e in rows if "_utilisation_tier_" in e.metric]
    return [(rate / load, f"link to {name}") for load, name in loads if load]


def _drawn(scenario: PrefixCaching) -> tuple[float, list[Estimate]]:
    """The share found of prefixes drawn by a law, and the ladder of a service whose prompts each find that share."""
    ratio = hit_ratio(scenario.serving)
    held = ladder(scenario.with_hits(ratio)).best("running_mean").amount * demand(scenario.serving).held
    ratio = hit_ratio(scenario.serving, held=held)
    bare = replace(scenario.serving, prefixes=None, cache_tiers=None)
    rows = [*_uniform(replace(scenario, serving=bare, hit_ratio=ratio))]
    if scenario.serving.cache_tiers is None:
        return ratio, rows
    return ratio, [*_with_fetches(scenario.serving, held, rows), *tier_rungs(scenario.serving, held=held)]


def _with_fetches(serving: Serving, held: float, rows: list[Estimate]) -> Iterator[Estimate]:
    """Times to the first and to the last token with the mean time for blocks of lower tiers."""
    loads = tier_loads(serving, held=held)
    share = sum(load.probability for load in loads)
    tails = "times for blocks of lower tiers are counted in means alone"
    for each in rows:
        if not isinstance(each, Rung) or not each.metric.startswith(("ttft", "e2el")):
            yield each
        elif each.metric.endswith("_mean"):
            yield replace(each, amount=each.amount + share * fetch_mean(loads, waits=each.order > 1))
        else:
            yield replace(each, outside="; ".join(filter(None, (each.outside, tails))))


def _uniform(scenario: PrefixCaching) -> Iterator[Estimate]:
    """The ladder, each prompt with the same share of hits; and the idle engine without them."""
    alike = "each prompt finds the same share: misses in a row of hits lengthen the tail"
    tails = [f"{name}_{label}" for name in ("ttft", "e2el") for label in QUANTILES]
    for each in ladder(scenario.cached).estimates:
        yield replace(each, note="; ".join(filter(None, (each.note, alike)))) if each.metric in tails else each
    prompts, _, weight = (np.asarray(part, float) for part in scenario.serving.offered.grid())
    cold = prompt_seconds(scenario.serving, prompts, 0 * prompts)
    yield _row("uncached_ttft_mean", float(cold @ weight), "s", ALONE, 0)


def _recorded(scenario: PrefixCaching) -> tuple[float, list[Estimate]]:
    """The share found in a trace, the idle engine with each request's own hits, and mean values."""
    serving, requests = scenario.serving, scenario.recorded
    assert requests is not None
    if serving.kv_tokens < requests.hash_block:
        given, expected = f"{serving.kv_tokens} tokens of cache", f"room for a block of {requests.hash_block} tokens"
        raise InputError("serving", given=given, expected=expected)
    hits, fetches = _found_and_fetched(serving, requests)
    prompts = np.asarray(requests.input_tokens, float)
    ratio, weight = float(hits.sum() / prompts.sum()), np.full(len(prompts), 1 / len(prompts))
    rows: list[Estimate] = [*recorded_rungs(serving, requests)]
    for prefix, cached, away in (("", hits, fetches), ("uncached_", 0 * hits, 0.0)):
        ttft = prompt_seconds(serving, prompts, cached) + away
        rows += [
            _row(f"{prefix}ttft_mean", float(ttft.mean()), "s", ALONE, 0),
            _row(f"{prefix}ttft_p99", weighted_quantile(ttft, weight, 0.99), "s", ALONE, 0),
        ]
    note = "a finite trace, taken for Poisson arrivals of its mean rate, each prompt with the mean share of hits"
    with suppress(Unstable):
        for each in ladder(scenario.with_hits(ratio)).estimates:
            if isinstance(each, Rung) and each.order in (1, 2) and each.metric.startswith(("ttft", "tpot", "e2el")):
                rows.append(replace(each, outside=note))
    return ratio, sorted(rows, key=lambda e: (e.metric, e.order))


def _found_and_fetched(serving: Serving, requests: Requests) -> tuple[Floats, Floats]:
    """Tokens of each request of a trace that are found, and the time in s until those of lower tiers are there."""
    depths, below = stack_depths(requests), serving.cache_tiers.tiers if serving.cache_tiers else ()
    hits = hit_tokens(requests, serving.kv_tokens // requests.hash_block, depths).astype(float)
    joint, fetches = serving.kv_blocks - 1, np.zeros(len(requests))
    for tier, blocks in zip(below, serving.tier_blocks, strict=True):
        joint += blocks
        within = hit_tokens(requests, joint * serving.block_size // requests.hash_block, depths).astype(float)
        token = tier.block_seconds(serving.block_bytes) / serving.block_size
        fetches = np.maximum(fetches, np.where(within > hits, si(tier.latency) + (within - hits) * token, 0.0))
        hits = within
    return hits, fetches


def _row(metric: str, amount: float, unit: str, source: str, order: int) -> Rung:
    return rung(metric, amount, unit, source, order, claim=Claim.APPROXIMATION if order else Claim.BOUND)
