"""Twins of the serving engine: degenerate engines that are textbook queues, and the ladder at three loads."""

from dataclasses import replace
from functools import cache
from typing import Unpack

import numpy as np

from secondorder.analytic.queues import multiserver_deterministic, single_server
from secondorder.analytic.serving.saturation import saturation
from secondorder.arrays import Floats
from secondorder.fleets.accelerators import accelerators
from secondorder.scenarios.serving import Serving
from secondorder.scenarios.steptime import Affine
from secondorder.simulate.serving import draw, run
from secondorder.validation.catalogue.twin import MEAN, QUANTILE, Amounts, Twin, TwinOfAKind
from secondorder.workloads.arrivals import Poisson
from secondorder.workloads.lengths import Empirical, Geometric, Lengths, lengths
from secondorder.workloads.models import models


def serving(rate: float, law: Lengths | Empirical) -> Serving:
    """An 8B model on an H100 with a textbook engine: a step is decided when the last has ended, no prefix is kept."""
    return Serving(
        model=models.llama_3_1_8b,
        accelerator=accelerators.h100_sxm,
        arrivals=Poisson(f"{rate!r} request/s"),
        lengths=law,
        max_num_seqs=256,
        max_num_batched_tokens=2048,
        enable_prefix_caching=False,
        async_scheduling=False,
    )


