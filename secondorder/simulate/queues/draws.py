"""The random times of a run, drawn before it: one stream per cause, whole arrays at a time.

Times are rounded to multiples of a power of two, the grid. It is so coarse that no sum of times in the run needs more
than the 53 bits of a float, and still only about 1e-9 of a mean gap in a run of a million. On the grid additions are
exact in any order: a recursion over the whole array and a simulation from event to event give the same times, bit for
bit.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from secondorder.scenarios.queue import Priorities, Queue
from secondorder.simulate.queues.records import Floats, Kinds
from secondorder.simulate.streams import stream

Source = Callable[[str], np.random.Generator]
"""The generator of a random cause."""


def source(seed: int, replication: int) -> Source:
    """The streams of one replication, by cause."""
    return lambda cause: stream(seed, replication, cause)


@dataclass(frozen=True)
class Draws:
    """Arrival times and services of the customers in s, on one grid; their class from 1 on, if any."""

    arrival: Floats
    service: Floats
    kind: Kinds | None = None


def draw(queue: Queue, customers: int, chance: Source, *, flood: int = 0) -> Draws:
    """The customers of one replication of an open queue, after ``flood`` others that are there at the start."""
    arrival = np.asarray(queue.open_arrivals.times(customers, chance("arrivals")))
    service, kind = services(queue, customers, chance)
    if flood:
        before, kinds = services(queue, flood, lambda cause: chance(f"flood {cause}"))
        arrival, service = np.concatenate([np.zeros(flood), arrival]), np.concatenate([before, service])
        kind = np.concatenate([kinds, kind]) if kind is not None and kinds is not None else None
    tick = grid(arrival, service, queue.servers)
    return Draws(on_grid(arrival, tick), on_grid(service, tick), kind)


def services(queue: Queue, customers: int, chance: Source) -> tuple[Floats, Kinds | None]:
    """How much work each customer brings; with classes also its class. Each class has its own stream."""
    if not isinstance(queue.discipline, Priorities):
        return queue.services[0][1].sample(customers, chance("service")), None
    bounds = np.cumsum(queue.discipline.shares)
    kind = np.searchsorted(bounds[:-1], chance("class").random(customers), side="right")
    drawn = [law.sample(customers, chance(f"service of class {k}")) for k, (_, law) in enumerate(queue.services, 1)]
    return np.choose(kind, drawn), (kind + 1).astype(np.int8)


def grid(arrival: Floats, service: Floats, servers: int = 1) -> float:
    """The step in s of a grid on which all times of the run are exact.

    With work-conserving servers nobody leaves after ``last arrival + sum of services / servers +
    longest service``. A quarter of the range is left free of what arrivals need, so that the grid
    rarely depends on the services.

    >>> grid(np.array([1.0, 3.0]), np.array([1.0, 1.0])) == 2.0**-49
    True
    """
    if not len(arrival):
        return 1.0
    latest = float(arrival[-1] + service.sum() / servers + service.max())
    work = float(service.sum())  # summed by itself in Lindley's recursion
    need = max(4 * float(arrival[-1]), latest, work, 1e-300)
    return 2.0 ** (math.ceil(math.log2(need)) - 53)


def on_grid(times: Floats, tick: float) -> Floats:
    """The times, each at the nearest point of the grid."""
    return np.rint(times / tick) * tick
