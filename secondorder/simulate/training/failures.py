"""When the platform fails: the gaps between failures, on the running clock.

Each process is a generator that never ends. Taking the next gap means that the failure before it has happened and is
mended. The clock stands still while nothing runs.
"""

import math
from collections.abc import Iterator
from functools import singledispatch
from heapq import heapify, heapreplace

import numpy as np

from secondorder.arrays import Floats
from secondorder.fleets.failures import (
    Bursts,
    FailureProcess,
    NewNodes,
    PlatformRenewal,
    ReplicatedPairs,
    StationaryNodes,
)
from secondorder.laws import Service, residual
from secondorder.quantities import si

NEVER = math.inf
BLOCK = 256
"""Times drawn at once."""


@singledispatch
def gaps(process: FailureProcess, rng: np.random.Generator) -> Iterator[float]:
    """Running time from the start to the first failure, and from each failure to the next, in s.

    >>> from itertools import islice
    >>> from secondorder.fleets.failures import read_failures
    >>> new = read_failures("new 3 deterministic 10 s")
    >>> list(islice(gaps(new, np.random.default_rng(1)), 5))
    [10.0, 0.0, 0.0, 10.0, 0.0]
    """
    raise NotImplementedError(f"gaps.register a generator for {type(process).__name__}")


@gaps.register
def _(process: PlatformRenewal, rng: np.random.Generator) -> Iterator[float]:
    return draws(process.law("gap"), rng)


@gaps.register
def _(process: StationaryNodes, rng: np.random.Generator) -> Iterator[float]:
    lifetime = process.law("lifetime")
    return replace_nodes(residual(lifetime, process.nodes, rng), lifetime, rng)


@gaps.register
def _(process: NewNodes, rng: np.random.Generator) -> Iterator[float]:
    lifetime = process.law("lifetime")
    return replace_nodes(lifetime.sample(process.nodes, rng), lifetime, rng)


def draws(law: Service, rng: np.random.Generator) -> Iterator[float]:
    """Independent draws of a law, without end."""
    while True:
        yield from law.sample(BLOCK, rng).tolist()


def replace_nodes(first: Floats, lifetime: Service, rng: np.random.Generator) -> Iterator[float]:
    """Gaps of nodes that first fail at the times ``first``, each then replaced by a new one."""
    failing, lives, before = first.tolist(), draws(lifetime, rng), 0.0
    heapify(failing)
    while True:
        now = failing[0]
        yield now - before
        before = now
        heapreplace(failing, now + next(lives))


@gaps.register
def alternate(bursts: Bursts, rng: np.random.Generator) -> Iterator[float]:
    """Calm and storm in turn, from a stationary start; Poisson failures in each."""
    lengths = si(bursts.calm), si(bursts.storm)
    means = si(bursts.mtbf_calm), si(bursts.mtbf_storm)
    state = int(rng.random() * sum(lengths) >= lengths[0])
    gap = 0.0
    while True:
        left = rng.exponential(lengths[state])
        while (next_failure := rng.exponential(means[state])) < left:
            yield gap + next_failure
            gap, left = 0.0, left - next_failure
        gap, state = gap + left, 1 - state


@gaps.register
def lose_pairs(pairs: ReplicatedPairs, rng: np.random.Generator) -> Iterator[float]:
    """Gaps of pairs of nodes that are all new: until both nodes of one pair are gone."""
    mean, shape = si(pairs.lifetime), (pairs.pairs, 2)
    while True:
        yield float(mean * rng.standard_exponential(shape).max(axis=1).min())
