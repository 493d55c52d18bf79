"""Closed loops by mean-value analysis: the engine is one station whose rate depends on how many requests it has.

With ``n`` requests the engine completes ``mu(n)``, the saturation rate of an engine with ``n`` slots: prefill and
decoding of all of them are balanced there. ``N`` users with think time ``Z`` then are a birth-death chain::

    p(n) ~ prod_{k<n} (N - k) / (Z mu(k + 1)),   X = sum p(n) mu(n),   E2EL = sum n p(n) / X

and without think time ``X = mu(N)``, ``E2EL = N / X``. Poisson arrivals at the rate ``lambda``, of which at most ``N``
are sent at a time, have ``p(n) ~ prod_{k<n} lambda / mu(min(k + 1, N))``. A token takes the mean step with the mean
number of requests; the first one the steps of the prompt, after the steps that it comes too late for: half a step, or
a whole one where it follows an answer, whose next step is decided by then, and one more if steps are scheduled ahead.

*Approximation*: mean values. *Valid when* lengths vary, so that requests are at all stages at once, and the cache does
not bind. *Source*: Reiser and Lavenberg, Mean-value analysis of closed multichain queuing networks (1980), section 4,
service rates that depend on the state; Lazowska et al. (1984), chapter 8.
"""

from dataclasses import dataclass, replace

import numpy as np

from secondorder.analytic.serving.idle import prefill_seconds
from secondorder.analytic.serving.length_groups import prompt_groups
from secondorder.analytic.serving.saturation import Saturation, demand, saturation
from secondorder.answers.answer import Answer, ranked
from secondorder.answers.declared import CLOSED_LOOP
from secondorder.answers.estimate import Rung, approximation, bound, exact, rungs
from secondorder.arrays import Floats
from secondorder.errors import Unstable
from secondorder.scenarios.closed_loop import ClosedLoop

POINTS = 24
"""Numbers of requests at which the engine's rate is computed; it is interpolated between them."""
TAIL = 1e-12
"""Probability that may be left beyond the last state of an unlimited queue."""


def solve_closed_loop(scenario: ClosedLoop) -> Answer:
    """Order 0: bounds of the throughput, by one request alone and by the engine's saturation. Order 1: mean values."""
    return Answer(scenario=scenario.name, estimates=ranked([*_bounds(scenario), *_means(scenario)]))


def at_level(scenario: ClosedLoop, requests: int) -> Saturation:
    """The engine with this many requests at all times."""
    slots = min(requests, scenario.serving.settings.max_num_seqs)
    return saturation(replace(scenario.serving.pinned, max_num_seqs=slots))


@dataclass(frozen=True)
class Loop:
    """Means of a loop: ``throughput`` in request/s, and requests at the engine."""

    throughput: float
    concurrency: float


def throughput_by_requests(scenario: ClosedLoop) -> Floats:
    """``mu(n)`` for ``n`` from 1 to ``N``, request/s."""
    most = scenario.max_concurrency
    levels = np.unique(np.rint(np.geomspace(1, most, POINTS)).astype(int))
    rates = [at_level(scenario, int(level)).rate for level in levels]
    return np.asarray(np.interp(np.arange(1, most + 1), levels, rates))


def loop(scenario: ClosedLoop) -> Loop:
    """Throughput and requests at the engine by mean values."""
    most = scenario.max_concurrency
    if scenario.offered:
        return _offered(scenario)
    if scenario.follows_at_once:
        return Loop(at_level(scenario, most).rate, float(most))
    rates = throughput_by_requests(scenario)
    births = (most - np.arange(most)) / scenario.think
    chance = stationary(births, rates)
    return Loop(float(chance[1:] @ rates), float(np.arange(most + 1) @ chance))


def stationary(births: Floats, deaths: Floats) -> Floats:
    """Probabilities of the states 0 to ``n`` of a birth-death chain: ``births[k]`` leaves k, ``deaths[k]`` k + 1.

    *Exact*. >>> stationary(np.array([2.0, 1.0]), np.array([1.0, 1.0])).tolist()
    [0.2, 0.4, 0.4]
    """
    logs = np.concatenate([[0.0], np.cumsum(np.log(births) - np.log(deaths))])
    weights = np.exp(logs - logs.max())
    return np.asarray(weights / weights.sum())


def _offered(scenario: ClosedLoop) -> Loop:
    rates, rate, most = throughput_by_requests(scenario), scenario.serving.rate, scenario.max_concurrency
    if rate >= rates[-1]:
        raise Unstable(
            f"{scenario.name}: {rate:.4g} request/s are offered, and {most} at a time are served at {rates[-1]:.4g}; "
            "lower the rate, or raise max_concurrency"
        )
    waiting = int(np.ceil(np.log(TAIL) / np.log(rate / rates[-1])))
    deaths = np.concatenate([rates, np.full(waiting, rates[-1])])
    chance = stationary(np.full(deaths.size, rate), deaths)
    return Loop(rate, float(np.minimum(np.arange(chance.size), most) @ chance))


def _bounds(scenario: ClosedLoop) -> list[Rung]:
    alone, most = at_level(scenario, 1).rate, at_level(scenario, scenario.max_concurrency).rate
    bounds = [most] if scenario.offered else [most, scenario.max_concurrency / (1 / alone + scenario.think)]
    found = {"throughput": min([*bounds, *([scenario.serving.rate] if scenario.offered else [])])}
    return list(rungs(CLOSED_LOOP, 0, "saturation, and one request alone", bound(), found))


def _means(scenario: ClosedLoop) -> list[Rung]:
    found = loop(scenario)
    busy = at_level(scenario, max(1, round(found.concurrency)))
    means = {
        "throughput": found.throughput,
        "e2el_mean": found.concurrency / found.throughput,
        "tpot_mean": busy.step,
        "ttft_mean": _first_token(scenario, busy, found.concurrency),
    }
    outside = busy.outside
    if scenario.offered and not scenario.memoryless:
        outside = "arrivals are not Poisson"
    standing = approximation("mean values", outside=outside)
    always = scenario.follows_at_once
    requests = exact("every place is always taken") if always else standing
    return [
        *rungs(CLOSED_LOOP, 1, "mean-value analysis", standing, means),
        *rungs(CLOSED_LOOP, 1, "mean-value analysis", requests, {"concurrency": found.concurrency}),
    ]


def _first_token(scenario: ClosedLoop, busy: Saturation, requests: float) -> float:
    """Mean time to first token, s: steps that it comes too late for, a wait for a slot, and the steps of the prompt."""
    serving = scenario.serving
    late = (1.0 if scenario.follows_at_once else 0.5) + serving.settings.async_scheduling
    queue = max(requests - busy.sequences, 0.0) / busy.rate
    prompts, weight = prompt_groups(serving)
    context = busy.decodes * demand(serving).decode_context
    own = prefill_seconds(serving, prompts, min(busy.decodes, requests), context)
    return float(late * busy.step + queue + (own * weight.sum(axis=0)).sum())
