"""The paged cache of the compiled engine: blocks counted, or kept with their identity (``simulate.blocks``)."""

from secondorder.simulate.kernels.compilation import inlined
from secondorder.simulate.kernels.serving.state import NONE, Cache, Engine, State, Workload


@inlined
def blocks_for(e: Engine, tokens: int) -> int:
    return (tokens + e.block_size - 1) // e.block_size


# The free blocks, in order of reuse


@inlined
def append(e: Engine, cache: Cache, block: int) -> None:
    """A block is free: behind all others."""
    cache.previous[block], cache.next[block] = e.tail, NONE
    if e.tail == NONE:
        e.head = block
    else:
        cache.next[e.tail] = block
    e.tail = block
    e.free += 1


@inlined
def unlink(e: Engine, cache: Cache, block: int) -> None:
    before, after = cache.previous[block], cache.next[block]
    if before == NONE:
        e.head = after
    else:
        cache.next[before] = after
    if after == NONE:
        e.tail = before
    else:
        cache.previous[after] = before
    e.free -= 1


# What blocks hold. A block's content is the number of its identity: from 0 on of a prompt's blocks, from -2
# down of a request's own; NONE is nothing. Blocks with one identity are a ring, in order of their filling.


@inlined
def first_with(cache: Cache, content: int) -> int:
    return cache.shared[content] if content >= 0 else cache.own[-2 - content]


@inlined
def set_first(cache: Cache, content: int, block: int) -> None:
    if content >= 0:
        cache.shared[content] = block
    else:
        cache.own[-2 - content] = block


@inlined
def remember(cache: Cache, block: int, content: int) -> None:
    """A block is full: its identity is known from now on."""
    cache.content[block] = content
    first = first_with(cache, content)
    if first == NONE:
        set_first(cache, content, block)
        cache.same_before[block] = cache.same_after[block] = block
    else:
        last = cache.same_before[first]
        cache.same_after[last], cache.same_before[block] = block, last
        cache.same_after[block], cache.same_before[first] = first, block


@inlined
def forget(cache: Cache, block: int) -> None:
    content = cache.content[block]
    if content == NONE:
        return
    cache.content[block] = NONE
    before, after = cache.same_before[block], cache.same_after[block]
    if after == block:
        set_first(cache, content, NONE)
        return
    cache.same_after[before], cache.same_before[after] = after, before
    if first_with(cache, content) == block:
        set_first(cache, content, after)


@inlined
def identity(state: State, work: Workload, k: int, place: int) -> int:
    """Of the block at this place of the request in slot ``k``."""
    slot, size = state.slots[k], state.engine[0].block_size
    if place >= slot.prefix:
        return -2 - (k * state.cache.width + place)
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


@inlined
def hits(state: State, work: Workload, index: int, k: int, limit: int) -> tuple[int, int]:
    """Leading blocks that are cached, at most ``limit``, and how many of them are free; ``k`` NONE: no slot yet."""
    e, cache = state.engine[0], state.cache
    if not e.prefix_caching:
        return 0, 0
    count = free = 0
    prefix = shared_places(work, e, index)
    while count < limit:
        if count < prefix:
            block = cache.shared[shared_identity(work, e.block_size, index, count)]
        elif k == NONE:
            break
        else:
            block = cache.own[k * cache.width + count]
        if block == NONE:
            break
        count += 1
        if cache.users[block] == 0:
            free += 1
    return count, free


@inlined
def take_hits(state: State, work: Workload, k: int, count: int) -> None:
    e, cache, slot = state.engine[0], state.cache, state.slots[k]
    for place in range(count):
        block = first_with(cache, identity(state, work, k, place))
        if cache.users[block] == 0:
            unlink(e, cache, block)
        cache.users[block] += 1
        cache.held[k * cache.width + place] = block
    slot.held = count


@inlined
def grow(state: State, k: int, held: int) -> None:
    """Give a request fresh blocks until it holds so many."""
    e, cache, slot = state.engine[0], state.cache, state.slots[k]
    if not e.prefix_caching:
        e.free -= held - slot.held
        slot.held = held
        return
    for place in range(slot.held, held):
        block = e.head
        unlink(e, cache, block)
        forget(cache, block)
        cache.users[block] = 1
        cache.held[k * cache.width + place] = block
    slot.held = held


@inlined
def fill(state: State, work: Workload, k: int, before: int, after: int) -> None:
    """A request's tokens ``before`` to ``after`` are computed: full blocks get their identity."""
    e, cache, slot = state.engine[0], state.cache, state.slots[k]
    if not e.prefix_caching:
        return
    full = after // e.block_size
    for place in range(before // e.block_size, full):
        remember(cache, cache.held[k * cache.width + place], identity(state, work, k, place))
    slot.filled = max(slot.filled, full)


@inlined
def release(state: State, k: int) -> None:
    """Take back all the blocks of a request, the last one first."""
    e, cache, slot = state.engine[0], state.cache, state.slots[k]
    if not e.prefix_caching:
        e.free += slot.held
        slot.held = 0
        return
    for place in range(slot.held - 1, -1, -1):
        block = cache.held[k * cache.width + place]
        cache.users[block] -= 1
        if cache.users[block] == 0:
            append(e, cache, block)
    slot.held = 0


@inlined
def disown(state: State, k: int) -> None:
    """A request has ended: nobody will ask for its own blocks again."""
    e, cache, slot = state.engine[0], state.cache, state.slots[k]
    if not e.prefix_caching:
        return
    for place in range(slot.prefix, slot.filled):
        while cache.own[k * cache.width + place] != NONE:
            forget(cache, cache.own[k * cache.width + place])

