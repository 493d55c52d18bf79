"""Steps of inference, kernel by kernel: what the host hands over when, and when the device has done it.

>>> from secondorder.fleets.accelerators import accelerators
>>> from secondorder.workloads.models import models
>>> vision = Inference(model=models.resnet50, accelerator=accelerators.a100_80gb, launch="5 us")
>>> answer = simulate_inference(vision, replications=2)
>>> abs(answer.best("latency_mean").amount / (50 * 5e-6 + vision.kernel_seconds) - 1) < 1e-12
True
"""

import math
from dataclasses import dataclass

import numpy as np

from secondorder.answers.answer import Answer
from secondorder.answers.estimate import Estimate, short_of_data
from secondorder.arrays import Floats
from secondorder.errors import InputError
from secondorder.scenarios.inference import Inference
from secondorder.simulate.collectives.answer import order_statistics
from secondorder.simulate.replicate import replicated
from secondorder.simulate.statistics.intervals import student
from secondorder.simulate.streams import stream

KERNELS = 400_000
"""Of a replication of synchronised steps, about."""
FEWEST, MOST = 200, 5_000
"""Steps of such a replication."""
CHAINS = 20
"""Runs of a replication in which steps follow one another, side by side."""
LONGEST = 100_000
"""Kernels of such a run, at most."""
RELAXATIONS = 12
"""Relaxation times of the queue in a run; the first sixth is cut."""
ENOUGH_FOR_A_P99 = 400
"""Steps in all (independent ones), or of a replication, so that a p99 has an interval."""


@dataclass(frozen=True)
class InferenceRun:
    """Latencies in s of each step, and the mean time of a step and of its executions, in s."""

    latencies: Floats
    step: float
    busy: float


def simulate_inference(scenario: Inference, *, seed: int = 0, replications: int = 10, jobs: int = 1) -> Answer:
    """Independent replications, with intervals at 95 %.

    ``latency_mean``, ``latency_p99`` (s): of a step, from the host's first move to the end of its last kernel;
    ``throughput`` (sample/s): inputs; ``device_utilisation``: share of the time in which a kernel executes.
    ``jobs`` processes share the replications. Errors: ``InputError``.
    """
    if replications < 2:
        raise InputError("replications", given=replications, expected="at least 2, for an interval")
    once = synchronised if scenario.synchronise else pipelined
    found = replicated(lambda k: once(scenario, seed=seed, replication=k), replications, jobs)
    why = "" if scenario.synchronise else _too_short(scenario)
    steps = np.array([run.step for run in found])
    rows = (
        _mean("latency_mean", "s", np.array([run.latencies.mean() for run in found]), why),
        _p99([run.latencies for run in found], scenario.synchronise, why),
        _mean("throughput", "sample/s", scenario.batch_size / steps, why),
        _mean("device_utilisation", "", np.array([run.busy for run in found]) / steps, why),
    )
    how = f"{replications} replications of {found[0].latencies.size:,} steps of {scenario.kernels:,} kernels"
    return Answer(scenario=scenario.name, estimates=rows, how=how)


def tandem(launches: Floats, executions: Floats, depth: int, *, backlog: float | None = None) -> tuple[Floats, Floats]:
    """When the host begins each kernel and when the device ends it, in s: (runs, kernels), as the durations.

    Device and queue are empty at 0; with ``backlog`` (s) the queue is full then, each kernel in it taking so long.

    >>> begun, ended = tandem(np.array([[1.0, 1.0, 1.0]]), np.array([[5.0, 5.0, 5.0]]), 1)
    >>> begun, ended  # the third is ready at 3 and handed over at 6, when the second begins
    (array([[0., 1., 2.]]), array([[ 6., 11., 16.]]))
    """
    runs, count = launches.shape
    begun, ended, starts = np.empty((count, runs)), np.empty((count, runs)), np.empty((count, runs))
    host, device = np.zeros(runs), np.full(runs, 0.0 if backlog is None else (depth + 1) * backlog)
    for k, (launch, execution) in enumerate(zip(launches.T, executions.T, strict=True)):
        begun[k] = host
        host = host + launch
        if k >= depth:
            host = np.maximum(host, starts[k - depth])
        elif backlog is not None:
            host = np.maximum(host, (k + 1) * backlog)
        starts[k] = np.maximum(host, device)
        device = starts[k] + execution
        ended[k] = device
    return begun.T, ended.T


