"""Prefix caching: how much of the prompts is found, and what that saves.

A hit saves the computation of its tokens, not their place: the cache still holds them, and every decode step still
reads them. The share that is found follows from the trace and the size of the cache (Mattson's stack distances, one
pass for all sizes), or is given.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

import numpy as np

from secondorder.analytic.arguments import Floats, Real, non_negative, one_whole, plain, positive
from secondorder.analytic.serving.idle import weighted_quantile
from secondorder.analytic.serving.ladder import ladder
from secondorder.analytic.serving.least_recently_used import hit_ratio
from secondorder.analytic.serving.saturation import demand, saturation
from secondorder.answers.answer import Answer
from secondorder.answers.estimate import Claim, Estimate, Rung, rung
from secondorder.answers.metric import QUANTILES
from secondorder.arrays import Integers
from secondorder.errors import InputError, Unstable
from secondorder.scenarios.prefix_caching import PrefixCaching
from secondorder.scenarios.serving import Serving
from secondorder.workloads.requests import Requests

CHE = "Che's approximation (2002)"
STACK, GIVEN, ALONE = "stack distances (Mattson 1970)", "given", "idle engine"
NEVER = np.iinfo(np.int64).max
"""The depth of a block that was not seen before."""
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


# What is found


def stack_depths(requests: Requests) -> list[Integers]:
    """How many other blocks were used since each whole block of each prompt was last used; ``NEVER`` where it was not.

    A block is found in a cache of ``C`` blocks if its depth is below ``C``, for every ``C`` at once. A request uses
    its blocks when it ends, the first one last, so that the end of a prefix is forgotten before its beginning; the
    blocks of its answer are its own. *Exact* for requests served one after the other; of those served together, the
    running ones hold blocks that the others then lack. *Source*: Mattson, Gecsei, Slutz, Traiger, Evaluation
    techniques for storage hierarchies (1970).

    Errors: ``InputError`` for requests that do not know their prefixes.
    """
    if requests.hash_ids is None:
        raise InputError("requests", given="no hash_ids", expected="requests that know their prefixes")
    size = requests.hash_block
    prompts, outputs = np.asarray(requests.input_tokens), np.asarray(requests.output_tokens)
    used = -(-(prompts + outputs - 1) // size)  # the last token is never cached
    recent = _Recent(int(used.sum()))
    last: dict[int, int] = {}
    found = []
    for hashes, prompt, blocks in zip(requests.hash_ids, prompts.tolist(), used.tolist(), strict=True):
        shared = np.asarray(hashes)[: prompt // size].tolist()
        depths = [recent.since(last[block]) if block in last else NEVER for block in shared]
        found.append(np.array(depths, dtype=np.int64))
        recent.use(blocks - len(shared))
        for block in reversed(shared):
            if block in last:
                recent.forget(last[block])
            last[block] = recent.use(1)
    return found


class _Recent:
    """Uses in order of time, counted by a binary indexed tree (Fenwick 1994)."""

    def __init__(self, size: int) -> None:
        self.tree, self.now, self.total = [0] * (size + 1), 0, 0

    def use(self, count: int) -> int:
        """The uses now, and the time of the last one."""
        for _ in range(count):
            self._add(1, self.now)
            self.now += 1
        self.total += count
        return self.now - 1

    def forget(self, time: int) -> None:
        self._add(-1, time)
        self.total -= 1

    def since(self, time: int) -> int:
        """Uses after ``time`` that are not forgotten."""
        before, at = 0, time + 1
        while at > 0:
            before += self.tree[at]
            at -= at & -at
        return self.total - before

    def _add(self, amount: int, time: int) -> None:
        at = time + 1
        while at < len(self.tree):
            self.tree[at] += amount
            at += at & -at


def hit_tokens(requests: Requests, capacity: int, depths: list[Integers] | None = None) -> Integers:
    """Prompt tokens of each request that a cache of ``capacity`` blocks of ``hash_block`` tokens still holds.

    The leading blocks whose depth is below the capacity, never the last token. ``depths`` where they are known.
    Domain and errors as ``stack_depths``.
    """
    size, limit = requests.hash_block, one_whole("capacity", capacity)
    found = []
    for prompt, depth in zip(np.asarray(requests.input_tokens).tolist(), depths or stack_depths(requests), strict=True):
        missing = np.flatnonzero(depth >= limit)
        leading = int(missing[0]) if len(missing) else len(depth)
        found.append(min(leading, (prompt - 1) // size) * size)
    return np.array(found, dtype=np.int64)


def hit_ratios(requests: Requests, capacities: list[int]) -> Floats:
    """Share of all prompt tokens that is found, for each capacity in blocks of the trace. Domain: ``stack_depths``."""
    depths, total = stack_depths(requests), float(np.sum(requests.input_tokens))
    return np.array([hit_tokens(requests, capacity, depths).sum() / total for capacity in capacities])


# What it saves


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
    """The metrics of a service with its hits, and what it would be without them.

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
    rows = [e for e in rows if e.metric not in ("saturation_rate", "utilisation")]
    rows += [
        _row("prefix_hit_rate", ratio, "", source, 1),
        _row("prefill_tokens_mean", float(effective_prefill(prompt=mean, hit_ratio=ratio)), "token", source, 1),
        replace(
            _row("saturation_rate", kept.rate, "request/s", "balance of slots and tokens", 2),
            outside="; ".join(doubts), note=f"bound by the {kept.binds}",
        ),
        _row("uncached_saturation_rate", bare.rate, "request/s", "balance of slots and tokens", 2),
        _row("utilisation", serving.rate / kept.rate, "", "balance of slots and tokens", 2),
    ]  # fmt: skip
    how = f"closed forms at {serving.rate:.4g} request/s, {ratio:.1%} of the prompt tokens found"
    return Answer(scenario=scenario.name, estimates=tuple(rows), how=how)


def _drawn(scenario: PrefixCaching) -> tuple[float, list[Estimate]]:
    """The share found of prefixes drawn by a law, and the ladder of a service whose prompts each find that share."""
    ratio = hit_ratio(scenario.serving)
    held = ladder(scenario.with_hits(ratio)).best("running_mean").amount * demand(scenario.serving).held
    ratio = hit_ratio(scenario.serving, held=held)
    return ratio, [*_uniform(replace(scenario, serving=replace(scenario.serving, prefixes=None), hit_ratio=ratio))]


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
    capacity = serving.kv_tokens // requests.hash_block
    if capacity < 1:
        given, expected = f"{serving.kv_tokens} tokens of cache", f"room for a block of {requests.hash_block} tokens"
        raise InputError("serving", given=given, expected=expected)
    hits, prompts = hit_tokens(requests, capacity).astype(float), np.asarray(requests.input_tokens, float)
    ratio, weight = float(hits.sum() / prompts.sum()), np.full(len(prompts), 1 / len(prompts))
    rows: list[Estimate] = []
    for prefix, cached in (("", hits), ("uncached_", 0 * hits)):
        ttft = prompt_seconds(serving, prompts, cached)
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


def _row(metric: str, amount: float, unit: str, source: str, order: int) -> Rung:
    return rung(metric, amount, unit, source, order, claim=Claim.APPROXIMATION if order else Claim.BOUND)
