"""From replications of a collective or a pipeline to an answer with intervals.

A replication is many independent runs from a common start, fewer where they have many hops (or passes), and one run
where nothing is random. Means have Student intervals over the replications. A p99 is that of all operations. Where
these are independent, its interval lies between order statistics, and is exact whatever their law; where they follow
one another it is Student's, and a note says where there are too few.
"""

import math
from collections.abc import Callable
from typing import TypeVar

import numpy as np

from secondorder.answers.answer import Answer
from secondorder.answers.estimate import Estimate, short_of_data
from secondorder.arrays import Floats
from secondorder.errors import InputError
from secondorder.quantities import counted, si
from secondorder.scenarios.collective import Collective
from secondorder.scenarios.pipeline import Pipeline
from secondorder.simulate.collectives import hops, pipeline, recursion
from secondorder.simulate.replicate import replicated
from secondorder.simulate.statistics.intervals import student
from secondorder.simulate.streams import stream

HOPS, MANY_HOPS = 1_000_000, 100_000_000
"""Hops or passes of a replication, about; and at most, where ``FEWEST`` runs take more."""
MOST_HOPS, MOST_PASSES = 1_000_000_000, 20_000_000
"""Messages and passes of one run, at most: more would take too much memory or time."""
FEWEST, MOST = 40, 5_000
"""Runs of a replication; fewer where they are very long."""
INDEPENDENT_FOR_A_P99 = 400
"""Independent operations in all, so that order statistics bound it at 95 %: ``0.99^400 < 0.025``."""
ENOUGH_FOR_A_P99 = 2_000
"""Operations of a replication, where they follow one another: 20 beyond the quantile."""

BUS_FACTORS: dict[str, Callable[[int], float]] = {
    "all_reduce": lambda n: 2 * (n - 1) / n,
    "all_gather": lambda n: (n - 1) / n,
    "reduce_scatter": lambda n: (n - 1) / n,
    "all_to_all": lambda n: (n - 1) / n,
    "broadcast": lambda n: 1.0,
}
"""Of NCCL's bus bandwidth, over the algorithm bandwidth."""

T = TypeVar("T")


def operations(collective: Collective, *, runs: int, seed: int = 0, replication: int = 0) -> Floats:
    """How long each operation takes, in s: (runs, repeats).

    An operation lasts until the last rank has its result; one that follows another begins at the end of that one.

    >>> from secondorder.fleets.clusters import Link
    >>> ring = Collective(ranks=8, size="1 GB", link=Link(bandwidth="50 GB/s"), repeats=3)
    >>> operations(ring, runs=1).round(9)
    array([[0.035, 0.035, 0.035]])
    """
    drawn = hops.draw(collective, runs, stream(seed, replication, "hops"))
    return np.diff(recursion.ends(collective, drawn).max(axis=1).T, prepend=0.0)


def steps(scenario: Pipeline, *, runs: int, seed: int = 0, replication: int = 0) -> tuple[Floats, Floats, Floats]:
    """For each run: the time of the step in s, the share of it that a stage idles, and microbatches held at once.

    >>> times, idle, held = steps(Pipeline(stages=2, microbatches=16, forward="1 s", backward="2 s"), runs=1)
    >>> times, idle.round(6), held
    (array([51.]), array([0.058824]), array([2.]))
    """
    forward, backward = durations(scenario, runs, seed, replication)
    shape: dict[str, object] = {"schedule": scenario.schedule, "interleaving": scenario.interleaving}
    ahead, behind = pipeline.passes(forward, backward, send=scenario.send_seconds, **shape)  # type: ignore[arg-type]
    ends = ahead if backward is None else np.maximum(ahead, behind)
    times = ends.max(axis=(-2, -1))
    work = forward.sum(axis=(-2, -1)) + (0.0 if backward is None else backward.sum(axis=(-2, -1)))
    own = slice(None, None, scenario.stages)
    gone = None if backward is None else behind[:, own]
    return times, 1 - work / (scenario.stages * times), _held(ahead[:, own], forward[:, own], gone)


