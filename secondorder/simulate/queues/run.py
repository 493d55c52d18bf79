"""One replication of a queue, by the program that its rules require."""

from typing import Literal

import numpy as np

from secondorder.errors import InputError
from secondorder.scenarios.queue import (
    BatchService,
    Closed,
    FirstCome,
    ForkJoin,
    JoinShortest,
    Priorities,
    ProcessorSharing,
    Queue,
    Random,
    Shared,
)
from secondorder.simulate.queues import first_come
from secondorder.simulate.queues.batching import run_batches
from secondorder.simulate.queues.closed import run_closed
from secondorder.simulate.queues.draws import Draws, Source, draw, grid, on_grid, source
from secondorder.simulate.queues.impatience import run_impatient
from secondorder.simulate.queues.lines import (
    run_fork_join,
    run_preemptive,
    run_priorities,
    run_random,
    run_room,
    run_shortest,
)
from secondorder.simulate.queues.records import Floats, Run
from secondorder.simulate.queues.recursions import kiefer_wolfowitz, lindley
from secondorder.simulate.queues.sharing import run_sharing
from secondorder.simulate.witness import can_compile

Path = Literal["recursion", "events"]

COMPILED_FROM = 100_000
"""Customers of a run from which it pays to load the kernels; they give the same times."""


def run(
    queue: Queue, customers: int, *, seed: int = 0, replication: int = 0, path: Path | None = None, flood: int = 0
) -> Run:
    """A number of customers from an empty start to the last departure; ``flood`` others may be there before them.

    The same queue, seed and replication give the same times, bit for bit, on either ``path``:
    ``"recursion"`` (Lindley; Kiefer and Wolfowitz), which plain first come first served allows and
    which is taken there if none is named, or ``"events"`` (SimPy). The kernels that serve long runs where
    none is named give the same too. Errors: ``InputError`` where the queue has no recursion.

    >>> from secondorder.workloads.arrivals import Poisson
    >>> queue = Queue(arrivals=Poisson("8 request/s"), service="exponential 100 ms")
    >>> by_events, at_once = run(queue, 1000, path="events"), run(queue, 1000, path="recursion")
    >>> bool((by_events.wait == at_once.wait).all()), round(float(at_once.wait.max()), 2)
    (True, 2.09)
    """
    if customers < 1:
        raise InputError("customers", given=customers, expected="an integer of at least 1")
    recursive = has_recursion(queue)
    if path == "recursion" and not recursive:
        expected = "plain first come first served, or random routing or fork-join of it"
        raise InputError("path", given=f"recursion for {queue.discipline!r}", expected=expected)
    events = path == "events" or not recursive
    chance = source(seed, replication)
    if isinstance(queue.arrival_law, Closed):
        return run_closed(queue, customers, chance)
    if isinstance(queue.routing, ForkJoin):
        return run_fork_join(*_tasks(queue, customers, chance), events=events)
    compiled = path is None and customers + flood >= COMPILED_FROM and can_compile()
    return _serve(queue, draw(queue, customers, chance, flood=flood), chance, events=events, compiled=compiled)


def has_recursion(queue: Queue) -> bool:
    """Whether the waits follow from the draws without events."""
    return queue.plain and not isinstance(queue.routing, JoinShortest)


def is_fast(queue: Queue) -> bool:
    """Whether a long run comes from a kernel or from Lindley's recursion."""
    if isinstance(queue.discipline, ProcessorSharing):
        return can_compile()
    return has_recursion(queue) and (queue.servers == 1 or (isinstance(queue.routing, Shared) and can_compile()))


def _serve(queue: Queue, draws: Draws, chance: Source, *, events: bool, compiled: bool) -> Run:
    match queue.discipline, queue.routing:
        case FirstCome(), Shared():
            return _first_come(queue, draws, chance, events=events, compiled=compiled)
        case FirstCome(), Random():
            return run_random(draws, queue.servers, chance, events=events)
        case FirstCome(), JoinShortest(d=d):
            return run_shortest(draws, queue.servers, d, chance)
        case ProcessorSharing(), _:
            return run_sharing(draws, queue.servers, queue.room, compiled=compiled)
        case Priorities(preemptive=True), _:
            return run_preemptive(draws)
        case Priorities(), _:
            return run_priorities(draws, queue.servers)
        case BatchService() as batch, _:
            return run_batches(draws.arrival, batch)
    raise AssertionError(queue)


def _first_come(queue: Queue, draws: Draws, chance: Source, *, events: bool, compiled: bool) -> Run:
    if queue.patience is not None or queue.outage is not None:
        return run_impatient(queue, draws, chance)
    if queue.room is not None:
        return run_room(draws, queue.servers, queue.room)
    arrival, service = draws.arrival, draws.service
    if queue.setup is not None:
        setups = queue.law("setup").sample(len(arrival), chance("setup"))
        start = first_come.starts(arrival, service, setups=setups)
    elif events:
        start = first_come.starts(arrival, service, queue.servers)
    elif compiled:
        from secondorder.simulate.kernels import queues as kernel

        start = kernel.first_come(arrival, service, queue.servers)
    else:
        start = lindley(arrival, service) if queue.servers == 1 else kiefer_wolfowitz(arrival, service, queue.servers)
    return Run(arrival, service, start, start + service)


def _tasks(queue: Queue, customers: int, chance: Source) -> tuple[Floats, list[Floats]]:
    """Arrivals, and the tasks for each server from a stream of its own, on one grid."""
    arrival = np.asarray(queue.open_arrivals.times(customers, chance("arrivals")))
    law = queue.services[0][1]
    tasks = [law.sample(customers, chance(f"service of server {k}")) for k in range(queue.servers)]
    tick = max(grid(arrival, task) for task in tasks)
    return on_grid(arrival, tick), [on_grid(task, tick) for task in tasks]
