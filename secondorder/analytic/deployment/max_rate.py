"""The highest rate within objectives, by the closed forms of a replica at its share.

=====  ==================================================================================
order  what is counted
=====  ==================================================================================
1      only the queue does not grow: the sum of the replicas' saturation rates
2      the highest rate whose p99s, by the second order of a replica, keep every objective
=====  ==================================================================================
"""

from collections.abc import Callable, Iterator, Mapping

from secondorder.analytic.deployment.ladder import Limits, limits, outside
from secondorder.analytic.serving.replica import Replica
from secondorder.analytic.serving.saturation import Saturation
from secondorder.answers.answer import Answer, ranked
from secondorder.answers.costs import token_costs
from secondorder.answers.declared import MAX_RATE
from secondorder.answers.estimate import Estimate, approximation, bound, exact, rungs
from secondorder.errors import InfeasibleError, Unstable
from secondorder.quantities import pretty
from secondorder.scenarios.max_rate import MaxRate

TOLERANCE = 2e-3
"""Relative error of the rate that the bisection leaves."""
NEARLY_IDLE = 1e-3
"""Share of saturation at which a replica is as good as idle."""
SUM, QUEUE, GIVEN = "sum of the replicas' saturation rates", "second order of a replica at its share", "price given"


def highest(meets: Callable[[float], bool], low: float, high: float, tolerance: float = TOLERANCE) -> float:
    """The highest number between ``low``, which meets, and ``high``, which does not, by bisection.

    *Exact* within the relative ``tolerance``, for a condition that, once lost, stays lost.

    >>> round(highest(lambda x: x < 2.5, 1.0, 4.0), 2)
    2.5
    """
    while high - low > tolerance * high:
        middle = (low + high) / 2
        low, high = (middle, high) if meets(middle) else (low, middle)
    return low


def solve_max_rate(scenario: MaxRate) -> Answer:
    """The highest rate of every order, the p99s at that rate, and with a ``price`` the cost of a token.

    The search relies on p99s that rise with the load. Errors: ``InfeasibleError`` where a replica that is nearly idle
    misses an objective.
    """
    deployment, wanted = scenario.deployment, scenario.objectives
    deployment.serving.check_law()
    every = limits(deployment)
    limit, total = every.first, every.total

    def p99s(rate: float) -> Mapping[str, float]:
        return _p99s(scenario, rate * limit.rate / total, limit)

    def meets(rate: float) -> bool:
        quantiles = _quantiles(scenario, rate * limit.rate / total, limit)
        try:
            return all(quantiles[metric](0.99) <= most for metric, most in wanted.items())
        except Unstable:
            return False

    if not meets(NEARLY_IDLE * total):
        _refuse(scenario, p99s(NEARLY_IDLE * total))
    found = highest(meets, NEARLY_IDLE * total, total)
    at_limit = p99s(found)
    binds = max(at_limit, key=lambda metric: at_limit[metric] / wanted[metric])
    note = f"bound by {binds}" if at_limit[binds] > 0.9 * wanted[binds] else f"bound by saturation ({limit.binds})"
    claim = approximation(note, outside="; ".join(filter(None, (_doubts(scenario, found, every), outside(deployment)))))
    rows = [
        *rungs(MAX_RATE, 1, SUM, bound("from above, only the queue does not grow"), {"max_rate": total}),
        *rungs(MAX_RATE, 2, QUEUE, claim, {"max_rate": found, **at_limit}),
        *_costs(scenario, found),
    ]
    how = f"closed forms: {found:.4g} request/s over {len(deployment.engines)} replicas, {note}"
    return Answer(scenario=scenario.name, estimates=ranked(rows), how=how)


def _p99s(scenario: MaxRate, rate: float, limit: Saturation) -> Mapping[str, float]:
    """The p99s of the metrics with an objective, for a replica of the first kind at its own rate (request/s)."""
    quantiles = _quantiles(scenario, rate, limit)
    return {metric: quantiles[metric](0.99) for metric in scenario.objectives}


def _doubts(scenario: MaxRate, rate: float, every: Limits) -> str:
    """Which conditions of the second order do not hold at a rate of all replicas."""
    share = rate * every.first.rate / every.total
    return "; ".join(Replica.of(scenario.deployment.with_share(share / scenario.deployment.rate), share).outside)


def _quantiles(scenario: MaxRate, rate: float, limit: Saturation) -> Mapping[str, Callable[[float], float]]:
    serving = scenario.deployment.with_share(rate / scenario.deployment.rate)
    found = Replica.of(serving, rate, limit)
    return {"ttft_p99": found.ttft_quantile, "tpot_p99": found.tpot_quantile, "e2el_p99": found.e2el_quantile}


def _refuse(scenario: MaxRate, found: Mapping[str, float]) -> None:
    metric = max(found, key=lambda each: found[each] / scenario.objectives[each])
    raise InfeasibleError(
        f"{scenario.name}: {metric} is {pretty(found[metric], 's')} on a replica that is nearly idle, "
        f"{pretty(scenario.objectives[metric], 's')} are allowed; no rate meets the objectives: "
        "use a faster replica, or allow more"
    )


def _costs(scenario: MaxRate, rate: float) -> Iterator[Estimate]:
    spent = scenario.cost_rate
    if spent is None:
        return
    law = scenario.deployment.serving.offered
    yield from rungs(MAX_RATE, 1, GIVEN, exact(), {"cost": spent * 3600})
    yield from token_costs(spent, rate, law.mean_input, law.mean_output, GIVEN, 2)