def durations(scenario: Pipeline, runs: int, seed: int, replication: int) -> tuple[Floats, Floats | None]:
    """How long each pass takes, in s: forward and backward, (runs, virtual stages, microbatches)."""
    places, m = scenario.stages * scenario.interleaving, scenario.microbatches
    slow = np.tile(scenario.factors, scenario.interleaving)[:, None] / scenario.interleaving

    def drawn(name: str) -> Floats:
        size = runs * places * m
        times = scenario.law(name).sample(size, stream(seed, replication, name))
        if scenario.jitter is not None:
            times = times * scenario.law("jitter").sample(size, stream(seed, replication, f"jitter of {name}"))
        return times.reshape(runs, places, m) * slow

    return drawn("forward"), drawn("backward") if scenario.backward is not None else None


def _held(ahead: Floats, forward: Floats, behind: Floats | None) -> Floats:
    """The most microbatches whose activations are there at once, each chunk its share: from a forward pass's start
    until the end of the backward one (of the forward one, where there is none)."""
    runs, chunks, _ = ahead.shape
    begins = (ahead - forward).reshape(runs, -1)
    ends = (ahead if behind is None else behind).reshape(runs, -1)
    slack = 1e-9 * ends.max(axis=-1, keepdims=True)  # what ends is gone when the next begins
    moments = np.concatenate([begins, ends - slack], axis=-1)
    change = np.concatenate([np.ones_like(begins), -np.ones_like(ends)], axis=-1)
    ordered = np.take_along_axis(change, np.argsort(moments, axis=-1, kind="stable"), axis=-1)
    return np.asarray(np.cumsum(ordered, axis=-1).max(axis=-1) / chunks)


def simulate_collective(collective: Collective, *, seed: int = 0, replications: int = 10, jobs: int = 1) -> Answer:
    """Independent replications of a collective, with intervals at 95 %.

    ``time_mean``, ``time_p99`` (s): of one operation; ``algorithm_bandwidth``, ``bus_bandwidth`` (byte/s);
    ``stage_cost``: the time of an operation over what its hops take without jitter and slow parts. ``jobs``
    processes share the replications. Errors: ``InputError``.
    """
    runs = _runs(_hops(collective), collective.jitter is None)
    found = replicated(
        lambda k: operations(collective, runs=runs, seed=seed, replication=k), replications, jobs, least=2
    )
    means = np.array([times.mean() for times in found])
    speed = si(collective.size) / means
    cost = means / (collective.alpha_beta_seconds * collective.scale)
    factor = BUS_FACTORS[collective.operation](collective.ranks)
    estimates = (
        _mean("time_mean", "s", means),
        _p99(found, independent=collective.repeats == 1 or collective.jitter is None),
        _mean("algorithm_bandwidth", "byte/s", speed),
        _mean("bus_bandwidth", "byte/s", speed * factor),
        _mean("stage_cost", "", cost),
    )
    how = f"{replications} replications of {counted(runs * collective.repeats, 'operation')}"
    if collective.repeats > 1:
        how += f", {collective.repeats:,} back to back"
    return Answer(scenario=collective.name, estimates=estimates, how=how)


