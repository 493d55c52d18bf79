"""A cluster that many share: jobs come, each wants a number of accelerators at once for a time, a policy says who goes.

>>> cluster = SharedCluster(
...     accelerators=64, arrivals="6 job/hour", sizes={1: 0.5, 8: 0.4, 32: 0.1}, duration="lognormal 1 h scv=9",
...     policy="easy")
>>> round(cluster.mean_size, 6), round(cluster.utilisation, 6)
(6.9, 0.646875)
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Literal, get_args

import numpy as np

from secondorder.arrays import Floats
from secondorder.errors import DoesNotFit, InputError, UnknownName, Unstable
from secondorder.laws import Time, Timed
from secondorder.quantities import Count, JobRate, Positive, Quantity, Unit, si

Policy = Literal["fcfs", "easy", "shortest"]
Shortest = Annotated[Quantity | str, Unit("s", positive=True)]


@dataclass(frozen=True, kw_only=True)
class SharedCluster(Timed):
    """``accelerators`` shared by jobs, each of which holds all that it needs from start to end (gang scheduling).

    - ``accelerators``: accelerators of the cluster; any of them serve any job.
    - ``arrivals``: mean rate of jobs, which come as a Poisson stream ("6 job/hour").
    - ``sizes``: accelerators that a job wants, with the share of jobs that do ("1:0.5 8:0.4 32:0.1"); one number if
      all want the same.
    - ``duration``: time that a job holds its accelerators, or its law ("1 h", "lognormal 1 h scv=9").
    - ``policy``: which job starts next: first come, first served (fcfs), with backfilling that delays no reservation
      (easy), or
      the shortest first (shortest).
    - ``overestimate``: factor by which users overstate durations, for easy only; 1 is the truth.
    - ``slowdown_floor``: duration that shorter jobs count as in the mean slowdown; used by no other metric ("10 s").
    - ``name``: name of the scenario in results.

    With fcfs the first that does not fit holds up all behind it. With easy (EASY backfilling) who fits may pass, unless
    that would delay the first one's reservation. With shortest the one of the shortest true duration is first of those
    waiting; one that does not fit holds up all behind it; nobody is interrupted. Durations do not depend on sizes,
    which in Python may be a table, ``{1: 0.5, 8: 0.4, 32: 0.1}``. Without a ``slowdown_floor`` the mean slowdown would
    be infinite for many laws; 10 s is the custom of the field.

    Errors: ``InputError``; ``DoesNotFit`` for a size above the cluster's.

    *Source*: Lifka, The ANL/IBM SP scheduling system (1995), for EASY; Feitelson and Rudolph, Metrics and benchmarking
    for parallel job scheduling (1998), for the floor.
    """

    _times = ("duration",)
    accelerators: Count
    arrivals: JobRate
    sizes: Mapping[int, float] | Mapping[str, float] | str | int
    duration: Time
    policy: Policy
    overestimate: Positive = 1.0
    slowdown_floor: Shortest = "10 s"
    name: str = "shared cluster"

    def __post_init__(self) -> None:
        object.__setattr__(self, "sizes", _read_sizes(self.sizes))
        super().__post_init__()
        if self.policy not in get_args(Policy):
            raise UnknownName.among("policy", self.policy, get_args(Policy))
        if self.overestimate < 1:
            expected = "at least 1: a job that outlasts its estimate would be killed, which is not built"
            raise InputError("overestimate", given=self.overestimate, expected=expected)
        if self.overestimate != 1 and self.policy != "easy":
            raise InputError("overestimate", given=self.overestimate, expected="1 unless the policy is easy")
        largest = max(self.size_law)
        if largest > self.accelerators:
            raise DoesNotFit(
                f"sizes: a job of {largest} accelerators on a cluster of {self.accelerators}; "
                f"use at least {largest} accelerators or smaller jobs"
            )

    @property
    def size_law(self) -> dict[int, float]:
        """Share of the jobs by accelerators wanted, ascending."""
        assert isinstance(self.sizes, dict)
        return self.sizes

    @property
    def rate(self) -> float:
        """Jobs a second."""
        return si(self.arrivals)

    @property
    def mean_size(self) -> float:
        """Accelerators of a job, on average."""
        return float(sum(size * share for size, share in self.size_law.items()))

    @property
    def places(self) -> int | None:
        """How many jobs run at once where all want as many accelerators; none where sizes are mixed."""
        return self.accelerators // next(iter(self.size_law)) if len(self.size_law) == 1 else None

    @property
    def utilisation(self) -> float:
        """Share of the accelerators that jobs hold: ``rate E[size] E[duration] / accelerators`` (Little)."""
        return self.rate * self.mean_size * self.law("duration").moment(1) / self.accelerators

    @property
    def work_bound(self) -> float:
        """Jobs a second past which no policy can go: full accelerators, or full places where all are of one size."""
        longest = self.law("duration").moment(1)
        return (self.places or self.accelerators / self.mean_size) / longest

    @cached_property
    def fit_law(self) -> Floats:
        """``P(J = j)``, j from 0 on: how many jobs of a long line run side by side, first come, first served."""
        unit = math.gcd(*self.size_law)
        room = self.accelerators // unit
        fitting = np.zeros(room + 1)
        fitting[0] = 1.0  # P(the first j jobs want i units and fit), at j = 0
        fit = [1.0]
        while fitting.any():
            longer = np.zeros(room + 1)
            for size, share in self.size_law.items():
                if size // unit <= room:
                    longer[size // unit :] += share * fitting[: room + 1 - size // unit]
            fitting = longer
            fit.append(float(fitting.sum()))
        law: Floats = np.maximum(-np.diff(fit), 0.0)
        return law

    def check_stable(self) -> None:
        """``Unstable`` where more work comes than the accelerators could do under any policy.

        >>> SharedCluster(
        ...     accelerators=8, arrivals="3 job/hour", sizes=8, duration="30 min", policy="fcfs").check_stable()
        Traceback (most recent call last):
        secondorder.errors.Unstable: shared cluster: 1.5 times the work that 8 accelerators can do: the queue grows
        without limit; use an arrival rate below 2 job/hour
        """
        load = self.rate / self.work_bound
        if load >= 1:
            raise Unstable(
                f"{self.name}: {load:.4g} times the work that {self.accelerators} accelerators can do: the queue grows "
                f"without limit; use an arrival rate below {3600 * self.work_bound:.4g} job/hour"
            )


def _read_sizes(given: object) -> dict[int, float]:
    """Shares by size, ascending."""
    expected = 'sizes with shares that sum to 1, such as {1: 0.5, 8: 0.5} or "1:0.5 8:0.5", or one size'
    table: dict[object, object]
    if isinstance(given, str):
        pairs = [part.partition(":") for part in given.replace(",", " ").split()]
        table = {size: share if colon else "1" for size, colon, share in pairs}
        if len(table) < len(pairs):
            raise InputError("sizes", given=repr(given), expected="each size once")
    elif isinstance(given, Mapping):
        table = dict(given)
    else:
        table = {str(given): 1.0}
    found = {}
    for size, share in table.items():
        try:
            found[int(str(size))] = float(str(share))
        except (TypeError, ValueError):
            raise InputError("sizes", given=repr(given), expected=expected) from None
        if int(str(size)) < 1 or not 0 < found[int(str(size))] <= 1:
            raise InputError("sizes", given=f"{size}: {share}", expected="whole sizes from 1 on, with shares above 0")
    if not found or abs(sum(found.values()) - 1) > 1e-9:
        raise InputError("sizes", given=repr(given), expected=expected)
    return dict(sorted(found.items()))
