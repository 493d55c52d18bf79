"""The scheduler of the compiled engine: the rules of ``simulate.serving.scheduler``, without a clock."""

from secondorder.simulate.kernels.compilation import called, inlined, merged
from secondorder.simulate.kernels.serving.accounts import note_line, note_stalled, note_victim, note_work
from secondorder.simulate.kernels.serving.blocks import (
    blocks_for,
    fill,
    grow,
    hits,
    name_own,
    release,
    remember,
    shared_places,
    take_hits,
)
from secondorder.simulate.kernels.serving.finishes import push, remove
from secondorder.simulate.kernels.serving.state import CHUNKED, NAMELESS, NEVER, NONE, STALLED, Engine, State, Workload
from secondorder.simulate.kernels.serving.urgency import leave_line, sooner, stand_in_line


@inlined
def waiting(e: Engine) -> int:
    return e.preempted + e.arrived - e.taken


@merged
def schedule(state: State, work: Workload, which: int) -> bool:
    """Decide the next step, and keep it as draft ``which``; False if there is nothing to compute."""
    e, draft, again = state.engine[0], state.drafts[which], True
    while again:
        put_together(state, work, which)
        empty = draft.tokens == 0 and draft.decodes == 0
        again = empty and draft.preempted != 0 and not e.following  # the first that could run was its own victim
    if empty:
        return False
    if e.accounts:
        note_line(state, which, waiting(e))
    advance(state, work, which)
    return True


@merged
def put_together(state: State, work: Workload, which: int) -> None:
    """Fill draft ``which`` with what each request gets, running requests first."""
    e, draft = state.engine[0], state.drafts[which]
    e.drafted += 1
    draft.budget, e.cap, e.held = e.budget, cap(e), holds_back(state)
    draft.preempted = draft.prefilled = draft.tokens = draft.pairs = draft.context = draft.ended = draft.works = 0
    draft.decodes = draft.decode_context = draft.admitted = draft.first = draft.finishing = draft.joining = 0
    if all_can_run(state):
        run_all(state, work, which)
    else:
        run_one_by_one(state, work, which)
    if waiting(e) > 0 and not draft.preempted:
        admit(state, work, which)
    if not e.held and not draft.preempted:
        e.saturated = waiting(e) > 0


