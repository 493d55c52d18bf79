"""The compiled engine: one step after another on a clock of whole picoseconds, or leaps over steady steps.

It gives the integers of ``simulate.serving.engine``, including the series of its spans.
"""

from secondorder.simulate.kernels.compilation import compiled, inlined, merged
from secondorder.simulate.kernels.serving.accounts import (
    begin_step,
    end_request,
    end_step,
    leap_keeping_ends,
    see,
    see_in_leap,
)
from secondorder.simulate.kernels.serving.blocks import disown, release
from secondorder.simulate.kernels.serving.scheduler import (
    fill_at,
    finish_in_step,
    grow_at,
    leave_running,
    name,
    schedule,
    waiting,
)
from secondorder.simulate.kernels.serving.state import (
    AGAIN,
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
from secondorder.simulate.kernels.serving.urgency import overtakes, stand_in_line
from secondorder.simulate.kernels.step_seconds import StepTimes, duration


@compiled
def serve(state: State, work: Workload, times: StepTimes, results: Results, until: int) -> int:
    """Serve until this many requests have arrived, or all are served; returns why it stopped."""
    e = state.engine[0]
    while True:
        if e.places == 0:
            arrive(e, work, results)
        if e.arrived >= until and e.arrived < e.requests:
            return PAUSED
        if results.series.size > 0 and e.rows == results.series.shape[0]:
            return FULL
        steps = steady_steps(state) if e.leaps and not e.ahead else 0
        if steps > 0:
            leap(state, work, times, results, steps)
        else:
            which = decide(state, work)
            if which >= 0:
                compute_step(state, work, times, results, which)
            elif which == NONE:
                if e.arrived == e.requests:
                    return DONE
                e.now = e.next_arrival
                arrive(e, work, results)
                record_span(state, results, 0, 0)
        if e.failed:
            return OUTSIDE


@merged
def decide(state: State, work: Workload) -> int:
    """The draft of the step to compute now; NONE if there is nothing to compute, AGAIN if one must ask once more.

    With asynchronous scheduling the step after it is scheduled first: the first call after an idle time only schedules
    a step, and each later call returns what the call before it scheduled.
    """
    e, which = state.engine[0], state.engine[0].current
    if e.following:
        which = 1 - which
    found = schedule(state, work, which)
    if not e.ahead:
        return which if found else NONE
    if not e.following:
        e.following = found
        return AGAIN if found else NONE
    which = e.current
    e.current, e.following = 1 - which, found
    return which


@inlined
def arrive(e: Engine, work: Workload, results: Results) -> None:
    """Let requests arrive up to now, this very instant included."""
    while e.next_arrival <= e.now:
        if results.found.size > 0:
            results.found[e.arrived] = e.arrived - e.completed
        if e.thinks:
            work.arrival[e.arrived] = e.next_arrival
            e.thinking -= 1
        if e.urgent and stand_in_line(e, work, e.arrived):
            e.blocked = 0
        e.arrived += 1
        e.next_arrival = arrival_of(e, work, 0)


@inlined
def arrival_of(e: Engine, work: Workload, further: int) -> int:
    """When the next request arrives, or the one ``further`` places after it; NEVER if a closed loop cannot know yet."""
    index = e.arrived + further
    if index >= e.requests:
        return NEVER
    if e.thinks:
        return int(work.wake[e.thinking - 1 - further]) if e.thinking > further else NEVER
    if e.places > 0 and index >= e.places + e.completed:
        return NEVER
    return int(work.arrival[index])


@inlined
def alarm_of(e: Engine, work: Workload) -> int:
    """The next arrival that may change what the engine does: behind a blocked queue an arrival changes nothing."""
    if waiting(e) == 0:
        return int(e.next_arrival)
    return arrival_of(e, work, overtakes(e, work, e.arrived) - e.arrived) if e.urgent else NEVER


@inlined
def think(e: Engine, work: Workload) -> None:
    """Let a user think from now on; of users who wake at the same time, the first to have begun wakes first."""
    wakes, place = e.now + work.think[e.thoughts], e.thinking
    while place > 0 and work.wake[place - 1] <= wakes:
        work.wake[place] = work.wake[place - 1]
        place -= 1
    work.wake[place] = wakes
    e.thinking += 1
    e.thoughts += 1


@inlined
def answer(e: Engine, work: Workload) -> None:
    """An answer is out: its user thinks, or the next request that waits for a place is sent.

    The next step is decided already, so the engine sees that request only after it.
    """
    if e.thinks:
        think(e, work)
    elif e.places + e.completed <= e.requests:
        sent = e.places + e.completed - 1
        work.arrival[sent] = max(work.arrival[sent], e.now)
    e.next_arrival = arrival_of(e, work, 0)


@inlined
def compute_step(state: State, work: Workload, times: StepTimes, results: Results, which: int) -> None:
    """One step: its duration, then its tokens."""
    e = state.engine[0]
    if e.accounts:
        begin_step(state, work, results, which)
    lasts = step_lasts(state, times, results, which)
    if lasts >= 0:
        e.now += lasts
        if e.accounts:
            end_step(state, times, results, which, lasts)
        end(state, work, results, which, 1, used(e))


@inlined
def step_lasts(state: State, times: StepTimes, results: Results, which: int) -> int:
    """How long a step takes that begins now; -1 where the model has no time for it."""
    e, draft = state.engine[0], state.drafts[which]
    if results.scheduled.size > 0:
        for i in range(draft.admitted):
            index = state.slots[state.outcomes[which * e.slots + i].admitted].index
            if results.scheduled[index] < 0:
                results.scheduled[index] = e.now
    rows = draft.decodes + draft.ended
    lasts = duration(times, draft.tokens, draft.pairs, draft.context, draft.decodes, draft.decode_context, rows)
    if lasts < 0:
        e.failed = 1
        e.failed_tokens, e.failed_decodes, e.failed_context = draft.tokens, draft.decodes, draft.decode_context
    return lasts


@inlined
def steady_steps(state: State) -> int:
    """For how many steps the same requests decode and nothing else happens, if no request arrives."""
    e = state.engine[0]
    if e.apart > 0 or e.decodes == 0 or (waiting(e) > 0 and (e.interval > 1 or not e.blocked)):
        return 0
    steps, free = state.slots[state.entries[0].heap].last - e.step + 1, e.free
    if (steps + e.block_size - 1) // e.block_size * e.decodes <= free:
        return steps
    for done in range(steps):
        free -= state.borders[(e.step + done) % e.block_size].count
        if free < 0:
            return done
    return steps


@merged
def leap(state: State, work: Workload, times: StepTimes, results: Results, steps: int) -> None:
    """Compute many decoding steps at once, up to the step during which a request arrives."""
    e = state.engine[0]
    before, start, blocked = used(e), e.now, waiting(e) > 0
    if outside(state, times, steps):
        return
    if e.accounts and blocked:
        see(e, work, results, e.arrived, start)
        e.now, done = leap_keeping_ends(e, times, results, steps), steps
    else:
        alarm = max(alarm_of(e, work), start + 1)  # a request that is sent when a step has begun waits for its end
        e.now, done = leap_until(e, times, steps, alarm)
    decode(state, work, done)
    end(state, work, results, 0, done, before)
    if e.accounts and blocked:
        see_in_leap(e, work, results, start, done)


@inlined
def leap_until(e: Engine, times: StepTimes, steps: int, alarm: int) -> tuple[int, int]:
    """When a leap over ``steps`` steps ends, or the step under way at the alarm; and how many steps that is."""
    now, done, context = e.now, 0, e.context
    while done < steps and now < alarm:
        now += duration(times, 0, 0, 0, e.decodes, context, e.decodes)
        context += e.decodes
        done += 1
    return now, done


@inlined
def outside(state: State, times: StepTimes, steps: int) -> bool:
    """Whether the model lacks a time for one of these steps; the first such step is kept."""
    e = state.engine[0]
    last = e.context + (steps - 1) * e.decodes
    if (
        duration(times, 0, 0, 0, e.decodes, last, e.decodes)
        >= 0
        <= duration(times, 0, 0, 0, e.decodes, e.context, e.decodes)
    ):
        return False
    e.failed, e.failed_tokens, e.failed_decodes, e.failed_context = 1, 0, e.decodes, e.context
    while duration(times, 0, 0, 0, e.decodes, e.failed_context, e.decodes) >= 0:
        e.failed_context += e.decodes
    return True


@inlined
def decode(state: State, work: Workload, steps: int) -> None:
    """Let the requests in step decode this many steady steps."""
    e, draft = state.engine[0], state.drafts[0]
    draft.finishing = draft.first = 0
    if e.prefix_caching:
        border = e.step % e.block_size
        for _ in range(steps):
            if state.borders[border].count > 0:
                grow_at(state, border)
            border = border + 1 if border + 1 < e.block_size else 0
            if state.borders[border].count > 0:
                fill_at(state, border)
            e.step += 1
    else:
        e.free -= steps // e.block_size * e.decodes
        for step in range(e.step, e.step + steps % e.block_size):
            e.free -= state.borders[step % e.block_size].count
        e.step += steps
    e.context += steps * e.decodes
    e.saturated = 0  # where the cadence holds prompts back, nobody waits
    finish_in_step(state, 0)


@inlined
def used(e: Engine) -> int:
    return e.blocks - e.free


@inlined
def end(state: State, work: Workload, results: Results, which: int, steps: int, used_before: int) -> None:
    """Record what came of a step, or of a leap over several."""
    e, draft = state.engine[0], state.drafts[which]
    arrive(e, work, results)
    ran = e.running
    for i in range(draft.finishing):
        ran += 1 - state.slots[state.outcomes[which * e.slots + i].finishing].in_running
    record_span(state, results, ran, used_before + used(e))
    for i in range(draft.first):
        results.first_token[state.slots[state.outcomes[which * e.slots + i].first].index] = e.now
    for i in range(draft.finishing):
        complete(state, results, state.outcomes[which * e.slots + i].finishing, steps)
        if e.places > 0:
            answer(e, work)
    e.steps += steps


@inlined
def complete(state: State, results: Results, k: int, steps: int) -> None:
    """Let a request leave whose last token comes after this many more steps."""
    e, slot = state.engine[0], state.slots[k]
    if e.accounts:
        end_request(state, results, k, e.steps + steps)
    results.finish[slot.index] = e.now
    e.completed += 1
    e.completed_prompts += slot.prompt
    if results.preemptions.size > 0:
        results.preemptions[slot.index] = slot.preemptions
        results.cached[slot.index] = slot.cached
    if slot.in_running:  # not preempted while its last token was computed
        name(state, k, slot.computed)
        leave_running(state, k)
        release(state, k)
    if e.prefix_caching and slot.preemptions > 0:
        disown(state, k)
    e.blocked = 0
    state.entries[e.unused].unused = k
    e.unused += 1


@inlined
def record_span(state: State, results: Results, ran: int, used_twice: int) -> None:
    e = state.engine[0]
    if results.series.size > 0:
        row = results.series[e.rows]
        row[0], row[1], row[2], row[3] = e.now, ran, waiting(e), used_twice
        e.rows += 1
