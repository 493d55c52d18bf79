"""Tokens that pick their experts, one by one: exponential clocks, the first ``top_k`` of which win.

>>> from secondorder.scenarios.expert_routing import ExpertRouting
>>> loads(ExpertRouting(tokens=16, experts=8, top_k=2, expert_parallel=8), runs=2, seed=1).sum(axis=1)
array([32, 32])
"""

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from secondorder.answers.answer import Answer
from secondorder.answers.estimate import Estimate, short_of_data
from secondorder.arrays import Floats
from secondorder.errors import InputError
from secondorder.scenarios.expert_routing import ExpertRouting
from secondorder.simulate.collectives.answer import INDEPENDENT_FOR_A_P99, order_statistics
from secondorder.simulate.replicate import replicated
from secondorder.simulate.statistics.intervals import student
from secondorder.simulate.streams import stream

Loads = npt.NDArray[np.int64]

DRAWS, FEWEST, MOST = 3_000_000, 40, 2_000
"""Clocks of a replication, about; and its routings, at least and at most."""
AT_ONCE = 2_000_000
"""Clocks drawn together: bounds the memory."""


def simulate_expert_routing(scenario: ExpertRouting, *, seed: int = 0, replications: int = 10, jobs: int = 1) -> Answer:
    """Independent routings, many a replication, with intervals at 95 %.

    Metrics as those of ``solve_expert_routing``. Intervals are Student's over the replications; that of
    ``max_load_p99`` lies between two order statistics of all routings. ``jobs`` processes share the
    replications. Errors: ``InputError``.
    """
    if replications < 2:
        raise InputError("replications", given=replications, expected="at least 2, for an interval")
    runs = min(max(DRAWS // (scenario.tokens * scenario.experts), FEWEST), MOST)
    found = replicated(lambda k: loads(scenario, runs=runs, seed=seed, replication=k), replications, jobs)
    fullest = [routed.max(axis=1) for routed in found]
    kept = [np.minimum(routed, scenario.capacity or scenario.tokens) for routed in found]
    share = scenario.routed / scenario.expert_parallel
    work = [each.reshape(runs, scenario.expert_parallel, -1).sum(axis=2).max(axis=1) / share for each in kept]
    rows = (
        _mean("imbalance", "", [most.mean() / scenario.mean_load for most in fullest]),
        _mean("max_load_mean", "token", [most.mean() for most in fullest]),
        _p99(np.sort(np.concatenate(fullest))),
        _dropped([1 - each.sum() / (runs * scenario.routed) for each in kept], runs, scenario),
        _mean("active_experts_mean", "", [(routed > 0).sum(axis=1).mean() for routed in found]),
        _mean("slowdown", "", [each.mean() for each in work]),
    )
    return Answer(scenario=scenario.name, estimates=rows, how=f"{replications} replications of {runs:,} routings")


def loads(scenario: ExpertRouting, *, runs: int, seed: int = 0, replication: int = 0) -> Loads:
    """Tokens that each expert gets, before any is dropped: (runs, experts)."""
    rng = stream(seed, replication, "routing")
    tokens, experts, k = scenario.tokens, scenario.experts, scenario.top_k
    found = np.zeros((runs, experts), dtype=np.int64)
    rows = max(1, AT_ONCE // experts)  # tokens at once, whichever run they belong to
    for first in range(0, runs * tokens, rows):
        owners = np.arange(first, min(first + rows, runs * tokens)) // tokens
        clocks = rng.standard_exponential((len(owners), experts)) / scenario.shares
        picked = np.argpartition(clocks, k - 1, axis=1)[:, :k]
        places = owners[:, None] * experts + picked
        found += np.bincount(places.ravel(), minlength=runs * experts).reshape(runs, experts)
    return found


def _mean(metric: str, unit: str, values: list[float]) -> Estimate:
    found = student(values)
    return Estimate(metric=metric, amount=found.mean, unit=unit, source="simulated", low=found.low, high=found.high)


def _dropped(shares: list[float], runs: int, scenario: ExpertRouting) -> Estimate:
    """The share of tokens beyond what their experts take; where none was seen, an interval would be of no width."""
    found = _mean("dropped_share", "", shares)
    if any(shares) or scenario.capacity is None or scenario.capacity >= scenario.tokens:
        return found
    why = f"none of {len(shares) * runs:,} routings drops a token"
    return replace(found, steadiness=short_of_data(why), unsettled=why)


def _p99(ordered: npt.NDArray[np.int64]) -> Estimate:
    """The least load that at most one routing in a hundred exceeds."""
    values: Floats = ordered.astype(np.float64)
    low, high = order_statistics(values, 0.99)
    amount = float(values[int(np.ceil(0.99 * len(values))) - 1])
    enough = len(values) >= INDEPENDENT_FOR_A_P99 or values[0] == values[-1]
    if values[0] == values[-1]:
        low = high = amount
    why = "" if enough else f"{len(values)} routings, {INDEPENDENT_FOR_A_P99} are needed"
    return Estimate(
        metric="max_load_p99", amount=amount, unit="token", source="simulated", low=low, high=high,
        steadiness=short_of_data(why), unsettled=why,
    )  # fmt: skip
