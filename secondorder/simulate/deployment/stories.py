"""Replications of a story with a beginning and an end: faults at stated times, or a trace. Nothing is cut."""

from dataclasses import replace

from secondorder.answers.answer import Answer
from secondorder.errors import InputError
from secondorder.quantities import si
from secondorder.scenarios.deployment import Deployment
from secondorder.scenarios.replica_faults import Kill, RandomFailures, RollingRestart, Slow, ZoneFailure
from secondorder.simulate.deployment.compiled import serve, told
from secondorder.simulate.deployment.measures import cost_of_faults, measure
from secondorder.simulate.deployment.replications import answer_of
from secondorder.simulate.deployment.run import DeploymentRun
from secondorder.simulate.deployment.source import drawn_requests
from secondorder.simulate.estimates import Amounts
from secondorder.simulate.replicate import replicated
from secondorder.simulate.witness import Witness
from secondorder.workloads.traces import Trace

SHORTEST, LONGEST = 4_000, 200_000
"""Requests of a story with faults at stated times when the length is chosen here."""
AFTER = 120.0
"""Seconds that are simulated after the last stated fault, at least."""


def is_story(scenario: Deployment) -> bool:
    """Whether it has a beginning and an end instead of a steady state."""
    return isinstance(scenario.serving.arrivals, Trace) or bool(scenario.faults and scenario.faults.moments)


def simulate_story(
    scenario: Deployment, seed: int, replications: int, requests: int | None, jobs: int, witness: Witness
) -> Answer:
    """The mean over such stories. With faults at stated times each lasts three times as long as they do."""
    length = _length(scenario, requests)
    calm = replace(scenario, faults=None) if scenario.faults and scenario.faults.moments else None

    def once(replication: int) -> tuple[Amounts, DeploymentRun | None]:
        drawn = drawn_requests(scenario, length, seed, replication)
        found = serve(scenario, drawn, seed=seed, replication=replication, witness=witness)
        amounts = measure(scenario, found, 0, length)
        if calm is not None:
            undisturbed = serve(calm, drawn, seed=seed, replication=replication)
            amounts |= cost_of_faults(scenario, found, undisturbed)
        return amounts, found if not replication else None

    results = replicated(once, replications, jobs)
    shown = results[0][1]
    assert shown is not None
    how = (
        f"simulated from an empty start, nothing cut: {replications} replications of {length:,} requests; "
        f"{told(scenario, witness)}"
    )
    return answer_of(scenario, [amounts for amounts, _ in results], how, shown, "")


def _length(scenario: Deployment, requests: int | None) -> int:
    if isinstance(scenario.serving.arrivals, Trace):
        total = len(scenario.serving.arrivals.requests)
        if requests is not None and requests > total:
            raise InputError("requests", given=requests, expected=f"at most the {total} of the trace")
        return requests or total
    if requests is not None:
        return requests
    assert scenario.faults is not None
    over = max(_span(scenario, event) for event in scenario.faults.events if not isinstance(event, RandomFailures))
    wanted = scenario.rate * (3 * over + AFTER)
    return int(min(max(wanted, SHORTEST), LONGEST))


def _span(scenario: Deployment, event: object) -> float:
    """When a stated fault is over, in s, roughly."""
    if isinstance(event, Kill | ZoneFailure):
        return si(event.at) + si(event.restart)
    if isinstance(event, RollingRestart):
        return si(event.at) + len(scenario.engines) * si(event.restart)
    assert isinstance(event, Slow)
    return si(event.at) + si(event.lasts)
