"""The highest rate within objectives, by simulation: bisection with common random numbers.

Every rate is simulated with the same draws, stretched in time, so that two rates differ by the rate alone. The interval
of the rate follows from those of the p99s and from how steeply they rise there.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from secondorder.answers.answer import Answer
from secondorder.answers.costs import token_costs
from secondorder.answers.estimate import Estimate, short_of_data
from secondorder.errors import InfeasibleError, Unstable
from secondorder.quantities import pretty
from secondorder.scenarios.max_rate import MaxRate
from secondorder.simulate.deployment import simulate_deployment
from secondorder.simulate.deployment.compiled import witness_of
from secondorder.simulate.serving import simulate_serving

STEP, NARROW = 1.15, 1.03
"""Factor from one rate to the next in search of one that keeps the objectives and one that does not; in later runs."""
TOLERANCE = 0.005
"""Relative error of the rate that the bisection leaves."""
WANTED = 0.01
"""Relative half-width of the rate at which runs are long enough."""
FIRST_LENGTH, LONGER = 8_000, 4
"""Requests of a run at first, and how many times longer the next ones are."""
COMPILED, BY_EVENTS = 512_000, 8_000
"""Requests of a run, at most, by the kernel (over all replicas) and by events."""
NEARLY_IDLE = 0.02
"""Mean number of running sequences per replica below which a lower rate would not help."""


@dataclass
class Tried:
    """The answers at the rates that were tried; None where requests pile up."""

    scenario: MaxRate
    simulate: Callable[[float], Answer | None]
    answers: dict[float, Answer | None] = field(default_factory=dict)

    def at(self, rate: float) -> Answer | None:
        if rate not in self.answers:
            self.answers[rate] = self.simulate(rate)
        return self.answers[rate]

    def meets(self, rate: float) -> bool:
        """Whether every objective is kept."""
        answer = self.at(rate)
        return answer is not None and all(answer.best(m).amount <= most for m, most in self.scenario.objectives.items())

    def slope(self, metric: str, rate: float) -> float:
        """``d ln p99 / d ln rate`` near a rate, by least squares over the rates tried within a step of it."""
        near = [(r, a) for r, a in self.answers.items() if a is not None and abs(math.log(r / rate)) < math.log(STEP)]
        x = np.log([r for r, _ in near])
        y = np.log([a.best(metric).amount for _, a in near])
        spread = float(((x - x.mean()) ** 2).sum())
        return float(((x - x.mean()) * y).sum()) / spread if spread > 0 else 0.0


def simulate_max_rate(scenario: MaxRate, *, seed: int = 0, replications: int = 10, jobs: int = 1) -> Answer:
    """The highest rate whose simulated p99s keep every objective, and the p99s there.

    Runs of ``scenario.requests``; if not given they grow from 8,000 until the rate is known within 1 %, or to
    512,000 over the replicas by the kernel.

    Errors: ``InfeasibleError`` where replicas that are nearly idle miss an objective.
    """
    options: dict[str, Any] = {"seed": seed, "replications": replications, "jobs": jobs}
    start, step, length = scenario.deployment.rate, STEP, scenario.requests or FIRST_LENGTH
    most = scenario.requests or _longest(scenario)
    while True:
        tried = Tried(scenario, partial(_once, scenario, {**options, "requests": length}))
        low, high = _between(tried, start, step)
        answer = tried.at(low)
        assert answer is not None
        rate = _rate(tried, low, high, answer)
        if length * LONGER > most or (rate.high is not None and rate.steady and rate.high / low - 1 <= WANTED):
            break
        start, step, length = low, NARROW, length * LONGER
    how = f"{answer.how}; {len(tried.answers)} rates tried with the same draws; {rate.note}"
    rows = (rate, *(answer.best(metric) for metric in scenario.objectives), *_costs(scenario, rate))
    return replace(answer, scenario=scenario.name, estimates=rows, how=how)


def _longest(scenario: MaxRate) -> int:
    """Requests of a run, at most."""
    if witness_of(scenario.deployment) == "events":
        return BY_EVENTS
    return COMPILED // len(scenario.deployment.engines)


def _once(scenario: MaxRate, options: dict[str, Any], rate: float) -> Answer | None:
    at = scenario.deployment.at(rate)
    try:
        return simulate_serving(at.serving, **options) if at.is_service else simulate_deployment(at, **options)
    except Unstable:
        return None


def _between(tried: Tried, start: float, step: float) -> tuple[float, float]:
    """Two rates close to each other: the lower one keeps the objectives, the higher one does not."""
    low, high = _bracket(tried, start, step)
    while high - low > TOLERANCE * high:
        middle = (low + high) / 2
        low, high = (middle, high) if tried.meets(middle) else (low, middle)
    return low, high


def _bracket(tried: Tried, start: float, step: float) -> tuple[float, float]:
    """A rate that keeps the objectives, and one a step above it that does not."""
    low = start
    while not tried.meets(low):
        answer = tried.at(low)
        idle = NEARLY_IDLE * len(tried.scenario.deployment.engines)
        if answer is not None and answer.best("running_mean").amount < idle:
            _refuse(tried.scenario, answer)
        low /= step if answer is not None else (2 if step == STEP else step)
    high = low * step
    while tried.meets(high):
        low, high = high, high * step
    return low, high


def _refuse(scenario: MaxRate, answer: Answer) -> None:
    missed = {m: answer.best(m).amount for m, most in scenario.objectives.items() if answer.best(m).amount > most}
    said = ", ".join(f"{metric} {pretty(amount, 's')}" for metric, amount in missed.items())
    raise InfeasibleError(
        f"{scenario.name}: {said} on replicas that are nearly idle; no rate meets the objectives: "
        "use a faster replica, or allow more"
    )


def _rate(tried: Tried, low: float, high: float, answer: Answer) -> Estimate:
    """The rate with its interval: the half-width of the p99 that binds, over its slope, and the bisection's own."""
    wanted = tried.scenario.objectives
    binds = max(wanted, key=lambda metric: answer.best(metric).amount / wanted[metric])
    found = answer.best(binds)
    width = ((found.high or 0.0) - (found.low or 0.0)) / (2 * found.amount)
    slope, own = tried.slope(binds, low), (high - low) / low
    half = width / slope + own if slope > 0 else math.inf
    saturated = tried.at(high) is None
    note = "bound by saturation" if saturated else f"bound by {binds}"
    doubt = answer.best(binds).unsettled or ("" if half < 1 else "the p99 does not rise with the rate")
    return Estimate(
        metric="max_rate",
        amount=low,
        unit="request/s",
        source="simulated",
        low=low * (1 - min(half, 1.0)),
        high=low * (1 + min(half, 1.0)),
        steadiness=short_of_data(doubt),
        unsettled=doubt,
        note=note,
    )


def _costs(scenario: MaxRate, rate: Estimate) -> Iterator[Estimate]:
    """What a token costs, with the interval of the rate turned over."""
    if scenario.cost_rate is None:
        return
    assert rate.low is not None
    assert rate.high is not None
    law = scenario.deployment.serving.offered
    for cost in token_costs(scenario.cost_rate, rate.amount, law.mean_input, law.mean_output, "simulated", None):
        low, high = (cost.amount * rate.amount / edge if edge else math.inf for edge in (rate.high, rate.low))
        yield replace(cost, low=low, high=high, steadiness=rate.steadiness, unsettled=rate.unsettled)
