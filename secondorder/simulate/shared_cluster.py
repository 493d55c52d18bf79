"""A shared cluster, job by job: who starts when under each policy.

At each moment, first the jobs that are done give back their accelerators, then new jobs join the line, then the policy
starts those that it can. First come, first served needs no events: a job starts at the first moment, from its arrival
and the start of the one before it on, at which enough accelerators are free.
"""

import math
from bisect import insort
from collections.abc import Iterator, Sized
from dataclasses import dataclass
from functools import partial
from heapq import heappop, heappush

import numpy as np
import numpy.typing as npt

from secondorder.answers.answer import Answer
from secondorder.answers.declared import SHARED_CLUSTER
from secondorder.answers.estimate import Estimate
from secondorder.answers.metric import unit_of
from secondorder.arrays import Floats
from secondorder.errors import InputError, Unstable
from secondorder.quantities import si
from secondorder.scenarios.shared_cluster import SharedCluster
from secondorder.simulate.replicate import replicated
from secondorder.simulate.statistics.estimates import simulated
from secondorder.simulate.statistics.intervals import Interval, student
from secondorder.simulate.statistics.run_length import RELAXATIONS_FOR_A_MEAN
from secondorder.simulate.statistics.warm_up import judged_cut, mser5
from secondorder.simulate.streams import stream

Integers = npt.NDArray[np.int64]

FIRST_LENGTH, LONGEST = 20_000, 160_000
"""Jobs of a replication."""
LONGEST_LINE = 4_000
"""Jobs in line at which a policy that looks through them all gives up."""
WANTED = 0.03
"""Relative half-width of the mean response at which a run is long enough."""
FEW_FOR_A_MEAN, FEW_FOR_A_TAIL = 100, 300
"""Relaxation times to keep: with fewer, the intervals of means, and of the p99, miss the truth too often."""
BACKLOG = 20_000
"""Jobs that start in a run that measures how many a cluster gets through with an endless line."""


@dataclass(frozen=True)
class Jobs:
    """What jobs bring, in order of arrival: ``arrival`` and ``duration`` in s, ``size`` in accelerators."""

    arrival: Floats
    size: Integers
    duration: Floats

    def __len__(self) -> int:
        return len(self.arrival)


def simulate_shared_cluster(scenario: SharedCluster, *, seed: int = 0, replications: int = 10, jobs: int = 1) -> Answer:
    """Simulate a shared cluster: estimates with Student intervals at 95 % over the replications.

    Metrics and units as those of ``solve_shared_cluster``. A replication is lengthened from 20,000 jobs until the mean
    response is known within 3 %, or to 160,000 (40,000 where jobs may pass each other). The warm-up is cut by MSER-5,
    and as many jobs at the end, which have too few behind them. Where no steady state is reached, or the duration has
    no variance, the intervals are infinite and the note says why.

    Errors: ``Unstable`` where no policy could do the work, where the arrival rate is above what first come, first
    served gets through with an endless line (which is below the accelerators' rate where sizes are mixed), and where
    under another policy 4,000 jobs stand in line; ``InputError``.
    """
    if replications < 2:
        raise InputError("replications", given=replications, expected="at least 2, for an interval")
    scenario.check_stable()
    in_order = scenario.policy == "fcfs"
    saturation = saturation_rate(scenario, seed=seed, replications=replications) if in_order else None
    if saturation is not None and saturation.high is not None and scenario.rate >= saturation.high:
        raise Unstable(
            f"{scenario.name}: {3600 * scenario.rate:.4g} job/hour offered, but gangs that block each other "
            f"saturate at {3600 * saturation.mean:.4g}, {saturation.mean / scenario.work_bound:.1%} of what the "
            f"accelerators could: the queue grows without limit; use a lower arrival rate or the policy easy"
        )
    relaxation = _relaxation(scenario, scenario.work_bound if saturation is None else saturation.mean)
    longest = LONGEST if in_order else LONGEST // 4
    length = int(min(max(FIRST_LENGTH, RELAXATIONS_FOR_A_MEAN * relaxation), longest))
    while True:
        rows, why, cut = _replications(scenario, length, seed, replications, jobs)
        response = student([row["response_mean"] for row in rows])
        if length >= longest or (not why and response.relative_half_width <= WANTED):
            break
        length = min(2 * length, longest)
    times = (length - 2 * cut) / relaxation
    scarce = f"{times:.2g} relaxation times in the longest run"
    doubts = {
        metric: why or (scarce if times < (FEW_FOR_A_TAIL if metric == "wait_p99" else FEW_FOR_A_MEAN) else "")
        for metric in rows[0]
    }
    estimates = [_estimate(metric, student([row[metric] for row in rows]), doubts[metric]) for metric in rows[0]]
    if saturation is not None:
        estimates.append(_estimate("saturation_rate", saturation, ""))
    how = f"{replications} replications of {length:,} jobs, {scenario.policy}, the first {cut:,} cut, seed {seed}"
    return Answer(scenario=scenario.name, estimates=tuple(estimates), how=how)


