"""Splits each request's time into causes while the compiled engine runs: the integers of ``simulate.serving.accounts``.

A request's row of parts changes when the request is first seen, admitted, prefilled, preempted and done, and not in
the steps in which it only waits or decodes. For such a time, a running total of the engine is subtracted from the row
at the beginning and added at the end. A draft lists the requests that are computed one by one, and those that lost
their blocks.
"""

from secondorder.arrays import Integers
from secondorder.simulate.kernels.compilation import compiled, inlined
from secondorder.simulate.kernels.serving.state import NONE, Engine, Results, Slot, State, Workload
from secondorder.simulate.kernels.step_seconds import StepTimes, duration
from secondorder.simulate.serving.causes import Cause

STEP_UNDER_WAY, SLOTS, CACHE, BUDGET, OWN_PREFILL, OWN_DECODE, BATCH, OTHER_PREFILL, PREEMPTED, RECOMPUTED = map(
    int, Cause
)
CAUSES = len(Cause)
WAITING, APART, IN_STEP, EVICTED = range(4)
"""What a request is doing: waiting to be admitted, running apart, decoding in step with others, or preempted."""


# What the scheduler notes of a step


@inlined
def note_work(state: State, which: int, k: int, before: int, tokens: int) -> None:
    """Note that a request apart is given these tokens."""
    draft, slot = state.drafts[which], state.slots[k]
    line, length = state.outcomes[which * state.engine[0].slots + draft.works], slot.prompt + slot.emitted
    line.worked, line.before, line.tokens = k, before, tokens
    line.ended = before + tokens == length
    line.decodes = slot.emitted > 0 and before == length - 1
    line.answers = line.ended and slot.emitted == 0
    line.joins = line.ended and slot.emitted + 1 < slot.output
    draft.works += 1


@inlined
def note_victim(state: State, which: int, k: int) -> None:
    """Note that a request was preempted, unless its last token is in the step under way: then it only ends."""
    draft, slot = state.drafts[which], state.slots[k]
    if slot.emitted < slot.output:
        state.outcomes[which * state.engine[0].slots + draft.victims].victim = k
        draft.victims += 1


@inlined
def note_stalled(state: State, which: int, k: int) -> None:
    """Note that a request in step gets nothing in this step: from here on it is apart."""
    draft = state.drafts[which]
    state.outcomes[which * state.engine[0].slots + draft.stalled].stalled = k
    draft.stalled += 1


@inlined
def note_line(state: State, which: int, waiting: int) -> None:
    """Note who has arrived when the step is decided, and what the first in line waits for."""
    e, draft = state.engine[0], state.drafts[which]
    draft.seen, draft.holding = e.arrived, NONE
    if waiting > 0:
        if draft.preempted:
            draft.holding = CACHE
        elif e.blocked:
            draft.holding = SLOTS if e.running >= e.max_num_seqs else CACHE
        else:
            draft.holding = BUDGET


# A step is computed


@inlined
def begin_step(state: State, work: Workload, results: Results, which: int) -> None:
    """Begin a step that was decided when ``draft.seen`` requests had arrived."""
    e, draft = state.engine[0], state.drafts[which]
    see(e, work, results, draft.seen, e.now)
    e.holding = draft.holding
    for i in range(draft.stalled):
        k = state.outcomes[which * e.slots + i].stalled
        settle(state, results, k, e.steps)
        state.slots[k].account, state.slots[k].crowded = APART, e.crowded
    draft.stalled = 0
    for i in range(draft.victims):
        k = state.outcomes[which * e.slots + i].victim
        settle(state, results, k, e.steps)
        slot = state.slots[k]
        slot.mark, slot.account = max(slot.mark, slot.context), EVICTED


@inlined
def see(e: Engine, work: Workload, results: Results, until: int, now: int) -> None:
    """Begin the accounts of the requests before ``until``: the step that begins now was decided with them there."""
    while e.seen < until:
        row = results.parts[e.seen]
        row[STEP_UNDER_WAY] = now - work.arrival[e.seen]
        row[SLOTS], row[CACHE], row[BUDGET] = -e.for_slots, -e.for_cache, -e.for_budget
        e.seen += 1


@inlined
def end_step(state: State, times: StepTimes, results: Results, which: int, lasts: int) -> None:
    """End the step, which took ``lasts``."""
    e, draft = state.engine[0], state.drafts[which]
    decoding, crowded = lasts, e.crowded
    if draft.tokens > 0:
        D, K = draft.decodes, draft.decode_context  # noqa: N806
        decoding = timed(e, times, 0, 0, 0, D, K, D) if D > 0 else 0
        e.delay += lasts - decoding
    if draft.victims > 0:
        e.crowded += lasts
        draft.victims = 0
    for i in range(draft.works):
        split(state, times, results, which, i, lasts, decoding, crowded)
    hold(e, lasts)