@inlined
def cap(e: Engine) -> int:
    """How much of a prompt this step may take."""
    requests = e.running + waiting(e)
    if requests <= 1 and not e.cap_alone:
        return NEVER
    return max(e.threshold, e.budget // max(requests, 1)) if e.adaptive else e.threshold


@inlined
def holds_back(state: State) -> bool:
    """Whether this step computes no prefill: too few steps since the last that did, nobody left over, some decode."""
    e = state.engine[0]
    if e.interval == 1 or e.saturated or e.step + 1 - e.last_prefill >= e.interval:
        return False
    decoding = e.running
    for i in range(e.apart):
        decoding -= state.slots[state.entries[i].apart].apart == CHUNKED
    return decoding > 0


# Running requests


@inlined
def wanted(state: State, k: int) -> int:
    slot = state.slots[k]
    if state.engine[0].held and slot.apart == CHUNKED:
        return 0
    return min(slot.prompt + slot.emitted - slot.computed, state.engine[0].cap)


@inlined
def all_can_run(state: State) -> bool:
    """Whether there are blocks for every running request, and the order of service does not matter."""
    e = state.engine[0]
    blocks, budget = state.borders[e.step % e.block_size].count, e.budget - e.decodes
    for i in range(e.apart):
        k = state.entries[i].apart
        tokens = wanted(state, k)
        if e.interval > 1 and tokens > budget:
            return False  # prompts that were held back ask for their part again
        tokens = min(tokens, budget)
        budget -= tokens
        blocks += blocks_for(e, state.slots[k].computed + tokens) - state.slots[k].held
    return blocks <= e.free


@merged
def run_all(state: State, work: Workload, which: int) -> None:
    e, draft = state.engine[0], state.drafts[which]
    draft.decodes, draft.decode_context = e.decodes, e.context
    draft.budget -= e.decodes
    grow_in_step(state)
    for i in range(e.apart):
        k = state.entries[i].apart
        tokens = min(wanted(state, k), draft.budget)
        if tokens > 0:
            compute(state, work, which, k, tokens)
    keep_apart(state)


@inlined
def keep_apart(state: State) -> None:
    """Keep only those on the list of requests apart that still are."""
    e, kept = state.engine[0], 0
    for i in range(e.apart):
        k = state.entries[i].apart
        if state.slots[k].apart:
            state.entries[kept].apart = k
            kept += 1
    e.apart = kept


@called
def run_one_by_one(state: State, work: Workload, which: int) -> None:
    """Go by the rules one request at a time, for a step in which not all can run."""
    e, draft, k, stalled = state.engine[0], state.drafts[which], state.engine[0].oldest, False
    urgent, e.passed_over = e.urgent != 0, 0
    while k != NONE:
        slot = state.slots[k]  # neither apart nor in step: its last token is in the step under way
        if urgent and e.passed_over > 0:
            e.passed_over -= 1
            stalled |= stall(state, which, k)
        elif (slot.joined != NONE or slot.apart) and (draft.budget == 0 or not run_one(state, work, which, k, urgent)):
            break
        k = slot.newer
    while k != NONE:  # these get nothing
        stalled |= stall(state, which, k)
        k = state.slots[k].newer
    if stalled:
        list_apart(state, e.oldest)
    else:
        keep_apart(state)


@inlined
def run_one(state: State, work: Workload, which: int, k: int, urgent: bool) -> bool:
    """Give a running request its tokens; False if there are none for it, and hence none for those after it."""
    e, draft, slot = state.engine[0], state.drafts[which], state.slots[k]
    in_step = slot.joined != NONE
    if in_step:
        synchronise(state, k)
    tokens = min(wanted(state, k), draft.budget)
    if tokens == 0:
        return True  # held back
    if not make_room(state, work, which, k, slot.computed + tokens):
        return e.goes_on != 0
    if urgent:
        write_down(state, k)
    if in_step:
        name(state, k, slot.computed)
        grow(state, k, blocks_for(e, slot.computed + 1))
        draft.budget -= 1
        draft.decodes += 1
        draft.decode_context += slot.computed + 1
    else:
        compute(state, work, which, k, tokens)
    return True


@inlined
def write_down(state: State, k: int) -> None:
    """Keep what a request was before this draft, in case what it is given is taken back."""
    slot, given = state.slots[k], state.given[k]
    given.draft, given.computed = state.engine[0].drafted, slot.computed
    given.decode = slot.emitted > 0 and slot.computed == slot.prompt + slot.emitted - 1


@inlined
def stall(state: State, which: int, k: int) -> bool:
    """Take a request that gets nothing out of step; returns whether it was in step."""
    slot = state.slots[k]
    if slot.joined == NONE:
        return False
    remove(state, k)
    leave_step(state, k)
    name(state, k, slot.computed)
    slot.apart = STALLED
    if state.engine[0].accounts:
        note_stalled(state, which, k)
    return True


@inlined
def list_apart(state: State, k: int) -> None:
    """Rebuild the list of requests apart, from the oldest on, in order of admission."""
    e = state.engine[0]
    e.apart = 0
    while k != NONE:
        if state.slots[k].apart:
            state.entries[e.apart].apart = k
            e.apart += 1
        k = state.slots[k].newer


@inlined
def make_room(state: State, work: Workload, which: int, k: int, tokens: int) -> bool:
    """Free blocks for a running request at the cost of others; False if it is the victim itself."""
    e = state.engine[0]
    while blocks_for(e, tokens) - state.slots[k].held > e.free:
        victim = e.newest
        if e.urgent:
            victim = least_urgent(state, work)
            before = state.slots[victim].admission < state.slots[k].admission
            e.passed_over += e.passes_over and before and state.given[victim].draft != e.drafted
            take_back(state, which, victim)
        preempt(state, work, victim)
        state.drafts[which].preempted = 1
        if e.accounts:
            note_victim(state, which, victim)
        if victim == k:
            return False
    return True


@called
def least_urgent(state: State, work: Workload) -> int:
    """The running request with the highest priority number, of several the latest to arrive."""
    found = k = state.engine[0].oldest
    while k != NONE:
        if sooner(work, state.slots[found].index, state.slots[k].index):
            found = k
        k = state.slots[k].newer
    return found


@called
def take_back(state: State, which: int, victim: int) -> None:
    """Return what a victim was given in this draft to the budget."""
    e, draft, slot, given = state.engine[0], state.drafts[which], state.slots[victim], state.given[victim]
    if given.draft != e.drafted:
        return
    before = given.computed
    if slot.joined != NONE:  # it was given a token, and the block for it
        draft.budget += 1
        draft.decodes -= 1
        draft.decode_context -= slot.computed + 1
        remove(state, victim)
        leave_step(state, victim)
        slot.held = blocks_for(e, slot.computed + 1)
        return
    tokens, brings = slot.computed - before, not slot.apart
    draft.budget += tokens
    if given.decode:
        draft.decodes -= 1
        draft.decode_context -= slot.computed
    else:
        draft.tokens -= tokens
        draft.pairs -= tokens * before + tokens * (tokens + 1) // 2
        draft.context -= slot.computed
        draft.ended -= brings
    if brings:
        slot.emitted -= 1
        forget_outcome(state, which, victim)


@inlined
def forget_outcome(state: State, which: int, victim: int) -> None:
    """Take a victim out of this draft's first tokens, finishes and new requests in step."""
    e, draft = state.engine[0], state.drafts[which]
    row, first, finishing, joining = which * e.slots, 0, 0, 0
    for i in range(draft.first):
        state.outcomes[row + first].first = state.outcomes[row + i].first
        first += state.outcomes[row + i].first != victim
    for i in range(draft.finishing):
        state.outcomes[row + finishing].finishing = state.outcomes[row + i].finishing
        finishing += state.outcomes[row + i].finishing != victim
    for i in range(draft.joining):
        state.entries[joining].joining = state.entries[i].joining
        joining += state.entries[i].joining != victim
    draft.first, draft.finishing, draft.joining = first, finishing, joining


@inlined
def preempt(state: State, work: Workload, victim: int) -> None:
    e, slot = state.engine[0], state.slots[victim]
    if slot.joined != NONE:
        remove(state, victim)
        leave_step(state, victim)
    slot.apart = 0
    leave_running(state, victim)
    if e.prefix_caching and slot.preemptions == 0:
        name_own(state, victim)
    release(state, victim)
    e.blocked = 0
    slot.preemptions += 1
    e.preemptions += 1
    if slot.emitted < slot.output:  # else its last token is in the step under way
        slot.computed = 0
        if e.urgent:
            work.slot[slot.index] = victim
            stand_in_line(e, work, slot.index)
        else:
            state.entries[e.preempted].waiting = victim
        e.preempted += 1


@inlined
def leave_running(state: State, k: int) -> None:
    e, slot = state.engine[0], state.slots[k]
    if slot.older == NONE:
        e.oldest = slot.newer
    else:
        state.slots[slot.older].newer = slot.newer
    if slot.newer == NONE:
        e.newest = slot.older
    else:
        state.slots[slot.newer].older = slot.older
    slot.in_running = 0
    e.running -= 1


# Waiting requests


@merged
def admit(state: State, work: Workload, which: int) -> None:
    e, draft = state.engine[0], state.drafts[which]
    e.blocked = 0
    while waiting(e) > 0 and draft.budget > 0:
        if e.running >= e.max_num_seqs:
            e.blocked = 1
            return
        k, index, length = NONE, e.queued, 0
        if e.urgent:
            k = int(work.slot[index])
            length = state.slots[k].emitted if k != NONE else 0
        elif e.preempted > 0:
            k = state.entries[e.preempted - 1].waiting
            index, length = state.slots[k].index, state.slots[k].emitted
        length += int(work.prompt[index])
        found = free = 0
        if e.prefix_caching:
            found, free = hits(state, work, index, k, (length - 1) // e.block_size)
        tokens = length - found * e.block_size
        if e.held and tokens > 1:
            return
        tokens = min(tokens, e.cap)
        if not e.chunked and tokens > draft.budget:
            return
        now = length if e.whole else found * e.block_size + min(tokens, draft.budget)
        if blocks_for(e, now) - found + free + (e.kept if e.running > 0 else 0) > e.free:
            e.blocked = 1
            return
        if e.urgent:
            leave_line(e, work)
            work.slot[index] = NONE
        if k == NONE:
            k = new_slot(state, work, index)
        else:
            e.preempted -= 1
        start(state, work, which, k, found)
        draft.prefilled |= length - state.slots[k].computed > 1
        compute(state, work, which, k, min(tokens, draft.budget))
        if state.slots[k].apart:
            state.entries[e.apart].apart = k
            e.apart += 1


@inlined
def new_slot(state: State, work: Workload, index: int) -> int:
    """Give a slot to the next request, which was never admitted before."""
    e = state.engine[0]
    e.unused -= 1
    k = state.entries[e.unused].unused
    slot = state.slots[k]
    slot.index, slot.prompt, slot.output = index, int(work.prompt[index]), int(work.output[index])
    slot.emitted = slot.preemptions = slot.held = slot.filled = 0
    slot.cached = slot.joined = NONE
    slot.prefix = shared_places(work, e, index)
    if not e.urgent:
        e.queued = work.behind[index] if work.behind.size > 0 else index + 1
    e.taken += 1
    return k


@inlined
def start(state: State, work: Workload, which: int, k: int, found: int) -> None:
    e, draft, slot = state.engine[0], state.drafts[which], state.slots[k]
    if e.prefix_caching:
        take_hits(state, work, k, found)
    slot.computed = found * e.block_size
    if slot.preemptions == 0:
        slot.cached = slot.computed
        e.hits += slot.computed
    slot.admission = e.admissions
    e.admissions += 1
    slot.older, slot.newer, slot.in_running = e.newest, NONE, 1
    if e.newest == NONE:
        e.oldest = k
    else:
        state.slots[e.newest].newer = k
    e.newest = k
    e.running += 1
    state.outcomes[which * e.slots + draft.admitted].admitted = k
    draft.admitted += 1


# Requests apart


@inlined
def compute(state: State, work: Workload, which: int, k: int, tokens: int) -> None:
    """Compute this many tokens of a request apart; once its last token is computed, it emits one."""
    e, draft, slot = state.engine[0], state.drafts[which], state.slots[k]
    before, after, length = slot.computed, slot.computed + tokens, slot.prompt + slot.emitted
    grow(state, k, blocks_for(e, after))
    if e.prefix_caching:
        fill(state, work, k, before, after)
    if e.accounts:
        note_work(state, which, k, before, tokens)
    slot.computed = after
    draft.prefilled |= slot.apart == CHUNKED
    draft.budget -= tokens
    if slot.emitted > 0 and before == length - 1:
        draft.decodes += 1
        draft.decode_context += after
    else:
        draft.tokens += tokens
        draft.pairs += tokens * before + tokens * (tokens + 1) // 2
        draft.context += after
        draft.ended += after == length
    slot.apart = CHUNKED if after < length else 0
    if slot.apart:
        return
    slot.emitted += 1
    if slot.emitted == 1:
        state.outcomes[which * e.slots + draft.first].first = k
        draft.first += 1
    if slot.emitted < slot.output:
        state.entries[draft.joining].joining = k
        draft.joining += 1
    else:
        state.outcomes[which * e.slots + draft.finishing].finishing = k
        draft.finishing += 1


# Requests in step


@merged
def advance(state: State, work: Workload, which: int) -> None:
    """Carry out the decision: requests in step move on by one token or finish, and new ones join."""
    e, draft = state.engine[0], state.drafts[which]
    if e.prefix_caching and not e.ahead:
        fill_at(state, (e.step + 1) % e.block_size)
    e.context += e.decodes
    e.step += 1
    if draft.prefilled:
        e.last_prefill = e.step
    finish_in_step(state, which)
    for i in range(draft.joining):
        join_step(state, state.entries[i].joining)


@inlined
def grow_in_step(state: State) -> None:
    """Give a fresh block to each request in step whose block is full."""
    e = state.engine[0]
    border = e.step % e.block_size
    if e.prefix_caching:
        grow_at(state, border)
    else:
        e.free -= state.borders[border].count


@called
def grow_at(state: State, border: int) -> None:
    k = state.borders[border].first
    while k != NONE:
        name(state, k, state.slots[k].computed + state.engine[0].step - state.slots[k].joined)
        grow(state, k, state.slots[k].held + 1)
        k = state.slots[k].after


@inlined
def name(state: State, k: int, computed: int) -> None:
    """Name a block that the last token filled: with asynchronous scheduling that token is only known by now."""
    e = state.engine[0]
    if e.prefix_caching and e.ahead and computed % e.block_size == 0:
        name_last(state, k, computed // e.block_size - 1)


@called
def name_last(state: State, k: int, place: int) -> None:
    slot, row = state.slots[k], k * state.engine[0].width
    if slot.preemptions > 0 and state.held[row + place] == NAMELESS:
        remember(state, row + place, state.engine[0].own + row + place)
    slot.filled = max(slot.filled, place + 1)


@called
def fill_at(state: State, border: int) -> None:
    """Give blocks that requests in step fill with this token an identity of the request's own."""
    e, k = state.engine[0], state.borders[border].first
    while k != NONE:
        slot = state.slots[k]
        place = (slot.computed + e.step - slot.joined) // e.block_size
        row = k * e.width
        if slot.preemptions > 0:
            remember(state, row + place, e.own + row + place)
        slot.filled = place + 1
        k = slot.after


@merged
def finish_in_step(state: State, which: int) -> None:
    """Let requests in step leave whose last token was computed; sort all that finish by admission."""
    e, draft = state.engine[0], state.drafts[which]
    while e.finishes > 0 and state.slots[state.entries[0].heap].last < e.step:
        k = state.entries[0].heap
        remove(state, k)
        leave_step(state, k)
        state.outcomes[which * e.slots + draft.finishing].finishing = k
        draft.finishing += 1
    for i in range(1, draft.finishing):
        k, j = state.outcomes[which * e.slots + i].finishing, i
        while (
            j > 0
            and state.slots[state.outcomes[which * e.slots + j - 1].finishing].admission > state.slots[k].admission
        ):
            state.outcomes[which * e.slots + j].finishing = state.outcomes[which * e.slots + j - 1].finishing
            j -= 1
        state.outcomes[which * e.slots + j].finishing = k


@inlined
def join_step(state: State, k: int) -> None:
    e, slot = state.engine[0], state.slots[k]
    slot.joined = e.step
    slot.last = e.step + slot.output - slot.emitted - 1
    e.decodes += 1
    e.context += slot.computed + 1
    slot.border = (e.step - slot.computed) % e.block_size
    state.borders[slot.border].count += 1
    slot.before, slot.after = state.borders[slot.border].last, NONE
    if slot.before == NONE:
        state.borders[slot.border].first = k
    else:
        state.slots[slot.before].after = k
    state.borders[slot.border].last = k
    push(state, k)


@inlined
def leave_step(state: State, k: int) -> None:
    """Take a request, which is no longer in the heap of finishes, out of step."""
    e, slot = state.engine[0], state.slots[k]
    synchronise(state, k)
    state.borders[slot.border].count -= 1
    if slot.before == NONE:
        state.borders[slot.border].first = slot.after
    else:
        state.slots[slot.before].after = slot.after
    if slot.after == NONE:
        state.borders[slot.border].last = slot.before
    else:
        state.slots[slot.after].before = slot.before
    e.decodes -= 1
    e.context -= slot.computed + 1
    slot.joined = NONE


@inlined
def synchronise(state: State, k: int) -> None:
    """Bring the request's own counters up to the steps decided so far."""
    e, slot = state.engine[0], state.slots[k]
    done = e.step - slot.joined
    slot.computed += done
    slot.emitted += done
    slot.joined = e.step
    slot.held = blocks_for(e, slot.computed)
