"""Networks and caches that are unstable below load 1: opposite routes (T4), a prefix cache of two states (T12)."""

from dataclasses import dataclass, field
from typing import Any

from secondorder.analytic.deployment import opposite_routes
from secondorder.analytic.serving.theory import prefix_cache_states
from secondorder.scenarios.opposite_routes import OppositeRoutes
from secondorder.scenarios.prefix_cache import PrefixCache
from secondorder.simulate.deployment.opposite_routes import numbers
from secondorder.simulate.serving.prefix_states import starts
from secondorder.validation.catalogue.theory.theorem import LEFT_OVER, Theorem
from secondorder.validation.catalogue.twin import Amounts

# T4


def virtual_station(scenario: OppositeRoutes) -> Amounts:
    return {"left_over": 1 - opposite_routes.throughput(scenario) / (2 * scenario.rate)}


def network(scenario: OppositeRoutes, steps: int, seed: int, replication: int) -> Amounts:
    """Share of the requests of the second half of the steps that are more inside at the end than at its beginning."""
    inside = numbers(scenario, steps, seed=seed, replication=replication)
    half = steps // 2
    return {"left_over": (inside[-1] - inside[half]) / (2 * scenario.rate * (steps - half))}


def _routes(load: float, steps: int, *, last_first: bool = True) -> Theorem:
    order = "last stage first" if last_first else "first stage first"
    return Theorem(
        theorem="T4",
        title=f"{order}, load {load:g}",
        written="2 rate 544/768 < 1" if last_first else "rate 608/768 < 1",
        claim="two engines in opposite order: the two last stages share one engine's budget",
        kind="label",
        scenario=OppositeRoutes(rate=load * 768 / 608, last_first=last_first),
        margins={"left_over": LEFT_OVER},
        formula=virtual_station,
        witness=network,
        customers=steps,
        pace=5e4,
        units={"left_over": ""},
    )


# T12


@dataclass(frozen=True, kw_only=True)
class Starts:
    """A prefix cache at ``rate``, from a good start and with ``waiting`` requests that are there at the beginning."""

    rate: float
    cache: PrefixCache = field(default_factory=PrefixCache)
    waiting: int = 800
    name: str = "prefix cache"


def two_branches(case: Starts) -> Amounts:
    good = max(0.0, 1 - 1 / prefix_cache_states.load(case.cache, case.rate))
    bad = max(0.0, 1 - prefix_cache_states.recovery_rate(case.cache) / case.rate)
    return {"good_start": good if good == 0 else bad, "bad_start": bad}


def both_starts(case: Starts, requests: int, seed: int, replication: int) -> Amounts:
    """Of both starts the share of the requests of the second half of the time that are more inside at its end."""
    seconds, found = requests / case.rate, {}
    for name, waiting in (("good_start", 0), ("bad_start", case.waiting)):
        arrival, begun = starts(case.cache, case.rate, seconds, waiting=waiting, seed=seed, replication=replication)
        came = (arrival > seconds / 2).sum()
        found[name] = float(1 - ((begun > seconds / 2) & (begun <= seconds)).sum() / came)
    return found


def _prefixes(rate: float) -> Theorem:
    return Theorem(
        theorem="T12",
        title=f"prefix cache at {rate:g}/s",
        written="1/miss < rate: two states",
        claim="hits keep the engine fast, and a fast engine keeps the hits; all may miss instead",
        kind="label",
        scenario=Starts(rate=rate),
        margins={"good_start": LEFT_OVER, "bad_start": LEFT_OVER},
        formula=two_branches,
        witness=both_starts,
        customers=30_000,
        pace=4e5,
        units={"good_start": "", "bad_start": ""},
    )


def twins() -> tuple[Theorem, ...]:
    """T4 and T12."""
    routes: list[Any] = [_routes(load, steps) for load, steps in ((0.53, 20_000), (0.55, 40_000), (0.57, 20_000))]
    routes += [_routes(0.61, 5_000), _routes(0.9, 5_000, last_first=False)]
    return (*routes, *map(_prefixes, (7.0, 9.0, 11.2)))
