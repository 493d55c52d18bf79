"""Users that each send a request when their last one is answered; prefill and decode workers apart: compiled.

A prompt waits for a prefill worker, which computes as many at once as fit in a step. Its cache then crosses the
worker's link, one after the other. A decode worker with a free place takes it over, the one with the fewest; where all
are full the requests wait in line. A worker's sequences decode in steps that all share.
"""

from typing import NamedTuple

import numpy as np

from secondorder.arrays import Floats, Integers
from secondorder.simulate.kernels.compilation import announced, called, compiled

NEVER = 2**62


class SplitLoad(NamedTuple):
    """The requests in order, the workers and what their steps last (ps).

    ``rounds``: decode steps of a request after the one that hands on its first token. ``prefill[m]``: a step over ``m``
    prompts of ``mean_prompt`` tokens; other lengths take it in proportion. ``decode[n]``: a step of ``n`` sequences
    without the cache, of which ``context[n]`` is the time for each token that the sequences hold together.
    """

    prompts: Integers
    rounds: Integers
    users: int
    prefill_workers: int
    decode_workers: int
    places: int
    mean_prompt: float
    prefill: Floats
    decode: Floats
    context: Floats
    transfer: Floats
    per_round: float


class SplitTimes(NamedTuple):
    """Picoseconds of each request: sent, prompt computed, handed over, first token, last token."""

    sent: Integers
    computed: Integers
    moved: Integers
    first: Integers
    done: Integers


class State(NamedTuple):
    """What the run changes: lines of requests, and what each worker does.

    ``line``: requests in the order in which prompts are taken; ``ready``: those whose cache crosses a link, a line for
    each prefill worker; ``waiting``: those without a place. ``counts``: requests sent, taken, waiting from, waiting to,
    done. ``ends``: of a prefill step, of a decode step (never, if idle). ``batch``: first and past the last request of
    a prefill step. ``links``: when a link is free. ``bucket``: the last request that ends after so many steps,
    and ``after`` the one before it; ``steps``, ``running`` and ``held`` tokens of a decode worker; the last request
    that took a place since its step began (``fresh``) or whose first step it is (``joined``), ``beside`` the others.
    """

    line: Integers
    ready: Integers
    ready_ends: Integers
    waiting: Integers
    counts: Integers
    prefill_end: Integers
    batch: Integers
    links: Integers
    decode_end: Integers
    bucket: Integers
    after: Integers
    steps: Integers
    running: Integers
    held: Floats
    fresh: Integers
    joined: Integers
    beside: Integers


SENT, TAKEN, WAIT_FROM, WAIT_TO, DONE = range(5)


def serve_split(load: SplitLoad) -> SplitTimes:
    """Run to the end of the last request."""
    requests, ends = len(load.prompts), int(load.rounds.max()) + 2
    times = SplitTimes(*(np.zeros(requests, np.int64) for _ in SplitTimes._fields))
    prefills, decodes = load.prefill_workers, load.decode_workers
    state = State(
        line=np.zeros(requests, np.int64),
        ready=np.zeros((prefills, requests), np.int64),
        ready_ends=np.zeros((prefills, 2), np.int64),
        waiting=np.zeros(requests, np.int64),
        counts=np.zeros(5, np.int64),
        prefill_end=np.full(prefills, NEVER),
        batch=np.zeros((prefills, 2), np.int64),
        links=np.zeros(prefills, np.int64),
        decode_end=np.full(decodes, NEVER),
        bucket=np.full((decodes, ends), -1, np.int64),
        after=np.full(requests, -1, np.int64),
        steps=np.zeros(decodes, np.int64),
        running=np.zeros(decodes, np.int64),
        held=np.zeros(decodes),
        fresh=np.full(decodes, -1, np.int64),
        joined=np.full(decodes, -1, np.int64),
        beside=np.full(requests, -1, np.int64),
    )
    with announced(_serve):
        _serve(load, times, state)
    return times


@compiled
def _serve(load: SplitLoad, times: SplitTimes, state: State) -> int:
    counts = state.counts
    for _ in range(min(load.users, load.prompts.size)):
        _send(times, state, 0)
    _prefill(load, state, 0)
    while counts[DONE] < load.prompts.size:
        now, kind, worker = _next(times, state)
        if kind == 0:
            _computed(load, times, state, worker, now)
            _prefill(load, state, now)
        elif kind == 1:
            start = state.ready_ends[worker, 0]
            state.ready_ends[worker, 0] = start + 1
            state.waiting[counts[WAIT_TO]] = state.ready[worker, start]
            counts[WAIT_TO] += 1
            _place(load, state, now)
        else:
            _stepped(load, times, state, worker, now)
            _prefill(load, state, now)
            _place(load, state, now)
            _step(load, state, worker, now)
    return int(counts[DONE])


