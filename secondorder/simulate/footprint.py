"""A fleet's footprint hour by hour: loads and intensities that fluctuate, random requests, and work carried over.

Each hour draws its load and its intensity around the profiles; with a ``rate`` the hour's requests are Poisson.
What an hour has no room for is left for the next.

>>> from secondorder.fleets.accelerators import accelerators
>>> from secondorder.fleets.regions import facilities, regions
>>> fleet = Footprint(
...     accelerator=accelerators.h100_sxm, accelerators=64, power_overhead=1.8, utilisation=0.5, horizon="365 day",
...     region=regions.poland, facility=facilities.microsoft, load_scv=0.1)
>>> found = simulate_footprint(fleet, seed=1).best("utilisation")
>>> found.low < 0.5 < found.high
True
"""

from functools import partial

import numpy as np

from secondorder.answers.answer import Answer
from secondorder.answers.declared import FOOTPRINT
from secondorder.arrays import Floats
from secondorder.laws.elementary import exp
from secondorder.quantities import si
from secondorder.scenarios.footprint import HOUR, JOULES_PER_KWH, Footprint
from secondorder.simulate.estimates import estimates
from secondorder.simulate.replicate import replicated
from secondorder.simulate.streams import stream

HOURS = 90 * 24
"""Hours of one replication, at least; they make whole cycles."""


def simulate_footprint(scenario: Footprint, *, seed: int = 0, replications: int = 10, jobs: int = 1) -> Answer:
    """Simulate a quarter of a year or a whole cycle, scaled to the horizon: estimates with 95 % intervals.

    Metrics and units as those of ``solve_footprint``. A cycle goes before as warm-up. Intervals are Student's over
    the replications, of the expected total; one horizon alone varies more. Errors: ``InputError``, ``InfeasibleError``.
    """
    found = replicated(partial(_once, scenario, seed), replications, jobs)
    days = f"hour by hour through {_length(scenario) / 24:g} days, scaled to the horizon"
    how = f"{replications} replications {days}, seed {seed}" if _chance(scenario) else days
    return Answer(scenario=scenario.name, estimates=estimates(found, FOOTPRINT), how=how)


def _chance(scenario: Footprint) -> bool:
    """Whether anything is random."""
    return bool(scenario.load_scv or scenario.intensity_scv or scenario.rate is not None)


def _length(scenario: Footprint) -> int:
    return scenario.hours * -(-HOURS // scenario.hours)


def _once(scenario: Footprint, seed: int, replication: int) -> dict[str, float]:
    return measure(scenario, seed=seed, replication=replication)


def measure(scenario: Footprint, *, seed: int, replication: int) -> dict[str, float]:
    """One replication: each metric, scaled to the horizon."""
    s, warm_up = scenario, scenario.hours
    asked, intensity, requests = draws(s, warm_up + _length(s), seed=seed, replication=replication)
    busy = carried_over(asked)[warm_up:]
    intensity, requests = intensity[warm_up:], requests[warm_up:]
    kwh = s.power(busy) * HOUR / JOULES_PER_KWH
    scale = si(s.horizon) / (len(busy) * HOUR)
    found = {
        "utilisation": float(busy.mean()),
        "energy": float(kwh.sum()) * scale,
        "carbon_operational": float(kwh @ intensity) * scale,
    }
    total = found["carbon_operational"]
    if (embodied := s.embodied_carbon) is not None:
        found["carbon_embodied"] = embodied
        found["carbon"] = total = total + embodied
    if (water := s.water_per_kwh) is not None:
        found["water"] = found["energy"] * water
    if s.rate is not None:
        served = float(requests.sum()) * scale
        found["energy_per_request"] = found["energy"] / served
        found["carbon_per_request"] = total / served
        if s.tokens_per_request is not None:
            found["carbon_per_token"] = found["carbon_per_request"] / s.tokens_per_request
    return found


def draws(scenario: Footprint, hours: int, *, seed: int, replication: int) -> tuple[Floats, Floats, Floats]:
    """For each hour: the work that comes (1 fills it), the intensity in kgCO2e/kWh, the requests (0 without a rate)."""
    s = scenario
    cycles = -(-hours // s.hours)
    one, own = (stream(seed, replication, cause).standard_normal(hours) for cause in ("load", "intensity"))
    other = s.correlation * one + np.sqrt(1 - s.correlation**2) * own
    asked = np.tile(s.hourly_utilisation, cycles)[:hours] * _factor(one, s.load_scv)
    intensity = np.tile(s.hourly_intensity, cycles)[:hours] * _factor(other, s.intensity_scv)
    if s.rate is None:
        return asked, intensity, np.zeros(hours)
    per_hour = si(s.rate) * HOUR / s.utilisation
    requests = stream(seed, replication, "requests").poisson(asked * per_hour).astype(np.float64)
    return requests / per_hour, intensity, requests


def _factor(normal: Floats, scv: float) -> Floats:
    """Lognormal of mean 1."""
    sigma2 = np.log1p(scv)
    return exp(np.sqrt(sigma2) * normal - sigma2 / 2)


def carried_over(asked: Floats) -> Floats:
    """The work done in each hour, at most 1: what is left waits for the next.

    >>> carried_over(np.array([0.5, 1.7, 0.6, 0.2])).round(9).tolist()
    [0.5, 1.0, 1.0, 0.5]
    """
    done, left = np.empty_like(asked), 0.0
    for hour, work in enumerate(asked.tolist()):
        done[hour] = min(left + work, 1.0)
        left += work - done[hour]
    return done
