"""From runs to an answer: means with Student intervals, quantiles with those of order statistics."""

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from secondorder.answers.answer import Answer
from secondorder.answers.declared import TRAINING
from secondorder.answers.estimate import Estimate, short_of_data
from secondorder.answers.metric import EXTREMES, unit_of
from secondorder.errors import InputError
from secondorder.laws import EmpiricalLaw
from secondorder.quantities import pretty, si
from secondorder.scenarios.training import Training
from secondorder.scenarios.training_step import TrainingStep
from secondorder.simulate.replicate import replicated
from secondorder.simulate.statistics.intervals import student
from secondorder.simulate.training.causes import step_of
from secondorder.simulate.training.compiled import story_of, witness_of
from secondorder.simulate.training.job import run
from secondorder.simulate.training.recorder import Story
from secondorder.simulate.witness import TOLD, Witness

BY_EVENTS, COMPILED = 100, 3_000
"""Runs by each witness, where their number is not given."""
MOST_FAILURES = 1_000_000
"""Failures of all compiled runs together."""


def runs(
    scenario: Training,
    *,
    seed: int = 0,
    replications: int = 10,
    jobs: int = 1,
    first: int = 0,
    log: bool = False,
    witness: Witness | None = None,
) -> list[Story]:
    """Replications ``first, first + 1, ...``, each from streams of its own; ``jobs`` processes share them.

    The stories do not depend on how many there are, nor on ``jobs``, nor on the ``witness``; those with a ``log`` of
    their phases come from SimPy. Errors: those of ``run``.

    >>> from secondorder.scenarios.training import Checkpoint
    >>> scenario = Training(failures="exponential 3 h", checkpoint=Checkpoint(interval="30 min", write="60 s"))
    >>> [len(story.failures) for story in runs(scenario, replications=3)]
    [252, 250, 241]
    """
    law = step_of(scenario, seed)
    if log:
        one = partial(run, scenario, seed=seed, step=law)
    else:
        one = partial(story_of, scenario, witness_of(scenario, law, witness), seed=seed, step=law)
    return replicated(lambda k: one(replication=k), replications, jobs, first=first)


def simulate_training(
    scenario: Training,
    *,
    seed: int = 0,
    replications: int | None = None,
    jobs: int = 1,
    witness: Witness | None = None,
) -> Answer:
    """Independent runs of a training job, with 95 % intervals.

    ``goodput``, ``checkpoint_share``, ``rework_share``, ``restart_share`` and ``downtime_share`` (with the waiting for
    repairs) are shares of the wall time and add to 1; ``availability`` is the share not spent waiting for a repair;
    ``failures_mean`` the number in a run; ``time_to_train`` how long the work took; ``throughput`` the tokens of the
    steps kept, by the wall time. Where steps vary: ``segment_time_mean`` and ``segment_time_sd``, the time of work of
    an interval that a checkpoint holds; ``step_time_sd`` of its steps; ``redraws_mean``, the attempts that failures
    ended for one that is kept, each drawn again. Means have Student's intervals; that of ``throughput`` also holds the
    standard error of the law of a step, which all runs draw from; ``_p5`` and ``_p95`` are sample quantiles over the
    runs with an interval of order statistics, which takes 72 of them. The ``series`` of the answer is the log of the
    first run.

    ``replications``: 100 on SimPy if not given; by the kernel 3,000, or fewer with a million failures in all.
    ``witness``: "kernel" or "events"; the kernel, where it can, if not given.

    Errors: ``InputError``; ``InfeasibleError`` where the work is never done.

    >>> from secondorder.scenarios.training import Checkpoint
    >>> scenario = Training(failures="exponential 3 h", checkpoint=Checkpoint(interval="30 min", write="60 s"))
    >>> simulate_training(scenario, replications=100).best("failures_p95").__str__()
    '271 (262 to 291)'
    """
    if replications is not None and replications < 2:
        raise InputError("replications", given=replications, expected="at least 2, for an interval")
    law = step_of(scenario, seed)
    witness = witness_of(scenario, law, witness)
    first = run(scenario, seed=seed, step=law)
    count = replications or _enough(len(first.failures), witness)
    stories = replicated(lambda k: story_of(scenario, witness, seed=seed, replication=k, step=law), count, jobs)
    values = [measure(scenario, story) for story in stories]
    known = [metric for metric in values[0] if all(metric in value for value in values)]
    found = {metric: [value[metric] for value in values] for metric in known}
    estimates = [_mean(metric, each) for metric, each in found.items()]
    if isinstance(scenario.step, TrainingStep) and isinstance(law, EmpiricalLaw):
        estimates = [_by_law(each, law) if each.metric == "throughput" else each for each in estimates]
    for metric in ("goodput", "failures"):
        each = found["goodput"] if metric == "goodput" else found["failures_mean"]
        estimates += [quantile_of_runs(f"{metric}_{name}", each, level) for name, level in EXTREMES.items()]
    return Answer(
        scenario=scenario.name,
        estimates=tuple(estimates),
        how=f"{_how(scenario, count)}; {TOLD[witness]}",
        series=first.frame,
    )


