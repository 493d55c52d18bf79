"""The paged cache of the compiled engine: blocks counted, or kept with their identity (``simulate.blocks``)."""

from secondorder.simulate.kernels.compilation import called, inlined
from secondorder.simulate.kernels.serving.state import NONE, Engine, State, Workload


@inlined
def blocks_for(e: Engine, tokens: int) -> int:
    return (tokens + e.block_size - 1) // e.block_size


@inlined
def grow(state: State, k: int, held: int) -> None:
    """Give a request fresh blocks until it holds so many."""
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
    hashes = work.starts[index + 1] - work.starts[index]
    return min(work.prompt[index] // e.block_size, hashes * work.hash_block // e.block_size)


@inlined
def run_of(work: Workload, e: Engine, index: int, place: int) -> tuple[int, int]:
    """The identity of a place in the shared part of a prompt, and the end of the places that count on from it.

    They are those that end in the same block of the trace.
    """
    theirs = ((place + 1) * e.block_size - 1) // work.hash_block
    earliest = theirs * work.hash_block // e.block_size
    identity = work.identities[work.starts[index] + theirs] + place - earliest
    return identity, (theirs + 1) * work.hash_block // e.block_size


@inlined
def remember(state: State, block: int, identity: int) -> None:
    """A block is full: its identity is known from now on, behind other blocks with the same."""
    blocks, other = state.blocks, state.first[identity]
    blocks[block].content, blocks[block].same = identity, NONE
    if other == NONE:
        state.first[identity] = block
        return
    while blocks[other].same != NONE:
        other = blocks[other].same
    blocks[other].same = block


@inlined
def forget(state: State, block: int) -> None:
    blocks, identity = state.blocks, state.blocks[block].content
    if identity == NONE:
        return
    blocks[block].content = NONE
    other = state.first[identity]
    if other == block:
        state.first[identity] = blocks[block].same
        return
    while blocks[other].same != block:
        other = blocks[other].same
    blocks[other].same = blocks[block].same


@called
def fill(state: State, work: Workload, k: int, before: int, after: int) -> None:
    """A request's tokens ``before`` to ``after`` are computed: full blocks get their identity."""
    e, slot = state.engine[0], state.slots[k]
    place, full, row = before // e.block_size, after // e.block_size, k * e.width
    shared = min(full, slot.prefix)
    while place < shared:
        identity, end = run_of(work, e, slot.index, place)
        for place in range(place, min(end, shared)):  # noqa: B020
            remember(state, state.held[row + place], identity)
            identity += 1
        place += 1
    for place in range(place, full):  # noqa: B020
        remember(state, state.held[row + place], e.own + row + place)
    slot.filled = max(slot.filled, full)


@called
def disown(state: State, k: int) -> None:
    """A request has ended: nobody will ask for its own blocks again."""
    e, slot = state.engine[0], state.slots[k]
    for identity in range(e.own + k * e.width + slot.prefix, e.own + k * e.width + slot.filled):
        while state.first[identity] != NONE:
            forget(state, state.first[identity])


# Blocks that are found again


@called
def hits(state: State, work: Workload, index: int, k: int, limit: int) -> tuple[int, int]:
    """Leading blocks that are cached, at most ``limit``, and how many of them are free; ``k`` NONE: no slot yet."""
    e, count, free = state.engine[0], 0, 0
    shared = min(limit, shared_places(work, e, index))
    while count < shared:
        identity, end = run_of(work, e, index, count)
        for count in range(count, min(end, shared)):  # noqa: B020
            block = state.first[identity]
            if block == NONE:
                return count, free
            free += state.blocks[block].users == 0
            identity += 1
        count += 1
    while k != NONE and count < limit:
        block = state.first[e.own + k * e.width + count]
        if block == NONE:
            break
        free += state.blocks[block].users == 0
        count += 1
    return count, free


@called
def take_hits(state: State, work: Workload, k: int, count: int) -> None:
    """Give a request its first ``count`` blocks, which are cached."""
    e, slot, place = state.engine[0], state.slots[k], 0
    shared = min(count, slot.prefix)
    while place < shared:
        identity, end = run_of(work, e, slot.index, place)
        for place in range(place, min(end, shared)):  # noqa: B020
            take(state, k, place, state.first[identity])
            identity += 1
        place += 1
    for place in range(place, count):  # noqa: B020
        take(state, k, place, state.first[e.own + k * e.width + place])
    slot.held = count


@inlined
def take(state: State, k: int, place: int, block: int) -> None:
    if state.blocks[block].users == 0:
        unlink(state, block)
    state.blocks[block].users += 1
    state.held[k * state.engine[0].width + place] = block


# The free blocks, in order of reuse


@inlined
def unlink(state: State, block: int) -> None:
    e, blocks = state.engine[0], state.blocks
    before, after = blocks[block].previous, blocks[block].next
    if before == NONE:
        e.head = after
    else:
        blocks[before].next = after
    if after == NONE:
        e.tail = before
    else:
        blocks[after].previous = before
    e.free -= 1


@called
def take_fresh(state: State, k: int, held: int) -> None:
    """The blocks that were released longest ago; what they held is forgotten."""
    e, blocks, slot = state.engine[0], state.blocks, state.slots[k]
    block, row = e.head, k * e.width
    for place in range(slot.held, held):
        forget(state, block)
        blocks[block].users = 1
        state.held[row + place] = block
        block = blocks[block].next
    e.head = block
    if block == NONE:
        e.tail = NONE
    else:
        blocks[block].previous = NONE
    e.free -= held - slot.held


@called
def give_back(state: State, k: int) -> None:
    """Blocks that nobody else uses are free, behind all others, the last one first."""
    e, blocks, slot = state.engine[0], state.blocks, state.slots[k]
    tail = e.tail
    for at in range(k * e.width + slot.held - 1, k * e.width - 1, -1):
        block = state.held[at]
        blocks[block].users -= 1
        if blocks[block].users == 0:
            blocks[block].previous, blocks[block].next = tail, NONE
            if tail == NONE:
                e.head = block
            else:
                blocks[tail].next = block
            tail = block
            e.free += 1
    e.tail = tail
