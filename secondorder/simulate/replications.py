"""Independent replications of a scenario, and the intervals of what they measured."""

from collections.abc import Callable, Mapping, Sequence

from secondorder.errors import InputError
from secondorder.scenarios.answers import Estimate
from secondorder.simulate.output import student
from secondorder.simulate.replicate import run_each

Amounts = Mapping[str, float]


def replicated(measure: Callable[[int], Amounts], replications: int, jobs: int = 1) -> list[Amounts]:
    """``measure`` of each replication, 0 on, by ``jobs`` processes; the result does not depend on ``jobs``.

    Errors: ``InputError`` for less than one replication; those of ``measure``.
    """
    if replications < 1:
        raise InputError("replications", given=replications, expected="at least 1")
    return list(run_each(measure, range(replications), jobs))


def estimates(found: Sequence[Amounts], units: Mapping[str, str]) -> tuple[Estimate, ...]:
    """The mean of each metric of ``units`` that every replication has, with Student's 95 % interval.

    >>> [str(each) for each in estimates([{"wait": 1.0}, {"wait": 3.0}], {"wait": "s", "cost": "USD"})]
    ['2 s (-10.7 s to 14.7 s)']
    """
    rows = []
    for metric, unit in units.items():
        if all(metric in each for each in found):
            interval = student([each[metric] for each in found])
            low, high = interval.low, interval.high
            rows.append(
                Estimate(metric=metric, amount=interval.mean, unit=unit, source="simulated", low=low, high=high)
            )
    return tuple(rows)
