"""The state of a compiled engine that is idle."""

from typing import TypeVar, cast

import numpy as np

from secondorder.scenarios.serving import Serving
from secondorder.simulate.kernels.records import filled, records
from secondorder.simulate.kernels.serving.state import (
    NAMELESS,
    NEVER,
    NONE,
    Border,
    Double,
    Draft,
    Engine,
    Entry,
    Given,
    Outcome,
    Slot,
    State,
    Workload,
)
from secondorder.workloads.requests import Requests

Array = TypeVar("Array")


def new_state(
    scenario: Serving, requests: Requests, identities: int, *, leaps: bool, replicas: int = 1, slots: int = NEVER
) -> State:
    """Engines with a scenario's settings, one after the other, as before the first of these requests arrives.

    They have this many ``slots`` to begin with, at most.
    """
    enough = max(1, min(scenario.settings.max_num_seqs * _classes(scenario, requests), len(requests)))
    slots = min(slots, enough)
    blocks = width = 0
    if scenario.settings.enable_prefix_caching:
        blocks, width = scenario.kv_blocks - 1, -(-_longest(requests) // scenario.block_size)
    queue = np.full(ring_of(blocks), NONE, np.int32)
    queue[:blocks] = NAMELESS
    state = State(
        engine=records(Engine, replicas),
        slots=records(Slot, replicas * slots),
        drafts=records(Draft, replicas * 2),
        entries=filled(Entry, replicas * slots, unused=np.tile(np.arange(slots), replicas)),
        outcomes=records(Outcome, replicas * 2 * slots),
        given=records(Given, replicas * slots),
        borders=filled(Border, replicas * scenario.block_size, first=NONE, last=NONE),
        doubles=records(Double, replicas * blocks),
        queue=np.tile(queue, replicas),
        held=np.zeros(replicas * slots * width, np.int32),
        named=np.zeros(replicas * (identities + slots * width), np.int32),
        doubled=np.zeros(replicas * (identities + slots * width), np.int32),
    )
    for e in state.engine:
        _settings(e, scenario)
        e.leaps, e.slots, e.unused, e.width, e.own, e.enough = leaps, slots, slots, width, identities, enough
        e.requests = len(requests)
    return state


def ring_of(count: int) -> int:
    """Places of a ring, a power of 2, for this many entries and half as many gaps at least."""
    return 1 << (3 * count // 2).bit_length()


def with_more_slots(state: State) -> State:
    """The same engines, each with four times as many slots, or as many as it can need."""
    replicas, old, width = len(state.engine), int(state.engine[0].slots), int(state.engine[0].width)
    slots = min(4 * old, int(state.engine[0].enough))

    def wider(array: Array, lines: int, more: int) -> Array:
        rows = np.asarray(array).reshape(replicas * lines, -1)
        found = np.zeros((len(rows), rows.shape[1] + more), rows.dtype)
        found[:, : rows.shape[1]] = rows
        return cast(Array, found.reshape(-1).view(type(array)))

    more = slots - old
    state = state._replace(
        slots=wider(state.slots, 1, more),
        entries=wider(state.entries, 1, more),
        outcomes=wider(state.outcomes, 2, more),
        given=wider(state.given, 1, more),
        held=wider(state.held, 1, more * width),
        named=wider(state.named, 1, more * width),
        doubled=wider(state.doubled, 1, more * width),
    )
    free = np.asarray(state.entries)["unused"]
    for e, unused in zip(state.engine, free.reshape(replicas, slots), strict=True):
        unused[e.unused : e.unused + more] = np.arange(old, slots)
        e.unused, e.slots = e.unused + more, slots
    return state


def _classes(scenario: Serving, requests: Requests) -> int:
    """Priorities that are told apart.

    Victims of one wait for no more places than there are: none is admitted before those of its own that it took.
    """
    return len(np.unique(requests.priority)) if scenario.scheduling_policy == "priority" else 1


def _longest(requests: Requests) -> int:
    """Tokens of the longest request, prompt and output together."""
    return int((np.asarray(requests.input_tokens) + np.asarray(requests.output_tokens)).max(initial=0))


def _settings(e: Engine, scenario: Serving) -> None:
    e.block_size, e.max_num_seqs = scenario.block_size, scenario.settings.max_num_seqs
    e.blocks = e.free = e.tail = scenario.kv_blocks - 1
    e.budget = scenario.settings.max_num_batched_tokens
    engine = scenario.engine_version
    e.threshold = scenario.long_prefill_token_threshold or NEVER
    e.adaptive, e.cap_alone = scenario.long_prefill_token_threshold_adaptive, engine.cap_alone
    e.kept, e.whole = int(scenario.watermark * scenario.kv_blocks), scenario.scheduler_reserve_full_isl
    e.unnamed_first = engine.reuses_unnamed_first
    e.chunked, e.prefix_caching = scenario.enable_chunked_prefill, scenario.settings.enable_prefix_caching
    e.ahead = scenario.settings.async_scheduling
    e.urgent = scenario.scheduling_policy == "priority"
    e.goes_on, e.passes_over = e.urgent and engine.goes_on, e.urgent and engine.passes_over
    e.queued = NONE if e.urgent else 0
    e.interval, e.last_prefill = scenario.prefill_schedule_interval, -NEVER
    e.oldest = e.newest = NONE
    e.now = -1  # so that the first request finds the engine asleep


def begin(e: Engine, work: Workload, places: int) -> None:
    """When the first request arrives; in a closed loop of ``places``, users think first."""
    e.places, e.thinks = places, len(work.think) > 0
    if e.thinks:
        users = min(places, e.requests)
        work.wake[:users] = work.think[:users][np.argsort(work.think[:users], kind="stable")][::-1]
        e.thinking = e.thoughts = users
        e.next_arrival = work.wake[users - 1]
    else:
        e.next_arrival = work.arrival[0] if e.requests else NEVER