def one_service(scenario: Serving, customers: int, seed: int, replication: int) -> Amounts:
    """A replication: the requests between the first and the last eighth; others still arrived after them."""
    requests = run(scenario, draw(scenario, customers, seed, replication)).requests
    kept = requests.iloc[customers // 8 : -customers // 8]
    found: dict[str, float] = {}
    for name in ("ttft", "tpot", "e2el"):
        values = kept[name].dropna().to_numpy()
        if len(values):
            found |= {f"{name}_mean": float(values.mean()), f"{name}_p99": float(np.quantile(values, 0.99))}
    return found


# One sequence at a time: M/G/1. All that come at once, steps constant: M/G/infinity

ALONE = Affine(per_step=1e-3, per_prefill_token=1e-5, per_decode=2e-3)
STEP = 0.02


def one_at_a_time(rho: float, law: Lengths) -> Serving:
    """A service of one sequence at a time at utilisation ``rho``."""
    seconds, weight = _services(law)
    base = plain(serving(rho / float(seconds @ weight), law))
    return replace(base, max_num_seqs=1, max_num_batched_tokens=100_000, num_gpu_blocks=30_000, step_time=ALONE)


def plain(scenario: Serving) -> Serving:
    """A textbook engine: a step is decided when the one before it has ended, and no prefix is kept."""
    return replace(scenario, enable_prefix_caching=False, async_scheduling=False)


def _services(law: Lengths) -> tuple[Floats, Floats]:
    """Seconds that a request takes alone, with the weights of its lengths."""
    inputs, outputs, weight = law.grid(points=512)
    return 1e-3 + 1e-5 * inputs + (outputs - 1) * 3e-3, weight


def pollaczek_khinchine(scenario: Serving) -> Amounts:
    assert isinstance(scenario.lengths, Lengths)
    seconds, weight = _services(scenario.lengths)
    mean, second = float(seconds @ weight), float(seconds**2 @ weight)
    wait = float(
        single_server.mean_wait(arrival_rate=scenario.rate, mean_service=mean, service_scv=second / mean**2 - 1)
    )
    inputs, _, weight = scenario.lengths.grid(points=512)
    return {"ttft_mean": wait + 1e-3 + 1e-5 * float(inputs @ weight), "e2el_mean": wait + mean}


def constant_services(scenario: Serving) -> Amounts:
    assert isinstance(scenario.lengths, Lengths)
    seconds = float(_services(scenario.lengths)[0][0])
    first = 1e-3 + 1e-5 * float(scenario.lengths.grid(points=512)[0][0])
    rate = scenario.rate
    wait = float(multiserver_deterministic.mean_wait(arrival_rate=rate, mean_service=seconds, servers=1))
    slow = float(multiserver_deterministic.wait_quantile(0.99, arrival_rate=rate, mean_service=seconds, servers=1))
    return {"ttft_mean": wait + first, "ttft_p99": slow + first, "e2el_mean": wait + seconds}


def no_limit(rate: float, outputs: int) -> Serving:
    """A slot for every request, and steps of one length."""
    return replace(
        plain(serving(rate, Lengths(input=64, output=Geometric(outputs)))),
        max_num_seqs=100_000,
        max_num_batched_tokens=1_000_000,
        num_gpu_blocks=10_000_000,
        step_time=Affine(per_step=STEP, per_prefill_token=0, per_decode=0),
    )


def infinite_slots(scenario: Serving) -> Amounts:
    """Half a step, less what idle time spares, until the next one begins; then as many steps as tokens.

    Steps run back to back but where nobody is inside, with probability ``exp(-load)``.
    """
    outputs = scenario.offered.mean_output
    return {"e2el_mean": outputs * STEP + STEP / 2, "ttft_mean": 1.5 * STEP}


# Saturation


def at_most(scenario: Serving) -> Amounts:
    return {"throughput": saturation(scenario).rate}


def overloaded(scenario: Serving, customers: int, seed: int, replication: int) -> Amounts:
    """Requests per second that leave an engine that always has more waiting."""
    flooded = replace(scenario, arrivals=Poisson(f"{3 * saturation(scenario).rate!r} request/s"))
    finish = np.sort(run(flooded, draw(flooded, customers, seed, replication)).requests["finish"].to_numpy())
    first, last = int(0.3 * customers), int(0.8 * customers)
    return {"throughput": float((last - first) / (finish[last] - finish[first]))}


# The twins


def twin(title: str, claim: str, scenario: Serving, margins: dict[str, float], **options: Unpack[TwinOfAKind]) -> Twin:
    given: TwinOfAKind = {"witness": one_service, "customers": 4_000, "pace": 2e4, **options}
    return Twin(title=title, claim=claim, suite="serving", scenario=scenario, margins=margins, **given)


def _ladder(chat: Serving, rate: float, load: float) -> Twin:
    return twin(
        f"ladder, order 2, {load:.0%} load",
        f"a bulk queue of prompts beside processor sharing, conversations on an H100 at {load:.0%} of saturation",
        replace(chat, arrivals=Poisson(f"{load * rate!r} request/s")),
        {"ttft_mean": 0.1, "ttft_p99": 0.15, "tpot_mean": 0.1, "e2el_mean": 0.1},
        kind="approximation",
    )


def _saturated(title: str, claim: str, scenario: Serving, margin: float) -> Twin:
    return twin(
        title,
        claim,
        scenario,
        {"throughput": margin},
        kind="approximation",
        formula=at_most,
        witness=overloaded,
        customers=3_000,
        pace=8e3,
    )


def _textbook() -> tuple[Twin, ...]:
    """Engines that are textbook queues."""
    fixed, spread = Lengths(input=100, output=20), Lengths(input=Geometric(200), output=Geometric(50))
    return (
        twin(
            "engine of 1 slot, rho 0.5",
            "one sequence at a time is M/G/1: Pollaczek-Khinchine",
            one_at_a_time(0.5, spread),
            {"ttft_mean": 0.1, "e2el_mean": MEAN},
            formula=pollaczek_khinchine,
        ),
        twin(
            "engine of 1 slot, M/D/1",
            "one sequence of fixed length at a time has the p99 of M/D/1",
            one_at_a_time(0.5, fixed),
            {"ttft_mean": MEAN, "ttft_p99": QUANTILE, "e2el_mean": MEAN},
            formula=constant_services,
            customers=8_000,
        ),
        twin(
            "engine of infinite slots",
            "without a limit, steps of one length: M/G/infinity",
            no_limit(5.0, 256),
            {"ttft_mean": 0.02, "e2el_mean": MEAN},
            formula=infinite_slots,
            customers=2_000,
        ),
    )


@cache
def twins() -> tuple[Twin, ...]:
    """Made when they are asked for: a saturation rate takes a second."""
    chat = serving(1.0, lengths.azure_conv_2023)
    limit, balance = saturation(chat).rate, "balance of slots and tokens"
    preempted = "where the cache binds, preempted work is not counted"
    return (
        *_textbook(),
        *(_ladder(chat, limit, load) for load in (0.3, 0.6, 0.85)),
        _saturated("saturation, conversations", balance, chat, 0.03),
        _saturated("saturation, 16 slots", balance, replace(chat, max_num_seqs=16), 0.03),
        _saturated("saturation, 4,000 blocks", preempted, replace(chat, num_gpu_blocks=4_000), MEAN),
    )
