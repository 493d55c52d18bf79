"""Several compiled engines behind a router, each on its own for as long as its load cannot change.

What is sent to an engine waits in its inbox with the time at which it came. The load of a replica changes when a
request completes. So its engine is advanced only where the router looks at its load after the earliest time at which
one can have completed: mostly once or twice a request, since an engine that has not run for a while has left the
processor's caches. Where several things happen at one instant, arrivals and reports come before the ends of steps, as
on SimPy.
"""

from secondorder.simulate.kernels.compilation import called, compiled, inlined, merged
from secondorder.simulate.kernels.deployment.router import among, ask, tell
from secondorder.simulate.kernels.deployment.state import (
    IDLE,
    LEAP,
    LEAST,
    PREFIX,
    STEP,
    WOKEN,
    Fleet,
    Replica,
    Router,
)
from secondorder.simulate.kernels.deployment.tournament import HEAT, change
from secondorder.simulate.kernels.serving.engine import (
    decide,
    decode,
    end,
    leap_until,
    outside,
    record_span,
    steady_steps,
    step_lasts,
    used,
)
from secondorder.simulate.kernels.serving.scheduler import waiting
from secondorder.simulate.kernels.serving.state import (
    CROWDED,
    DONE,
    FULL,
    NEVER,
    NONE,
    OUTSIDE,
    PAUSED,
    Engine,
    Results,
    State,
    Workload,
)
from secondorder.simulate.kernels.serving.urgency import stand_in_line
from secondorder.simulate.kernels.step_seconds import StepTimes, duration


@compiled
def serve_all(
    engines: State,
    work: Workload,
    times: StepTimes,
    results: Results,
    fleet: Fleet,
    router: Router,
    until: int,
) -> int:
    """Serve until this many requests have arrived, or all are served; says why it stopped.

    Replicas advance to the instant at which the router learns their loads: all replicas before a report, and where the
    router looks for the lowest current load of all; else only those that it chooses among.
    """
    clock, order = fleet.clock[0], router.order
    while True:
        if clock.arrived >= until and clock.next_arrival != NEVER:
            return PAUSED
        reports, count = report_is_next(fleet), clock.asked
        everyone = reports or clock.next_arrival == NEVER or (clock.interval == 0 and router.kind in (LEAST, PREFIX))
        if everyone:
            count = due(fleet, router, min(clock.next_arrival, clock.next_report))
        elif clock.asked == 0:
            count = ask(fleet, router, work, engines.engine[0], next_request(fleet, router))
        now = clock.next_report if reports else clock.next_arrival
        for place in range(count):
            stopped = advance_one(engines, work, times, results, fleet, router, int(order[place]), now)
            if stopped != DONE:
                return stopped
        if clock.next_arrival == NEVER:
            return DONE
        if reports:
            report(fleet, router)
            continue
        index = next_request(fleet, router)
        if everyone:
            ask(fleet, router, work, engines.engine[0], index)
        send(fleet, router, work, index, among(fleet, router))
        clock.asked = 0
        clock.arrived += 1
        clock.serial += 1
        clock.arrival_serial = clock.serial
        if clock.arrived < len(work.arrival):
            clock.next_arrival = work.arrival[next_request(fleet, router)]
        else:
            clock.next_arrival = clock.next_report = NEVER


@inlined
def next_request(fleet: Fleet, router: Router) -> int:
    """The request that comes next."""
    arrived = fleet.clock[0].arrived
    return int(router.sequence[arrived]) if len(router.sequence) > 0 else arrived


@inlined
def due(fleet: Fleet, router: Router, until: int) -> int:
    """Move the replicas whose load may change before an instant to the front of ``order``; returns how many."""
    count = 0
    for heat in range(len(fleet.quiet.least)):
        if fleet.quiet.least[heat] < until:
            for number in range(heat * HEAT, (heat + 1) * HEAT):
                if fleet.quiet.numbers[number] < until:
                    router.order[count] = number
                    count += 1
    return count


