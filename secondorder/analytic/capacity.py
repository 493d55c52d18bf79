"""How many replicas a load needs, with prefill counted and the p99 of a sum instead of a sum of p99s.

=====  ===================================================================================================
order  replicas
=====  ===================================================================================================
0      the textbook's: a replica is a server of rate ``tokens/s / output tokens``, Erlang's wait, and p99 taken for
       the wait's p99 plus the mean service (``serving.capacity``). It forgets the prompts
1      the least number below saturation, prompts counted; no objective
2      the least number whose p99s, by the second order of ``serving.ladder``, keep every objective
=====  ===================================================================================================
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from secondorder.analytic.arguments import one_whole, positive
from secondorder.analytic.serving.capacity import decode_only_rate, textbook_capacity
from secondorder.analytic.serving.replica import Replica
from secondorder.analytic.serving.saturation import Saturation, saturation
from secondorder.answers.answer import Answer
from secondorder.answers.declared import CAPACITY
from secondorder.answers.estimate import Claim, Rung, rung
from secondorder.answers.metric import unit_of
from secondorder.errors import InfeasibleError, InputError
from secondorder.quantities import pretty
from secondorder.scenarios.capacity import Capacity

TEXTBOOK, BALANCE = "decode rate and Erlang C", "balance of slots and tokens"
QUEUE, GIVEN = "second order of a replica at its share", "price given"
MOST_REPLICAS = 1_000_000
IDLE_SHARE = 1_000
"""Factor on the replicas that stability takes, at which each replica is as good as idle."""
TAIL_ERROR = 0.2
"""Relative error of a second-order p99: none was further off inside its domain, most are within 0.1 (``Replica``)."""


def least(meets: Callable[[int], bool], *, start: int, most: int = MOST_REPLICAS) -> int | None:
    """The least integer from ``start`` on that ``meets``, where all above it do too; None where ``most`` does not.

    Doubling steps, then bisection. *Exact* for a condition that, once met, stays so.

    >>> least(lambda n: n >= 37, start=3)
    37
    """
    low, high = one_whole("start", start) - 1, start
    while not meets(high):
        if high >= most:
            return None
        low, high = high, min(most, high + max(1, 2 * (high - start)))
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if meets(middle) else (middle, high)
    return high


def replicas_for_rate(*, rate: float, replica_rate: float) -> int:
    """The least number whose saturation lies above ``rate``: ``floor(rate / replica_rate) + 1``. *Exact*.

    >>> replicas_for_rate(rate=50.0, replica_rate=10.1)
    5
    """
    total, one = float(positive("rate", rate)), float(positive("replica_rate", replica_rate))
    return math.floor(total / one) + 1


@dataclass(frozen=True, kw_only=True)
class Tail:
    """The p99s of a replica (s), of the metrics that have an objective, and which of its conditions do not hold."""

    amounts: dict[str, float]
    outside: list[str]

    def missed(self, objectives: dict[str, float], scale: float = 1.0) -> list[str]:
        """The metrics that would miss their objective if the p99s were ``scale`` times as long."""
        return [metric for metric, most in objectives.items() if scale * self.amounts[metric] > most]


def tail(scenario: Capacity, replicas: int, limit: Saturation) -> Tail:
    """The p99s of one of this many replicas; ``Unstable`` at or past its saturation."""
    serving = scenario.replica(replicas)
    found = Replica.of(serving, serving.rate, limit)
    quantiles = {"ttft_p99": found.ttft_quantile, "tpot_p99": found.tpot_quantile, "e2el_p99": found.e2el_quantile}
    return Tail(amounts={metric: quantiles[metric](0.99) for metric in scenario.objectives}, outside=found.outside)


def solve_capacity(scenario: Capacity) -> Answer:
    """The replicas that meet every objective, what binds, how busy they are, and what they cost.

    ``replicas`` of orders 0 to 2; ``saturation_rate`` of a replica, order 0 without prompts; ``utilisation``; the p99s
    at that number; with a ``price`` also ``cost`` (USD/hour), ``cost_per_request`` and ``cost_per_token`` (an output
    token). The note of ``replicas`` says why one fewer is not enough. ``InfeasibleError`` where no number of replicas
    keeps an objective. The search relies on p99s that rise with the load. Where they rise slowly, a small error of a
    p99 makes a difference of many replicas: the note says how many it would be if the p99s were 20 % shorter or
    longer.
    """
    serving, rate, wanted = scenario.serving, scenario.total_rate, scenario.objectives
    serving.check_law()
    limit = saturation(serving)
    first = replicas_for_rate(rate=rate, replica_rate=limit.rate)
    known = cache(lambda replicas: tail(scenario, replicas, limit))
    found = _search(scenario, known, first)
    chosen = known(found)
    reason, band = _why(scenario, known, found, first, limit), _band(scenario, known, first)
    routed = ["a random split of Poisson arrivals is taken for the router and its arrivals"] if scenario.router else []
    outside = "; ".join([*chosen.outside, *routed])
    rows = [
        *_textbook(scenario, limit),
        _bound("replicas", first, "", BALANCE, 1, "no objective: only the queue does not grow"),
        rung("replicas", found, "", QUEUE, 2, f"{reason}; {band}", outside),
        _bound(
            "saturation_rate", decode_only_rate(serving), "request/s", TEXTBOOK, 0, outside="prompts are not counted"
        ),
        rung("saturation_rate", limit.rate, "request/s", BALANCE, 2, limit.note, limit.outside),
        rung("utilisation", rate / (found * limit.rate), "", BALANCE, 2),
        *(
            rung(
                metric,
                amount,
                unit_of(CAPACITY, metric),
                QUEUE,
                2,
                f"objective {pretty(wanted[metric], 's')}",
                outside,
            )
            for metric, amount in chosen.amounts.items()
        ),
        *_cost(scenario, found),
    ]
    many = f"{found} replica" if found == 1 else f"{found} replicas"
    how = f"closed forms: {many} for {rate:.4g} request/s; {reason}"
    return Answer(scenario=scenario.name, estimates=tuple(rows), how=how)


def _search(scenario: Capacity, known: Callable[[int], Tail], first: int) -> int:
    objectives = scenario.objectives
    most = IDLE_SHARE * first
    if missed := known(most).missed(objectives):
        amount, allowed = known(most).amounts[missed[0]], objectives[missed[0]]
        raise InfeasibleError(
            f"{scenario.name}: {missed[0]} is {pretty(amount, 's')} on a replica that is nearly idle, "
            f"{pretty(allowed, 's')} are allowed; no number of replicas meets the objective: "
            "use a faster replica, or allow more"
        )
    found = least(lambda replicas: not known(replicas).missed(objectives), start=first, most=most)
    assert found is not None
    return found


def _band(scenario: Capacity, known: Callable[[int], Tail], first: int) -> str:
    """The replicas if the p99s were shorter or longer than they are computed."""

    def replicas(scale: float) -> str:
        found = least(lambda n: not known(n).missed(scenario.objectives, scale), start=first, most=IDLE_SHARE * first)
        return "none" if found is None else str(found)

    shorter, longer = replicas(1 - TAIL_ERROR), replicas(1 + TAIL_ERROR)
    return f"{shorter} with p99s {TAIL_ERROR:.0%} shorter, {longer} with p99s {TAIL_ERROR:.0%} longer"


def _why(scenario: Capacity, known: Callable[[int], Tail], found: int, first: int, limit: Saturation) -> str:
    """Why one replica fewer is not enough."""
    if found == 1:
        return "one replica does"
    if found == first:
        share = scenario.total_rate / ((found - 1) * limit.rate)
        resource = "memory: the KV cache" if limit.binds == "KV cache" else limit.binds
        return f"bound by saturation ({resource}): {found - 1} would be offered {share:.3g} of what they can serve"
    fewer = known(found - 1)
    metrics = fewer.missed(scenario.objectives)
    told = ", ".join(f"{metric} {pretty(fewer.amounts[metric], 's')}" for metric in metrics)
    return f"bound by {' and '.join(metric.removesuffix('_p99') for metric in metrics)}: with {found - 1}, {told}"


def _textbook(scenario: Capacity, limit: Saturation) -> list[Rung]:
    """The number that forgets the prompts; with a p99 only where there is one end to end."""
    rate, p99 = scenario.total_rate, scenario.objectives.get("e2el_p99")
    try:
        if p99 is None:
            replicas = replicas_for_rate(rate=rate, replica_rate=decode_only_rate(scenario.serving))
        else:
            replicas = textbook_capacity(scenario.serving, rate, p99=p99).replicas
    except InputError:  # an idle replica is slower than that
        return []
    note = "prompts are not counted, and the p99 is taken for that of the wait plus the mean service"
    if replicas * limit.rate <= rate:
        note += f"; {replicas} can serve {replicas * limit.rate:.3g} request/s, the queue grows"
    return [_bound("replicas", replicas, "", TEXTBOOK, 0, outside=note)]


def _cost(scenario: Capacity, replicas: int) -> list[Rung]:
    spent = scenario.cost_rate(replicas)
    if spent is None:
        return []
    each = spent / scenario.total_rate
    return [
        rung("cost", spent * 3600, "USD/hour", GIVEN, 1),
        rung("cost_per_request", each, "USD/request", GIVEN, 1),
        rung("cost_per_token", each / scenario.serving.offered.mean_output, "USD/token", GIVEN, 1),
    ]


def _bound(metric: str, amount: float, unit: str, source: str, order: int, note: str = "", outside: str = "") -> Rung:
    return rung(metric, amount, unit, source, order, note, outside, Claim.BOUND)
