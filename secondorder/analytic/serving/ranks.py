"""Data-parallel ranks in closed form: one rank, whose steps take longer because of the prompts of the others.

The ranks of an engine meet in every layer of experts (``scenarios.expert_ranks``). One of ``R`` ranks at the rate
``lambda`` sees the others as it is itself, decoding as many sequences, and in a step of length ``t`` there is a prompt
on one of them with probability ``q = 1 - exp(-(R - 1) k lambda t)``, ``k`` the steps of a prompt:

    ``t = own(P, ...) + q (own(I, ...) - own(P, ...))+ + together(P + R D + (R - 1) lambda t I)``

``own`` what a rank does alone, ``together`` what all tokens pass, ``I`` the tokens of a prompt. It is a fixed point.
*Approximation*: mean field; prompts of the mean length; ranks that decode alike. *Source*: own derivation; its witness
is ``simulate.serving.ranks``.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from secondorder.arrays import Real
from secondorder.quantities import Checked, Count, NonNegative, registry
from secondorder.scenarios.expert_ranks import RankCoefficients, rank_coefficients, together
from secondorder.scenarios.measured_roofline import MeasuredRoofline, measured_seconds
from secondorder.scenarios.serving import Serving
from secondorder.scenarios.steptime import Placement, StepFunction
from secondorder.workloads.traces import Trace

ROUNDS = 4
"""Rounds of the fixed point of a step."""
MOST, SETTLED = 12, 1e-5
"""Steps of the secant rule for the saturation rate, at most; change of the rate from which it has settled."""


class LockstepCoefficients(NamedTuple):
    """The ranks, the rate of one in request/s, the tokens of a prompt in a step, and the steps that it takes."""

    ranks: RankCoefficients
    rate: float
    chunk: float
    steps: float


@dataclass(frozen=True, kw_only=True)
class Lockstep(Checked):
    """The step time of one rank of several, as ``lockstep_seconds`` has it."""

    step_time: MeasuredRoofline
    data_parallel_size: Count
    enable_expert_parallel: bool
    rate: NonNegative
    chunk: NonNegative
    steps: NonNegative

    def seconds(self, placement: Placement) -> "StepFunction[LockstepCoefficients]":
        whole = replace(
            placement,
            data_parallel_size=self.data_parallel_size,
            enable_expert_parallel=self.enable_expert_parallel,
        )
        ranks = rank_coefficients(self.step_time, whole)
        return StepFunction(lockstep_seconds, LockstepCoefficients(ranks, self.rate, self.chunk, self.steps))


def lockstep_seconds(c: LockstepCoefficients, P: Real, A: Real, C: Real, D: Real, K: Real, S: Real) -> Real:
    """The mean step of a rank with this load, where the other ranks decode as many and compute prompts of their own."""
    alone = measured_seconds(c.ranks.own, P, A, C, D, K, S)
    chunk = c.chunk
    prompt = measured_seconds(c.ranks.own, chunk, chunk * (chunk + 1) / 2, chunk, D, K, np.asarray(D) + 1)
    stretch = np.maximum(prompt - alone, 0.0)
    tokens = np.asarray(P) + c.ranks.ranks * np.asarray(D)
    time = alone + together(c.ranks, tokens)
    others = (c.ranks.ranks - 1) * c.rate * c.steps
    for _ in range(ROUNDS if others else 0):
        share = 1 - np.exp(-others * time)
        time = alone + share * stretch + together(c.ranks, tokens + others * time * chunk)
    return time if isinstance(time, np.ndarray) and time.ndim else float(time)


def rank_of(scenario: Serving, rate: float) -> Serving:
    """One rank of an engine at its own rate (request/s), as a service by itself."""
    assert isinstance(scenario.step_time, MeasuredRoofline)
    arrivals = scenario.arrivals.at(registry.Quantity(max(rate, 1e-9), "request/s"))
    prompt = scenario.offered.mean_input
    steps = max(1.0, np.ceil(prompt / scenario.settings.max_num_batched_tokens))
    lockstep = Lockstep(
        step_time=scenario.step_time,
        data_parallel_size=scenario.data_parallel_size,
        enable_expert_parallel=scenario.enable_expert_parallel,
        rate=rate,
        chunk=prompt / steps,
        steps=float(steps),
    )
    return replace(
        scenario.pinned,
        arrivals=arrivals,
        lengths=None if isinstance(arrivals, Trace) else scenario.offered,
        data_parallel_size=1,
        enable_expert_parallel=False,
        step_time=lockstep,
    )


def step_among(rank: Serving, others: float) -> StepFunction[LockstepCoefficients]:
    """The step time of a rank (``rank_of``) where the other ranks have another rate (request/s)."""
    known = rank.step_seconds
    assert isinstance(known, StepFunction)
    return StepFunction(lockstep_seconds, known.coefficients._replace(rate=others))


def highest_rate(of_one: Callable[[float], float], start: float) -> float:
    """The rate of one rank (request/s) at which it saturates while the others have the same rate.

    ``of_one`` tells where a rank saturates whose others have a given rate: it falls with that rate, and the fixed point
    is found by the secant rule from ``start`` on, or from the rate that a rank has alone.

    >>> round(highest_rate(lambda others: 12 / (1 + others / 4), 0.0), 3)
    5.211
    """
    last, missed_last = 0.0, of_one(0.0)
    here = start or missed_last / 2
    for _ in range(MOST):
        missed = of_one(here) - here
        slope = (missed - missed_last) / (here - last)
        last, missed_last = here, missed
        here = max(here - missed / slope, here / 10)
        if abs(here - last) < SETTLED * here:
            break
    return here
