"""Batch service on SimPy: one event a batch, and one for the wait before it."""

from bisect import bisect_right
from collections.abc import Sequence

import numpy as np
import simpy

from secondorder.quantities import si
from secondorder.scenarios.queue import BatchService
from secondorder.simulate.queues.records import Floats, Outcome, Run
from secondorder.simulate.queues.station import NEVER, Process

INFINITE = float("inf")


def next_batch(arrival: Sequence[float], first: int, free: float, batch: BatchService) -> tuple[float, int]:
    """When the batch that begins with customer ``first`` starts, and how many it takes.

    The server is free from ``free`` on; it waits for ``wait_to_fill`` customers, or until the first
    of them has waited for ``timeout``. At the end of the arrivals it may wait for ever: no batch.

    >>> four = BatchService(per_batch="1 s", most=8, wait_to_fill=4, timeout="3 s")
    >>> next_batch([0.0, 1.0, 2.0, 9.0], 0, 0.5, four)    # the time-out of the first
    (3.0, 3)
    >>> next_batch([0.0, 1.0, 2.0, 2.5], 0, 0.5, four)    # full
    (2.5, 4)
    """
    last = first + batch.wait_to_fill - 1
    full = arrival[last] if last < len(arrival) else INFINITE
    timed_out = arrival[first] + si(batch.timeout) if batch.timeout is not None else INFINITE
    start = max(free, min(full, timed_out))
    if start == INFINITE:
        return start, 0
    there = bisect_right(arrival, start, first) - first
    return start, min(there, batch.most or there)


def serve_batches(
    env: simpy.Environment, arrival: Sequence[float], batch: BatchService, start: list[float], finish: list[float]
) -> Process:
    """The server: wait for a batch, serve it, look again."""
    first = 0
    while first < len(arrival):
        begin, size = next_batch(arrival, first, env.now, batch)
        if not size:
            return
        yield env.timeout(begin - env.now)
        last = first + size
        start[first:last] = [begin] * size
        yield env.timeout(batch.seconds(size))
        finish[first:last] = [env.now] * size
        first = last


def run_batches(arrival: Floats, batch: BatchService) -> Run:
    """Serve these arrivals in batches; the last of them may never fill one, and stay inside."""
    env, count = simpy.Environment(), len(arrival)
    start, finish = [NEVER] * count, [NEVER] * count
    env.process(serve_batches(env, arrival.tolist(), batch, start, finish))
    env.run()
    began, ended = np.array(start), np.array(finish)
    served = ~np.isnan(ended)
    _, firsts = np.unique(began[served], return_index=True)
    outcome = np.where(served, Outcome.SERVED, Outcome.INSIDE).astype(np.int8)
    work = np.full(count, batch.seconds(1))
    busy = began[served][firsts], ended[served][firsts]
    left = np.where(served, ended, INFINITE)
    return Run(arrival, work, began, ended, outcome, busy=busy, left=left)
