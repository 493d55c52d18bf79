"""The series over the gap between failures: how many segments become durable.

The running time after a failure is laid out beforehand: a restart, then work and pauses at fixed
times. A segment is kept if the gap outlasts the moment at which it is durable.
"""

import numpy as np

from secondorder.analytic.training.gap_survival import Gap

TERMS = 1 << 17
"""Terms summed one by one at the most; what is left is an integral."""

FEWEST = 4096
"""Terms at the least: heavy tails are summed far out."""


def durable_segments(gap: Gap, *, first: float, period: float) -> float:
    """Mean number of segments that are durable before the next failure: ``sum_{j >= 0} S(first + j period)``.

    ``S`` is the gap's survival. *Exact* where the gap is exponential, ``S(first) / (1 - e^(-period/M))``; else
    summed over many periods, and the rest by the midpoint rule ``e(t)/period`` from the gap's excess,
    with an error below the last term. ``first`` in s of running time after a failure, ``period`` in s.

    *Source*: renewal reward; Bougeret et al., Checkpointing strategies for parallel jobs (2011).

    >>> from secondorder.analytic.training.gap_survival import exponential_gap
    >>> round(durable_segments(exponential_gap(1.0), first=0.5, period=0.5), 9)
    1.541494083
    """
    if gap.memoryless:
        return float(gap.survival(first) / -np.expm1(-period / gap.mean))
    terms = int(min(TERMS, max(FEWEST, 60 * gap.mean / period)))
    times = first + period * np.arange(terms)
    rest = float(gap.excess(times[-1] + period / 2)) / period
    return float(gap.survival(times).sum()) + rest