@inlined
def advance_one(
    engines: State,
    work: Workload,
    times: StepTimes,
    results: Results,
    fleet: Fleet,
    router: Router,
    number: int,
    until: int,
) -> int:
    """Advance one engine to an instant, if its load may change before; DONE where nothing stopped it."""
    if fleet.quiet.numbers[number] >= until:
        return DONE
    e, replica = engines.engine[number], fleet.replicas[number]
    state = share_of(engines, fleet, number)
    stopped = advance(state, work, times, rows_of(results, fleet, number), fleet, replica, until)
    if stopped == DONE:
        change(fleet.quiet, number, quiet_until(state, times, replica, fleet.clock[0].shortest))
    replica.outstanding = replica.sent - e.completed
    replica.prompts = replica.sent_prompts - e.completed_prompts
    if fleet.clock[0].interval == 0:
        tell(fleet, router, number)
    return stopped


@inlined
def share_of(engines: State, fleet: Fleet, number: int) -> State:
    """One engine's part of the arrays."""
    c, n, m = fleet.clock[0], number, number + 1
    return State(
        engines.engine[n:m],
        engines.slots[n * c.slots : m * c.slots],
        engines.drafts[2 * n : 2 * m],
        engines.entries[n * c.slots : m * c.slots],
        engines.outcomes[2 * n * c.slots : 2 * m * c.slots],
        engines.borders[n * c.block_size : m * c.block_size],
        engines.given[n * c.slots : m * c.slots],
        engines.doubles[n * c.blocks : m * c.blocks],
        engines.queue[n * c.queue : m * c.queue],
        engines.held[n * c.held : m * c.held],
        engines.named[n * c.named : m * c.named],
        engines.doubled[n * c.named : m * c.named],
    )


@inlined
def rows_of(results: Results, fleet: Fleet, number: int) -> Results:
    """The results, with one engine's rows of the series."""
    rows = fleet.clock[0].rows
    return Results(
        results.first_token,
        results.finish,
        results.scheduled,
        results.preemptions,
        results.cached,
        results.found,
        results.series[number * rows : (number + 1) * rows],
        results.first_parts,
        results.parts,
        results.alone,
        results.ends,
    )


@called
def advance(
    state: State, work: Workload, times: StepTimes, results: Results, fleet: Fleet, replica: Replica, until: int
) -> int:
    """Receive what was sent, end what ends before an instant, and begin what follows; DONE where nothing stopped it."""
    e = state.engine[0]
    while True:
        if replica.inbox != NONE and work.arrival[replica.inbox] <= replica.ends:
            receive(e, work, times, fleet, replica)
            continue
        if replica.ends >= until:
            return DONE
        if e.unused < min(e.arrived - e.taken, e.max_num_seqs - e.running) and e.slots < e.enough:
            return CROWDED
        if replica.doing != IDLE:
            if len(results.series) > 0 and e.rows == len(results.series):
                return FULL
            finish(state, work, results, replica)
        begin(state, work, times, results, replica)
        if e.failed:
            return OUTSIDE


@inlined
def quiet_until(state: State, times: StepTimes, replica: Replica, shortest: int) -> int:
    """The earliest time at which a request can complete: each has to be computed in as many steps as it lacks tokens.

    What is decided already lasts as long as it will; no later step is shorter than the shortest one, whatever arrives
    or is preempted.
    """
    e, decided = state.engine[0], replica.ends
    if replica.doing == IDLE:
        replica.if_sent = NEVER
        return NEVER
    if replica.doing == LEAP:  # until it ends nothing completes, unless it is cut short
        replica.if_sent = decided if not replica.interruptible else e.now + fewest_steps(state) * shortest
        return decided
    completes = replica.doing == WOKEN or state.drafts[replica.which].finishing > 0
    if not completes and e.following:
        draft = state.drafts[1 - replica.which]
        D, K = draft.decodes, draft.decode_context  # noqa: N806
        decided += max(shortest, duration(times, draft.tokens, draft.pairs, draft.context, D, K, D + draft.ended))
        completes = draft.finishing > 0
    replica.if_sent = decided if completes else decided + fewest_steps(state) * shortest
    return replica.if_sent


