"""The ladder of a deployment: one replica at its share of the requests, and what is known about the whole.

=====  ==========================================================================================================
order  what is counted
=====  ==========================================================================================================
0      a request alone on an idle replica
1      means of a replica at its share; the share of the time that replicas are up
2      the queue of a replica at its share: exact in structure for a random router, under Poisson arrivals
=====  ==========================================================================================================

A router that looks at the queues does better than the second order says, one with old reports may do worse: these
values are outside their domain and say so.
"""

from collections import Counter
from dataclasses import dataclass, replace

from secondorder.analytic.serving.closed_loop import solve_closed_loop
from secondorder.analytic.serving.ladder import ladder
from secondorder.analytic.serving.saturation import Saturation, saturation
from secondorder.answers.answer import Answer, ranked
from secondorder.answers.declared import DEPLOYMENT
from secondorder.answers.estimate import Estimate, approximation, exact, rungs
from secondorder.errors import Unstable
from secondorder.quantities import si
from secondorder.scenarios.clients import Users
from secondorder.scenarios.closed_loop import ClosedLoop
from secondorder.scenarios.deployment import Deployment
from secondorder.scenarios.router import RandomReplica
from secondorder.workloads.arrivals import Poisson

SHARED = ("request_throughput", "running_mean")
"""Metrics of all replicas together, of which one replica has its share."""
OF_ONE = ("saturation_rate", "utilisation", "output_throughput")
"""Metrics of one replica for which the deployment has a value of its own."""
BY_THEMSELVES = "requests are taken as independent, each with the law of the lengths"
RENEWAL, SUM = "alternating renewal", "sum of the replicas' saturation rates"


def solve_deployment(scenario: Deployment) -> Answer:
    """Closed forms of every order for replicas at their shares of the requests.

    Shares are in proportion to the saturation rates, and latencies those of a replica of the first kind. Errors:
    ``Unstable`` where the replicas, as often as they are up, cannot serve the rate.
    """
    if isinstance(scenario.clients, Users):
        return _of_users(scenario, scenario.clients)
    every = limits(scenario)
    up, rate = every.up, every.total
    if scenario.rate >= rate:
        raise Unstable(
            f"{scenario.name}: {scenario.rate:.4g} request/s offered, {rate:.4g} can be served by "
            f"{len(scenario.engines)} replicas that are up {up:.4g} of the time; lower the rate or add replicas"
        )
    share = every.first.rate * up / rate
    one = ladder(scenario.with_share(share))
    why = outside(scenario)
    estimates = [
        *(_of_all(each, 1 / share, why) for each in one.estimates if each.metric not in OF_ONE),
        *rungs(DEPLOYMENT, 1, RENEWAL, exact("in the long run"), _availability(scenario)),
        *rungs(DEPLOYMENT, 2, SUM, approximation(), {"saturation_rate": rate, "utilisation": scenario.rate / rate}),
    ]
    how = f"closed forms at {scenario.rate:.4g} request/s over {len(scenario.engines)} replicas"
    return Answer(scenario=scenario.name, estimates=ranked(estimates), how=how)


def _of_users(scenario: Deployment, users: Users) -> Answer:
    """A closed loop on each replica, with its share of the users."""
    replicas = len(scenario.engines)
    loop = ClosedLoop(
        serving=scenario.serving,
        max_concurrency=max(1, round(users.count / replicas)),
        think_time=users.think,
        name=scenario.name,
    )
    reasons = [] if replicas == 1 else ["each replica has its own users"]
    why = "; ".join(reasons + [reason for reason in _reasons(scenario) if reason != BY_THEMSELVES])
    found = []
    for each in solve_closed_loop(loop).estimates:
        if each.metric == "throughput":
            found.append(replace(each, metric="request_throughput", amount=each.amount * replicas))
        elif each.metric != "concurrency":
            found.append(each)
    marked = [replace(each, outside="; ".join(filter(None, (each.outside, why)))) for each in found]
    how = f"closed forms of {users.count} users over {replicas} replicas"
    return Answer(scenario=scenario.name, estimates=ranked(marked), how=how)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The saturation of the ``first`` kind of replica, the ``total`` rate of all, and the share of the time ``up``."""

    first: Saturation
    total: float
    up: float


def limits(scenario: Deployment) -> Limits:
    """What the replicas can serve together, given the share of time in which they are up."""
    kinds = {id(engine): engine for engine in scenario.engines}
    count = Counter(id(engine) for engine in scenario.engines)
    found = {key: saturation(scenario.with_share(1 / len(scenario.engines), engine)) for key, engine in kinds.items()}
    up = availability(scenario)
    total = up * sum(found[key].rate * count[key] for key in kinds)
    return Limits(first=found[id(scenario.engines[0])], total=total, up=up)


def availability(scenario: Deployment) -> float:
    """Share of the time that a replica is up: ``mtbf / (mtbf + restart)`` under random failures.

    *Exact* in the long run. *Source*: alternating renewal processes, Cox, Renewal Theory (1962), chapter 7.
    """
    failures = scenario.faults.random if scenario.faults else None
    if failures is None:
        return 1.0
    return si(failures.mtbf) / (si(failures.mtbf) + si(failures.restart))


def _availability(scenario: Deployment) -> dict[str, float]:
    """Nothing where faults come at stated times: there is no long run."""
    stated = scenario.faults is not None and scenario.faults.moments
    return {} if stated else {"availability": availability(scenario)}


def _of_all(rung: Estimate, times: float, why: str) -> Estimate:
    """The value for the deployment, from that of one replica."""
    amount = rung.amount * times if rung.metric in SHARED else rung.amount
    if rung.order == 0 or rung.metric == "request_throughput":
        return replace(rung, amount=amount)
    return replace(rung, amount=amount, outside="; ".join(filter(None, (rung.outside, why))))


def outside(scenario: Deployment) -> str:
    """Why one replica, at its share of the load, does not represent all of them."""
    reasons = []
    if len(scenario.engines) == 1:
        pass  # nothing is split
    elif not isinstance(scenario.router, RandomReplica):
        reasons.append("a random split is taken for the router")
    elif not isinstance(scenario.serving.arrivals, Poisson):
        reasons.append("a random split of these arrivals is not of their kind")
    return "; ".join(reasons + _reasons(scenario))


def _reasons(scenario: Deployment) -> list[str]:
    """What else a replica alone does not tell, whatever the router."""
    reasons = []
    if not scenario.alike:
        reasons.append("the replicas are not alike, this is one of the first kind")
    if scenario.faults is not None:
        reasons.append("replicas are taken for up all the time")
    if scenario.autoscaler is not None:
        reasons.append("as many replicas are taken as there are at the start")
    if scenario.clients is not None:
        reasons.append(BY_THEMSELVES)
    if scenario.timeout is not None or scenario.max_outstanding is not None:
        reasons.append("nobody is taken to give up or to be refused")
    return reasons
