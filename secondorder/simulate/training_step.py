"""One step of training, pass by pass: each replica's pipeline under jitter, then gradients round the replicas.

Every pass of every microbatch on every chunk of every replica takes its own time; the replicas meet bucket by bucket,
where their gradients are reduced: a ring whose hops all take the same time ends that many hops after its last rank was
ready. A stage's link carries what its passes gather and scatter, and its gradients, one after the other. One sample is
one step, and steps are independent.

>>> from secondorder.fleets.clusters import clusters
>>> from secondorder.workloads.models import models
>>> from secondorder.workloads.training import Layout, TrainingJob
>>> from dataclasses import replace
>>> job = TrainingJob(
...     model=models.llama_3_1_8b, global_batch=64, sequence_length=4096,
...     layout=Layout(data_parallel=4, tensor_parallel=2, pipeline_parallel=2, zero_stage=1, recomputation="full"))
>>> step = TrainingStep(job=job, cluster=replace(clusters.dgx_h100_superpod, nodes=2), jitter="lognormal scv=0.01")
>>> law = step_law(step, seed=1)
>>> len(law.values), 1 < law.moment(1) < 10
(200, True)
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from secondorder.answers.answer import Answer
from secondorder.answers.estimate import Estimate, short_of_data
from secondorder.arrays import Floats
from secondorder.errors import InputError
from secondorder.laws import EmpiricalLaw
from secondorder.scenarios.training_step import Message, Parts, TrainingStep
from secondorder.simulate.collectives.pipeline import passes
from secondorder.simulate.replicate import replicated
from secondorder.simulate.statistics.intervals import student
from secondorder.simulate.streams import stream

STEPS = 200
"""Steps of one replication."""
DRAWS_AT_ONCE = 4_000_000
"""Passes drawn together: bounds the memory."""


def simulate_step(scenario: TrainingStep, *, seed: int, replications: int, jobs: int = 1) -> Answer:
    """Simulate steps, 200 a replication: estimates with 95 % confidence intervals.

    Metrics and units as those of ``solve_step``. Intervals are Student's over the replications; that of
    ``step_time_p99`` lies between two order statistics of all steps, which are independent, and takes 368 steps.
    Without jitter all steps are alike, and one is simulated. Errors: ``InputError``.
    """
    if replications < 1:
        raise InputError("replications", given=replications, expected="at least 1")
    if scenario.jitter is None:
        found = [sample(scenario, seed=seed, replication=0, steps=1)] * replications
    else:
        once = partial(sample, scenario, seed=seed, steps=STEPS)
        found = replicated(lambda k: once(replication=k), replications, jobs)
    times = np.concatenate([steps.time for steps in found])
    means = np.array([steps.time.mean() for steps in found])
    rows = [
        _mean("step_time_mean", means, "s"),
        _p99(times),
        _mean("mfu", scenario.model_flops_utilisation(1.0) / means, ""),
        _mean("throughput", scenario.job.tokens / means, "token/s"),
        _mean("bubble_fraction", np.array([steps.idle.mean() for steps in found]), ""),
        _mean("exposed_communication", np.array([steps.exposed.mean() for steps in found]), "s"),
    ]
    how = "1 step: all are alike" if scenario.jitter is None else f"{replications} x {STEPS} steps, seed {seed}"
    return Answer(scenario=scenario.name, estimates=tuple(rows), how=how)


def step_law(step: TrainingStep, *, seed: int, samples: int = 200) -> EmpiricalLaw:
    """Times of this many simulated steps, for runs of months to draw from.

    Errors: ``InputError`` for fewer than 200 samples of a step that varies.
    """
    if step.jitter is None:
        return EmpiricalLaw(_times(step, seed=seed, replication=0, steps=1))
    if samples < 200:
        raise InputError("samples", given=samples, expected="at least 200")
    return EmpiricalLaw(_times(step, seed=seed, replication=0, steps=samples))


@dataclass(frozen=True)
class Steps:
    """For each simulated step: ``time`` in s, ``exposed`` communication in s, ``idle`` share of the pipelines."""

    time: Floats
    exposed: Floats
    idle: Floats


def sample(scenario: TrainingStep, *, seed: int, replication: int, steps: int) -> Steps:
    """A number of steps of one replication, each also with the same draws and no communication."""
    parts, columns = scenario.parts, []
    silent = parts.silent()
    for ahead, behind in _jitters(scenario, seed=seed, replication=replication, steps=steps):
        time, idle = run(parts, ahead, behind)
        columns.append((time, time - run(silent, ahead, behind)[0], idle))
    return Steps(*(np.concatenate(column) for column in zip(*columns, strict=True)))


def _times(scenario: TrainingStep, *, seed: int, replication: int, steps: int) -> Floats:
    draws = _jitters(scenario, seed=seed, replication=replication, steps=steps)
    return np.concatenate([run(scenario.parts, ahead, behind)[0] for ahead, behind in draws])


def _jitters(scenario: TrainingStep, *, seed: int, replication: int, steps: int) -> Iterator[tuple[Floats, Floats]]:
    """Factors of the forward and backward passes, (steps, replicas, chunks, microbatches), a few steps at a time."""
    parts, slow = scenario.parts, scenario.slowness[:, np.newaxis, np.newaxis]
    shape = (parts.replicas, len(parts.forward), parts.microbatches)
    size = int(np.prod(shape))
    streams = [stream(seed, replication, f"jitter of {way} passes") for way in ("forward", "backward")]
    at_once = max(1, DRAWS_AT_ONCE // size)
    for first in range(0, steps, at_once):
        count = min(at_once, steps - first)
        if scenario.jitter is None:
            ahead = behind = np.ones((count, *shape))
        else:
            law = scenario.law("jitter")
            ahead, behind = (law.sample(count * size, rng).reshape(count, *shape) for rng in streams)
        yield ahead * slow, behind * slow


def run(parts: Parts, ahead: Floats, behind: Floats) -> tuple[Floats, Floats]:
    """Time of each step in s, and the share of its pipelines that idles: arrays of the leading axes.

    ``ahead`` and ``behind`` (..., replicas, chunks, microbatches): factors on the arithmetic of each pass.
    """

    def column(values: Floats) -> Floats:
        return values[:, np.newaxis]

    floor = np.repeat(column(parts.backward_floor), parts.microbatches, axis=1)
    floor[:, -1] = parts.last_floor
    forward = np.maximum(column(parts.forward) * ahead + column(parts.forward_exchange), column(parts.forward_floor))
    backward = np.maximum(column(parts.backward) * behind + column(parts.backward_exchange), floor)
    _, done = passes(forward, backward, send=parts.send, schedule=parts.schedule, interleaving=parts.interleaving)
    busy = (forward.sum(axis=-1) + backward.sum(axis=-1)).sum(axis=-1)
    idle = 1 - busy / parts.stages / done[..., -1].max(axis=-1)
    last = np.array([_sent(parts, stage, done[..., -1], backward[..., -1]) for stage in range(parts.stages)])
    return last.max(axis=0) + _after(parts), np.maximum(idle.mean(axis=-1), 0.0)


def _sent(parts: Parts, stage: int, done: Floats, backward: Floats) -> Floats:
    """When the gradients of a stage are all reduced: chunks in the order in which they end, the last one first.

    ``over`` is when the link has carried all that was asked of it; what a pass gathers goes before its gradients.
    """
    over: Floats = np.zeros(done.shape[:-2])
    for chunk in range(parts.stages * (parts.interleaving - 1) + stage, -1, -parts.stages):
        end, length = done[..., chunk], backward[..., chunk]
        hop = sum(_hops(m._replace(size=m.size / parts.buckets), parts.gradient_rounds) for m in parts.gradients[chunk])
        if parts.interleaving > 1:  # passes between the last one of the chunk before and that of this one
            over = over + (parts.stages - 1) * parts.backward_floor[chunk]
        over = np.maximum(over, (end - length).max(axis=-1)) + parts.last_floor[chunk]
        for bucket in range(1, parts.buckets + 1):
            ready = end - length * (parts.buckets - bucket) / parts.buckets
            over = np.maximum(over, ready.max(axis=-1)) + hop
    return over


def _after(parts: Parts) -> float:
    gathered = [sum(_hops(message, 1) for message in stage) for stage in parts.weights]
    return parts.optimiser + max(gathered)


def _hops(message: Message, rounds: int) -> float:
    """A ring of equal hops: each passes on an ``n``-th, ``n - 1`` times a round."""
    each = message.latency + message.size / (message.ranks * message.bandwidth)
    return rounds * (message.ranks - 1) * each


# Estimates


def _mean(metric: str, values: Floats, unit: str) -> Estimate:
    found = student(values)
    return Estimate(
        metric=metric, amount=found.mean, unit=unit, source="simulated", low=found.low, high=found.high,
    )  # fmt: skip


def _p99(times: Floats) -> Estimate:
    """The quantile of all steps, between two of them: exact coverage of at least 95 %, whatever the law."""
    low, high = _order_statistics(len(times), 0.99)
    ordered = np.sort(times)
    if times[0] == times.min() == times.max():
        bounds: tuple[float | None, float | None] = (float(times[0]), float(times[0]))
    elif high > len(times):
        bounds = (None, None)
    else:
        bounds = (float(ordered[low - 1]), float(ordered[high - 1]))
    value = float(np.quantile(times, 0.99))
    why = "" if bounds[0] is not None else f"{len(times)} steps bound no 99th percentile"
    return Estimate(
        metric="step_time_p99",
        amount=value,
        unit="s",
        source="simulated",
        low=bounds[0],
        high=bounds[1],
        steadiness=short_of_data(why),
        unsettled=why,
    )


def _order_statistics(n: int, share: float) -> tuple[int, int]:
    """Ranks ``l`` and ``u`` with ``P(X_(l) <= quantile <= X_(u)) >= 0.95``; ``u`` is ``n + 1`` where none will do.

    The number of values below the quantile is binomial: ``l`` is at most its 2.5 % point, ``u`` above its 97.5 %.
    *Source*: David and Nagaraja, Order Statistics (2003), section 7.1.
    """
    from scipy.stats import binom

    return max(1, int(binom.ppf(0.025, n, share))), int(binom.ppf(0.975, n, share)) + 1
