"""An open network on SimPy: a customer is a process that queues at one station after the other."""

from collections.abc import Generator
from dataclasses import dataclass, field

import numpy as np
import simpy

from secondorder.scenarios.queue_network import QueueNetwork
from secondorder.simulate.streams import stream

Process = Generator[simpy.Event, object, None]


@dataclass
class Journeys:
    """Of each customer in the order in which they left: when it came and left (s), and the waits of every visit."""

    came: list[float] = field(default_factory=list)
    left: list[float] = field(default_factory=list)
    waits: list[list[tuple[float, float]]] = field(default_factory=list)
    """For each station when a visit began and how long it waited."""


def run_network(scenario: QueueNetwork, customers: int, *, seed: int = 0, replication: int = 0) -> Journeys:
    """A number of customers from outside, from an empty start to the last departure."""
    env = simpy.Environment()
    stations = [simpy.Resource(env, servers) for servers in scenario.servers]
    found = Journeys(waits=[[] for _ in stations])
    services = [stream(seed, replication, f"service at station {k}") for k in range(scenario.stations)]
    ways = stream(seed, replication, "routing")
    following = np.cumsum(scenario.routing, axis=1)

    def journey(station: int) -> Process:
        came = env.now
        while station < scenario.stations:
            with stations[station].request() as turn:
                began = env.now
                yield turn
                found.waits[station].append((began, env.now - began))
                yield env.timeout(services[station].standard_exponential() * scenario.services[station])
            station = int(np.searchsorted(following[station], ways.random(), side="right"))
        found.came.append(came)
        found.left.append(env.now)

    def arrive() -> Process:
        chance, total = stream(seed, replication, "arrivals"), sum(scenario.rates)
        shares = np.cumsum(scenario.rates) / total
        for _ in range(customers):
            yield env.timeout(chance.standard_exponential() / total)
            env.process(journey(int(np.searchsorted(shares, chance.random(), side="right"))))

    env.process(arrive())
    env.run()
    return found
