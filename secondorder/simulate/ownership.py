"""A fleet's cost under a load that follows the day, request by request, with replicas that come and go.

Requests come as a Poisson process whose rate changes with the hour and wait in one line; each takes the slot that is
free first. Slots that are no longer needed leave, those that are free first before the others; a busy one finishes its
request.

>>> from secondorder.fleets.accelerators import accelerators
>>> fleet = Ownership(
...     accelerator=accelerators.h100_sxm, accelerators=8, purchase="33600 USD", server_overhead=1, power_overhead=1.8,
...     pue=1.17, electricity_price="0.09 USD/kWh", maintenance=0.05, service_life="4 year", horizon="3 year",
...     rate="0.3 request/s", profile="sinusoid swing=0.6", service="exponential 10 s")
>>> found = simulate_ownership(fleet, seed=1, replications=5).best("utilisation")
>>> found.low < 0.375 < found.high
True
"""

from collections.abc import Iterator
from functools import partial
from heapq import heappop, heappush, heapreplace
from itertools import count
from math import ceil
from typing import NamedTuple

import numpy as np

from secondorder.answers.answer import Answer
from secondorder.answers.declared import OWNERSHIP
from secondorder.arrays import Floats
from secondorder.errors import InputError
from secondorder.quantities import si
from secondorder.scenarios.footprint import HOUR
from secondorder.scenarios.ownership import Ownership
from secondorder.simulate.estimates import estimates
from secondorder.simulate.replicate import replicated
from secondorder.simulate.streams import stream

REQUESTS = 100_000
"""Of one replication, at least; whole cycles."""
WARM_UP = 24
"""Hours at least."""

Change = tuple[float, int]
"""A change of the slots: when, in s, and by how many more or fewer."""


def simulate_ownership(scenario: Ownership, *, seed: int = 0, replications: int = 10, jobs: int = 1) -> Answer:
    """Simulate whole cycles of the load, scaled to the horizon: estimates with 95 % confidence intervals.

    Metrics and units as those of ``solve_ownership``. A day goes before as warm-up. Intervals are Student's over the
    replications. Errors: ``InputError`` for a scenario without a load, where nothing is random; ``Unstable``.
    """
    if scenario.rate is None:
        expected = "requests to simulate: without them the cost is not random"
        raise InputError("rate", given="none", expected=expected)
    scenario.check_stable()
    found = replicated(partial(_once, scenario, seed), replications, jobs)
    hours = f"{_hours(scenario)[1]} hours, request by request, costs scaled to the horizon"
    how = f"{replications} replications of {hours}, seed {seed}"
    return Answer(scenario=scenario.name, estimates=estimates(found, OWNERSHIP), how=how)


def _hours(scenario: Ownership) -> tuple[int, int]:
    """Hours of the warm-up, and of the whole cycles that are measured: a day at least."""
    cycle = len(scenario.hourly_rates)
    day = cycle * ceil(WARM_UP / cycle) if cycle < WARM_UP else WARM_UP
    a_cycle = float(scenario.hourly_rates.sum()) * HOUR
    return day, cycle * max(ceil(REQUESTS / a_cycle), ceil(WARM_UP / cycle))


def _once(scenario: Ownership, seed: int, replication: int) -> dict[str, float]:
    return measure(scenario, seed=seed, replication=replication)


def measure(scenario: Ownership, *, seed: int, replication: int) -> dict[str, float]:
    """One replication: each metric."""
    s = scenario
    warm_up, hours = _hours(s)
    begin, end = warm_up * HOUR, (warm_up + hours) * HOUR
    arrival = arrivals(s, warm_up + hours, stream(seed, replication, "arrivals"), first=-warm_up)
    service = s.law("service").sample(len(arrival), stream(seed, replication, "service"))
    run = serve(arrival, service, *plan(s, first=-warm_up))
    overlap = np.minimum(run.start + service, end) - np.maximum(run.start, begin)
    per_slot = s.accelerators_per_replica / s.slots / (end - begin)
    late = sum(extra for when, extra in run.overruns if begin <= when < end)
    on = s.on + late * per_slot
    busy = float(np.maximum(overlap, 0).sum()) * per_slot
    counted = arrival >= begin
    return {
        **_costs(s, on, busy, float(counted.sum()) / (end - begin)),
        **_waits(s, (run.start - arrival)[counted], on, busy),
    }


