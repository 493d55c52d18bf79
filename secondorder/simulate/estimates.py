"""Intervals of what independent replications measured."""

from collections.abc import Mapping, Sequence

from secondorder.scenarios.answers import Estimate
from secondorder.simulate.output import student

Amounts = Mapping[str, float]


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
