"""How many replicas a load takes, found by simulating one of them at its share of the rate, or all behind a router.

A random split of Poisson arrivals is Poisson, and the replicas are alike: one simulated replica stands for all. The
number is sought by doubling and bisection; a run is repeated at twice the length if its intervals do not decide
whether it keeps the objectives. One replica fewer is always simulated too, and fails.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import cache

from secondorder.answers.answer import Answer
from secondorder.answers.estimate import Estimate
from secondorder.errors import InfeasibleError, Unstable
from secondorder.quantities import pretty
from secondorder.scenarios.capacity import Capacity
from secondorder.simulate.deployment import simulate_deployment
from secondorder.simulate.serving import simulate_serving
from secondorder.workloads.traces import Trace

FIRST_LENGTH, LONGEST = 4_000, 32_000
"""Requests of a replication at first (or eight times the slots where that is more), and at most."""
NEARLY_IDLE = 0.05
"""Mean number of running sequences below which more replicas would not help."""

KEPT = ("running_mean", "kv_usage_mean", "preemptions_per_request", "prefix_hit_rate")
"""Metrics that are shown besides the number of replicas."""

Runs = Callable[[int], Answer | None]
"""The simulated replica out of this many; None where its queue grows."""


def simulate_capacity(scenario: Capacity, *, seed: int = 0, replications: int = 10, jobs: int = 1) -> Answer:
    """The least number of replicas whose simulated p99s keep every objective, and what one fewer does.

    ``replicas`` has an interval: from the least number that does not certainly fail (by the 95 % interval of each p99)
    to the least that certainly keeps the objectives. The p99s are those of that number; ``..._one_fewer`` are those of
    one replica fewer, where that is stable. Runs are repeated until an interval decides, so the interval is wrong a
    little more often than 5 %.

    Errors: ``InfeasibleError`` where a replica that is nearly idle misses an objective.
    """

    @cache
    def run(replicas: int) -> Answer | None:
        return _decided(scenario, replicas, seed=seed, replications=replications, jobs=jobs)

    found = _search(scenario, run)
    low = high = found
    while low > 1 and not _fails(scenario, run(low - 1)):
        low -= 1
    while not _keeps(scenario, run(high)):
        high += 1
    answer = run(found)
    assert answer is not None
    rows, told = _fewer(scenario, found, run)
    estimates = [
        Estimate(
            metric="replicas", amount=float(found), unit="", source="simulated", low=float(low), high=float(high),
            note=told,
        ),
        *(answer.best(metric) for metric in scenario.objectives),
        *(answer.best(metric) for metric in KEPT if metric in answer),
        *rows,
    ]  # fmt: skip
    at = "" if scenario.router else f"; one of {found} replicas at {scenario.total_rate / found:.4g} request/s"
    how = f"{answer.how}{at}; {told}"
    return replace(answer, scenario=scenario.name, estimates=tuple(estimates), how=how)


def _decided(scenario: Capacity, replicas: int, *, seed: int, replications: int, jobs: int) -> Answer | None:
    """The simulated replica, run longer until its intervals lie on one side of the objectives."""
    length = max(FIRST_LENGTH, 8 * scenario.serving.most_running)
    while True:
        try:
            answer = _simulated(scenario, replicas, length, seed, replications, jobs)
        except Unstable:
            return None
        if (
            length >= LONGEST
            or isinstance(scenario.serving.arrivals, Trace)
            or _keeps(scenario, answer)
            or _fails(scenario, answer)
        ):
            return answer
        length *= 2


def _simulated(scenario: Capacity, replicas: int, length: int, seed: int, replications: int, jobs: int) -> Answer:
    """One replica at its share, or all of them behind the router."""
    if scenario.router is None:
        one = scenario.replica(replicas)
        return simulate_serving(one, seed=seed, replications=replications, requests=length, jobs=jobs)
    trace = scenario.serving.arrivals
    count = len(trace.requests) if isinstance(trace, Trace) else length
    every = scenario.deployment(replicas)
    return simulate_deployment(every, seed=seed, replications=replications, requests=count, jobs=jobs)


def _meets(scenario: Capacity, answer: Answer | None) -> bool:
    """Whether the estimates keep every objective."""
    return answer is not None and all(answer.best(m).amount <= most for m, most in scenario.objectives.items())


def _keeps(scenario: Capacity, answer: Answer | None) -> bool:
    """Whether the intervals keep every objective."""
    return answer is not None and all((answer.best(m).high or 0.0) <= most for m, most in scenario.objectives.items())


def _fails(scenario: Capacity, answer: Answer | None) -> bool:
    """Whether an interval lies past its objective, or the queue grows."""
    return answer is None or any((answer.best(m).low or 0.0) > most for m, most in scenario.objectives.items())


def _search(scenario: Capacity, run: Runs) -> int:
    """The least number that meets: by doubling, then bisection."""
    low, high = 0, 1
    while not _meets(scenario, run(high)):
        answer = run(high)
        if answer is not None and answer.best("running_mean").amount < NEARLY_IDLE * (high if scenario.router else 1):
            missed = {
                m: answer.best(m).amount for m, most in scenario.objectives.items() if answer.best(m).amount > most
            }
            told = ", ".join(f"{metric} {pretty(amount, 's')}" for metric, amount in missed.items())
            raise InfeasibleError(
                f"{scenario.name}: {told} on a replica that is nearly idle; no number of replicas meets the objective: "
                "use a faster replica, or allow more"
            )
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _meets(scenario, run(middle)) else (middle, high)
    return high


def _fewer(scenario: Capacity, found: int, run: Runs) -> tuple[list[Estimate], str]:
    """What one replica fewer does, as estimates and in words."""
    if found == 1:
        return [], "one replica does"
    answer = run(found - 1)
    if answer is None:
        return [], f"with {found - 1} the queue grows without limit"
    rows = [replace(answer.best(m), metric=f"{m}_one_fewer") for m in scenario.objectives]
    missed = [m for m, most in scenario.objectives.items() if answer.best(m).amount > most]
    return rows, f"with {found - 1} " + ", ".join(f"{m} is {answer.best(m)}" for m in missed)
