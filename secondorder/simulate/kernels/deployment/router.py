"""Picks a replica as ``simulate.deployment.router`` does: one function a rule."""

import numpy as np

from secondorder.simulate.kernels.compilation import called, inlined
from secondorder.simulate.kernels.deployment.state import BITS, CHOICES, FIXED, PREFIX, Fleet, Memory, Router
from secondorder.simulate.kernels.deployment.tournament import change, final, place_of
from secondorder.simulate.kernels.serving.blocks import run_of, shared_places
from secondorder.simulate.kernels.serving.state import NONE, Engine, Small, Workload


@inlined
def tell(fleet: Fleet, router: Router, number: int) -> None:
    """The router learns a replica's load."""
    replica = fleet.replicas[number]
    change(router.loads, number, router.weight * (replica.prompts if router.by_prompts else replica.outstanding))


@called
def ask(fleet: Fleet, router: Router, work: Workload, engine: Engine, index: int) -> int:
    """Move the replicas that a request may be sent to, to the front of ``order``; returns how many."""
    clock, order = fleet.clock[0], router.order
    clock.asked = 1
    if router.kind == FIXED:
        order[0] = router.fixed[index]
    elif router.kind == CHOICES:
        choose(fleet, router)
        clock.asked = router.choices
        if clock.interval > 0:
            order[0], clock.asked = among(fleet, router), 1
    elif router.kind == PREFIX:
        order[0] = best_match(fleet, router, work, engine, index)
    else:
        order[0] = least(fleet, router)
    return clock.asked


@inlined
def below(fleet: Fleet, router: Router, count: int) -> int:
    """A random whole number from 0 to ``count - 1``, all equally likely."""
    clock = fleet.clock[0]
    clock.drawn += 1
    return int(count * router.chance[clock.drawn - 1])


@inlined
def choose(fleet: Fleet, router: Router) -> None:
    """Move some replicas, picked at random, to the front of ``order``."""
    order, replicas = router.order, fleet.clock[0].replicas
    for place in range(replicas):
        order[place] = place
    for place in range(router.choices):
        other = place + below(fleet, router, replicas - place)
        kept = order[place]
        order[place] = order[other]
        order[other] = kept


@inlined
def among(fleet: Fleet, router: Router) -> int:
    """The replica with the lowest load among those that are asked; of several, one at random."""
    asked, order, tied = fleet.clock[0].asked, router.order, 1
    lowest = router.loads.numbers[order[0]]
    for place in range(1, asked):
        load = router.loads.numbers[order[place]]
        tied = 1 if load < lowest else tied + (load == lowest)
        lowest = min(lowest, load)
    skipped = below(fleet, router, tied) if tied > 1 else 0
    for place in range(asked):
        if router.loads.numbers[order[place]] == lowest:
            if skipped == 0:
                return int(order[place])
            skipped -= 1
    return NONE


@inlined
def least(fleet: Fleet, router: Router) -> int:
    """The replica with the lowest load of all; of several, one at random."""
    lowest, tied = final(router.loads)
    return place_of(router.loads, lowest, below(fleet, router, tied) if tied > 1 else 0)


# Prefixes


@inlined
def best_match(fleet: Fleet, router: Router, work: Workload, engine: Engine, index: int) -> int:
    """The replica with the lowest load less matching prefix; the prompt's blocks are noted as sent there."""
    blocks = read_prefix(router, work, engine, index)
    known = blocks > 0 and match(fleet, router, blocks)
    found = least_of(fleet, router, engine.block_size) if known else least(fleet, router)
    for place in range(blocks - 1, -1, -1):  # the end of a prefix is forgotten before its beginning
        remember(fleet, router, found, int(router.prefix[place]))
    return found


@inlined
def least_of(fleet: Fleet, router: Router, block_size: int) -> int:
    """The replica with the lowest load less match, of several one at random; matches are cleared."""
    replicas, lowest, tied = fleet.clock[0].replicas, np.inf, 0
    for number in range(replicas):
        score = router.loads.numbers[number] - router.matched[number] * block_size
        tied = 1 if score < lowest else tied + (score == lowest)
        lowest = min(lowest, score)
    skipped, found = below(fleet, router, tied) if tied > 1 else 0, NONE
    for number in range(replicas):
        score = router.loads.numbers[number] - router.matched[number] * block_size
        router.matched[number] = 0
        if score == lowest:
            if skipped == 0:
                found = number
            skipped -= 1
    return found


@inlined
def read_prefix(router: Router, work: Workload, engine: Engine, index: int) -> int:
    """Write down the identities of the blocks of a prompt that others can share; returns how many."""
    shared, place = shared_places(work, engine, index), 0
    while place < shared:
        identity, end = run_of(work, engine, index, place)
        for place in range(place, min(end, shared)):  # noqa: B020
            router.prefix[place] = identity
            identity += 1
        place += 1
    return shared


@inlined
def match(fleet: Fleet, router: Router, blocks: int) -> bool:
    """Count, for each replica, the leading blocks that were sent to it before; False where no replica has any."""
    words, known = (fleet.clock[0].replicas + BITS - 1) // BITS, False
    for word in range(words):
        those, place = router.holders[router.prefix[0] * words + word], 0
        known = known or those != 0
        while those != 0:
            place += 1
            left = those & router.holders[router.prefix[place] * words + word] if place < blocks else 0
            gone = those ^ left
            for bit in range(BITS if gone != 0 else 0):
                if (gone >> bit) & 1:
                    router.matched[word * BITS + bit] = place
            those = left
    return known


@inlined
def mark(fleet: Fleet, router: Router, replica: int, identity: int) -> None:
    """Flip a replica's bit of an identity."""
    words = (fleet.clock[0].replicas + BITS - 1) // BITS
    router.holders[identity * words + replica // BITS] ^= 1 << (replica % BITS)


@inlined
def remember(fleet: Fleet, router: Router, replica: int, identity: int) -> None:
    """Note that a block is sent; forget the one that was sent longest ago if there are too many."""
    clock, memory = fleet.clock[0], router.memory[replica]
    places = router.places[replica * clock.identities : (replica + 1) * clock.identities]
    sent = router.sent[replica * clock.sent : (replica + 1) * clock.sent]
    if places[identity] != NONE:
        sent[places[identity]] = NONE
    else:
        mark(fleet, router, replica, identity)
        memory.count += 1
        if memory.count > clock.most:
            mark(fleet, router, replica, forget_oldest(memory, places, sent))
    if memory.tail - memory.head == len(sent):
        close_gaps(memory, places, sent)
    places[identity] = memory.tail & (len(sent) - 1)
    sent[places[identity]] = identity
    memory.tail += 1


@inlined
def forget_oldest(memory: Memory, places: Small, sent: Small) -> int:
    """Forget the block that was sent longest ago; returns its identity."""
    last = len(sent) - 1
    while sent[memory.head & last] == NONE:
        memory.head += 1
    oldest = int(sent[memory.head & last])
    memory.head += 1
    memory.count -= 1
    places[oldest] = NONE
    return oldest


@called
def close_gaps(memory: Memory, places: Small, sent: Small) -> None:
    last, kept = len(sent) - 1, memory.head
    for place in range(memory.head, memory.tail):
        identity = int(sent[place & last])
        if identity != NONE:
            sent[kept & last] = identity
            places[identity] = kept & last
            kept += 1
    memory.tail = kept
