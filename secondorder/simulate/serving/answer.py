"""From runs of a service to an answer: replications in steady state, or one replay of a trace."""

import numpy as np
import numpy.typing as npt

from secondorder.errors import InputError
from secondorder.scenarios.answers import Answer, Estimate
from secondorder.scenarios.serving import Serving
from secondorder.simulate.output import mser5, student
from secondorder.simulate.replicate import replicated
from secondorder.simulate.serving.asks import draw
from secondorder.simulate.serving.measures import UNITS, measure
from secondorder.simulate.serving.single_run import ServingRun, run
from secondorder.simulate.serving.steadiness import beginning, check_steady, end
from secondorder.workloads.arrivals import TraceArrivals
from secondorder.workloads.traces import Trace

MOST_REQUESTS = 10_000_000
"""Requests of a replication, at most."""
FIRST_LENGTH, LONGEST = 4_000, 64_000
"""Requests of a replication, first and at most, when the length is chosen here."""
WANTED = 0.05
"""Relative half-width that the length is chosen for."""


def simulate_serving(
    scenario: Serving, *, seed: int = 0, replications: int = 10, requests: int | None = None, jobs: int = 1
) -> Answer:
    """Independent replications of a service, or one replay where a trace is given.

    ``requests`` of each replication; if not given it is doubled until the p99 of the time to
    first token is known within 5 % (or 64,000 are reached). Warm-up (MSER-5 over the mean of
    all replications) and the end, where arrivals have ceased, are cut. ``jobs`` processes
    share the replications; the result does not depend on it.

    Errors: ``Unstable`` when the queue grows through the run.
    """
    _check_options(seed, replications, requests, jobs)
    if isinstance(scenario.arrivals, Trace):
        return _replay(scenario, requests)
    length = requests or FIRST_LENGTH
    while True:
        runs = _replicate(scenario, seed, replications, length, jobs)
        answer = _steady_answer(scenario, runs, length)
        known = student([r.requests["ttft"].quantile(0.99) for r in runs]).relative_half_width <= WANTED
        if requests is not None or known or length >= LONGEST:
            return answer
        length *= 2


def _check_options(seed: int, replications: int, requests: int | None, jobs: int) -> None:
    for name, value, least in (
        ("seed", seed, 0),
        ("replications", replications, 2),
        ("requests", requests, 1),
        ("jobs", jobs, 1),
    ):
        if value is not None and (not isinstance(value, int | np.integer) or value < least):
            raise InputError(name, given=repr(value), expected=f"an integer of at least {least}")
    if requests is not None and requests > MOST_REQUESTS:
        raise InputError("requests", given=f"{requests:,}", expected=f"at most {MOST_REQUESTS:,} of a replication")


def _replicate(scenario: Serving, seed: int, replications: int, length: int, jobs: int) -> list[ServingRun]:
    return replicated(lambda k: _one(scenario, length, seed, k), replications, jobs)


def _one(scenario: Serving, length: int, seed: int, replication: int) -> ServingRun:
    return run(scenario, draw(scenario, length, seed, replication))


def _steady_answer(scenario: Serving, runs: list[ServingRun], length: int) -> Answer:
    check_steady(scenario, runs, length)
    warm = mser5(np.mean([r.requests["e2el"].to_numpy() for r in runs], axis=0))
    start = max(warm, *(beginning(r.requests) for r in runs))
    ends = [end(r.requests) for r in runs]
    too_short = 2 * start >= length - 10 or min(ends) - start < length / 4
    if too_short:
        start, ends = 0, [length] * len(runs)
    values = [measure(scenario, r, start, end) for r, end in zip(runs, ends, strict=True)]
    note = "not enough data: to fill and to empty takes most of the run; use more requests" if too_short else ""
    estimates = [_estimate(metric, np.array([v[metric] for v in values]), note) for metric in values[0]]
    kept = sum(ends) - start * len(runs)
    how = (
        f"simulated, steady state: {len(runs)} replications of {length:,} requests, "
        f"the first {start:,} cut as warm-up, {kept:,} measured"
    )
    if too_short:
        how = f"simulated, transient: {len(runs)} replications of {length:,} requests, nothing cut"
    if isinstance(scenario.arrivals, TraceArrivals):
        how += "; every replication has the trace's own arrivals, and its intervals are for these"
    return _answer(scenario, estimates, how, runs[0])


def _replay(scenario: Serving, count: int | None) -> Answer:
    assert isinstance(scenario.arrivals, Trace)
    total = len(scenario.arrivals.requests)
    if count is not None and count > total:
        raise InputError("requests", given=count, expected=f"at most the {total} of the trace")
    replayed = run(scenario, draw(scenario, count or total))
    metrics = measure(scenario, replayed, 0, len(replayed.requests))
    estimates = [_estimate(metric, np.array([value]), "") for metric, value in metrics.items()]
    how = f"simulated, transient: {len(replayed.requests):,} requests of the trace replayed once"
    return _answer(scenario, estimates, how, replayed)


def _answer(scenario: Serving, estimates: list[Estimate], how: str, shown: ServingRun) -> Answer:
    return Answer(
        scenario=scenario.name, estimates=tuple(estimates), how=how, requests=shown.requests, series=shown.series
    )


def _estimate(metric: str, values: npt.NDArray[np.float64], note: str) -> Estimate:
    interval = student(values)
    return Estimate(
        metric=metric,
        amount=interval.mean,
        unit=UNITS.get(metric, "s"),
        source="simulated",
        low=interval.low,
        high=interval.high,
        in_domain=not note,
        note=note,
    )
