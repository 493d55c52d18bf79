"""Several classes of requests in one cache: a necessary condition on their rates, and a rule that suffices."""

import math
from collections.abc import Sequence

import numpy as np

from secondorder.analytic.arguments import Floats, Real, one, one_whole, plain, positive
from secondorder.errors import Unstable


def token_steps(prompt: Real, output: Real) -> Real:
    """Tokens that a request holds over its steps: ``w = l o + o (o + 1)/2``, the prompt's own step not counted.

    >>> [token_steps(10, output) for output in (20, 40, 60)]
    [410.0, 1220.0, 2430.0]
    """
    l, o = positive("prompt", prompt), positive("output", output)  # noqa: E741
    return plain(l * o + o * (o + 1) / 2)


def necessary(rates: Sequence[float], weights: Sequence[float], memory: float) -> bool:
    """Whether the classes fit at all: ``sum(rate_k w_k) <= M``, rates in requests per step.

    *Bound*: without it no policy is stable. *Source*: Dong and Cao, arXiv 2604.11001 (2026), by its abstract.

    >>> weights = [410, 1220, 2430]
    >>> necessary([4.06] * 3, weights, 16_492), necessary([4.07] * 3, weights, 16_492)
    (True, False)
    """
    return _sum(rates, weights) <= one("memory", memory)


def sufficient(rates: Sequence[float], weights: Sequence[float], memory: float) -> bool:
    """Whether it is enough to admit a whole number ``b_k > rate_k`` of each class in each step: ``sum(b_k w_k) < M``.

    *Bound* from below. *Source*: as for ``necessary``.

    >>> weights = [410, 1220, 2430]
    >>> sufficient([3.99] * 3, weights, 16_492), sufficient([4.0] * 3, weights, 16_492)
    (True, False)
    """
    return _sum([math.floor(rate) + 1 for rate in rates], weights) < one("memory", memory)


def mean_left_waiting(*, arrival_rate: float, admitted: int) -> float:
    """Mean number of a class that a step leaves waiting: ``Q' = max(Q + Poisson(rate) - b, 0)``.

    ``E[Q] = sum_k 1/(1 - z_k) - (b (b - 1) - rate^2)/(2 (b - rate))`` over the ``b - 1`` roots inside the unit circle
    of ``z^b = exp(rate (z - 1))``. *Exact*. Errors: ``Unstable``. *Source*: Bailey (1954) for the roots; the rule is
    that of Dong and Cao.

    >>> round(mean_left_waiting(arrival_rate=3, admitted=4), 4)
    0.8009
    """
    rate, b = one("arrival_rate", arrival_rate), one_whole("admitted", admitted)
    if rate >= b:
        raise Unstable(f"{rate:g} arrive in a step and {b} are admitted: the line grows without limit")
    roots = np.exp(2j * np.pi * np.arange(1, b) / b)
    z = np.zeros_like(roots)
    for _ in range(10_000):
        before, z = z, roots * np.exp(rate * (z - 1) / b)
        if np.abs(z - before).max(initial=0) < 1e-15:
            break
    return float((1 / (1 - z)).sum().real - (b * (b - 1) - rate**2) / (2 * (b - rate)))


def _sum(counts: Sequence[float], weights: Sequence[float]) -> float:
    found: Floats = positive("rates", np.array(counts, float)) * positive("weights", np.array(weights, float))
    return float(found.sum())
