"""Networks and caches that are unstable below load 1: opposite routes (T4), a prefix cache of two states (T12)."""

from typing import Any

from secondorder.analytic.deployment import opposite_routes
from secondorder.analytic.serving import cache_feedback
from secondorder.scenarios.cache_feedback import CacheFeedback
from secondorder.scenarios.opposite_routes import OppositeRoutes
from secondorder.simulate.deployment.cache_feedback import serve_contexts
from secondorder.simulate.deployment.opposite_routes import numbers
from secondorder.validation.catalogue.theory.theorem import LEFT_OVER, Theorem
from secondorder.validation.catalogue.twin import Amounts

# T4


def virtual_station(scenario: OppositeRoutes) -> Amounts:
    return {"left_over": 1 - opposite_routes.throughput(scenario) / (2 * scenario.rate)}


def network(scenario: OppositeRoutes, steps: int, seed: int, replication: int) -> Amounts:
    """Growth of the number inside over the second half of the steps, as a share of the requests that arrive in it."""
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


def two_branches(scenario: CacheFeedback) -> Amounts:
    """From a good start the work is left over past ``collapse_rate``, from a bad one past ``recovery_rate``."""
    bad = max(0.0, 1 - cache_feedback.recovery_rate(scenario) / scenario.rate)
    good = bad if scenario.rate > cache_feedback.collapse_rate(scenario) else 0.0
    return {"good_start": good, "bad_start": bad}


def both_starts(scenario: CacheFeedback, requests: int, seed: int, replication: int) -> Amounts:
    """For both starts, the growth of the number inside over the second half of the time, as a share of its arrivals.

    The bad start is a backlog that fills the cache.
    """
    found = {}
    for name, flood in (("good_start", 0), ("bad_start", int(2 * scenario.contexts))):
        ran = serve_contexts(scenario, requests, flood=flood, seed=seed, replication=replication)
        end = float(ran.arrival[-1])
        ended = ((ran.computed > end / 2) & (ran.computed <= end)).sum()
        found[name] = float(1 - ended / (ran.arrival > end / 2).sum())
    return found


def _prefixes(rate: float) -> Theorem:
    return Theorem(
        theorem="T12",
        title=f"prefix cache at {rate:g}/s",
        written="1/miss < rate: two states",
        claim="hits keep the engine fast, and a fast engine keeps the hits; all may miss instead",
        kind="label",
        scenario=CacheFeedback(rate=rate),
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
