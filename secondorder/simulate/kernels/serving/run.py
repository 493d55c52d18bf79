"""Runs the compiled engine on a scenario's requests."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from secondorder.scenarios.serving import Serving
from secondorder.simulate.kernels.coefficients import step_times
from secondorder.simulate.kernels.compilation import announced
from secondorder.simulate.kernels.records import records
from secondorder.simulate.kernels.serving.engine import serve
from secondorder.simulate.kernels.serving.prefixes import identities
from secondorder.simulate.kernels.serving.state import (
    DONE,
    FULL,
    NEVER,
    NONE,
    OUTSIDE,
    PICO,
    Block,
    Border,
    Draft,
    Engine,
    Entry,
    Integers,
    Outcome,
    Place,
    Results,
    Slot,
    Small,
    State,
    Workload,
)
from secondorder.workloads.requests import Requests

ROWS = 65_536
"""Rows of the series that are recorded at a time."""
PORTION = 250_000
"""Requests between two looks at the keyboard."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """What came of a run, in picoseconds and counts.

    Of each request ``first_token`` and ``finish``; ``scheduled``, ``preemptions``, ``cached`` and the ``series``
    where they were asked for (else without places). ``total_preemptions`` and ``total_cached`` are sums.
    """

    first_token: Integers
    finish: Integers
    scheduled: Integers
    preemptions: Small
    cached: Small
    series: Integers = field(repr=False)
    steps: int
    total_preemptions: int
    total_cached: int


def supports(scenario: Serving) -> bool:
    """Whether the kernel knows all that a scenario uses."""
    return step_times(scenario) is not None


def record(
    scenario: Serving,
    requests: Requests,
    *,
    records: bool = True,
    leaps: bool = True,
    progress: Callable[[int], None] | None = None,
) -> Record:
    """Serve these requests from an empty start to the last token.

    With ``records`` everything is kept; without, 16 bytes a request. ``progress`` is told how many have arrived.
    """
    scenario.check(requests)
    work, count = _workload(scenario, requests)
    state = _state(scenario, requests, count, leaps)
    e, times, results = state.engine[0], step_times(scenario), _results(len(requests), records)
    assert times is not None
    series = []
    with announced():
        while (stopped := serve(state, work, times, results, e["arrived"] + PORTION)) != DONE:
            if stopped == OUTSIDE:
                _refuse(scenario, e)
            if stopped == FULL:
                series.append(results.series.copy())
                e["rows"] = 0
            elif progress is not None:
                progress(int(e["arrived"]))
    series.append(results.series[: e["rows"]])
    return Record(
        **{name: getattr(results, name) for name in ("first_token", "finish", "scheduled", "preemptions", "cached")},
        series=np.concatenate(series),
        steps=int(e["steps"]),
        total_preemptions=int(e["preemptions"]),
        total_cached=int(e["hits"]),
    )


def _refuse(scenario, e):
    """Raise what the step time model itself says of the step that it has no time for."""
    scenario.step_seconds(int(e["failed_tokens"]), 0, 0, int(e["failed_decodes"]), int(e["failed_context"]), 0)
    raise AssertionError("the kernel and the step time model disagree on where the table ends")


def _workload(scenario, requests):
    starts, numbers, count = np.zeros(1, np.int64), np.zeros(0, np.int64), 0
    prefixes = scenario.enable_prefix_caching and requests.hash_ids is not None
    if prefixes:
        starts, numbers, count = identities(requests, scenario.block_size)
    work = Workload(
        arrival=np.array(requests.arrival), prompt=np.array(requests.input_tokens),
        output=np.array(requests.output_tokens),
        starts=starts, identities=numbers, hash_block=requests.hash_block if prefixes else 0,
    )
    return work, count


def _results(count: int, everything: bool) -> Results:
    kept = count if everything else 0
    return Results(
        first_token=np.full(count, NONE),
        finish=np.full(count, NONE),
        scheduled=np.full(kept, NONE),
        preemptions=np.zeros(kept, np.int32),
        cached=np.zeros(kept, np.int32),
        series=np.zeros((ROWS if everything else 0, 4), np.int64),
    )


def _state(scenario: Serving, requests: Requests, identities: int, leaps: bool) -> State:
    slots = max(1, min(scenario.max_num_seqs, len(requests)))
    longest = int((np.asarray(requests.input_tokens) + np.asarray(requests.output_tokens)).max(initial=0))
    blocks = scenario.kv_blocks - 1 if scenario.enable_prefix_caching else 0
    width = -(-longest // scenario.block_size) if blocks else 0
    state = State(
        engine=records(Engine, 1),
        slots=records(Slot, slots),
        drafts=records(Draft, 2),
        entries=records(Entry, slots),
        outcomes=records(Outcome, 2 * slots),
        borders=records(Border, scenario.block_size),
        blocks=records(Block, blocks),
        places=records(Place, slots * width),
        shared=np.full(identities, NONE, np.int32),
    )
    for index in range(slots):
        state.entries[index]["unused"] = index
    state.borders["first"] = state.borders["last"] = NONE
    state.blocks["previous"], state.blocks["next"] = np.arange(-1, blocks - 1), np.arange(1, blocks + 1)
    state.blocks["next"][-1:] = NONE
    state.blocks["content"] = NONE
    state.places["own"] = NONE
    state.engine[0]["width"], state.engine[0]["slots"] = width, slots
    _set(state.engine[0], scenario, requests, slots, leaps)
    return state


def _set(e, scenario: Serving, requests: Requests, slots: int, leaps: bool) -> None:
    for name in ("block_size", "max_num_seqs"):
        e[name] = getattr(scenario, name)
    e["blocks"] = e["free"] = scenario.kv_blocks - 1
    e["budget"] = scenario.max_num_batched_tokens
    e["threshold"] = scenario.long_prefill_token_threshold or NEVER
    e["chunked"] = scenario.enable_chunked_prefill
    e["prefix_caching"] = scenario.enable_prefix_caching
    e["ahead"], e["leaps"] = scenario.async_scheduling, leaps
    e["now"] = -1
    e["requests"] = len(requests)
    arrival = np.asarray(requests.arrival)
    e["next_arrival"] = round(arrival[0] / PICO) if len(requests) else NEVER
    e["oldest"] = e["newest"] = NONE
    e["unused"] = slots
    e["head"], e["tail"] = 0, scenario.kv_blocks - 2
