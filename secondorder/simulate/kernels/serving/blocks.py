"""The paged cache of the compiled engine: blocks counted, or kept with their identity (``simulate.serving.blocks``)."""

from secondorder.simulate.kernels.compilation import called, inlined
from secondorder.simulate.kernels.serving.state import DOUBLE, NAMELESS, NONE, Engine, State, Workload


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
def remember(state: State, at: int, identity: int) -> None:
    """Give a full block, at this place of ``held``, its identity, behind other blocks with the same one."""
    if state.named[identity] == 0:
        state.named[identity] = -2
        state.held[at] = identity
    else:
        add_double(state, at, identity)


@inlined
def forget(state: State, what: int) -> None:
    """A free block gets a new content."""
    if what >= 0:
        if state.named[what] & 1:
            promote(state, what)
        else:
            state.named[what] = 0
    elif what <= DOUBLE:
        take_out(state, DOUBLE - what)


# Blocks with the same content: all but the first are doubles. Nobody but the request that filled it uses a double.


@called
def add_double(state: State, at: int, identity: int) -> None:
    """The block at this place of ``held`` has the same content as others."""
    e, doubles, d = state.engine[0], state.doubles, state.engine[0].spare - 1
    if d == NONE:
        d = e.doubles
        e.doubles += 1
    else:
        e.spare = doubles[d].after + 1
    doubles[d].identity, doubles[d].place, doubles[d].after, doubles[d].first = identity, NONE, NONE, 0
    state.held[at] = DOUBLE - d
    if not state.named[identity] & 1:
        state.named[identity] += 1
        state.doubled[identity] = d
        return
    other = int(state.doubled[identity])
    while doubles[other].after != NONE:
        other = doubles[other].after
    doubles[other].after = d


@inlined
def drop(state: State, d: int) -> None:
    """A double is no more."""
    state.doubles[d].after = state.engine[0].spare - 1
    state.engine[0].spare = d + 1


@called
def promote(state: State, identity: int) -> None:
    """The first block with this identity is forgotten: its first double takes its place."""
    doubles, d = state.doubles, int(state.doubled[identity])
    state.doubled[identity], more, place = doubles[d].after, doubles[d].after != NONE, doubles[d].place
    if place == NONE:
        state.named[identity], doubles[d].first = more - 2, 1
    else:
        state.named[identity], state.queue[place] = 2 * (place + 1) + more, identity
        drop(state, d)


@called
def take_out(state: State, d: int) -> None:
    """A free double is forgotten."""
    doubles, identity = state.doubles, state.doubles[d].identity
    other = int(state.doubled[identity])
    if other == d:
        state.doubled[identity] = doubles[d].after
        state.named[identity] -= doubles[d].after == NONE
    else:
        while doubles[other].after != d:
            other = doubles[other].after
        doubles[other].after = doubles[d].after
    drop(state, d)


@called
def free_double(state: State, d: int, place: int) -> int:
    """A double loses its user; returns what stands for it at this place of the queue, or NONE if others use it now."""
    doubles, identity = state.doubles, state.doubles[d].identity
    if not doubles[d].first:
        doubles[d].place = place
        return DOUBLE - d
    drop(state, d)
    return lose_user(state, identity, place)


@inlined
def lose_user(state: State, identity: int, place: int) -> int:
    """A block loses a user; returns what stands for it at this place of the queue, or NONE if others use it."""
    left = int(state.named[identity]) + 2
    state.named[identity] = left if left < 0 else left + 2 * (place + 1)
    return NONE if left < 0 else identity


@called
def fill(state: State, work: Workload, k: int, before: int, after: int) -> None:
    """Give blocks their identity that are full once a request's tokens ``before`` to ``after`` are computed."""
    e, slot = state.engine[0], state.slots[k]
    place, full, row = before // e.block_size, after // e.block_size, k * e.width
    shared = min(full, slot.prefix)
    while place < shared:
        identity, end = run_of(work, e, slot.index, place)
        for place in range(place, min(end, shared)):  # noqa: B020
            remember(state, row + place, identity)
            identity += 1
        place += 1
    if slot.preemptions > 0:
        for place in range(place, full):  # noqa: B020
            remember(state, row + place, e.own + row + place)
    slot.filled = max(slot.filled, full)


# A request that was never preempted is the only one to know its own blocks: they are named by being ``filled``.


