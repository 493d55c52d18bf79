"""Processor sharing on SimPy: one event an arrival and one a departure.

The work that each customer present has received since the server was last empty is the same for
all who were there, so each leaves when that common amount, ``attained``, reaches the amount at its
arrival plus its own work.
"""

from collections.abc import Iterator
from heapq import heappop, heappush

import numpy as np
import simpy

from secondorder.simulate.queues.draws import Draws
from secondorder.simulate.queues.records import Floats, Kinds, Outcome, Run
from secondorder.simulate.queues.station import NEVER, Process

INFINITE = float("inf")


def speed(present: int, servers: int) -> float:
    """Speed of each customer present: ``min(1, servers / present)``.

    >>> speed(1, 2), speed(4, 2)
    (1.0, 0.5)
    """
    return min(1.0, servers / present)


def share(
    env: simpy.Environment,
    customers: Iterator[tuple[int, float, float]],
    servers: int,
    room: int | None,
    finish: list[float],
    outcome: Kinds,
) -> Process:
    """Sleep until the next arrival or the next departure, whichever is first."""
    present: list[tuple[float, int]] = []  # by the attained work at which each leaves
    attained, nobody = 0.0, (-1, INFINITE, 0.0)
    customer, arrival, work = next(customers, nobody)
    while present or arrival < INFINITE:
        each = speed(len(present), servers) if present else 0.0
        leaves = env.now + (present[0][0] - attained) / each if present else INFINITE
        if arrival <= leaves:
            before = env.now
            yield env.timeout(max(arrival - before, 0.0))
            attained = attained + (env.now - before) * each if present else 0.0
            if room is None or len(present) < room:
                heappush(present, (attained + work, customer))
            else:
                outcome[customer] = Outcome.BLOCKED
            customer, arrival, work = next(customers, nobody)
        else:
            yield env.timeout(max(leaves - env.now, 0.0))
            attained, done = heappop(present)
            finish[done] = env.now


def run_sharing(draws: Draws, servers: int, room: int | None, *, compiled: bool = False) -> Run:
    """Serve these customers by processor sharing; who finds ``room`` others is turned away.

    The kernel gives the same times when it is ``compiled``.
    """
    ended, outcome = (_compiled if compiled else _by_events)(draws, servers, room)
    start = np.where(np.isnan(ended), np.nan, draws.arrival)
    if room is None:
        return Run(draws.arrival, draws.service, start, ended, begin_matters=False)
    left = np.where(outcome == Outcome.BLOCKED, draws.arrival, ended)
    return Run(draws.arrival, draws.service, start, ended, outcome, left=left, begin_matters=False)


def _by_events(draws: Draws, servers: int, room: int | None) -> tuple[Floats, Kinds]:
    env, count = simpy.Environment(), len(draws.arrival)
    finish, outcome = [NEVER] * count, np.zeros(count, np.int8)
    customers = zip(range(count), draws.arrival.tolist(), draws.service.tolist(), strict=True)
    env.process(share(env, customers, servers, room, finish, outcome))
    env.run()
    return np.array(finish), outcome


def _compiled(draws: Draws, servers: int, room: int | None) -> tuple[Floats, Kinds]:
    from secondorder.simulate.kernels import queues as kernel

    ended = kernel.sharing(draws.arrival, draws.service, servers, room)
    return ended, np.where(np.isnan(ended), Outcome.BLOCKED, Outcome.SERVED).astype(np.int8)
