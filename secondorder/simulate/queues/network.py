"""An open network on SimPy: a customer is a process that queues at one station after the other."""

import math
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import simpy

from secondorder.answers.answer import Answer
from secondorder.answers.declared import QUEUE_NETWORK
from secondorder.laws import Service
from secondorder.scenarios.queue_network import QueueNetwork
from secondorder.simulate.estimates import every_estimate
from secondorder.simulate.replicate import replicated
from secondorder.simulate.statistics.run_length import RELAXATIONS_FOR_A_MEAN
from secondorder.simulate.streams import stream

SHORTEST, LONGEST = 5_000, 50_000
"""Customers of a replication."""
FIRST, LAST = 0.2, 0.95
"""Shares of the time between which a run is measured: after it has filled, and before it empties."""
DRAWN = 1_024
"""Services that are drawn at a time."""

Process = Generator[simpy.Event, object, None]


@dataclass
class Journeys:
    """For each customer, in order of departure: when it came and left (s), and the waits of all its visits."""

    came: list[float] = field(default_factory=list)
    left: list[float] = field(default_factory=list)
    waits: list[list[tuple[float, float]]] = field(default_factory=list)
    """For each station when a visit began and how long it waited."""


def run_network(scenario: QueueNetwork, customers: int, *, seed: int = 0, replication: int = 0) -> Journeys:
    """A number of customers from outside, from an empty start to the last departure."""
    env = simpy.Environment()
    stations = [simpy.Resource(env, servers) for servers in scenario.servers]
    found = Journeys(waits=[[] for _ in stations])
    services = [
        _times(each.law, stream(seed, replication, f"service at station {k}"))
        for k, each in enumerate(scenario.stations.stations)
    ]
    ways = stream(seed, replication, "routing")
    following = np.cumsum(scenario.routing, axis=1)

    def journey(station: int) -> Process:
        came = env.now
        while station < len(stations):
            with stations[station].request() as turn:
                began = env.now
                yield turn
                found.waits[station].append((began, env.now - began))
                yield env.timeout(next(services[station]))
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


def _times(law: Service, chance: np.random.Generator) -> Iterator[float]:
    """Times of a law, one after the other without end, in s."""
    while True:
        yield from law.sample(DRAWN, chance).tolist()


def measure(scenario: QueueNetwork, found: Journeys) -> dict[str, float]:
    """The metrics of a run, of customers and visits that came while it was steady."""
    came, left = np.array(found.came), np.array(found.left)
    since, until = FIRST * came.max(), LAST * came.max()
    stay = (left - came)[(came >= since) & (came <= until)]
    inside = np.clip(left, since, until) - np.clip(came, since, until)
    amounts = {
        "response_mean": float(stay.mean()),
        "response_p99": float(np.quantile(stay, 0.99)),
        "customers_mean": float(inside.sum() / (until - since)),
    }
    for name, visits, service, servers in zip(
        scenario.names, found.waits, scenario.services, scenario.servers, strict=True
    ):
        began, waited = np.array(visits).T
        kept = (began >= since) & (began <= until)
        amounts[f"wait_mean_station_{name}"] = float(waited[kept].mean())
        amounts[f"utilisation_station_{name}"] = float(kept.sum() * service / servers / (until - since))
        amounts[f"visits_station_{name}"] = float(kept.sum() / len(stay))
    return amounts


def simulate_queue_network(scenario: QueueNetwork, *, seed: int = 0, replications: int = 10, jobs: int = 1) -> Answer:
    """Simulate an open network: estimates with Student intervals at 95 % over the replications.

    Metrics and units as those of ``solve_queue_network``, and the ``response_p99``. A replication lasts 300 relaxation
    times of its slowest station, between 5,000 and 50,000 customers; a fifth is cut at its beginning and a twentieth at
    its end. Errors: ``Unstable``, ``InputError``.
    """
    scenario.check_stable()
    wanted = sum(scenario.rates) * RELAXATIONS_FOR_A_MEAN * relaxation(scenario) / (LAST - FIRST)
    customers = int(min(max(wanted, SHORTEST), LONGEST))
    found = replicated(partial(_replication, scenario, customers, seed), replications, jobs, least=2)
    why = f"{customers:,} customers are fewer than the {math.ceil(wanted):,} that would do" if wanted > LONGEST else ""
    how = f"{replications} replications of {customers:,} customers, {FIRST:.0%} cut as warm-up, seed {seed}"
    return Answer(scenario=scenario.name, estimates=every_estimate(found, QUEUE_NETWORK, why), how=how)


def relaxation(scenario: QueueNetwork) -> float:
    """Time in s in which the slowest station forgets: ``(1 + scv)/2 / (c mu (1 - sqrt(rho))^2)``, or a service."""
    each = zip(scenario.services, scenario.servers, scenario.utilisations, scenario.scvs, strict=True)
    return max(
        service * max(1.0, (1 + scv) / (2 * servers * (1 - math.sqrt(load)) ** 2))
        for service, servers, load, scv in each
    )


def _replication(scenario: QueueNetwork, customers: int, seed: int, replication: int) -> dict[str, float]:
    return measure(scenario, run_network(scenario, customers, seed=seed, replication=replication))