def _costs(s: Ownership, on: float, busy: float, rate: float) -> dict[str, float]:
    seconds, costs = si(s.horizon), s.costs(on, busy)
    found = {
        "energy_cost": costs.energy,
        "total_cost": costs.total,
        "cost_per_hour": costs.total / seconds * HOUR,
        "energy": s.energy(on, busy),
        "utilisation": busy / on,
        "accelerators_on": on,
        "cost_per_request": costs.total / seconds / rate,
    }
    if s.tokens_per_request is not None:
        found["cost_per_token"] = found["cost_per_request"] / s.tokens_per_request
    if s.rental is not None:
        found["rental_cost"] = on * si(s.rental) * seconds / HOUR
        found["rental_per_request"] = on * si(s.rental) / HOUR / rate
    return found


def _waits(s: Ownership, wait: Floats, on: float, busy: float) -> dict[str, float]:
    found = {
        "prob_wait": float((wait > 0).mean()),
        "wait_mean": float(wait.mean()),
        "wait_p99": float(np.quantile(wait, 0.99)),
    }
    if s.wait_objective is not None:
        within = float((wait <= si(s.wait_objective)).mean())
        found["within_objective"] = within
        if within > 0:
            mean_rate = float(s.hourly_rates.mean())
            found["cost_per_request_within"] = s.costs(on, busy).total / si(s.horizon) / mean_rate / within
    return found


def arrivals(scenario: Ownership, hours: int, rng: np.random.Generator, *, first: int = 0) -> Floats:
    """Times in s of the requests of this many hours, from the hour ``first`` of the cycle on: Poisson in each hour."""
    rates = scenario.hourly_rates
    of_hour = rng.poisson(rates[np.arange(first, first + hours) % len(rates)] * HOUR)
    return np.sort((np.repeat(np.arange(hours), of_hour) + rng.random(int(of_hour.sum()))) * HOUR)


def plan(scenario: Ownership, *, first: int = 0) -> tuple[int, Iterator[Change]]:
    """Slots at the start of the hour ``first``, and how they change from then on, without end.

    More are there a boot after the hour's start, fewer from its start on.
    """
    slots = np.rint(scenario.hourly_replicas * scenario.slots).astype(int)
    boot = 0.0 if scenario.boot is None else si(scenario.boot)

    def changes() -> Iterator[Change]:
        for hour in count(1) if np.ptp(slots) else ():
            more = int(slots[(first + hour) % len(slots)] - slots[(first + hour - 1) % len(slots)])
            if more:
                yield hour * HOUR + (boot if more > 0 else 0.0), more

    return int(slots[first % len(slots)]), changes()


class OwnershipRun(NamedTuple):
    """When each service starts; for each slot taken away, when that was ordered and how much longer it worked."""

    start: Floats
    overruns: list[tuple[float, float]]


def serve(arrival: Floats, service: Floats, slots: int, changes: Iterator[Change]) -> OwnershipRun:
    """First come, first served by slots whose number changes: each takes the slot that is free first.

    A slot taken away is the one that is free first: an idle one goes at once, a busy one when it is done.
    *Source*: Kiefer and Wolfowitz (1955), with servers that come and go.

    >>> run = serve(np.array([0.0, 1.0, 2.0]), np.array([4.0, 4.0, 1.0]), 1, iter([(3.0, 1)]))
    >>> run.start.tolist()
    [0.0, 3.0, 4.0]
    """
    free, starts, overruns = [0.0] * slots, [], []
    when, more = next(changes, (np.inf, 0))
    for come, work in zip(arrival.tolist(), service.tolist(), strict=True):
        start = max(free[0], come) if free else np.inf
        while when <= start:
            if when == np.inf:
                raise InputError("changes", given="no slots left", expected="a change that adds some")
            if more > 0:
                for _ in range(more):
                    heappush(free, when)
            else:
                overruns += [(when, max(heappop(free) - when, 0.0)) for _ in range(-more)]
            when, more = next(changes, (np.inf, 0))
            start = max(free[0], come) if free else np.inf
        starts.append(start)
        heapreplace(free, start + work)
    return OwnershipRun(np.array(starts), overruns)