def draw(scenario: SharedCluster, jobs: int, *, seed: int, replication: int) -> Jobs:
    """The jobs of one replication, one stream a cause."""
    sizes, shares = list(scenario.size_law), np.cumsum(list(scenario.size_law.values()))
    chosen = np.searchsorted(shares[:-1], stream(seed, replication, "sizes").random(jobs), side="right")
    return Jobs(
        np.cumsum(stream(seed, replication, "arrivals").standard_exponential(jobs)) / scenario.rate,
        np.array(sizes, dtype=np.int64)[chosen],
        scenario.law("duration").sample(jobs, stream(seed, replication, "duration")),
    )


def starts(scenario: SharedCluster, jobs: Jobs) -> Floats:
    """When each job starts, in s."""
    match scenario.policy:
        case "fcfs":
            return first_come(jobs, scenario.accelerators)
        case "shortest":
            return shortest_first(jobs, scenario.accelerators)
    return backfill(jobs, scenario.accelerators, scenario.overestimate)


def first_come(jobs: Jobs, accelerators: int) -> Floats:
    """Starts under first come, first served: the head of the line waits until it fits, and all behind it."""
    free, now = accelerators, 0.0
    running: list[tuple[float, int]] = []  # (end, accelerators), a heap
    start = []
    for arrival, size, duration in zip(jobs.arrival.tolist(), jobs.size.tolist(), jobs.duration.tolist(), strict=True):
        now = max(arrival, now)
        while running and (running[0][0] <= now or free < size):
            end, given_back = heappop(running)
            now, free = max(now, end), free + given_back
        start.append(now)
        free -= size
        heappush(running, (now + duration, size))
    return np.array(start)


def shortest_first(jobs: Jobs, accelerators: int) -> Floats:
    """Starts where the line is in order of durations, and its head waits until it fits."""
    size, duration = jobs.size.tolist(), jobs.duration.tolist()
    start, free = np.zeros(len(jobs)), accelerators
    line: list[tuple[float, int]] = []
    running: list[tuple[float, int]] = []
    for now, came in _moments(jobs, running):
        while running and running[0][0] <= now:
            free += size[heappop(running)[1]]
        for job in came:
            heappush(line, (duration[job], job))
        _check_line(line)
        while line and size[line[0][1]] <= free:
            job = heappop(line)[1]
            start[job] = now
            free -= size[job]
            heappush(running, (now + duration[job], job))
    return start


def backfill(jobs: Jobs, accelerators: int, overestimate: float = 1.0) -> Floats:
    """Starts under EASY: the first in line has a reservation, and others may pass it if they do not delay it.

    The reservation is the moment at which, by the estimates of the running jobs, enough accelerators will be free;
    ``extra`` is what the first in line leaves free then. Another job may start if it fits now and is over by then, or
    takes no more than the ``extra``. *Source*: Lifka 1995; Mu'alem and Feitelson, Utilization, predictability,
    workloads, and user runtime estimates in scheduling the IBM SP2 with backfilling (2001).
    """
    size, duration = jobs.size.tolist(), jobs.duration.tolist()
    estimate = (jobs.duration * overestimate).tolist()
    start, free = np.zeros(len(jobs)), accelerators
    line: list[int] = []
    running: list[tuple[float, int]] = []
    expected: list[tuple[float, int]] = []  # (estimated end, job), sorted
    for now, came in _moments(jobs, running):
        while running and running[0][0] <= now:
            job = heappop(running)[1]
            free += size[job]
            expected.remove((float(start[job]) + estimate[job], job))
        line.extend(came)
        _check_line(line)
        begun: list[int] = []
        place, reservation, extra = 0, math.inf, 0
        while place < len(line) and free:
            job = line[place]
            first = place == len(begun)  # all before it have started
            if first and size[job] > free:
                reservation, extra = _reservation(size[job], free, expected, size)
            elif size[job] <= free and (first or now + estimate[job] <= reservation or size[job] <= extra):
                if not first and now + estimate[job] > reservation:
                    extra -= size[job]
                start[job] = now
                free -= size[job]
                heappush(running, (now + duration[job], job))
                insort(expected, (now + estimate[job], job))
                begun.append(place)
            place += 1
        for place in reversed(begun):
            del line[place]
    return start


def _check_line(line: Sized) -> None:
    if len(line) > LONGEST_LINE:
        raise Unstable(
            f"shared cluster: {LONGEST_LINE:,} jobs wait: the queue grows without limit, or the load is too near to "
            f"saturation to be simulated; use a lower arrival rate"
        )


def _reservation(wanted: int, free: int, expected: list[tuple[float, int]], size: list[int]) -> tuple[float, int]:
    """When this many accelerators will be free by the estimates, and how many more will then be."""
    for end, job in expected:
        free += size[job]
        if free >= wanted:
            return end, free - wanted
    raise AssertionError(wanted)