@inlined
def split(
    state: State, times: StepTimes, results: Results, which: int, i: int, lasts: int, decoding: int, crowded: int
) -> None:
    """Split a step among the causes of one request that is computed apart."""
    e, line = state.engine[0], state.outcomes[which * state.engine[0].slots + i]
    slot, tokens, before = state.slots[line.worked], line.tokens, line.before
    row = results.parts[slot.index]
    begin_work(e, slot, row, e.now - lasts, crowded)
    if before < slot.mark:
        row[RECOMPUTED] += lasts
    else:
        if line.decodes:
            own, shared = alone(results, before, 1), decoding
            row[OWN_DECODE] += own
        else:
            own, shared = prefill(state, times, which, tokens, before, line.ended, lasts)
            row[OWN_PREFILL] += own
        row[BATCH] += shared - own
        row[OTHER_PREFILL] += lasts - shared
    slot.context, slot.since, slot.crowded = before + tokens, e.now, e.crowded
    if line.answers:
        for cause in range(CAUSES):
            results.first_parts[slot.index, cause] = row[cause]
    if line.joins:
        slot.account, slot.from_step, slot.delay = IN_STEP, e.steps + 1, e.delay


@inlined
def begin_work(e: Engine, slot: Slot, row: Integers, begun: int, crowded: int) -> None:
    """Count what a request did until the beginning of a step that has tokens for it."""
    if slot.account == WAITING:
        row[SLOTS] += e.for_slots
        row[CACHE] += e.for_cache
        row[BUDGET] += e.for_budget
    elif slot.account == EVICTED:
        row[PREEMPTED] += begun - slot.since
    else:
        stall(row, slot.since, slot.crowded, begun, crowded)
    slot.account = APART


@inlined
def prefill(
    state: State, times: StepTimes, which: int, tokens: int, before: int, ended: int, lasts: int
) -> tuple[int, int]:
    """How long a step would last with this part of a prompt alone, and how long with the decodes too."""
    e, draft = state.engine[0], state.drafts[which]
    pairs, after, D = tokens * before + tokens * (tokens + 1) // 2, before + tokens, draft.decodes  # noqa: N806
    own = timed(e, times, tokens, pairs, after, 0, 0, ended)
    if tokens == draft.tokens:
        return own, lasts
    return own, timed(e, times, tokens, pairs, after, D, draft.decode_context, D + ended)


@inlined
def end_request(state: State, results: Results, k: int, steps: int) -> None:
    """Close the account of a request that finishes with the last of this many steps."""
    settle(state, results, k, steps)
    state.slots[k].mark, state.slots[k].account = 0, WAITING


@inlined
def settle(state: State, results: Results, k: int, steps: int) -> None:
    """Count what a request did up to now: the steps in which it decoded, or the steps that had nothing for it."""
    e, slot = state.engine[0], state.slots[k]
    row = results.parts[slot.index]
    if slot.account == IN_STEP:
        decoded, delay = steps - slot.from_step, e.delay - slot.delay
        own = alone(results, slot.context, decoded)
        row[OWN_DECODE] += own
        row[OTHER_PREFILL] += delay
        row[BATCH] += e.now - slot.since - delay - own
        slot.context += decoded
    else:
        stall(row, slot.since, slot.crowded, e.now, e.crowded)
    slot.since = e.now


@inlined
def stall(row: Integers, since: int, before: int, now: int, crowded: int) -> None:
    """Count steps that had nothing for a running request, for lack of blocks or of budget."""
    if now > since:
        row[CACHE] += crowded - before
        row[BUDGET] += now - since - (crowded - before)


# A leap over several


@inlined
def leap_keeping_ends(e: Engine, times: StepTimes, results: Results, steps: int) -> int:
    """When a leap over ``steps`` steps ends; keeps the end of each."""
    now, context = e.now, e.context
    for step in range(steps):
        now += duration(times, 0, 0, 0, e.decodes, context, e.decodes)
        results.ends[step] = now
        context += e.decodes
    return now


@inlined
def see_in_leap(e: Engine, work: Workload, results: Results, start: int, steps: int) -> None:
    """Begin the accounts of those who arrive in a leap, at the end of the step then under way; not of its last step."""
    at, step = start, 0
    while e.seen < e.arrived and step + 1 < steps:
        if results.ends[step] < work.arrival[e.seen]:
            step += 1
        else:
            hold(e, results.ends[step] - at)
            at = results.ends[step]
            see(e, work, results, e.seen + 1, at)
    hold(e, e.now - at)


# Durations


@inlined
def hold(e: Engine, lasts: int) -> None:
    """Add this time to what the first in line waits for: all who wait, wait for the same."""
    if e.holding == SLOTS:
        e.for_slots += lasts
    elif e.holding == CACHE:
        e.for_cache += lasts
    elif e.holding == BUDGET:
        e.for_budget += lasts


@inlined
def alone(results: Results, context: int, steps: int) -> int:
    """Time of this many decoding steps of one sequence alone, after ``context`` tokens."""
    return int(results.alone[context + steps] - results.alone[context])


@inlined
def timed(e: Engine, times: StepTimes, P: int, A: int, C: int, D: int, K: int, S: int) -> int:
    """Time of a hypothetical step; if the model has no time for it, the engine stops."""
    lasts = duration(times, P, A, C, D, K, S)
    if lasts < 0:
        e.failed = 1
        e.failed_tokens, e.failed_decodes, e.failed_context = P, D, K
    return lasts


@compiled
def decoding_alone(times: StepTimes, lowest: int, sums: Integers) -> int:
    """Sum up the times of steps in which one sequence decodes, from context ``lowest`` on.

    Returns the first context for which the model has no time, or ``NONE``.
    """
    for context in range(lowest, sums.size):
        lasts = duration(times, 0, 0, 0, 1, context, 1)
        if lasts < 0:
            return context
        sums[context] = sums[context - 1] + lasts
    return NONE
