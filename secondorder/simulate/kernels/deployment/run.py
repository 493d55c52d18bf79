"""Runs the compiled engines and their router on a deployment's requests."""

from dataclasses import dataclass, field

import numpy as np

from secondorder.arrays import Integers
from secondorder.executor import check_wanted
from secondorder.scenarios.serving import Serving
from secondorder.simulate.kernels.coefficients import shortest_step, step_times
from secondorder.simulate.kernels.compilation import announced
from secondorder.simulate.kernels.deployment.engines import serve_all
from secondorder.simulate.kernels.deployment.state import (
    BITS,
    CHOICES,
    FIXED,
    LEAST,
    PREFIX,
    Clock,
    Fleet,
    Memory,
    Replica,
    Router,
    Rule,
)
from secondorder.simulate.kernels.deployment.tournament import tournament
from secondorder.simulate.kernels.records import filled, records
from secondorder.simulate.kernels.serving.run import PORTION, refuse, results_of, workload_of
from secondorder.simulate.kernels.serving.setup import new_state, ring_of, with_more_slots
from secondorder.simulate.kernels.serving.state import CROWDED, DONE, FULL, NEVER, NONE, OUTSIDE, Small, State
from secondorder.simulate.serving.unnamed import unnamed
from secondorder.workloads.requests import Requests

ROWS = 8_192
"""Rows of each replica's series that are recorded at a time."""
SLOTS = 32
"""Slots of each replica to begin with: most engines never run as many requests as they may, and memory costs time."""


@dataclass(frozen=True, kw_only=True)
class FleetRecord:
    """What came of a run, in picoseconds and counts; a place a request, in order of arrival.

    ``series`` has the rows of each replica, without rows where none were asked for; ``tokens`` are all that were
    computed; ``blocks_held`` the blocks in use at the end.
    """

    first_token: Integers
    finish: Integers
    preemptions: Small
    cached: Small
    replica: Integers
    series: tuple[Integers, ...] = field(repr=False)
    tokens: int
    blocks_held: int
    total_preemptions: int


def record_fleet(
    scenario: Serving,
    requests: Requests,
    arrivals: Integers,
    rule: Rule,
    *,
    replicas: int,
    report_interval: int = 0,
    records: bool = True,
) -> FleetRecord:
    """Serve these requests by identical replicas, from an empty start to the last token.

    ``arrivals`` and ``report_interval`` in ps; 0: the router knows the current loads. Without ``records`` there is no
    series, and requests have no preemptions and no cached tokens.
    """
    if requests.hash_ids is None and scenario.settings.enable_prefix_caching and rule.kind != PREFIX:
        found = recorded_fleet(unnamed(scenario), requests, arrivals, rule, replicas, report_interval, records)
        if not found.total_preemptions:  # else a preempted request may find its own blocks again
            return found
    return recorded_fleet(scenario, requests, arrivals, rule, replicas, report_interval, records)


def recorded_fleet(
    scenario: Serving,
    requests: Requests,
    arrivals: Integers,
    rule: Rule,
    replicas: int,
    report_interval: int,
    records: bool,
) -> FleetRecord:
    """The same with the identity of every block where the engines keep prefixes."""
    scenario.check(requests)
    times, results = step_times(scenario), results_of(len(requests), records, ROWS * replicas)
    assert times is not None, f"{scenario.step_time} is not for the kernel"
    work, identities = workload_of(scenario, requests)
    work = work._replace(arrival=arrivals, behind=np.full(len(requests), NONE))
    engines = new_state(scenario, requests, identities, leaps=True, replicas=replicas, slots=SLOTS)
    for e in engines.engine:
        e.next_arrival = NEVER  # the router sends
    longest = int(np.diff(work.starts).max(initial=0)) * work.hash_block
    router = _router(scenario, rule, replicas, identities, longest)
    interval = 0 if rule.kind == FIXED else report_interval
    fleet = _fleet(engines, router, arrivals, interval, ROWS if records else 0, shortest_step(times))
    parts: list[list[Integers]] = [[] for _ in range(replicas)]
    with announced(serve_all):
        while True:
            until = fleet.clock[0].arrived + PORTION
            stopped = serve_all(engines, work, times, results, fleet, router, until)
            check_wanted()
            if stopped == OUTSIDE:
                refuse(scenario, next(e for e in engines.engine if e.failed))
            if stopped == CROWDED:
                engines = with_more_slots(engines)
                _measure(fleet, engines)
            if stopped in (FULL, DONE):
                _take_rows(engines, results.series, parts)
            if stopped == DONE:
                break
    return FleetRecord(
        first_token=results.first_token,
        finish=results.finish,
        preemptions=results.preemptions,
        cached=results.cached,
        replica=fleet.picked,
        series=tuple(np.concatenate(part) for part in parts),
        tokens=int(sum(replica.tokens for replica in fleet.replicas)),
        blocks_held=int(sum(e.blocks - e.free for e in engines.engine)),
        total_preemptions=int(sum(e.preemptions for e in engines.engine)),
    )