@called
def name_own(state: State, k: int) -> None:
    """A request is about to be preempted for the first time: it may ask for its own blocks again."""
    e, slot, row = state.engine[0], state.slots[k], k * state.engine[0].width
    for place in range(slot.prefix, slot.filled):
        remember(state, row + place, e.own + row + place)


@called
def disown(state: State, k: int) -> None:
    """Forget the identities of a finished request's own blocks, if it was preempted: nobody will ask for them again."""
    e, slot, row = state.engine[0], state.slots[k], k * state.engine[0].width
    for identity in range(e.own + row + slot.prefix, e.own + row + slot.filled):
        if state.named[identity] != 0:
            state.queue[(state.named[identity] >> 1) - 1] = NAMELESS
            d = int(state.doubled[identity]) if state.named[identity] & 1 else NONE
            while d != NONE:
                state.queue[state.doubles[d].place] = NAMELESS
                after = state.doubles[d].after
                drop(state, d)
                d = after
            state.named[identity] = 0


# Blocks that are found again


@called
def hits(state: State, work: Workload, index: int, k: int, limit: int) -> tuple[int, int]:
    """Leading blocks that are cached, ``limit`` at most, and how many of these are free; ``k``: NONE before a slot."""
    e, count, free = state.engine[0], 0, 0
    shared = min(limit, shared_places(work, e, index))
    while count < shared:
        identity, end = run_of(work, e, index, count)
        for count in range(count, min(end, shared)):  # noqa: B020
            if state.named[identity] == 0:
                return count, free
            free += state.named[identity] > 0
            identity += 1
        count += 1
    while k != NONE and count < limit:
        identity = e.own + k * e.width + count
        if state.named[identity] == 0:
            break
        free += state.named[identity] > 0
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
            take(state, k, place, identity)
            identity += 1
        place += 1
    for place in range(place, count):  # noqa: B020
        take(state, k, place, e.own + k * e.width + place)
    slot.held = count


@inlined
def take(state: State, k: int, place: int, identity: int) -> None:
    e, named = state.engine[0], int(state.named[identity])
    if named > 0:
        state.queue[(named >> 1) - 1] = NONE
        e.free -= 1
        named &= 1
    state.named[identity] = named - 2
    state.held[k * e.width + place] = identity


# The free blocks are a queue in order of reuse, in a ring of 2^k places: a block that leaves the middle leaves a gap.


@called
def take_fresh(state: State, k: int, held: int) -> None:
    """Give a request the blocks that were released longest ago; what they held is forgotten."""
    e, slot = state.engine[0], state.slots[k]
    head, last, row = e.head, state.queue.size - 1, k * e.width
    for place in range(slot.held, held):
        while state.queue[head & last] == NONE:
            head += 1
        forget(state, int(state.queue[head & last]))
        head += 1
        state.held[row + place] = NAMELESS
    e.head = head
    e.free -= held - slot.held


@called
def give_back(state: State, k: int) -> None:
    """Free the blocks that nobody else uses, the last first: at the queue's end, or at its front if unnamed."""
    e, slot = state.engine[0], state.slots[k]
    if e.tail - e.head + slot.held > state.queue.size:
        close_gaps(state)
    last, row, head, tail, unnamed_first = state.queue.size - 1, k * e.width, e.head, e.tail, e.unnamed_first
    free = e.free
    known = slot.filled if slot.preemptions == 0 else slot.prefix  # its own blocks up to there have names
    for place in range(slot.held - 1, -1, -1):
        what = int(state.held[row + place])
        if what >= 0:
            what = lose_user(state, what, tail & last)
        elif what <= DOUBLE:
            what = free_double(state, DOUBLE - what, tail & last)
        elif unnamed_first and (place < slot.prefix or place >= known):
            head -= 1
            free += 1
            state.queue[head & last] = NAMELESS
            continue
        if what != NONE:
            state.queue[tail & last] = what
            tail += 1
            free += 1
    e.head, e.tail, e.free = head, tail, free


@called
def close_gaps(state: State) -> None:
    e, last, kept = state.engine[0], state.queue.size - 1, state.engine[0].head
    for place in range(e.head, e.tail):
        what = int(state.queue[place & last])
        if what != NONE:
            state.queue[kept & last] = what
            if what >= 0:
                state.named[what] = 2 * ((kept & last) + 1) + (state.named[what] & 1)
            elif what <= DOUBLE:
                state.doubles[DOUBLE - what].place = kept & last
            kept += 1
    e.tail = kept
