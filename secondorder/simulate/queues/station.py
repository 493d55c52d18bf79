"""Servers behind one line that customers join as they come: for whatever looks at how many are inside."""

from collections import deque
from collections.abc import Callable, Generator, Sequence
from heapq import heappop, heappush
from typing import Protocol

import simpy

from secondorder.simulate.queues.records import Floats

Process = Generator[simpy.Event, object, None]

NEVER = float("nan")


class Line(Protocol):
    """Who waits, and who is next."""

    def __len__(self) -> int: ...

    def append(self, customer: int) -> None: ...

    def popleft(self) -> int: ...


class Ranked:
    """A line in order of class, then of arrival.

    >>> line = Ranked([2, 1, 1])
    >>> for customer in range(3):
    ...     line.append(customer)
    >>> line.popleft(), line.popleft(), line.popleft()
    (1, 2, 0)
    """

    def __init__(self, kind: Sequence[int]) -> None:
        self.kind = kind
        self.waiting: list[tuple[int, int]] = []

    def __len__(self) -> int:
        return len(self.waiting)

    def append(self, customer: int) -> None:
        heappush(self.waiting, (self.kind[customer], customer))

    def popleft(self) -> int:
        return heappop(self.waiting)[1]


class Station:
    """Identical ``servers``; ``join`` puts a customer in the queue, ``left`` is called with each one who has been
    served.

    ``inside`` counts those waiting and in service. ``start`` and ``finish`` take the times of each.
    """

    def __init__(
        self,
        env: simpy.Environment,
        service: Sequence[float],
        *,
        servers: int = 1,
        line: Line | None = None,
        left: Callable[[int], object] | None = None,
    ) -> None:
        self.env, self.service, self.left = env, service, left
        self.line: Line = deque() if line is None else line
        self.inside = 0
        self.start, self.finish = [NEVER] * len(service), [NEVER] * len(service)
        self.idle: list[simpy.Event] = []
        for _ in range(servers):
            env.process(self.serve())

    def join(self, customer: int) -> None:
        """A customer comes now."""
        self.inside += 1
        self.line.append(customer)
        if self.idle:
            self.idle.pop().succeed()

    def serve(self) -> Process:
        """One server: sleep while nobody waits, take the next, serve it."""
        env, line = self.env, self.line
        while True:
            while not line:
                self.idle.append(asleep := env.event())
                yield asleep
            customer = line.popleft()
            self.start[customer] = env.now
            yield env.timeout(self.service[customer])
            self.finish[customer] = env.now
            self.inside -= 1
            if self.left is not None:
                self.left(customer)


def arrive(env: simpy.Environment, arrivals: Floats, join: Callable[[int], object]) -> Process:
    """Each customer at its time, whatever became of those before it."""
    for customer, time in enumerate(arrivals.tolist()):
        yield env.timeout(time - env.now)
        join(customer)