def _moments(jobs: Jobs, running: list[tuple[float, int]]) -> Iterator[tuple[float, list[int]]]:
    """Each moment at which a job comes or is done, with the jobs that come."""
    arrival, job = jobs.arrival.tolist(), 0
    while job < len(arrival) or running:
        now = min(running[0][0] if running else math.inf, arrival[job] if job < len(arrival) else math.inf)
        came = []
        while job < len(arrival) and arrival[job] == now:
            came.append(job)
            job += 1
        yield now, came


def saturation_rate(scenario: SharedCluster, *, seed: int = 0, replications: int = 10) -> Interval:
    """Jobs a second that an endless line gets through, first come, first served: past it the queue grows.

    From a line that never ends, the rate of starts in the second half of a run; its Student interval at 95 %. Where
    jobs may pass each other it depends on how long the line is, and has no such number. Errors: ``InputError``.

    *Source*: Baccelli and Foss, On the saturation rule for the stability of queues (1995).
    """
    return student(replicated(partial(_rate_of_starts, scenario, seed), replications))


def _rate_of_starts(scenario: SharedCluster, seed: int, replication: int) -> float:
    """Jobs a second that are started in the second half of a line that never ends."""
    drawn = draw(scenario, BACKLOG, seed=seed, replication=replication)
    start = first_come(Jobs(np.zeros(BACKLOG), drawn.size, drawn.duration), scenario.accelerators)
    half = BACKLOG // 2
    return (BACKLOG - 1 - half) / float(start[-1] - start[half])


def measure(scenario: SharedCluster, jobs: Jobs, start: Floats, first: int, last: int) -> dict[str, float]:
    """The metrics over the jobs from ``first`` to before ``last``, and over the time between their arrivals."""
    kept = slice(first, last)
    wait = (start - jobs.arrival)[kept]
    duration = jobs.duration[kept]
    floored = np.maximum(duration, si(scenario.slowdown_floor))
    busy, wasted = _shares(scenario.accelerators, jobs, start, jobs.arrival[first], jobs.arrival[last - 1])
    return {
        "wait_mean": float(wait.mean()),
        "wait_p99": float(np.quantile(wait, 0.99)),
        "response_mean": float((wait + duration).mean()),
        "slowdown_mean": float((1 + wait / floored).mean()),
        "utilisation": busy,
        "fragmentation": wasted,
    }


def _shares(accelerators: int, jobs: Jobs, start: Floats, begin: float, end: float) -> tuple[float, float]:
    """Shares of the accelerators' time in a span: held by jobs, and idle while a job waits."""
    times = np.concatenate([jobs.arrival, start, start + jobs.duration])
    none = np.zeros(len(jobs), dtype=np.int64)
    held = np.concatenate([none, jobs.size, -jobs.size])
    waiting = np.concatenate([none + 1, none - 1, none])
    order = np.argsort(times, kind="stable")
    clock = np.clip(times[order], begin, end)
    span = np.diff(clock)
    now = np.cumsum(held[order])[:-1]
    idle = (accelerators - now) * (np.cumsum(waiting[order])[:-1] > 0)
    whole = accelerators * (end - begin)
    return float(now @ span) / whole, float(idle @ span) / whole


def _relaxation(scenario: SharedCluster, saturation: float) -> float:
    """Jobs in which the cluster forgets its past by a factor e: that of M/M/1 at this load, times ``(1 + scv)/2``.

    *Source*: Morse 1955; the factor: heavy traffic, Abate and Whitt 1987. Jobs that run are forgotten one by one.
    """
    try:
        scv = scenario.law("duration").scv
    except InputError:
        return math.inf
    load = min(scenario.rate / saturation, 0.999)
    return load / (1 - math.sqrt(load)) ** 2 * (1 + scv) / 2 + scenario.accelerators / scenario.mean_size


def _replication(scenario: SharedCluster, length: int, seed: int, replication: int) -> tuple[Jobs, Floats]:
    jobs = draw(scenario, length, seed=seed, replication=replication)
    return jobs, starts(scenario, jobs)


def _replications(
    scenario: SharedCluster, length: int, seed: int, replications: int, jobs: int
) -> tuple[list[dict[str, float]], str, int]:
    """The metrics of each replication, why they may not be trusted (if so), and how many jobs were cut."""
    once = partial(_replication, scenario, length, seed)
    runs = replicated(once, replications, jobs)
    responses = np.array([start - each.arrival for each, start in runs])
    cut = max(mser5(responses.mean(axis=0)), length // 20)
    state = judged_cut(responses, cut)
    why = "" if state.steady else state.why
    if not state.steady:
        cut = 0
    try:
        _ = scenario.law("duration").scv
    except InputError:  # Pareto with a shape of at most 2
        why = "the duration has no variance, so that no interval holds"
    last = length - cut if cut else length
    return [measure(scenario, each, start, cut, last) for each, start in runs], why, cut


def _estimate(metric: str, interval: Interval, why: str) -> Estimate:
    return simulated(metric, interval, unit_of(SHARED_CLUSTER, metric), why)
