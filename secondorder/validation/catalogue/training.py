"""Twins of training: runs under failures, spares, collectives, pipelines, and the step that they make up."""

from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from typing import Unpack

import numpy as np

from secondorder.analytic.training.interval import young
from secondorder.fleets.clusters import Link
from secondorder.fleets.failures import Bursts, NewNodes, PlatformRenewal, ReplicatedPairs, StationaryNodes
from secondorder.quantities import si
from secondorder.scenarios.collective import Collective
from secondorder.scenarios.pipeline import Pipeline
from secondorder.scenarios.scenario import Scenario
from secondorder.scenarios.training import (
    AsyncCheckpoint,
    Checkpoint,
    Recovery,
    Spares,
    Training,
    TwoLevelCheckpoint,
    VerifiedCheckpoint,
)
from secondorder.simulate.streams import stream
from secondorder.simulate.training import runs
from secondorder.simulate.training.answer import measure
from secondorder.simulate.training.failures import gaps
from secondorder.validation.catalogue.twin import Amounts, Twin, TwinOfAKind
from secondorder.verbs import simulate, solve

REGIMES = (
    (131_836, 60, 300),
    (8_240, 60, 300),
    (8_240, 300, 600),
    (5_400, 300, 600),
    (1_350, 60, 300),
    (1_350, 300, 600),
)
"""Mean time between failures, blocking write and restart in s: from one node to clusters that hardly make progress."""
GOODPUT = 0.005
"""Margin of a goodput."""
RUNS = 1_000_000
"""Numbers of runs that are set aside for each replication."""


def blocking(mtbf: float, write: float, restart: float, duration: str = "54 day") -> Training:
    """A run with Young's interval."""
    interval = young(write=write, mtbf=mtbf)
    return Training(
        failures=f"exponential {mtbf!r} s",
        checkpoint=Checkpoint(interval=f"{interval!r} s", write=f"{write!r} s"),
        recovery=Recovery(restart=f"{restart!r} s"),
        duration=duration,
    )


def some_runs(scenario: Training, count: int, seed: int, replication: int) -> Amounts:
    """Means over this many runs."""
    stories = runs(scenario, seed=seed, replications=max(count, 1), first=replication * RUNS)
    rows = [measure(scenario, story) for story in stories]
    return {metric: float(np.mean([row[metric] for row in rows])) for metric in rows[0]}


def some_counts(scenario: Training, count: int, seed: int, replication: int) -> Amounts:
    """Failures over the duration: their mean, and their variance over it; the failures' clock never stops."""
    assert scenario.duration is not None
    horizon, most = si(scenario.duration), int(si(scenario.duration) / scenario.mtbf * 2)
    counts = []
    for each in range(max(count, 2)):
        clock = gaps(scenario.process, stream(seed, replication * RUNS + each, "failures"))
        times = np.cumsum(np.fromiter(islice(clock, most), float))
        counts.append(int(np.searchsorted(times, horizon)))
    return {
        "failures_mean": float(np.mean(counts)),
        "failures_dispersion": float(np.var(counts, ddof=1) / np.mean(counts)),
    }


def of_order(order: int) -> Callable[[Scenario], Amounts]:
    """The closed forms of one order."""

    def formula(scenario: Scenario) -> Amounts:
        return {e.metric: e.amount for e in solve(scenario).estimates if e.order == order}

    return formula


def poisson_counts(scenario: Training) -> Amounts:
    """Counts over a horizon are Poisson: mean ``duration / mtbf``, variance the same."""
    assert scenario.duration is not None
    return {"failures_mean": si(scenario.duration) / scenario.mtbf, "failures_dispersion": 1.0}


def run_twin_of(
    title: str, claim: str, scenario: Training, margins: dict[str, float] | None = None, **options: Unpack[TwinOfAKind]
) -> Twin:
    """A twin of a run under failures."""
    given: TwinOfAKind = {"witness": some_runs, "customers": 1, "pace": 25.0, **options}
    return Twin(
        title=title,
        claim=claim,
        suite="training",
        scenario=scenario,
        margins=margins or {"goodput": GOODPUT},
        **given,
    )


def _regimes() -> list[Twin]:
    return [
        run_twin_of(
            f"exact, {mtbf:,} {write} {restart} s",
            f"exponential failures every {mtbf:,} s, write {write} s, restart {restart} s",
            blocking(float(mtbf), float(write), float(restart)),
            pace=60.0 if mtbf > 2_000 else 25.0,
        )
        for mtbf, write, restart in REGIMES
    ]


def _first_order() -> list[Twin]:
    return [
        run_twin_of(
            f"1st order, {mtbf:,} {write} {restart} s",
            "write, rework and restart as if they never met",
            blocking(float(mtbf), float(write), float(restart)),
            kind="approximation",
            formula=of_order(1),
        )
        for mtbf, write, restart in REGIMES
    ]


WEIBULL = "weibull {mean!r} s shape=0.7"


