"""Chance inside an engine and between engines: the ruin of an admission (T10), the barrier of attention (T11)."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from secondorder.analytic.serving.theory import admission_ruin, data_parallel_barrier
from secondorder.scenarios.steptime import Affine
from secondorder.simulate.serving.barrier import idle_share
from secondorder.simulate.serving.compiled import run_compiled
from secondorder.simulate.streams import stream
from secondorder.validation.catalogue.theory.theorem import Theorem, engine
from secondorder.validation.catalogue.twin import Amounts
from secondorder.validation.verdicts import Verdict
from secondorder.workloads.lengths import Lengths
from secondorder.workloads.requests import Requests

# T10

SHORT = 1e-5
"""Seconds of a step, so that all groups fit on the clock one after another."""


@dataclass(frozen=True, kw_only=True)
class Headroom:
    """``residents`` have ended their prompts, and ``headroom`` tokens of cache are free; answers geometric."""

    residents: int
    headroom: int = 512
    mean_output: int = 256
    name: str = "headroom"


def exact_ruin(case: Headroom) -> Amounts:
    found = admission_ruin.probability(mean_output=case.mean_output, headroom=case.headroom, residents=case.residents)
    return {"ruin": float(found)}


def approximate_ruin(case: Headroom) -> Amounts:
    return {"ruin": float(admission_ruin.approximate(mean_output=case.mean_output, headroom=case.headroom))}


def groups(case: Headroom, customers: int, seed: int, replication: int) -> Amounts:
    """Share of the groups of residents, each in an empty engine, in which one is preempted.

    Their prompts are so long that once one has ended there is room for the others.
    """
    count, prompt, each = customers // case.residents, 100_000, case.residents
    ends = 1 + stream(seed, replication, "lengths").geometric(1 / case.mean_output, (count, each))
    apart = 2 * (ends.sum(axis=1) + 10) * SHORT
    arrival = np.repeat(np.concatenate([[0.0], apart.cumsum()[:-1]]), each)
    scenario = engine(
        lengths=Lengths(input=prompt, output=10_000),
        memory=each * prompt + case.headroom,
        max_num_batched_tokens=each * prompt,
        step_time=Affine(per_step=SHORT, per_prefill_token=0, per_decode=0),
    )
    requests = Requests(arrival=arrival, input_tokens=np.full(arrival.shape, prompt), output_tokens=ends.ravel())
    preempted = run_compiled(scenario, requests).requests["preemptions"].to_numpy().reshape(count, each)
    return {"ruin": float((preempted.sum(axis=1) > 0).mean())}


# T11


@dataclass(frozen=True, kw_only=True)
class Replicas:
    """``replicas`` of attention with ``batch`` requests each: ``prompt`` tokens, and a geometric age."""

    replicas: int
    correlation: float = 0.0
    batch: int = 64
    prompt: int = 512
    output: int = 256
    name: str = "replicas"


def barrier(case: Replicas) -> Amounts:
    return _barrier(case, case.correlation)


def barrier_of_strangers(case: Replicas) -> Amounts:
    """The formula for requests that are independent inside a replica."""
    return _barrier(case, 0.0)


def _barrier(case: Replicas, correlation: float) -> Amounts:
    mean, sd = case.prompt + case.output, case.output
    found = data_parallel_barrier.idle_share(
        batch=case.batch, mean=mean, sd=sd, replicas=case.replicas, correlation=correlation
    )
    return {"idle": found}


def waits(case: Replicas, steps: int, seed: int, replication: int) -> Amounts:
    found = idle_share(
        batch=case.batch,
        prompt=case.prompt,
        output=case.output,
        replicas=case.replicas,
        steps=steps,
        correlation=case.correlation,
        seed=seed,
        replication=replication,
    )
    return {"idle": found}


def _ruin(title: str, case: Headroom, formula: Any, number: float, margin: float, **options: Any) -> Theorem:
    exact = formula is exact_ruin
    return Theorem(
        theorem="T10",
        title=title,
        written="(1 - 1/m)^(k floor(H/k))" if exact else "e^(-H/m)",
        claim="residents fill the cache before one of them ends; their number cancels, but for whole steps",
        scenario=case,
        margins={"ruin": margin},
        formula=formula,
        witness=groups,
        customers=(500 if case.residents < 50 else 2_000) * case.residents,
        units={"ruin": ""},
        numbers={"ruin": number},
        **{"pace": 1e6 if case.residents < 50 else 3e6, **options},
    )


def _barrier_twin(title: str, case: Replicas, number: float, formula: Any = barrier, **options: Any) -> Theorem:
    return Theorem(
        theorem="T11",
        title=title,
        kind="approximation",
        written="s z_G/(B mu + s z_G), s with r" if formula is barrier and case.correlation else "s z_G/(B mu + s z_G)",
        claim="replicas of attention wait for the one with the most tokens",
        scenario=case,
        margins={"idle": 0.1},
        formula=formula,
        witness=waits,
        customers=1_000,
        pace=3e4,
        units={"idle": ""},
        numbers={"idle": number},
        **options,
    )


def twins() -> tuple[Theorem, ...]:
    """T10 and T11."""
    alike = Replicas(replicas=32, correlation=0.05)
    return (
        _ruin("16 residents", Headroom(residents=16), approximate_ruin, 0.13534, 0.05),
        _ruin("100 residents", Headroom(residents=100), exact_ruin, 0.14129, 0.03),
        _ruin(
            "100 residents, cancelled",
            Headroom(residents=100),
            approximate_ruin,
            0.13534,
            0.03,
            kind="approximation",
            pace=1.2e7,
            expected=Verdict.BREAKS,
        ),
        _barrier_twin("8 replicas", Replicas(replicas=8), 0.0560),
        _barrier_twin("32 replicas", Replicas(replicas=32), 0.0794),
        _barrier_twin("32 replicas, r .05 ignored", alike, 0.0794, barrier_of_strangers, expected=Verdict.BREAKS),
        _barrier_twin("32 replicas, r .05", alike, 0.1494),
    )
