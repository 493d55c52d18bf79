"""Queues on a station: finite room, priorities, and a line before each server."""

from collections.abc import Sequence
from heapq import heappop, heappush

import numpy as np
import simpy

from secondorder.simulate.queues.draws import Draws, Source
from secondorder.simulate.queues.first_come import starts
from secondorder.simulate.queues.records import Floats, Integers, Kinds, Outcome, Run
from secondorder.simulate.queues.recursions import lindley
from secondorder.simulate.queues.station import NEVER, Process, Ranked, Station, arrive

# Finite room


def run_room(draws: Draws, servers: int, room: int) -> Run:
    """First come, first served; who finds ``room`` others inside is turned away."""
    env = simpy.Environment()
    station = Station(env, draws.service.tolist(), servers=servers)
    outcome: Kinds = np.zeros(len(draws.arrival), np.int8)

    def enter(customer: int) -> None:
        if station.inside < room:
            station.join(customer)
        else:
            outcome[customer] = Outcome.BLOCKED

    env.process(arrive(env, draws.arrival, enter))
    env.run()
    finish = np.array(station.finish)
    left = np.where(outcome == Outcome.BLOCKED, draws.arrival, finish)
    return Run(draws.arrival, draws.service, np.array(station.start), finish, outcome, left=left)


# Priorities


def run_priorities(draws: Draws, servers: int) -> Run:
    """The most urgent class goes first; a service begun is finished."""
    assert draws.kind is not None
    env = simpy.Environment()
    station = Station(env, draws.service.tolist(), servers=servers, line=Ranked(draws.kind.tolist()))
    env.process(arrive(env, draws.arrival, station.join))
    env.run()
    return Run(draws.arrival, draws.service, np.array(station.start), np.array(station.finish), kind=draws.kind)


class Interruptible:
    """One server that the more urgent interrupt; what was interrupted goes on where it stopped."""

    def __init__(self, env: simpy.Environment, kind: Sequence[int], service: Sequence[float]) -> None:
        self.env, self.kind, self.left = env, kind, list(service)
        self.start, self.finish = [NEVER] * len(kind), [NEVER] * len(kind)
        self.waiting: list[tuple[int, int]] = []
        self.serving: int | None = None  # the class in service
        self.idle: simpy.Event | None = None
        self.process = env.process(self.serve())

    def join(self, customer: int) -> None:
        """A customer comes now."""
        heappush(self.waiting, (self.kind[customer], customer))
        if self.idle is not None:
            self.idle.succeed()
            self.idle = None
        elif self.serving is not None and self.kind[customer] < self.serving:
            self.serving = None
            self.process.interrupt()

    def serve(self) -> Process:
        """Serve the most urgent that waits, until it is done or somebody more urgent comes."""
        env = self.env
        while True:
            while not self.waiting:
                self.idle = env.event()
                yield self.idle
            kind, customer = heappop(self.waiting)
            begun, self.serving = env.now, kind
            if self.start[customer] != self.start[customer]:  # not begun before
                self.start[customer] = begun
            try:
                yield env.timeout(self.left[customer])
                self.left[customer] = 0.0
            except simpy.Interrupt:
                self.left[customer] -= env.now - begun
            self.serving = None
            if self.left[customer] > 0:
                heappush(self.waiting, (kind, customer))
            else:
                self.finish[customer] = env.now


def run_preemptive(draws: Draws) -> Run:
    """Preemptive resume at one server."""
    assert draws.kind is not None
    env = simpy.Environment()
    server = Interruptible(env, draws.kind.tolist(), draws.service.tolist())
    env.process(arrive(env, draws.arrival, server.join))
    env.run()
    start, finish = np.array(server.start), np.array(server.finish)
    return Run(draws.arrival, draws.service, start, finish, kind=draws.kind, begin_matters=False)


# A line before each server


def run_random(draws: Draws, servers: int, chance: Source, *, events: bool) -> Run:
    """Each customer picks a line blindly: as many queues apart."""
    picked = chance("routing").integers(0, servers, len(draws.arrival))
    start = np.empty(len(draws.arrival))
    for server in range(servers):
        mine = picked == server
        queue = draws.arrival[mine], draws.service[mine]
        start[mine] = starts(*queue) if events else lindley(*queue)
    return Run(draws.arrival, draws.service, start, start + draws.service)


def shortest(looked_at: Sequence[int], inside: Sequence[int]) -> int:
    """Of the servers looked at, the first of those with the fewest inside.

    >>> shortest([2, 0, 1], [4, 3, 3])
    2
    """
    return min(looked_at, key=inside.__getitem__)


def looks(customers: int, servers: int, d: int, rng: np.random.Generator) -> Integers:
    """For each customer ``d`` different servers in a random order (a partial shuffle, Fisher and Yates)."""
    order = np.tile(np.arange(servers), (customers, 1))
    rows = np.arange(customers)
    for place in range(d):
        other = rng.integers(place, servers, customers)
        order[rows, place], order[rows, other] = order[rows, other], order[rows, place].copy()
    return order[:, :d]


def run_shortest(draws: Draws, servers: int, d: int, chance: Source) -> Run:
    """Each customer joins the shortest of ``d`` lines."""
    env, service, rng = simpy.Environment(), draws.service.tolist(), chance("routing")
    inside = [0] * servers
    went, block = [0] * len(service), 10_000
    start, finish = [NEVER] * len(service), [NEVER] * len(service)

    def leave(customer: int) -> None:
        inside[went[customer]] -= 1

    stations = [Station(env, service, left=leave) for _ in range(servers)]
    for station in stations:
        station.start, station.finish = start, finish  # one record for all

    def choose() -> Process:
        for customer, time in enumerate(draws.arrival.tolist()):
            if customer % block == 0:
                looked = looks(min(block, len(service) - customer), servers, d, rng).tolist()
            yield env.timeout(time - env.now)
            went[customer] = server = shortest(looked[customer % block], inside)
            inside[server] += 1
            stations[server].join(customer)

    env.process(choose())
    env.run()
    return Run(draws.arrival, draws.service, np.array(start), np.array(finish))


def run_fork_join(arrival: Floats, tasks: Sequence[Floats], *, events: bool) -> Run:
    """A task for each server, each with its own line; done when the last is."""
    begun = [starts(arrival, task) if events else lindley(arrival, task) for task in tasks]
    ended = [start + task for start, task in zip(begun, tasks, strict=True)]
    finish = np.maximum.reduce(ended)
    busy = np.concatenate(begun), np.concatenate(ended)
    service = np.add.reduce(tasks)
    return Run(arrival, service, np.minimum.reduce(begun), finish, busy=busy, begin_matters=False)
