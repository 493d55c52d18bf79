"""Replications of a deployment whose clients wait for their answers: no start can be flooded with their requests."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from secondorder.answers.answer import Answer
from secondorder.answers.declared import DEPLOYMENT
from secondorder.answers.estimate import Estimate, short_of_data
from secondorder.errors import Unstable
from secondorder.scenarios.deployment import Deployment
from secondorder.simulate.deployment.compiled import told
from secondorder.simulate.deployment.measures import inside, measure
from secondorder.simulate.deployment.run import DeploymentRun
from secondorder.simulate.deployment.source import one_run
from secondorder.simulate.estimates import Amounts, estimates
from secondorder.simulate.replicate import replicated
from secondorder.simulate.statistics.intervals import student
from secondorder.simulate.statistics.warm_up import mser5
from secondorder.simulate.witness import Witness

FIRST_LENGTH, LONGEST = 4_000, 32_000
"""Requests of a replication, first and at most, when the length is chosen here."""
WANTED = 0.05
"""Relative half-width of the p99 of the time to first token that the length is chosen for."""


def simulate_replications(
    scenario: Deployment, seed: int, replications: int, requests: int | None, jobs: int, witness: Witness
) -> Answer:
    """Independent replications, without their beginning and end; intervals for the mean over them."""
    length = requests or FIRST_LENGTH
    while True:
        runs = replicated(partial(one_run, scenario, length, seed, witness), replications, jobs, least=2)
        answer = _settled(scenario, runs, length, told(scenario, witness))
        known = student([one.requests["ttft"].quantile(0.99) for one in runs]).relative_half_width <= WANTED
        if requests is not None or known or length >= LONGEST:
            return answer
        length *= 2


def _settled(scenario: Deployment, runs: Sequence[DeploymentRun], length: int, by: str) -> Answer:
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
    return answer_of(scenario, found, how, runs[0], unsettled)


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
        raise piles_up(scenario, growth.mean, "requests piled up through the runs")


def _growth(one: DeploymentRun) -> float:
    """Share of the second half's arrivals that are left over at its end."""
    arrival = one.requests["arrival"].to_numpy()
    last = int(np.searchsorted(arrival, _last(one), side="right")) - 1
    middle = last // 2
    before, after = inside(one.requests, arrival[[middle, last]])
    return float(after - before) / max(1, last - middle)


def answer_of(scenario: Deployment, found: Sequence[Amounts], how: str, shown: DeploymentRun, unsettled: str) -> Answer:
    """The means over runs as an answer, with a doubt of all of them if they are ``unsettled``."""
    measured = estimates(found, DEPLOYMENT)
    doubt = short_of_data(unsettled)
    rows: tuple[Estimate, ...] = tuple(replace(each, steadiness=doubt, unsettled=unsettled) for each in measured)
    return Answer(scenario=scenario.name, estimates=rows, how=how, requests=shown.requests, series=shown.series)


def piles_up(scenario: Deployment, growth: float, seen: str) -> Unstable:
    """The error of a deployment whose requests pile up: what was offered, what ended, what was seen."""
    ended = f"{scenario.rate * (1 - growth):.4g} ended"
    return Unstable(
        f"{scenario.name}: {scenario.rate:.4g} request/s offered, {ended}, and {seen}; lower the rate or add replicas"
    )