def _processes() -> list[Twin]:
    """One law, three processes, three answers; and bursts and pairs."""
    mtbf, nodes = 5_400.0, 256
    base = blocking(mtbf, 60.0, 300.0)
    life = WEIBULL.format(mean=mtbf * nodes)
    return [
        run_twin_of(
            "Weibull, platform renewed",
            "the renewal series with the law's own survival",
            replace(base, failures=PlatformRenewal(gap=WEIBULL.format(mean=mtbf))),
        ),
        run_twin_of(
            "Weibull, nodes of all ages",
            "the series with the gap after a failure of a stationary fleet",
            replace(base, failures=StationaryNodes(lifetime=life, nodes=nodes)),
        ),
        run_twin_of(
            "Weibull, nodes new at start",
            "locally exponential, at the rate of the renewal density",
            replace(base, failures=NewNodes(lifetime=life, nodes=nodes)),
            {"goodput": GOODPUT, "failures_mean": 0.02},
            kind="approximation",
        ),
        run_twin_of(
            "bursts",
            "the series with the gap after a failure of a Markov-modulated process",
            replace(base, failures=Bursts(mtbf_calm="4 h", mtbf_storm="10 min", calm="20 h", storm="2 h")),
        ),
        run_twin_of(
            "replicated pairs",
            "the series with the survival of pairs, renewed at each interruption",
            replace(base, failures=ReplicatedPairs(pairs=100, lifetime="20 h")),
            {"goodput": GOODPUT, "failures_mean": 0.02},
        ),
    ]


def _policies() -> list[Twin]:
    base = blocking(5_400.0, 60.0, 300.0)
    return [
        run_twin_of(
            "downtime without failures",
            "detection and replacement stop the failures' clock",
            replace(base, recovery=Recovery(restart="200 s", detection="60 s", replacement="240 s")),
        ),
        run_twin_of(
            "asynchronous checkpoint",
            "pause, background drain, back to the last durable one",
            replace(base, checkpoint=AsyncCheckpoint(interval="10 min", pause="5 s", drain="120 s")),
        ),
        run_twin_of(
            "drain longer than interval",
            "one buffer: the drain holds training up",
            replace(base, checkpoint=AsyncCheckpoint(interval="2 min", pause="5 s", drain="200 s")),
        ),
        run_twin_of(
            "two levels",
            "a linear system over the intervals since the durable checkpoint",
            replace(
                base,
                checkpoint=TwoLevelCheckpoint(
                    interval="5 min", write="5 s", every=6, durable_write="60 s", light_share=0.8, light_restart="60 s"
                ),
            ),
        ),
        run_twin_of(
            "silent errors",
            "silent in work, fail-stop everywhere, verified before each write",
            replace(
                base,
                checkpoint=VerifiedCheckpoint(interval="15 min", verify="20 s", silent_mtbf="3 h", write="60 s"),
            ),
        ),
    ]


REPAIRS = {
    "deterministic": "deterministic 8 h",
    "exponential": "exponential 8 h",
    "lognormal": "lognormal 8 h scv=2",
}


def _spares() -> list[Twin]:
    base = blocking(14_400.0, 60.0, 300.0, duration="200 day")
    able = {"availability": 0.01}
    found = [
        run_twin_of(
            f"3 spares, {word}",
            "able to run 1 - ErlangB(N r/m, S + 1), whatever the law of the repair",
            replace(base, spares=Spares(count=3, repair=law)),
            able,
        )
        for word, law in REPAIRS.items()
    ]
    one_crew = replace(base, spares=Spares(count=3, repair="exponential 3 h", crews=1))
    return [*found, run_twin_of("3 spares, 1 crew", "the birth and death of broken nodes", one_crew, able)]


def _counts() -> Twin:
    return run_twin_of(
        "54 days of failures",
        "counts are Poisson: the variance is the mean",
        blocking(11_135.0, 30.0, 300.0),
        {"failures_mean": 0.01, "failures_dispersion": 0.1},
        formula=poisson_counts,
        witness=some_counts,
        customers=200,
        pace=4_000.0,
    )


# Collectives and pipelines


def mean_of(scenario: Scenario, operations: int, seed: int, replication: int) -> Amounts:
    """One replication of an operation: the same as that of a simulated answer."""
    answer = simulate(scenario, seed=seed * 1000 + replication, replications=2)
    return {metric: answer.best(metric).amount for metric in answer}


def hop_twin(
    title: str, claim: str, scenario: Scenario, margins: dict[str, float], **options: Unpack[TwinOfAKind]
) -> Twin:
    """A twin of a collective or a pipeline."""
    given: TwinOfAKind = {"witness": mean_of, "customers": 1, "pace": 20.0, **options}
    return Twin(title=title, claim=claim, suite="training", scenario=scenario, margins=margins, **given)


LINK = Link(bandwidth="50 GB/s", latency="5 us")


def _rings() -> list[Twin]:
    return [
        hop_twin(
            f"ring of {ranks}, exponential hops",
            "without barriers a stage costs 2 - 1/n mean hops",
            Collective(
                operation="all_reduce",
                algorithm="ring",
                ranks=ranks,
                size="1 GB",
                link=LINK,
                jitter="exponential",
                repeats=max(20, 2_000 // ranks),
            ),
            {"stage_cost": 0.02},
        )
        for ranks in (2, 8, 64)
    ]


def _others() -> list[Twin]:
    slow = Collective(
        operation="all_reduce", algorithm="ring", ranks=16, size="1 GB", link=LINK, slow_links={3: 2.0}, repeats=20
    )
    four = Pipeline(stages=2, microbatches=2, schedule="forward", forward="exponential 1 s")
    return [
        hop_twin("ring with a slow link", "a slow link slows the ring by its factor", slow, {"time_mean": 0.05}),
        hop_twin("2 x 2 exponential pipeline", "last passage takes 3.5 means", four, {"time_mean": 0.02}),
    ]


def twins() -> tuple[Twin, ...]:
    """All of them."""
    return (
        *_regimes(),
        *_first_order(),
        *_processes(),
        *_policies(),
        *_spares(),
        _counts(),
        *_rings(),
        *_others(),
    )