def simulate_pipeline(scenario: Pipeline, *, seed: int = 0, replications: int = 10, jobs: int = 1) -> Answer:
    """Independent replications of a pipeline, with intervals at 95 %.

    ``time_mean``, ``time_p99`` (s): of a step; ``bubble_fraction``: the share of it that a stage idles, over all
    stages; ``in_flight``: the largest number of microbatches whose activations the first stage holds at once. ``jobs``
    processes share
    the replications. Errors: ``InputError``.
    """
    passes = 2 * scenario.stages * scenario.microbatches * scenario.interleaving
    if passes > MOST_PASSES:
        expected = f"at most {MOST_PASSES:,} passes: two for each stage, microbatch and chunk"
        raise InputError("stages", given=f"{passes:,} passes", expected=expected, remedy="solve has the closed forms")
    runs = _runs(passes, not scenario.chances("forward") and not (scenario.backward and scenario.chances("backward")))
    found = replicated(lambda k: steps(scenario, runs=runs, seed=seed, replication=k), replications, jobs, least=2)
    estimates = (
        _mean("time_mean", "s", np.array([times.mean() for times, _, _ in found])),
        _p99([times for times, _, _ in found], independent=True),
        _mean("bubble_fraction", "", np.array([idle.mean() for _, idle, _ in found])),
        _mean("in_flight", "", np.array([held.max() for _, _, held in found])),
    )
    return Answer(
        scenario=scenario.name, estimates=estimates, how=f"{replications} replications of {counted(runs, 'step')}"
    )


def _hops(collective: Collective) -> int:
    """Messages of one run, refused where they are too many to follow each."""
    stages = len(collective.stages)
    if stages * collective.ranks > MOST_HOPS:
        given = f"{collective.ranks:,} in {stages:,} stages"
        expected = f"at most {MOST_HOPS:,} messages, ranks times stages"
        raise InputError("ranks", given=given, expected=expected, remedy="solve has the closed forms of any size")
    return stages * collective.ranks * collective.repeats


def _runs(hops_of_a_run: int, still: bool) -> int:
    fewest = max(1, min(FEWEST, MANY_HOPS // hops_of_a_run))
    return 1 if still else min(max(HOPS // hops_of_a_run, fewest), MOST)


def _mean(metric: str, unit: str, values: Floats) -> Estimate:
    interval = student(values)
    return Estimate(
        metric=metric, amount=interval.mean, unit=unit, source="simulated", low=interval.low, high=interval.high
    )


def _p99(found: list[Floats], *, independent: bool) -> Estimate:
    pooled = np.sort(np.concatenate([times.ravel() for times in found]))
    amount = _quantile(pooled)
    if independent:
        low, high = order_statistics(pooled, 0.99)
        enough = len(pooled) >= INDEPENDENT_FOR_A_P99
        why = f"{len(pooled):,} operations, {INDEPENDENT_FOR_A_P99:,} are needed"
    else:
        interval = student([_quantile(times) for times in found])
        low, high = interval.low or 0.0, interval.high or math.inf
        enough = found[0].size >= ENOUGH_FOR_A_P99
        why = f"{found[0].size:,} operations a replication, {ENOUGH_FOR_A_P99:,} are needed"
    if pooled[-1] - pooled[0] <= 1e-12 * pooled[-1]:
        low, high, enough = amount, amount, True
    return Estimate(
        metric="time_p99", amount=amount, unit="s", source="simulated", low=low, high=high,
        steadiness=short_of_data("" if enough else why), unsettled="" if enough else why,
    )  # fmt: skip


def _quantile(times: Floats) -> float:
    """The p99 at which, on average, one in a hundred more lies beyond it (position ``0.99 (n + 1)``)."""
    return float(np.quantile(times, 0.99, method="weibull"))


def order_statistics(values: Floats, p: float, confidence: float = 0.95) -> tuple[float, float]:
    """An interval for the ``p`` quantile from independent values in ascending order: two of them.

    ``x_(j)`` and ``x_(k)`` with ``P(j <= N < k) >= confidence``, ``N`` binomial(n, p); infinite where there are too
    few. *Exact* (it covers at least so often) for any continuous law. *Source*: David and Nagaraja, Order Statistics
    (2003), section 7.1.

    >>> order_statistics(np.arange(1.0, 1001.0), 0.99)
    (983.0, 997.0)
    """
    from scipy.stats import binom

    n, rest = len(values), (1 - confidence) / 2
    below, above = int(binom.ppf(rest, n, p)), int(binom.ppf(1 - rest, n, p)) + 1
    return (
        float(values[below - 1]) if below >= 1 else -math.inf,
        float(values[above - 1]) if above <= n else math.inf,
    )