def synchronised(scenario: Inference, *, seed: int, replication: int) -> InferenceRun:
    """Steps that each begin with an empty device: independent of each other."""
    kernels = scenario.kernels
    steps = 1 if _still(scenario) else min(max(KERNELS // kernels, FEWEST), MOST)
    launches, executions = draw(scenario, steps, kernels, seed, replication)
    _, ended = tandem(launches, executions, scenario.queue_depth)
    latencies = ended[:, -1]
    return InferenceRun(latencies, float(latencies.mean()), float(executions.sum(axis=1).mean()))


def pipelined(scenario: Inference, *, seed: int, replication: int) -> InferenceRun:
    """Steps that follow each other without a wait: some runs side by side, their beginnings cut.

    A run begins where the means alone would settle: with a full queue where the device is the slower.
    """
    kernels = scenario.kernels
    steps = max(12, math.ceil(_length(scenario) / kernels))
    cut = steps // 6
    launches, executions = draw(scenario, 1 if _still(scenario) else CHAINS, steps * kernels, seed, replication)
    backlog = None if scenario.host_bound else scenario.kernel_seconds
    begun, ended = tandem(launches, executions, scenario.queue_depth, backlog=backlog)
    first, last = begun[:, ::kernels], ended[:, kernels - 1 :: kernels]
    latencies = (last - first)[:, cut:]
    lasted = (last[:, -1] - last[:, cut - 1]).mean() / (steps - cut)
    busy = executions[:, cut * kernels :].sum(axis=1).mean() / (steps - cut)
    return InferenceRun(latencies.ravel(), float(lasted), float(busy))


def draw(scenario: Inference, runs: int, kernels: int, seed: int, replication: int) -> tuple[Floats, Floats]:
    """Launches and executions in s: (runs, kernels)."""
    size = runs * kernels
    launches = scenario.law("launch").sample(size, stream(seed, replication, "launches"))
    executions = np.full(size, scenario.kernel_seconds)
    if scenario.jitter is not None:
        executions *= scenario.law("jitter").sample(size, stream(seed, replication, "jitter"))
    return launches.reshape(runs, kernels), executions.reshape(runs, kernels)


def _still(scenario: Inference) -> bool:
    return scenario.launch_scv == scenario.kernel_scv == 0


def relaxation(scenario: Inference) -> float:
    """Kernels until the queue forgets its start: its drift exceeds its spread, or its spread covers the queue."""
    launch, execution = scenario.launch_seconds, scenario.kernel_seconds
    slower = max(launch, execution)
    spread = (scenario.launch_scv * launch**2 + scenario.kernel_scv * execution**2) / slower**2
    drift = abs(launch - execution) / slower
    if spread == 0:
        return 1.0
    through = 1 if scenario.host_bound else scenario.queue_depth + scenario.kernels
    settled = min(4 * spread / drift**2 if drift else math.inf, (scenario.queue_depth + 3) ** 2 / spread / 4)
    return max(through, settled)


def _length(scenario: Inference) -> int:
    """Kernels of a run, ``RELAXATIONS`` of its queue, but no more than ``LONGEST``."""
    return min(max(math.ceil(RELAXATIONS * relaxation(scenario)), 20 * scenario.kernels), LONGEST)


def _too_short(scenario: Inference) -> str:
    needed = RELAXATIONS * relaxation(scenario)
    if needed <= LONGEST:
        return ""
    return f"the queue settles in about {needed:,.0f} kernels, a run has {LONGEST:,}"


def _mean(metric: str, unit: str, values: Floats, why: str) -> Estimate:
    interval = student(values)
    return Estimate(
        metric=metric, amount=interval.mean, unit=unit, source="simulated", low=interval.low, high=interval.high,
        steadiness=short_of_data(why), unsettled=why,
    )  # fmt: skip


def _p99(found: list[Floats], independent: bool, why: str) -> Estimate:
    pooled = np.sort(np.concatenate(found))
    amount = float(np.quantile(pooled, 0.99, method="weibull"))
    enough = pooled.size if independent else found[0].size
    if pooled[-1] - pooled[0] <= 1e-12 * pooled[-1]:
        low, high = amount, amount
    elif independent:
        low, high = order_statistics(pooled, 0.99)
    else:
        interval = student([float(np.quantile(one, 0.99, method="weibull")) for one in found])
        low, high = interval.low or 0.0, interval.high or math.inf
    if low != high and enough < ENOUGH_FOR_A_P99:
        why = why or f"{enough:,} steps, {ENOUGH_FOR_A_P99:,} are needed"
    return Estimate(
        metric="latency_p99", amount=amount, unit="s", source="simulated", low=low, high=high,
        steadiness=short_of_data(why), unsettled=why,
    )  # fmt: skip
