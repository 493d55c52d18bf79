"""A queue through the day, customer by customer: who is free first serves next, and servers come and go on the hour."""

import math
from collections.abc import Iterator
from functools import partial

import numpy as np

from secondorder.answers.answer import Answer
from secondorder.answers.declared import ROSTER
from secondorder.arrays import Floats
from secondorder.quantities import si
from secondorder.scenarios.footprint import HOUR
from secondorder.scenarios.roster import Roster
from secondorder.simulate.estimates import every_estimate
from secondorder.simulate.ownership import serve
from secondorder.simulate.replicate import replicated
from secondorder.simulate.statistics.run_length import RELAXATIONS_FOR_A_MEAN
from secondorder.simulate.streams import stream

SHORTEST, LONGEST, FEWEST_CYCLES = 20_000, 300_000, 20
"""Customers of a replication, and its cycles at least."""
CUT = 0.1
"""Share of the cycles that is cut as warm-up."""


def simulate_roster(scenario: Roster, *, seed: int = 0, replications: int = 10, jobs: int = 1) -> Answer:
    """Simulate a queue through the day: estimates with Student intervals at 95 % over the replications.

    Metrics and units as those of ``solve_roster``. A replication lasts 20 cycles, 20,000 customers and 300 relaxation
    times at least, and 300,000 customers at most; its first tenth is cut. Errors: ``Unstable``, ``InputError``.
    """
    scenario.check_stable()
    a_cycle = si(scenario.rate) * HOUR * scenario.hours
    wanted = max(SHORTEST, FEWEST_CYCLES * a_cycle, RELAXATIONS_FOR_A_MEAN * relaxation(scenario) * si(scenario.rate))
    cycles = math.ceil(min(wanted, LONGEST) / a_cycle)
    found = replicated(partial(_replication, scenario, cycles, seed), replications, jobs, least=2)
    why = f"{LONGEST:,} customers are fewer than the {wanted:,.0f} that would do" if wanted > LONGEST else ""
    how = f"{replications} replications of {cycles:,} cycles, the first {CUT:.0%} cut as warm-up, seed {seed}"
    return Answer(scenario=scenario.name, estimates=every_estimate(found, ROSTER, why), how=how)


def relaxation(scenario: Roster) -> float:
    """Time in s in which a queue at the mean rate forgets: ``(1 + scv)/2 / (c mu (1 - sqrt(rho))^2)``."""
    rate = scenario.mean_servers / scenario.mean_service * (1 - math.sqrt(scenario.utilisation)) ** 2
    return (1 + scenario.law("service").scv) / 2 / rate


def _replication(scenario: Roster, cycles: int, seed: int, replication: int) -> dict[str, float]:
    came = arrivals(scenario, cycles, stream(seed, replication, "arrivals"))
    service = scenario.law("service").sample(len(came), stream(seed, replication, "service"))
    start = serve(came, service, scenario.hourly_servers[0], changes(scenario)).start
    since = math.ceil(CUT * cycles) * scenario.hours * HOUR
    kept = came >= since
    wait, until = (start - came)[kept], cycles * scenario.hours * HOUR
    worked = np.clip(start + service, since, until) - np.clip(start, since, until)
    on_duty = scenario.mean_servers * (until - since)
    return {
        "wait_mean": float(wait.mean()),
        "wait_p99": float(np.quantile(wait, 0.99)),
        "prob_wait": float((wait > 0).mean()),
        "utilisation": float(worked.sum() / on_duty),
    }


def arrivals(scenario: Roster, cycles: int, rng: np.random.Generator) -> Floats:
    """Times in s of the customers of a number of cycles: Poisson in each hour."""
    rates = np.tile(scenario.hourly_rates, cycles)
    of_hour = rng.poisson(rates * HOUR)
    times: Floats = np.sort((np.repeat(np.arange(len(rates)), of_hour) + rng.random(int(of_hour.sum()))) * HOUR)
    return times


def changes(scenario: Roster) -> Iterator[tuple[float, int]]:
    """When the number of servers changes after the first hour, and by how many, without end."""
    servers, hour = scenario.hourly_servers, 0
    while len(set(servers)) > 1:
        hour += 1
        more = servers[hour % len(servers)] - servers[(hour - 1) % len(servers)]
        if more:
            yield hour * HOUR, more
