"""Chunked prefill: a small budget keeps gaps between tokens even; a large budget shortens the time to first token.

A step of budget ``b`` beside ``D`` decodes takes ``b - D`` prompt tokens and lasts ``T(b - D, D)``; that is the
longest gap that a decoding sequence sees. A prompt of ``I`` tokens takes ``ceil(I / (b - D))`` such steps, each of
which reads the weights, and the cache of the chunks before it, again. Without chunks the gap is the whole prompt's
step.
"""

from dataclasses import replace

import numpy as np

from secondorder.analytic.arguments import Floats, non_negative, one, one_whole
from secondorder.analytic.serving.idle import prefill_seconds, weighted_quantile
from secondorder.analytic.serving.mean_value import MeanValue, mean_value
from secondorder.analytic.serving.prefill import PrefillQueue
from secondorder.analytic.serving.replica import Replica
from secondorder.analytic.serving.saturation import demand, saturation
from secondorder.answers.answer import Answer, ranked
from secondorder.answers.estimate import Claim, Rung, rung
from secondorder.errors import InfeasibleError, InputError, Unstable
from secondorder.quantities import pretty, si
from secondorder.scenarios.chunked_prefill import ChunkedPrefill
from secondorder.scenarios.serving import Serving

ALONE, STEPS = "idle engine", "steps of a prompt beside the mean decodes"
QUEUE, BALANCE = "bulk prefill queue (after Inoue 2021)", "balance of slots and tokens"


def time_to_first_token(serving: Serving, prompt: float, *, budget: int, decodes: float = 0.0) -> float:
    """Time in s of the steps of a prompt, ``sum_k T(chunk_k after the chunks before it, D)``; no waiting.

    *Exact* for the step time while ``decodes`` sequences decode beside it. Errors: ``InputError`` where they leave no
    room in the budget.
    """
    changed = replace(serving.pinned, max_num_batched_tokens=_checked(budget, decodes))
    context = decodes * demand(serving).decode_context
    return float(prefill_seconds(changed, np.array([one("prompt", prompt)]), decodes, context)[0])


def longest_gap(serving: Serving, prompt: float, *, budget: int | None, decodes: float) -> float:
    """The longest step in s that a decoding sequence sees while one prompt, and no other, is computed.

    ``max_k T(chunk_k after the chunks before it, D)``. ``budget`` None is no chunking: one step for all of it.
    *Exact* for the step time. Errors: as ``time_to_first_token``.
    """
    tokens = one("prompt", prompt)
    room = tokens if budget is None else min(tokens, _checked(budget, decodes) - decodes)
    before = np.arange(int(np.ceil(tokens / room))) * room
    chunk = np.minimum(tokens - before, room)
    pairs, ends = chunk * before + chunk * (chunk + 1) / 2, before + chunk >= tokens
    context, zero = decodes * demand(serving).decode_context, 0 * chunk
    times = serving.step_seconds(chunk, pairs, before + chunk, zero + decodes, zero + context, zero + decodes + ends)
    return float(np.max(times))


def budget_for(serving: Serving, prompt: float, *, itl: float, decodes: float) -> int:
    """The largest budget, in tokens, with which ``longest_gap`` stays within ``itl`` (s).

    By bisection: a step grows with its tokens. *Exact* for the step time. ``InfeasibleError`` where even a prompt
    token a step is too slow.
    """
    most, low = one("itl", itl), int(np.floor(non_negative("decodes", decodes))) + 1
    high = low + int(np.ceil(one("prompt", prompt)))
    if longest_gap(serving, prompt, budget=low, decodes=decodes) > most:
        least = longest_gap(serving, prompt, budget=low, decodes=decodes)
        raise InfeasibleError(
            f"{serving.name}: a step of {decodes:.3g} decodes and one prompt token takes {least * 1e3:.3g} ms, "
            f"{most * 1e3:.3g} ms are allowed; lower the rate or add replicas"
        )
    if longest_gap(serving, prompt, budget=high, decodes=decodes) <= most:
        return high
    while high - low > 1:
        middle = (low + high) // 2
        if longest_gap(serving, prompt, budget=middle, decodes=decodes) <= most:
            low = middle
        else:
            high = middle
    return low


def gap_law(serving: Serving, *, rate: float, decodes: float) -> tuple[Floats, Floats]:
    """Law of the gaps between tokens with a constant number of decodes: step times (s) and how often each occurs.

    The steps of ``PrefillQueue``; its domain. ``Unstable`` where prompts arrive faster than the budget takes them.
    """
    number = np.array([decodes])
    context = number * demand(serving).decode_context
    queue = PrefillQueue(scenario=serving, rate=rate, decodes=number, decode_context=context)
    if queue.fill[0] >= 1:
        raise Unstable(f"{serving.name}: more prompt tokens arrive in a step than its budget; raise the budget")
    law = queue.backlog[0]
    return queue.step_seconds[0, np.minimum(np.arange(len(law)), queue.cap)], law


