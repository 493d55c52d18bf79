"""The paged cache of the compiled engine: blocks counted, or kept with their identity (``simulate.blocks``)."""

from secondorder.simulate.kernels.compilation import called, inlined
from secondorder.simulate.kernels.serving.state import NONE, Block, Engine, State, Workload


@inlined
def blocks_for(e: Engine, tokens: int) -> int:
    return (tokens + e.block_size - 1) // e.block_size


# The free blocks, in order of reuse


@inlined
def append(e: Engine, blocks: list[Block], block: int) -> None:
    """A block is free: behind all others."""
    blocks[block].previous, blocks[block].next = e.tail, NONE
    if e.tail == NONE:
        e.head = block
    else:
        blocks[e.tail].next = block
    e.tail = block
    e.free += 1


@inlined
def unlink(e: Engine, blocks: list[Block], block: int) -> None:
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


# What blocks hold. A block's content is the number of its identity: from 0 on of a prompt's blocks, from -2
# down of a request's own; NONE is nothing. Blocks with one identity are a ring, in order of their filling.


@inlined
def first_with(state: State, content: int) -> int:
    return state.shared[content] if content >= 0 else state.places[-2 - content].own


@inlined
def set_first(state: State, content: int, block: int) -> None:
    if content >= 0:
        state.shared[content] = block
    else:
        state.places[-2 - content].own = block


@inlined
def remember(state: State, block: int, content: int) -> None:
    """A block is full: its identity is known from now on."""
    blocks = state.blocks
    blocks[block].content = content
    first = first_with(state, content)
    if first == NONE:
        set_first(state, content, block)
        blocks[block].same_before = blocks[block].same_after = block
    else:
        last = blocks[first].same_before
        blocks[last].same_after, blocks[block].same_before = block, last
        blocks[block].same_after, blocks[first].same_before = first, block


@inlined
def forget(state: State, block: int) -> None:
    blocks = state.blocks
    content = blocks[block].content
    if content == NONE:
        return
    blocks[block].content = NONE
    before, after = blocks[block].same_before, blocks[block].same_after
    if after == block:
        set_first(state, content, NONE)
        return
    blocks[before].same_after, blocks[after].same_before = after, before
    if first_with(state, content) == block:
        set_first(state, content, after)


@inlined
def identity(state: State, work: Workload, k: int, place: int) -> int:
    """Of the block at this place of the request in slot ``k``."""
    slot, size = state.slots[k], state.engine[0].block_size
    if place >= slot.prefix:
        return -2 - (k * state.engine[0].width + place)
    return shared_identity(work, size, slot.index, place)


@inlined
def shared_identity(work: Workload, size: int, index: int, place: int) -> int:
    """The trace's block in which the engine's block ends, and which of those that end there it is."""
    theirs = ((place + 1) * size - 1) // work.hash_block
    earliest = (theirs * work.hash_block + size) // size - 1
    return work.identities[work.starts[index] + theirs] + place - earliest


@inlined
def shared_places(work: Workload, e: Engine, index: int) -> int:
    """How many leading blocks of a prompt have an identity that others can share."""
    if work.hash_block == 0:
        return 0
    hashes = work.starts[index + 1] - work.starts[index]
    return min(work.prompt[index] // e.block_size, hashes * work.hash_block // e.block_size)


# What the scheduler asks for


@called
def hits(state: State, work: Workload, index: int, k: int, limit: int) -> tuple[int, int]:
    """Leading blocks that are cached, at most ``limit``, and how many of them are free; ``k`` NONE: no slot yet."""
    e, blocks, count, free = state.engine[0], state.blocks, 0, 0
    prefix = shared_places(work, e, index)
    while count < limit:
        if count < prefix:
            block = state.shared[shared_identity(work, e.block_size, index, count)]
        elif k == NONE:
            break
        else:
            block = state.places[k * e.width + count].own
        if block == NONE:
            break
        count += 1
        free += blocks[block].users == 0
    return count, free


@called
def take_hits(state: State, work: Workload, k: int, count: int) -> None:
    e, blocks, slot = state.engine[0], state.blocks, state.slots[k]
    for place in range(count):
        block = first_with(state, identity(state, work, k, place))
        if blocks[block].users == 0:
            unlink(e, blocks, block)
        blocks[block].users += 1
        state.places[k * e.width + place].held = block
    slot.held = count


@inlined
def grow(state: State, k: int, held: int) -> None:
    """Give a request fresh blocks until it holds so many."""
    if state.engine[0].prefix_caching:
        take_fresh(state, k, held)
    else:
        state.engine[0].free -= held - state.slots[k].held
    state.slots[k].held = held


@called
def take_fresh(state: State, k: int, held: int) -> None:
    """The blocks that were freed longest ago; what they held is forgotten."""
    e, blocks = state.engine[0], state.blocks
    for place in range(state.slots[k].held, held):
        block = e.head
        unlink(e, blocks, block)
        forget(state, block)
        blocks[block].users = 1
        state.places[k * e.width + place].held = block


@called
def fill(state: State, work: Workload, k: int, before: int, after: int) -> None:
    """A request's tokens ``before`` to ``after`` are computed: full blocks get their identity."""
    e, slot = state.engine[0], state.slots[k]
    full = after // e.block_size
    for place in range(before // e.block_size, full):
        remember(state, state.places[k * e.width + place].held, identity(state, work, k, place))
    slot.filled = max(slot.filled, full)


@inlined
def release(state: State, k: int) -> None:
    """Take back all the blocks of a request."""
    if state.engine[0].prefix_caching:
        give_back(state, k)
    else:
        state.engine[0].free += state.slots[k].held
    state.slots[k].held = 0


@called
def give_back(state: State, k: int) -> None:
    """Blocks that nobody else uses are free, the last one first."""
    e, blocks = state.engine[0], state.blocks
    for place in range(state.slots[k].held - 1, -1, -1):
        block = state.places[k * e.width + place].held
        blocks[block].users -= 1
        if blocks[block].users == 0:
            append(e, blocks, block)


@called
def disown(state: State, k: int) -> None:
    """A request has ended: nobody will ask for its own blocks again."""
    e, slot = state.engine[0], state.slots[k]
    for place in range(slot.prefix, slot.filled):
        while state.places[k * e.width + place].own != NONE:
            forget(state, state.places[k * e.width + place].own)
