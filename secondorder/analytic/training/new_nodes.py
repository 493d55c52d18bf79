"""Nodes that are all new when the run begins: failures whose rate changes as they age.

Taken, at each age, as Poisson failures of the rate at that age: ``N m(t)``, ``m`` the renewal density.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from secondorder.analytic.arguments import one
from secondorder.analytic.training.cycle import Cycle
from secondorder.analytic.training.renewal_function import renewal_function
from secondorder.errors import InputError
from secondorder.fleets.failures import NewNodes

CELLS = 200


@dataclass(frozen=True, kw_only=True)
class AgingRun:
    """``wall`` time in s of a run, ``failures`` in it, and its ``shares`` of wall time."""

    wall: float
    failures: float
    shares: dict[str, float]


def aging_run(
    *,
    process: NewNodes,
    cycle: Callable[[float], Cycle],
    downtime: Callable[[float], float],
    duration: float | None = None,
    work: float | None = None,
) -> AgingRun:
    """The run of a fleet of new nodes, watched for ``duration`` or until ``work`` is done.

    ``cycle(M)`` is where the time goes under Poisson failures of mean time ``M`` between them, ``downtime(M)`` what
    each is followed by, in s. In each of 200 spans of age ``M`` is the span over the failures in it, ``N (H(t2) -
    H(t1))``, and the wall time is the span and the downtime of those. *Approximation*. *Valid when* there are many
    nodes, and the rate changes slowly against the time between failures and against a segment. All in s.
    Infinite, with the shares of the long run, where failures leave no time for the work.
    Errors: ``InputError`` unless just one of ``duration`` and ``work`` is given.

    *Source*: superposition tends to Poisson: Grigelionis 1963.

    >>> from secondorder.analytic.training.gap_survival import exponential_gap
    >>> from secondorder.analytic.training.periodic import blocking_cycle
    >>> from secondorder.fleets.failures import read_failures
    >>> times = {"interval": 994.4, "write": 60.0, "restart": 300.0, "downtime": 0.0}
    >>> found = aging_run(process=read_failures("new 100 exponential 824000 s"), duration=1e6, downtime=lambda m: 0.0,
    ...     cycle=lambda m: blocking_cycle(gap=exponential_gap(m), **times))
    >>> round(found.shares["goodput"], 4), round(found.failures, 2)
    (0.8524, 121.36)
    """
    given = [value for value in (duration, work) if value is not None]
    if len(given) != 1:
        raise InputError("duration", given=f"{duration} with a work of {work}", expected="one of the two")
    target = one("duration or work", given[0])
    age = target
    while True:
        run = _aged(process, cycle, downtime, age, target, until_done=work is not None)
        if run is not None:
            return run
        age *= 4
        if age > target * 4.0**20:
            return AgingRun(wall=math.inf, failures=math.inf, shares=cycle(process.mtbf).shares)


def _aged(
    process: NewNodes,
    cycle: Callable[[float], Cycle],
    downtime: Callable[[float], float],
    age: float,
    target: float,
    *,
    until_done: bool,
) -> AgingRun | None:
    """None where the target is not met by this age."""
    ages = age * np.linspace(0, 1, CELLS + 1) ** 3
    failed = np.diff(process.nodes * renewal_function(ages, law=process.law("lifetime")))
    spans = np.diff(ages)
    wall = failures = kept = 0.0
    spent: dict[str, float] = {}
    for span, count in zip(spans.tolist(), failed.tolist(), strict=True):
        between = span / count if count > 1e-9 * span / process.mtbf else 1e9 * process.mtbf
        now, length = cycle(between), span + count * downtime(between)
        shares = now.shares
        reached = kept + now.progress * length if until_done else wall + length
        before = kept if until_done else wall
        part = min(1.0, (target - before) / (reached - before)) if reached > before else 1.0
        wall, failures, kept = wall + part * length, failures + part * count, kept + part * now.progress * length
        for name, share in shares.items():
            spent[name] = spent.get(name, 0.0) + share * part * length
        if reached >= target * (1 - 1e-12):
            return AgingRun(wall=wall, failures=failures, shares={name: s / wall for name, s in spent.items()})
    return None