def _take_rows(engines: State, series: Integers, parts: list[list[Integers]]) -> None:
    """Move what is recorded out of the kernel's arrays."""
    rows = len(series) // len(parts)
    for number, (e, part) in enumerate(zip(engines.engine, parts, strict=True)):
        part.append(series[number * rows : number * rows + e.rows].copy())
        e.rows = 0


def _fleet(engines: State, router: Router, arrivals: Integers, interval: int, rows: int, shortest: int) -> Fleet:
    """Idle replicas, and the first arrival and report to come."""
    replicas = len(engines.engine)
    fleet = Fleet(
        clock=records(Clock, 1),
        replicas=filled(Replica, replicas, ends=NEVER, if_sent=NEVER, inbox=NONE),
        quiet=tournament(replicas, NEVER, NEVER),
        picked=np.full(len(arrivals), NONE),
        follows=np.zeros(len(arrivals), np.int32),
    )
    clock = fleet.clock[0]
    clock.replicas, clock.interval, clock.rows = replicas, interval, rows
    clock.most, clock.sent = engines.engine[0].blocks, len(router.sent) // replicas
    clock.identities = len(router.places) // replicas
    clock.shortest = shortest
    clock.report_serial, clock.arrival_serial, clock.serial = 1, 2, 2
    clock.next_arrival = arrivals[router.sequence[0] if len(router.sequence) else 0] if len(arrivals) else NEVER
    clock.next_report = interval if interval and len(arrivals) else NEVER
    _measure(fleet, engines)
    return fleet


def _measure(fleet: Fleet, engines: State) -> None:
    """Write down how much of the arrays is each engine's."""
    clock, replicas = fleet.clock[0], len(fleet.replicas)
    clock.slots, clock.block_size = len(engines.slots) // replicas, len(engines.borders) // replicas
    clock.blocks, clock.queue = len(engines.doubles) // replicas, len(engines.queue) // replicas
    clock.held, clock.named = len(engines.held) // replicas, len(engines.named) // replicas


def _router(scenario: Serving, rule: Rule, replicas: int, identities: int, longest: int) -> Router:
    """The rule, with nothing sent yet; prompts share ``longest`` tokens at most."""
    remembers = rule.kind == PREFIX
    ring = ring_of(scenario.kv_blocks) if remembers else 0
    words = -(-replicas // BITS)
    return Router(
        kind=LEAST if rule.kind == CHOICES and rule.choices >= replicas else rule.kind,
        choices=rule.choices,
        by_prompts=int(rule.by_prompts),
        weight=float(rule.weight) if remembers else 1.0,
        chance=np.ascontiguousarray(rule.chance, np.float64),
        fixed=rule.fixed.astype(np.int32),
        sequence=np.argsort(rule.fixed, kind="stable"),
        loads=tournament(replicas, 0.0, np.inf),
        places=np.full(replicas * identities if remembers else 0, NONE, np.int32),
        holders=np.zeros(words * identities if remembers else 0, np.int64),
        sent=np.zeros(replicas * ring, np.int32),
        memory=records(Memory, replicas),
        prefix=np.zeros(longest // scenario.block_size + 1, np.int32),
        order=np.arange(replicas, dtype=np.int32),
        matched=np.zeros(words * BITS, np.int32),
    )
