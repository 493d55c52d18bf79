"""Runs the compiled engine on a scenario's requests."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NoReturn, TypedDict

import numpy as np

from secondorder.arrays import Integers
from secondorder.errors import InputError
from secondorder.executor import check_wanted
from secondorder.scenarios.serving import Serving
from secondorder.simulate.kernels.coefficients import step_times
from secondorder.simulate.kernels.compilation import announced
from secondorder.simulate.kernels.serving.accounts import CAUSES, decoding_alone
from secondorder.simulate.kernels.serving.engine import serve
from secondorder.simulate.kernels.serving.prefixes import identities
from secondorder.simulate.kernels.serving.setup import begin, new_state
from secondorder.simulate.kernels.serving.state import (
    DONE,
    FULL,
    NONE,
    OUTSIDE,
    Engine,
    Results,
    Small,
    Workload,
)
from secondorder.simulate.kernels.serving.urgency import find_sooner
from secondorder.simulate.kernels.step_seconds import StepTimes
from secondorder.simulate.serving.asks import clocked
from secondorder.simulate.serving.unnamed import unnamed
from secondorder.workloads.requests import Requests

ROWS = 65_536
"""Rows of the series that are recorded at a time."""
PORTION = 250_000
"""Requests between two looks at the keyboard."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """What came of a run, in picoseconds and counts.

    For each request: ``arrival`` (in a loop: when it was sent), ``first_token`` and ``finish``. These arrays are empty
    unless they were asked for: ``scheduled``, ``preemptions``, ``cached``, how many requests it ``found`` in the
    system, the ``series``, and ``first_parts`` and ``parts``, the picoseconds up to its first token and to its end,
    with a row per request and a column per ``Cause``. ``total_preemptions`` and ``total_cached`` are sums. A row of
    the ``series`` is that of the engine on SimPy.
    """

    arrival: Integers
    first_token: Integers
    finish: Integers
    scheduled: Integers
    preemptions: Small
    cached: Small
    found: Small
    series: Integers = field(repr=False)
    first_parts: Integers = field(repr=False)
    parts: Integers = field(repr=False)
    steps: int
    total_preemptions: int
    total_cached: int


@dataclass(frozen=True, kw_only=True)
class Loop:
    """A closed loop: at most ``places`` requests at a time, sent at the requests' own arrivals or by users who think.

    ``think``: picoseconds of each think time, ``places`` more than there are requests. None where requests come at
    their own arrivals; these are all 0 where each answer is at once followed by the next request.
    """

    places: int
    think: Integers | None = None


class How(TypedDict):
    """How a run is recorded."""

    records: bool
    leaps: bool
    progress: Callable[[int], None] | None
    loop: Loop | None
    accounts: bool


def supports(scenario: Serving) -> bool:
    """Whether the kernel knows all that a scenario uses."""
    if scenario.cache_tiers is not None or scenario.pipeline_parallel_size > 1:
        return False
    return step_times(scenario) is not None


def record(
    scenario: Serving,
    requests: Requests,
    *,
    records: bool = True,
    leaps: bool = True,
    progress: Callable[[int], None] | None = None,
    loop: Loop | None = None,
    accounts: bool = False,
) -> Record:
    """Serve these requests from an empty start to the last token.

    With ``records`` everything is kept; without, at most 40 bytes per request. ``progress`` is called with the number
    of requests that have arrived. In a ``loop`` requests are sent as it says. With ``accounts`` times are split into
    causes.
    """
    how: How = {"records": records, "leaps": leaps, "progress": progress, "loop": loop, "accounts": accounts}
    if requests.hash_ids is None and scenario.settings.enable_prefix_caching:
        found = recorded(unnamed(scenario), requests, **how)
        if not found.total_preemptions:  # else a preempted request may find its own blocks again
            return found
    return recorded(scenario, requests, **how)


def recorded(
    scenario: Serving,
    requests: Requests,
    *,
    records: bool = True,
    leaps: bool = True,
    progress: Callable[[int], None] | None = None,
    loop: Loop | None = None,
    accounts: bool = False,
) -> Record:
    """The same with the identity of every block where the engine keeps prefixes."""
    scenario.check(requests)
    times, results = step_times(scenario), results_of(len(requests), records, ROWS)
    assert times is not None, f"{scenario.step_time} is not for the kernel"
    work, count = workload_of(scenario, requests, loop)
    state, series = new_state(scenario, requests, count, leaps=leaps), []
    e = state.engine[0]
    if accounts:
        e.accounts, results = 1, with_accounts(results, scenario, requests, times)
    begin(e, work, 0 if loop is None else loop.places)
    with announced(serve):
        while (stopped := serve(state, work, times, results, e.arrived + PORTION)) != DONE:
            check_wanted()
            if stopped == OUTSIDE:
                refuse(scenario, e)
            if stopped == FULL:
                series.append(results.series.copy())
                e.rows = 0
            elif progress is not None:
                progress(int(e.arrived))
    series.append(results.series[: e.rows])
    return Record(
        arrival=work.arrival,
        first_token=results.first_token,
        finish=results.finish,
        scheduled=results.scheduled,
        preemptions=results.preemptions,
        cached=results.cached,
        found=results.found,
        series=np.concatenate(series),
        first_parts=results.first_parts,
        parts=results.parts,
        steps=int(e.steps),
        total_preemptions=int(e.preemptions),
        total_cached=int(e.hits),
    )


def refuse(scenario: Serving, e: Engine) -> NoReturn:
    """Raise the error of the step time: the model itself refuses a step outside its table."""
    refuse_step(scenario, int(e.failed_tokens), int(e.failed_decodes), int(e.failed_context))


def refuse_step(scenario: Serving, tokens: int, decodes: int, context: int) -> NoReturn:
    """The same for a step over tokens of prompts and decodes."""
    seconds = scenario.step_seconds(tokens, 0, 0, decodes, context, 0)
    raise InputError("step_time", given=f"a step of {seconds:.3g} s", expected="steps that take time")


def workload_of(scenario: Serving, requests: Requests, loop: Loop | None = None) -> tuple[Workload, int]:
    """The requests as the kernel takes them, and how many identities their blocks have."""
    starts, numbers, count, hash_block = np.zeros(1, np.int64), np.zeros(0, np.int64), 0, 0
    if scenario.settings.enable_prefix_caching and requests.hash_ids:
        starts, numbers, count = identities(requests, scenario.block_size)
        hash_block = requests.hash_block
    urgent = scenario.scheduling_policy == "priority"
    priority = _read_only(requests.priority if urgent else np.zeros(0, np.int64))
    sooner = np.zeros(len(priority), np.int64)
    if urgent:
        find_sooner(priority, sooner)
    work = Workload(
        arrival=clocked(requests),
        prompt=_read_only(np.asarray(requests.input_tokens, np.int64)),
        output=_read_only(np.asarray(requests.output_tokens, np.int64)),
        starts=starts,
        identities=numbers,
        hash_block=hash_block,
        behind=np.zeros(len(priority), np.int64),
        think=_read_only(np.zeros(0, np.int64) if loop is None or loop.think is None else loop.think),
        wake=np.zeros(0 if loop is None else loop.places, np.int64),
        priority=priority,
        beside=np.zeros(len(priority), np.int64),
        slot=np.full(len(priority), NONE),
        sooner=_read_only(sooner),
    )
    return work, count


def _read_only(array: Integers) -> Integers:
    """The same memory, always of the type that the kernel is compiled for."""
    view = array.view()
    view.flags.writeable = False
    return view


def results_of(count: int, everything: bool, rows: int) -> Results:
    """Empty results; with ``everything`` the series has this many rows."""
    kept = count if everything else 0
    return Results(
        first_token=np.full(count, NONE),
        finish=np.full(count, NONE),
        scheduled=np.full(kept, NONE),
        preemptions=np.zeros(kept, np.int32),
        cached=np.zeros(kept, np.int32),
        found=np.zeros(kept, np.int32),
        series=np.zeros((rows if everything else 0, 4), np.int64),
        first_parts=np.zeros((0, CAUSES), np.int64),
        parts=np.zeros((0, CAUSES), np.int64),
        alone=np.zeros(0, np.int64),
        ends=np.zeros(0, np.int64),
    )


def with_accounts(results: Results, scenario: Serving, requests: Requests, times: StepTimes) -> Results:
    """The same with room for the parts of each request. Errors: those of the step time."""
    prompts, outputs = np.asarray(requests.input_tokens), np.asarray(requests.output_tokens)
    alone = np.zeros(int((prompts + outputs).max()) + 1, np.int64)
    with announced(decoding_alone):
        without = decoding_alone(times, int(prompts.min()) + 1, alone)
    if without != NONE:
        refuse_step(scenario, 0, 1, without)
    first_parts, parts = (np.zeros((len(requests), CAUSES), np.int64) for _ in range(2))
    ends = np.zeros(int(outputs.max()), np.int64)
    return results._replace(first_parts=first_parts, parts=parts, alone=alone, ends=ends)
