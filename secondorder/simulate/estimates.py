"""Intervals of what independent replications measured."""

from collections.abc import Iterable, Mapping, Sequence

from secondorder.answers.estimate import Estimate
from secondorder.answers.metric import Metric, units_of
from secondorder.simulate.statistics.intervals import student

Amounts = Mapping[str, float]


def estimates(found: Sequence[Amounts], metrics: Iterable[Metric]) -> tuple[Estimate, ...]:
    """The mean of each of the metrics that every replication has, with Student's 95 % interval.

    >>> times = [Metric(name="wait", unit="s"), Metric(name="cost", unit="USD")]
    >>> [str(each) for each in estimates([{"wait": 1.0}, {"wait": 3.0}], times)]
    ['2 s (-10.7 s to 14.7 s)']
    """
    rows = []
    for metric, unit in units_of(metrics).items():
        if all(metric in each for each in found):
            interval = student([each[metric] for each in found])
            low, high = interval.low, interval.high
            rows.append(
                Estimate(metric=metric, amount=interval.mean, unit=unit, source="simulated", low=low, high=high)
            )
    return tuple(rows)