@inlined
def fewest_steps(state: State) -> int:
    """In how many steps from those that are decided the first request can complete."""
    e = state.engine[0]
    if waiting(e) > 0:
        return 1
    fewest = state.slots[state.entries[0].heap].last - e.step + 1 if e.finishes > 0 else NEVER
    for i in range(e.apart):
        slot = state.slots[state.entries[i].apart]
        fewest = min(fewest, slot.output - slot.emitted)
    return int(max(1, fewest)) if fewest < NEVER else 1


@merged
def finish(state: State, work: Workload, results: Results, replica: Replica) -> None:
    """End what a replica was doing."""
    e, steps, which = state.engine[0], 1, replica.which
    e.now = replica.ends
    if replica.doing == WOKEN:
        record_span(state, results, 0, 0)
        return
    before = replica.used
    if replica.doing == LEAP:
        steps, which = replica.steps, 0
        replica.tokens += steps * e.decodes
        decode(state, work, steps)
    else:
        replica.tokens += state.drafts[which].tokens + state.drafts[which].decodes
        before = used(e)
    end(state, work, results, which, steps, before)


@merged
def begin(state: State, work: Workload, times: StepTimes, results: Results, replica: Replica) -> None:
    """Begin what a replica does next."""
    e = state.engine[0]
    steps = steady_steps(state) if e.leaps and not e.ahead else 0
    if steps > 0:
        if not outside(state, times, steps):
            replica.doing, replica.used, replica.interruptible = LEAP, used(e), e.urgent or waiting(e) == 0
            replica.ends, replica.steps = leap_until(e, times, steps, NEVER)
        return
    which = decide(state, work)
    if which >= 0:
        replica.doing, replica.which = STEP, which
        replica.ends = e.now + step_lasts(state, times, results, which)
        return
    replica.doing = IDLE
    if which == NONE:
        replica.ends = NEVER


@inlined
def send(fleet: Fleet, router: Router, work: Workload, index: int, number: int) -> None:
    """A request arrives, and goes to the inbox of a replica."""
    replica = fleet.replicas[number]
    if replica.inbox == NONE:
        replica.inbox = index
    else:
        fleet.follows[replica.last] = index
    replica.last = index
    replica.sent += 1
    replica.sent_prompts += work.prompt[index]
    replica.outstanding += 1
    replica.prompts += work.prompt[index]
    if fleet.clock[0].interval == 0:
        tell(fleet, router, number)
    fleet.picked[index] = number
    done = fleet.clock[0].next_arrival + work.output[index] * fleet.clock[0].shortest
    change(fleet.quiet, number, min(done, replica.if_sent, fleet.quiet.numbers[number]))


@inlined
def receive(e: Engine, work: Workload, times: StepTimes, fleet: Fleet, replica: Replica) -> None:
    """The first request of the inbox joins the queue of the engine, at the time at which it came."""
    index, first = replica.inbox, True
    now = int(work.arrival[index])
    replica.inbox = int(fleet.follows[index]) if index != replica.last else NONE
    if e.urgent:
        first = stand_in_line(e, work, index)
        e.blocked = 0 if first else e.blocked
    elif e.arrived == e.taken:
        e.queued = index
    else:
        work.behind[replica.received] = index
    replica.received = index
    e.arrived += 1
    if replica.doing == IDLE:
        replica.doing, replica.ends = WOKEN, now
    elif replica.doing == LEAP and replica.interruptible and first:
        replica.interruptible = 0
        replica.ends, replica.steps = leap_until(e, times, replica.steps, now)


@inlined
def report_is_next(fleet: Fleet) -> bool:
    """Whether a report comes before the next arrival."""
    clock = fleet.clock[0]
    if clock.next_report == clock.next_arrival:
        return clock.report_serial < clock.arrival_serial
    return clock.next_report < clock.next_arrival


@inlined
def report(fleet: Fleet, router: Router) -> None:
    """All replicas report their loads."""
    clock = fleet.clock[0]
    for number in range(clock.replicas):
        tell(fleet, router, number)
    clock.next_report += clock.interval
    clock.serial += 1
    clock.report_serial = clock.serial
