"""The paged cache of the compiled engine: blocks counted, or kept with their identity (``simulate.serving.blocks``)."""

from secondorder.simulate.kernels.compilation import called, inlined
from secondorder.simulate.kernels.serving.state import LAST, NONE, Engine, State, Workload


@inlined
def blocks_for(e: Engine, tokens: int) -> int:
    return (tokens + e.block_size - 1) // e.block_size


@inlined
def grow(state: State, k: int, held: int) -> None:
    """Give a request fresh blocks until it holds this many."""
    if state.engine[0].prefix_caching:
        take_fresh(state, k, held)
    else:
        state.engine[0].free -= held - state.slots[k].held
    state.slots[k].held = held


@inlined
def release(state: State, k: int) -> None:
    """Take back all the blocks of a request."""
    if state.engine[0].prefix_caching:
        give_back(state, k)
    else:
        state.engine[0].free += state.slots[k].held
    state.slots[k].held = 0


# The identity of a block is a number: those of prompts' blocks first, then those of the slots' own blocks.


@inlined
def shared_places(work: Workload, e: Engine, index: int) -> int:
    """How many leading blocks of a prompt have an identity that others can share."""
    if work.hash_block == 0:
        return 0
    hashes = int(work.starts[index + 1] - work.starts[index])
    return min(int(work.prompt[index]) // e.block_size, hashes * work.hash_block // e.block_size)


@inlined
def run_of(work: Workload, e: Engine, index: int, place: int) -> tuple[int, int]:
    """The identity of a place in the shared part of a prompt, and where the run of consecutive identities ends.

    A run has the places that end in the same block of the trace.
    """
    theirs = ((place + 1) * e.block_size - 1) // work.hash_block
    earliest = theirs * work.hash_block // e.block_size
    identity = int(work.identities[work.starts[index] + theirs]) + place - earliest
    return identity, (theirs + 1) * work.hash_block // e.block_size


@inlined
def cached(state: State, identity: int) -> int:
    """The first block with this identity, or NONE: a block that was forgotten since no longer has it."""
    block = int(state.first[identity]) - 1
    return block if block != NONE and state.blocks[block].content == identity else NONE


@inlined
def remember(state: State, block: int, identity: int) -> None:
    """Give a full block its identity, behind other blocks with the same one."""
    blocks, other = state.blocks, cached(state, identity)
    blocks[block].content, blocks[block].same = identity, NONE
    if other == NONE:
        state.first[identity] = block + 1
        return
    while blocks[other].same >= 0:
        other = blocks[other].same
    blocks[other].same, blocks[block].same = block, LAST


@inlined
def forget(state: State, block: int) -> None:
    if state.blocks[block].content != NONE and state.blocks[block].same != NONE:
        take_out(state, block)
    state.blocks[block].content = NONE


@called
def take_out(state: State, block: int) -> None:
    """Take a block out of the chain of blocks with its identity."""
    blocks, identity = state.blocks, state.blocks[block].content
    other = int(state.first[identity]) - 1
    if other == block:
        state.first[identity] = max(blocks[block].same, NONE) + 1
        return
    while blocks[other].same != block:
        other = blocks[other].same
    blocks[other].same = blocks[block].same


@called
def fill(state: State, work: Workload, k: int, before: int, after: int) -> None:
    """Give blocks their identity that are full once a request's tokens ``before`` to ``after`` are computed."""
    e, slot = state.engine[0], state.slots[k]
    place, full, row = before // e.block_size, after // e.block_size, k * e.width
    shared = min(full, slot.prefix)
    while place < shared:
        identity, end = run_of(work, e, slot.index, place)
        for place in range(place, min(end, shared)):  # noqa: B020
            remember(state, int(state.held[row + place]), identity)
            identity += 1
        place += 1
    if slot.preemptions > 0:
        for place in range(place, full):  # noqa: B020
            remember(state, int(state.held[row + place]), e.own + row + place)
    slot.filled = max(slot.filled, full)


# A request that was never preempted is the only one to know its own blocks: they are named by being ``filled``.


@called
def name_own(state: State, k: int) -> None:
    """A request is about to be preempted for the first time: it may ask for its own blocks again."""
    e, slot, row = state.engine[0], state.slots[k], k * state.engine[0].width
    for place in range(slot.prefix, slot.filled):
        remember(state, int(state.held[row + place]), e.own + row + place)


@called
def disown(state: State, k: int) -> None:
    """Forget the identities of a finished request's own blocks, if it was preempted: nobody will ask for them again."""
    e, slot, row = state.engine[0], state.slots[k], k * state.engine[0].width
    for identity in range(e.own + row + slot.prefix, e.own + row + slot.filled):
        while cached(state, identity) != NONE:
            forget(state, cached(state, identity))


# Blocks that are found again


@called
def hits(state: State, work: Workload, index: int, k: int, limit: int) -> tuple[int, int]:
    """Leading blocks that are cached, ``limit`` at most, and how many of these are free; ``k``: NONE before a slot."""
    e, count, free = state.engine[0], 0, 0
    shared = min(limit, shared_places(work, e, index))
    while count < shared:
        identity, end = run_of(work, e, index, count)
        for count in range(count, min(end, shared)):  # noqa: B020
            block = cached(state, identity)
            if block == NONE:
                return count, free
            free += state.blocks[block].users == 0
            identity += 1
        count += 1
    while k != NONE and count < limit:
        block = cached(state, e.own + k * e.width + count)
        if block == NONE:
            break
        free += state.blocks[block].users == 0
        count += 1
    return count, free


@called
def take_hits(state: State, work: Workload, k: int, count: int) -> None:
    """Give a request its first ``count`` blocks from the cache."""
    e, slot, place = state.engine[0], state.slots[k], 0
    shared = min(count, slot.prefix)
    while place < shared:
        identity, end = run_of(work, e, slot.index, place)
        for place in range(place, min(end, shared)):  # noqa: B020
            take(state, k, place, int(state.first[identity]) - 1)
            identity += 1
        place += 1
    for place in range(place, count):  # noqa: B020
        take(state, k, place, int(state.first[e.own + k * e.width + place]) - 1)
    slot.held = count


@inlined
def take(state: State, k: int, place: int, block: int) -> None:
    e, blocks = state.engine[0], state.blocks
    if blocks[block].users == 0:
        state.queue[blocks[block].queued] = NONE
        e.free -= 1
    blocks[block].users += 1
    state.held[k * e.width + place] = block


# The free blocks are a queue in order of reuse, in a ring of 2^k places: a block that leaves the middle leaves a gap.


@called
def take_fresh(state: State, k: int, held: int) -> None:
    """Give a request the blocks that were released longest ago; what they held is forgotten."""
    e, blocks, slot = state.engine[0], state.blocks, state.slots[k]
    head, last, row = e.head, state.queue.size - 1, k * e.width
    for place in range(slot.held, held):
        while state.queue[head & last] == NONE:
            head += 1
        block = int(state.queue[head & last])
        head += 1
        forget(state, block)
        blocks[block].users = 1
        state.held[row + place] = block
    e.head = head
    e.free -= held - slot.held


@called
def give_back(state: State, k: int) -> None:
    """Free the blocks that nobody else uses, the last first: at the queue's end, or at its front if unnamed."""
    e, blocks, slot = state.engine[0], state.blocks, state.slots[k]
    if e.tail - e.head + slot.held > state.queue.size:
        close_gaps(state)
    last, row, tail, free, unnamed_first = state.queue.size - 1, k * e.width, e.tail, e.free, e.unnamed_first
    known = slot.filled if slot.preemptions == 0 else slot.prefix  # its own blocks up to there have names
    for place in range(slot.held - 1, -1, -1):
        block = int(state.held[row + place])
        users = blocks[block].users - 1
        blocks[block].users = users
        if users > 0:
            continue
        free += 1
        if unnamed_first and blocks[block].content == NONE and (place < slot.prefix or place >= known):
            e.head -= 1
            state.queue[e.head & last], blocks[block].queued = block, e.head & last
        else:
            state.queue[tail & last], blocks[block].queued = block, tail & last
            tail += 1
    e.tail, e.free = tail, free


@called
def close_gaps(state: State) -> None:
    e, last, kept = state.engine[0], state.queue.size - 1, state.engine[0].head
    for place in range(e.head, e.tail):
        block = int(state.queue[place & last])
        if block != NONE:
            state.queue[kept & last], state.blocks[block].queued = block, kept & last
            kept += 1
    e.tail = kept
