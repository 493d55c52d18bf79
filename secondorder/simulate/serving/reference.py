"""The single-server queue that a service resembles: its waits are known exactly, and show how lucky the draws of a run
were.

A request brings the time that it takes of a full engine. One server who does that work, first come first served, has
its long waits when the service has its own: at 97 % load it explains three quarters of the variance of a p99.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from secondorder.answers.metric import QUANTILES, value_name
from secondorder.arrays import Floats
from secondorder.scenarios.serving import Serving
from secondorder.simulate.serving.columns import Columns
from secondorder.simulate.statistics.runs import Known
from secondorder.simulate.statistics.single_server import WaitLaw, wait_law, waits
from secondorder.workloads.arrivals import Deterministic, Gamma, Poisson
from secondorder.workloads.requests import Requests

MOST_LOAD = 0.997
"""Load of the reference past which it has no use."""
POINTS = 256
"""Points of the law of each length, where the two are independent."""
NEAR = 1e-4
"""Relative error of the times in ``ends``: the control of any such time has a known mean, so a rough one will do."""
RENEWAL = (Poisson, Gamma, Deterministic)
"""Arrivals with independent gaps, for which the wait is known."""


@dataclass(frozen=True)
class Work:
    """Seconds of a full engine that a request takes: per prompt token, output token, and context token of a step."""

    prompt: float
    output: float
    context: float

    def of(self, prompts: Floats, outputs: Floats) -> Floats:
        """The work of requests of these lengths."""
        return np.asarray(
            self.prompt * prompts + self.output * outputs + self.context * outputs * (prompts + outputs / 2)
        )

    def scaled(self, factor: float) -> "Work":
        """The work, this many times."""
        return Work(factor * self.prompt, factor * self.output, factor * self.context)


@dataclass(frozen=True)
class Reference:
    """The queue: the work of a request, the law of the wait, and the ``pace`` of a full engine in s per output token.

    ``ends``: by quantile, the time that about this share of waits and outputs together does not exceed.
    """

    work: Work
    law: WaitLaw
    pace: float
    ends: Mapping[str, float]

    def controls(self, drawn: Requests, rng: np.random.Generator) -> dict[str, Known]:
        """By statistic: a value of each request, and its known mean. The wait, and whether it is within a quantile.

        The first wait is drawn from the law, so that every request has these means. End to end: whether wait and
        outputs together are within a quantile, less the chance of it given the outputs. A request's own outputs do
        not affect its wait, so the mean is 0 whatever the law of outputs.
        """
        prompts, outputs = _lengths(drawn)
        which = np.asarray(drawn.output_tokens)
        lasting = np.arange(which.max() + 1.0)
        wait = waits(np.asarray(drawn.arrival), self.work.of(prompts, outputs), self.law.sample(rng))
        found: dict[str, Known] = {"mean": (wait, self.law.mean)}
        for label, level in QUANTILES.items():
            most, share = self.law.level(level)
            found[label] = (wait <= most, share)
            left = self.ends[label] - self.pace * lasting
            found[value_name("e2el", label)] = ((wait <= left[which]) - self.law.share_up_to(left)[which], 0.0)
        return found


def work_of(scenario: Serving) -> Work:
    """What a request takes of an engine that is full, up to a factor.

    Full are its slots, its cache or the token budget of a step, whichever is full first. What a step costs beside
    its prompt tokens is shared among those who hold what is full: slots, tokens of the cache, or tokens of the step.
    """
    prompts, outputs, weights = scenario.offered.grid(POINTS)

    def mean(values: Floats) -> float:
        return _sum(values * weights)

    output = mean(outputs)
    held = mean(outputs * (prompts + outputs / 2)) / output
    per_output = mean(prompts) / output
    by_slots, by_cache = float(scenario.settings.max_num_seqs), scenario.kv_tokens / held
    by_budget = scenario.settings.max_num_batched_tokens / (1 + per_output)
    decodes = max(1.0, min(by_slots, by_cache, by_budget))
    tokens, context = decodes * per_output, decodes * held

    def step(more: float = 0.0, longer: float = 0.0) -> float:
        rows = round(decodes)
        taken = round(tokens + more)
        return float(scenario.step_seconds(taken, 0, taken, rows, round(context + longer), rows))

    more, longer = max(64.0, 0.1 * tokens), 0.1 * context
    base = step()
    prompt = max(step(more) - base, 0.0) / more
    each = max(step(longer=longer) - base, 0.0) / longer
    rest = max(base - prompt * tokens - each * context, 0.0)
    if decodes == by_cache:
        return Work(prompt, 0.0, each + rest / context)
    if decodes == by_budget:
        share = rest / (decodes + tokens)
        return Work(prompt + share, share, each)
    return Work(prompt, rest / decodes, each)


def reference_of(scenario: Serving, drawn: Requests, served: Columns) -> Reference | None:
    """The reference of a service whose gaps between arrivals are independent.

    Its speed is that of the service in the middle of a backlog: ``drawn`` are its requests, ``served`` how it went.
    None where no such queue has a steady state.
    """
    if not isinstance(scenario.arrivals, RENEWAL):
        return None
    work = work_of(scenario)
    order = np.argsort(served.finish, kind="stable")
    middle = order[len(order) // 4 : 3 * len(order) // 4]
    took = float(served.finish[middle[-1]] - served.finish[order[len(order) // 4 - 1]])
    prompts, outputs = _lengths(drawn)
    done = _sum(work.of(prompts[middle], outputs[middle]))
    if not done > 0 or not took > 0:
        return None
    work = work.scaled(took / done)
    inputs, lasting, weights = scenario.offered.grid(POINTS)
    services = work.of(inputs, lasting)
    if not scenario.rate * _sum(services * weights) < MOST_LOAD:
        return None
    law = wait_law(scenario.rate, scenario.arrivals.scv, services, weights)
    pace = _sum(served.finish[middle] - served.first_token[middle]) / _sum(outputs[middle])
    ends = {label: _end(law, level, pace * lasting, weights) for label, level in QUANTILES.items()}
    return Reference(work, law, pace, ends)


def _end(law: WaitLaw, level: float, lasting: Floats, weights: Floats) -> float:
    """The time that about this share of waits and outputs together does not exceed, by bisection."""
    low, high = 0.0, law.level(level)[0] + float(lasting.max())
    while high - low > NEAR * high:
        middle = (low + high) / 2
        enough = _sum(weights * law.share_up_to(middle - lasting)) >= level
        low, high = (low, middle) if enough else (middle, high)
    return high


def _sum(terms: Floats) -> float:
    """In order, so that it does not depend on the machine."""
    return float(np.cumsum(terms)[-1])


def _lengths(drawn: Requests) -> tuple[Floats, Floats]:
    return np.asarray(drawn.input_tokens, np.float64), np.asarray(drawn.output_tokens, np.float64)
