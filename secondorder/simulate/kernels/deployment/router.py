"""Picks a replica as ``simulate.deployment.router`` does: one function a rule."""

from secondorder.simulate.kernels.compilation import called, inlined
from secondorder.simulate.kernels.deployment.state import CHOICES, FIXED, PREFIX, Fleet, Router
from secondorder.simulate.kernels.serving.blocks import run_of, shared_places
from secondorder.simulate.kernels.serving.state import NONE, Engine, Workload


@called
def pick(fleet: Fleet, router: Router, work: Workload, engine: Engine, index: int) -> int:
    """The replica that a request is sent to."""
    replicas = fleet.clock[0].replicas
    if router.kind == FIXED:
        return int(router.fixed[index])
    for place in range(replicas):
        router.order[place] = place
    count = replicas
    if router.kind == CHOICES and router.choices < replicas:
        choose(fleet, router, router.choices)
        count = router.choices
    blocks = read_prefix(router, work, engine, index) if router.kind == PREFIX else 0
    for place in range(count):
        router.scores[place] = score(fleet, router, engine, int(router.order[place]), blocks)
    found = int(router.order[least(fleet, router, count)])
    if blocks > 0:
        for place in range(blocks - 1, -1, -1):  # the end of a prefix is forgotten before its beginning
            remember(fleet, router, found, int(router.prefix[place]))
    return found


@inlined
def below(fleet: Fleet, router: Router, count: int) -> int:
    """A whole number from 0 on, below ``count``, each as likely."""
    clock = fleet.clock[0]
    clock.drawn += 1
    return int(count * router.chance[clock.drawn - 1])


@inlined
def choose(fleet: Fleet, router: Router, choices: int) -> None:
    """Bring ``choices`` replicas, picked at random, to the front of the order."""
    order, replicas = router.order, fleet.clock[0].replicas
    for place in range(choices):
        other = place + below(fleet, router, replicas - place)
        kept = order[place]
        order[place] = order[other]
        order[other] = kept


@inlined
def score(fleet: Fleet, router: Router, engine: Engine, replica: int, blocks: int) -> float:
    """The lower the better: the load as the router knows it, less what of the prompt was sent there before."""
    told = fleet.replicas[replica]
    if router.kind == PREFIX:
        return router.weight * told.told_outstanding - matched(fleet, router, replica, blocks) * engine.block_size
    return float(told.told_prompts if router.by_prompts else told.told_outstanding)


@inlined
def least(fleet: Fleet, router: Router, count: int) -> int:
    """The place of the lowest score; of several any one, as likely as the others."""
    lowest, tied, first = router.scores[0], 1, 0
    for place in range(1, count):
        if router.scores[place] < lowest:
            lowest, tied, first = router.scores[place], 1, place
        elif router.scores[place] == lowest:
            tied += 1
    if tied == 1:
        return first
    skipped = below(fleet, router, tied)
    for place in range(first, count):
        if router.scores[place] == lowest:
            if skipped == 0:
                return place
            skipped -= 1
    return NONE


# Prefixes


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
def matched(fleet: Fleet, router: Router, replica: int, blocks: int) -> int:
    """Leading blocks that were sent to a replica before."""
    row = replica * (len(router.places) // fleet.clock[0].replicas)
    for place in range(blocks):
        if router.places[row + router.prefix[place]] == NONE:
            return place
    return blocks


@inlined
def remember(fleet: Fleet, router: Router, replica: int, identity: int) -> None:
    """A block is sent; the one that was sent longest ago is forgotten if there are too many."""
    clock, memory, sent = fleet.clock[0], router.memory[replica], router.sent
    row, lines = replica * (len(router.places) // clock.replicas), replica * clock.most
    line = int(router.places[row + identity])
    if line == memory.newest and line != NONE:
        return
    if line != NONE:
        unlink(router, replica, line)
    elif memory.count < clock.most:
        line = lines + memory.count
        memory.count += 1
    else:
        line = memory.oldest
        unlink(router, replica, line)
        router.places[row + sent[line].identity] = NONE
    router.places[row + identity] = line
    sent[line].identity, sent[line].older, sent[line].newer = identity, memory.newest, NONE
    if memory.newest == NONE:
        memory.oldest = line
    else:
        sent[memory.newest].newer = line
    memory.newest = line


@inlined
def unlink(router: Router, replica: int, line: int) -> None:
    memory, sent = router.memory[replica], router.sent
    older, newer = sent[line].older, sent[line].newer
    if older == NONE:
        memory.oldest = newer
    else:
        sent[older].newer = newer
    if newer == NONE:
        memory.newest = older
    else:
        sent[newer].older = older