def _enough(failures: int, witness: Witness) -> int:
    """Runs with enough failures each to know most shares within half a percent, as far as that is cheap."""
    return BY_EVENTS if witness == "events" else min(COMPILED, max(BY_EVENTS, MOST_FAILURES // max(failures, 1)))


def measure(scenario: Training, story: Story) -> dict[str, float]:
    """The metrics of one run."""
    wall = story.wall
    found = {
        "goodput": story.goodput,
        "checkpoint_share": story.checkpoint / wall,
        "rework_share": story.rework / wall,
        "restart_share": story.restart / wall,
        "downtime_share": story.downtime / wall,
        "failures_mean": float(len(story.failures)),
    }
    if scenario.spares is not None:
        found["availability"] = story.availability
    if scenario.work is not None:
        found["time_to_train"] = wall
    if isinstance(scenario.step, TrainingStep):
        found["throughput"] = story.steps * scenario.step.job.tokens / wall
    if story.segments is not None:
        found |= story.segments.metrics
    return found


def _how(scenario: Training, replications: int) -> str:
    if scenario.duration is None:
        return f"simulated: {replications} runs to the last checkpoint of the work"
    length = in_days(si(scenario.duration))
    return f"simulated: {replications} runs of {length}; work since the last checkpoint counts as kept"


def in_days(seconds: float) -> str:
    """A time in days, or below two days in the unit that reads best.

    >>> in_days(2_592_000.0), in_days(600.0)
    ('30 days', '600 s')
    """
    days = seconds / 86_400
    return f"{pretty(days, '')} days" if days >= 2 else pretty(seconds, "s")


def _mean(metric: str, values: Sequence[float]) -> Estimate:
    interval = student(values)
    return Estimate(
        metric=metric,
        amount=interval.mean,
        unit=unit_of(TRAINING, metric),
        source="simulated",
        low=interval.low,
        high=interval.high,
    )


def _by_law(estimate: Estimate, law: EmpiricalLaw) -> Estimate:
    """An estimate in proportion to the pace of steps, wider by what the sample behind their law leaves open.

    The two errors are independent: half widths add as squares, that of the law ``1.96 cv/sqrt(samples)``.
    """
    samples = len(law.values)
    error = math.sqrt(law.scv / samples)
    if not error or estimate.low is None or estimate.high is None:
        return estimate
    half = math.hypot((estimate.high - estimate.low) / 2, 1.96 * error * estimate.amount)
    note = f"the law of a step, from {samples} simulated ones, has a standard error of {100 * error:.2g} %"
    return replace(estimate, low=estimate.amount - half, high=estimate.amount + half, note=note)


def quantile_of_runs(metric: str, values: Sequence[float], level: float) -> Estimate:
    """A sample quantile over runs, with an interval of order statistics."""
    ranks = order_ranks(len(values), level)
    ranked = np.sort(values)
    low, high = (-math.inf, math.inf) if ranks is None else (ranked[ranks[0] - 1], ranked[ranks[1] - 1])
    why = "" if ranks else f"an interval takes at least {replications_for(level)} replications"
    return Estimate(
        metric=metric,
        amount=float(np.quantile(ranked, level, method="inverted_cdf")),
        unit=unit_of(TRAINING, metric),
        source="simulated",
        low=float(low),
        high=float(high),
        steadiness=short_of_data(why),
        unsettled=why,
    )


def order_ranks(n: int, level: float, confidence: float = 0.95) -> tuple[int, int] | None:
    """Ranks (from 1) between whose order statistics the quantile lies with this confidence; None if ``n`` is too small.

    The greatest ``r`` with ``P(B < r)`` and the least ``s`` with ``P(B >= s)`` at most ``(1 - confidence)/2``, ``B``
    binomial of ``n`` and ``level``. *Exact* as a bound for any law. *Source*: David and Nagaraja, Order
    Statistics (2003), section 7.1.

    >>> order_ranks(100, 0.05), order_ranks(71, 0.05), order_ranks(72, 0.05)
    ((1, 11), None, (1, 9))
    """
    from scipy.special import bdtr

    tail = (1 - confidence) / 2
    below = np.asarray(bdtr(np.arange(n, dtype=float), n, level))  # P(B <= k), k = 0 .. n-1
    low, high = int(np.count_nonzero(below <= tail)), int(np.argmax(below >= 1 - tail)) + 1
    return (low, high) if low >= 1 and below[-1] >= 1 - tail else None


def replications_for(level: float, confidence: float = 0.95) -> int:
    """How many replications ``order_ranks`` needs.

    >>> replications_for(0.05), replications_for(0.95)
    (72, 72)
    """
    return math.ceil(math.log((1 - confidence) / 2) / math.log(max(level, 1 - level)))
