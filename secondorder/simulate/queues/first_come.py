"""First come, first served at servers behind one line, on SimPy: one event a customer, and one an idle time."""

from collections.abc import Generator, Iterator
from itertools import repeat

import numpy as np
import simpy

from secondorder.simulate.queues.records import Floats

Process = Generator[simpy.Event, object, None]
Line = Iterator[tuple[int, float, float]]
"""Number, arrival and service of each customer, in order of arrival."""


def serve(env: simpy.Environment, line: Line, start: list[float], setups: Iterator[float]) -> Process:
    """One server: take the next in line, sleep until it is there, serve it.

    Servers share the line, so that the one which is free first takes the next. A server that
    had to sleep sets up before it serves.
    """
    timeout = env.timeout
    for customer, arrival, service in line:
        if arrival > env.now:
            yield timeout(arrival - env.now)
            if setup := next(setups):
                yield timeout(setup)
        start[customer] = env.now
        yield timeout(service)


def starts(arrival: Floats, service: Floats, servers: int = 1, setups: Floats | None = None) -> Floats:
    """When each service starts."""
    env, found = simpy.Environment(), [0.0] * len(arrival)
    line = zip(range(len(arrival)), arrival.tolist(), service.tolist(), strict=True)
    for _ in range(min(servers, len(arrival))):
        env.process(serve(env, line, found, repeat(0.0) if setups is None else iter(setups.tolist())))
    env.run()
    return np.array(found)
