"""A prefix cache that a backlog empties, request by request, with the order of use of all its contexts."""

from bisect import bisect_left
from dataclasses import dataclass

import numpy as np

from secondorder.arrays import Floats
from secondorder.scenarios.cache_feedback import CacheFeedback
from secondorder.simulate.statistics.starts import Starts
from secondorder.simulate.streams import stream


@dataclass(frozen=True)
class CacheRun:
    """For each request: when it came and was computed (s), whether its context was there, and the requests inside."""

    arrival: Floats
    computed: Floats
    found: Floats
    inside: Floats


def serve_contexts(
    scenario: CacheFeedback,
    count: int,
    *,
    flood: int = 0,
    seed: int = 0,
    replication: int = 0,
    rates: Floats | None = None,
) -> CacheRun:
    """Serve ``count`` requests after ``flood`` others that are there at the start; ``rates`` of each, if they vary.

    A request looks for the context of a turn that ended an exponential time ago. It is there if the turns that have
    ended since, each with a context of its own, and the requests inside leave room for it.
    """
    gaps = stream(seed, replication, "arrivals").standard_exponential(count)
    ages = stream(seed, replication, "lengths").standard_exponential(count) * scenario.gap
    times = np.concatenate([np.zeros(flood), np.cumsum(gaps / (scenario.rate if rates is None else rates))])
    ages = np.concatenate([np.full(flood, np.inf), ages])
    before = np.arange(-int(scenario.contexts), 0) / scenario.rate  # turns that ended before the start
    released = before.tolist()
    computed, found, inside = (np.zeros(len(times)) for _ in range(3))
    free = 0.0
    for index, (now, age) in enumerate(zip(times.tolist(), ages.tolist(), strict=True)):
        ended = bisect_left(released, now)
        there = len(released) - ended
        since = ended - bisect_left(released, now - age)
        hit = since < scenario.contexts - there
        free = max(free, now) + (scenario.hit if hit else scenario.miss)
        released.append(free + scenario.decode)
        computed[index], found[index], inside[index] = free, hit, there
    return CacheRun(times[flood:], computed[flood:], found[flood:], inside[flood:])


def starts_of(scenario: CacheFeedback, count: int, *, replications: int = 4, seed: int = 0) -> Starts:
    """Requests inside as each one comes, from an empty start and from a backlog that fills the cache."""
    flood = int(2 * scenario.contexts)
    empty, flooded = (
        np.array(
            [serve_contexts(scenario, count, flood=f, seed=seed, replication=k).inside for k in range(replications)]
        )
        for f in (0, flood)
    )
    return Starts(empty, flooded)