def solve_chunked_prefill(scenario: ChunkedPrefill) -> Answer:
    """What the budget of a step does to a service at its load.

    ``ttft_mean`` without waiting, alone (order 0) and beside the mean decodes (order 1); ``itl_mean``, ``itl_p99``
    (order 2: over all tokens) and ``itl_max``, the longest step that one prompt of the longest kind makes;
    ``unchunked_itl_max`` the same without chunks; ``prefill_share`` of the decode time; ``saturation_rate`` and
    ``utilisation``; ``budget_for_itl``, where an ``itl`` is given, the largest ``max_num_batched_tokens`` that keeps
    it. Errors: ``Unstable`` at or past saturation, ``InfeasibleError`` where no budget keeps the ``itl``.
    """
    serving = replace(scenario.serving, name=scenario.name)
    serving.check_law()
    rate, limit = serving.rate, saturation(serving)
    replica = Replica.of(serving, rate, limit)  # Unstable past saturation
    try:
        means = mean_value(serving, rate)
    except Unstable:  # near saturation means alone may have no fixed point where the queue has one
        means = None
    decodes = max(1.0, means.decodes if means else replica.decoding)
    longest = float(serving.offered.max_input)
    prompts, _, weight = (np.asarray(part, float) for part in serving.offered.grid())
    budget = serving.settings.max_num_batched_tokens
    note, outside = f"beside {decodes:.3g} decodes", "; ".join(replica.outside)
    rows = [
        _row("ttft_mean", float(prefill_seconds(serving, prompts) @ weight), "s", ALONE, 0),
        *(_means(means, note, outside) if means else ()),
        _row("itl_max", longest_gap(serving, longest, budget=budget, decodes=decodes), "s", STEPS, 1, note),
        _row("unchunked_itl_max", longest_gap(serving, longest, budget=None, decodes=decodes), "s", STEPS, 1, note),
    ]
    steps, share = gap_law(serving, rate=rate, decodes=decodes)
    rows += [
        _row("itl_mean", float(steps @ share), "s", QUEUE, 2, note, outside),
        _row("itl_p99", weighted_quantile(steps, share, 0.99), "s", QUEUE, 2, note, outside),
        _row("saturation_rate", limit.rate, "request/s", BALANCE, 2, limit.note, limit.outside),
        _row("utilisation", rate / limit.rate, "", BALANCE, 2, limit.note, limit.outside),
    ]
    if scenario.itl is not None:
        rows.append(_widest(serving, longest, si(scenario.itl), decodes))
    how = f"closed forms at {rate:.4g} request/s, {rate / limit.rate:.0%} of saturation; {budget:,} tokens a step"
    return Answer(scenario=scenario.name, estimates=ranked(rows), how=how)


def _means(means: MeanValue, note: str, outside: str) -> list[Rung]:
    return [
        _row("ttft_mean", means.ttft, "s", STEPS, 1, f"{note}, without a wait"),
        _row("itl_mean", means.tpot, "s", STEPS, 1, note, outside),
        _row("prefill_share", means.prefill_share, "", STEPS, 1, note),
    ]


def _widest(serving: Serving, prompt: float, itl: float, decodes: float) -> Rung:
    """The largest budget that keeps the gap, and what it is."""
    found = budget_for(serving, prompt, itl=itl, decodes=decodes)
    told = f"the largest max_num_batched_tokens that keeps gaps within {pretty(itl, 's')}, beside {decodes:.3g} decodes"
    if longest_gap(serving, prompt, budget=None, decodes=decodes) <= itl:
        told = f"takes the longest prompt in one step, within {pretty(itl, 's')} beside {decodes:.3g} decodes"
    return _row("budget_for_itl", float(found), "token", STEPS, 1, told)


def _checked(budget: int, decodes: float) -> int:
    tokens = one_whole("budget", budget)
    if tokens <= decodes:
        raise InputError("budget", given=tokens, expected=f"more than the {decodes:.4g} decodes of a step")
    return tokens


def _row(metric: str, amount: float, unit: str, source: str, order: int, note: str = "", outside: str = "") -> Rung:
    return rung(metric, amount, unit, source, order, note, outside, Claim.APPROXIMATION if order else Claim.BOUND)