@called
def _send(times: SplitTimes, state: State, now: int) -> None:
    """The next request in order goes into the line of the prefill workers."""
    request = state.counts[SENT]
    times.sent[request] = now
    state.line[request] = request
    state.counts[SENT] = request + 1


@called
def _next(times: SplitTimes, state: State) -> tuple[int, int, int]:
    """When, what (0 a prefill step, 1 a transfer, 2 a decode step ends) and where."""
    now, kind, worker = NEVER, 2, 0
    for k in range(state.decode_end.size):
        if state.decode_end[k] < now:
            now, worker = state.decode_end[k], k
    for k in range(state.prefill_end.size):
        if state.prefill_end[k] < now:
            now, kind, worker = state.prefill_end[k], 0, k
        if state.ready_ends[k, 0] < state.ready_ends[k, 1]:
            ready = times.moved[state.ready[k, state.ready_ends[k, 0]]]
            if ready < now:
                now, kind, worker = ready, 1, k
    return now, kind, worker


@called
def _prefill(load: SplitLoad, state: State, now: int) -> None:
    """Idle prefill workers take prompts from the line."""
    counts = state.counts
    for k in range(load.prefill_workers):
        if state.prefill_end[k] < NEVER or counts[TAKEN] == counts[SENT]:
            continue
        first = counts[TAKEN]
        last = min(first + load.prefill.size - 1, counts[SENT])
        tokens = 0.0
        for place in range(first, last):
            tokens += load.prompts[state.line[place]]
        counts[TAKEN] = last
        state.batch[k, 0], state.batch[k, 1] = first, last
        share = tokens / ((last - first) * load.mean_prompt)
        state.prefill_end[k] = now + np.int64(load.prefill[last - first] * share)


@called
def _computed(load: SplitLoad, times: SplitTimes, state: State, worker: int, now: int) -> None:
    """The caches of a prefill step cross the worker's link, one after the other."""
    for place in range(state.batch[worker, 0], state.batch[worker, 1]):
        request = state.line[place]
        times.computed[request] = now
        begins = max(now, state.links[worker])
        state.links[worker] = begins + np.int64(load.transfer[request])
        times.moved[request] = state.links[worker]
        state.ready[worker, state.ready_ends[worker, 1]] = request
        state.ready_ends[worker, 1] += 1
    state.prefill_end[worker] = NEVER


@called
def _place(load: SplitLoad, state: State, now: int) -> None:
    """Requests without a place take free ones, on the worker with the fewest; an idle worker begins a step."""
    counts = state.counts
    while counts[WAIT_FROM] < counts[WAIT_TO]:
        best = 0
        for k in range(load.decode_workers):
            if state.running[k] < state.running[best]:
                best = k
        if state.running[best] >= load.places:
            return
        request = state.waiting[counts[WAIT_FROM]]
        counts[WAIT_FROM] += 1
        state.running[best] += 1
        state.held[best] += load.prompts[request]
        state.beside[request] = state.fresh[best]
        state.fresh[best] = request
        if state.decode_end[best] == NEVER:
            _step(load, state, best, now)


@called
def _step(load: SplitLoad, state: State, worker: int, now: int) -> None:
    """Begin a step with all that are there; those that joined note after how many steps they end."""
    running, ends = state.running[worker], state.bucket.shape[1]
    if running == 0:
        state.decode_end[worker] = NEVER
        return
    state.joined[worker], state.fresh[worker] = state.fresh[worker], -1
    request = state.joined[worker]
    while request >= 0:
        last = (state.steps[worker] + load.rounds[request]) % ends
        state.after[request] = state.bucket[worker, last]
        state.bucket[worker, last] = request
        request = state.beside[request]
    lasts = load.decode[running] + load.context[running] * state.held[worker]
    state.decode_end[worker] = now + np.int64(lasts)


@called
def _stepped(load: SplitLoad, times: SplitTimes, state: State, worker: int, now: int) -> None:
    """A decode step ends: first tokens of those that joined, and the end of those whose last step it was."""
    request = state.joined[worker]
    while request >= 0:
        times.first[request] = now
        request = state.beside[request]
    last = state.steps[worker] % state.bucket.shape[1]
    state.steps[worker] += 1
    state.held[worker] += load.per_round * state.running[worker]
    request = state.bucket[worker, last]
    while request >= 0:
        times.done[request] = now
        state.running[worker] -= 1
        state.held[worker] -= load.prompts[request] + load.per_round * (load.rounds[request] + 1)
        state.counts[DONE] += 1
        if state.counts[SENT] < load.prompts.size:
            _send(times, state, now)
        request = state.after[request]
    state.bucket[worker, last] = -1
