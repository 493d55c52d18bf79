"""From runs of a deployment to an answer: in steady state, or of a transient with a beginning and an end."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from secondorder.answers.answer import Answer
from secondorder.answers.declared import DEPLOYMENT
from secondorder.answers.estimate import Estimate, short_of_data
from secondorder.errors import InputError, Unstable
from secondorder.quantities import si
from secondorder.scenarios.deployment import Deployment
from secondorder.scenarios.replica_faults import Kill, RandomFailures, RollingRestart, Slow, ZoneFailure
from secondorder.simulate.deployment.compiled import serve, told, witness_of
from secondorder.simulate.deployment.measures import cost_of_faults, inside, measure
from secondorder.simulate.deployment.run import DeploymentRun
from secondorder.simulate.estimates import Amounts, estimates
from secondorder.simulate.replicate import replicated
from secondorder.simulate.statistics.intervals import student
from secondorder.simulate.statistics.warm_up import mser5
from secondorder.simulate.streams import stream
from secondorder.simulate.witness import Witness
from secondorder.workloads.requests import Requests
from secondorder.workloads.traces import Trace

FIRST_LENGTH, LONGEST = 4_000, 32_000
"""Requests of a replication, first and at most, when the length is chosen here."""
LONGEST_STORY = 200_000
"""Requests of a replication with faults at stated times, at most, when the length is chosen here."""
WANTED = 0.05
"""Relative half-width that the length is chosen for."""
AFTER = 120.0
"""Seconds that are simulated after the last stated fault, at least."""


def simulate_deployment(
    scenario: Deployment,
    *,
    seed: int = 0,
    replications: int = 10,
    requests: int | None = None,
    jobs: int = 1,
    witness: Witness | None = None,
) -> Answer:
    """Independent replications of a deployment.

    ``requests`` of each replication. If not given they are doubled until the p99 of the time to first token is known
    within 5 % (or 32,000 are reached); with faults at stated times they last for three times as long as the faults. A
    trace is replayed whole. Faults at stated times and traces are stories: nothing is cut, and the intervals are for
    the mean over such stories. ``jobs`` processes share the replications; the result does not depend on it, nor on the
    ``witness``: "kernel" or "events"; the kernel, where it can, if not given.

    Errors: ``Unstable`` when requests pile up through the run. ``InputError`` where the kernel is asked for and faults,
    autoscaling, time-outs, refusals or unlike replicas are for SimPy alone.
    """
    witness = witness_of(scenario, witness)
    if requests is not None and requests < 100:
        raise InputError("requests", given=requests, expected="an integer of at least 100")
    if isinstance(scenario.serving.arrivals, Trace) or (scenario.faults and scenario.faults.moments):
        return _story(scenario, seed, replications, requests, jobs, witness)
    length = requests or FIRST_LENGTH
    while True:
        runs = replicated(partial(_one, scenario, length, seed, witness), replications, jobs, least=2)
        answer = _steady(scenario, runs, length, told(scenario, witness))
        known = student([one.requests["ttft"].quantile(0.99) for one in runs]).relative_half_width <= WANTED
        if requests is not None or known or length >= LONGEST:
            return answer
        length *= 2


def _drawn(scenario: Deployment, length: int, seed: int, replication: int) -> Requests:
    arrivals, lengths = (stream(seed, replication, cause) for cause in ("arrivals", "lengths"))
    return scenario.serving.requests(length, arrivals, lengths)


def _one(scenario: Deployment, length: int, seed: int, witness: Witness, replication: int) -> DeploymentRun:
    drawn = _drawn(scenario, length, seed, replication)
    return serve(scenario, drawn, seed=seed, replication=replication, witness=witness)


def _answer(scenario: Deployment, found: Sequence[Amounts], how: str, shown: DeploymentRun, unsettled: str) -> Answer:
    measured = estimates(found, DEPLOYMENT)
    doubt = short_of_data(unsettled)
    rows: tuple[Estimate, ...] = tuple(replace(each, steadiness=doubt, unsettled=unsettled) for each in measured)
    return Answer(scenario=scenario.name, estimates=rows, how=how, requests=shown.requests, series=shown.series)


# Steady state


def _steady(scenario: Deployment, runs: Sequence[DeploymentRun], length: int, by: str) -> Answer:
    _check_steady(scenario, runs, length)
    stay = [one.requests["ended"].to_numpy() - one.requests["arrival"].to_numpy() for one in runs]
    longest = [each.max() for each in stay]
    arrivals = [one.requests["arrival"].to_numpy() for one in runs]
    fill = [_longest_session(one) if one.until < np.inf else most for one, most in zip(runs, longest, strict=True)]
    filled = max(int(np.searchsorted(t, t[0] + most)) for t, most in zip(arrivals, fill, strict=True))
    start = max(mser5(np.mean(stay, axis=0)), filled)
    last = [_last(one) - most for one, most in zip(runs, longest, strict=True)]
    ends = [int(np.searchsorted(t, end)) for t, end in zip(arrivals, last, strict=True)]
    unsettled = ""
    if 2 * start >= length - 10 or min(ends) - start < length / 4:
        start, ends = 0, [length] * len(runs)
        unsettled = "to fill and to empty takes most of the run; use more requests"
    found = [measure(scenario, one, start, last) for one, last in zip(runs, ends, strict=True)]
    kept = sum(ends) - start * len(runs)
    how = (
        f"simulated: {len(runs)} replications of {length:,} requests on {len(scenario.engines)} replicas, "
        f"the first {start:,} cut as warm-up, {kept:,} measured; {by}"
    )
    return _answer(scenario, found, how, runs[0], unsettled)


def _last(one: DeploymentRun) -> float:
    """Up to when requests come as they do all the time: to the last arrival, or the beginning of the last session."""
    return min(float(one.requests["arrival"].iloc[-1]), one.until)


def _longest_session(one: DeploymentRun) -> float:
    """From its first turn's arrival to its last turn's end, in s: by then all sessions that can be there are."""
    sessions = one.requests.groupby("session")
    return float((sessions["ended"].max() - sessions["arrival"].min()).max())


def _check_steady(scenario: Deployment, runs: Sequence[DeploymentRun], length: int) -> None:
    """Refuse requests that pile up through the second half of the runs, by more than chance."""
    if length < max(2_000, 4 * sum(engine.most_running for engine in scenario.engines)):
        return
    growth = student([_growth(one) for one in runs], 0.999)
    if growth.low is not None and growth.low > 0.005:
        raise Unstable(
            f"{scenario.name}: {scenario.rate:.4g} request/s offered, {scenario.rate * (1 - growth.mean):.4g} ended, "
            "and requests piled up through the runs; lower the rate or add replicas"
        )


def _growth(one: DeploymentRun) -> float:
    """Share of the second half's arrivals that are left over at its end."""
    arrival = one.requests["arrival"].to_numpy()
    last = int(np.searchsorted(arrival, _last(one), side="right")) - 1
    middle = last // 2
    before, after = inside(one.requests, arrival[[middle, last]])
    return float(after - before) / max(1, last - middle)


# Stories


def _story(
    scenario: Deployment, seed: int, replications: int, requests: int | None, jobs: int, witness: Witness
) -> Answer:
    length = _length(scenario, requests)
    calm = replace(scenario, faults=None) if scenario.faults and scenario.faults.moments else None

    def once(replication: int) -> tuple[Amounts, DeploymentRun | None]:
        drawn = _drawn(scenario, length, seed, replication)
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
    return _answer(scenario, [amounts for amounts, _ in results], how, shown, "")


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
    return int(min(max(wanted, FIRST_LENGTH), LONGEST_STORY))


def _span(scenario: Deployment, event: object) -> float:
    """When a stated fault is over, in s, roughly."""
    if isinstance(event, Kill | ZoneFailure):
        return si(event.at) + si(event.restart)
    if isinstance(event, RollingRestart):
        return si(event.at) + len(scenario.engines) * si(event.restart)
    assert isinstance(event, Slow)
    return si(event.at) + si(event.lasts)
