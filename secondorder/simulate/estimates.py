"""Intervals of what independent replications measured."""

from collections.abc import Iterable, Mapping, Sequence

from secondorder.answers.estimate import Estimate
from secondorder.answers.metric import Metric, units_of
from secondorder.simulate.statistics.intervals import student

Amounts = Mapping[str, float]


def estimates(found: Sequence[Amounts], metrics: Iterable[Metric]) -> tuple[Estimate, ...]:
    """The mean of each of the metrics, and of each class's, that every replication has, with Student's 95 % interval.

    >>> times = [Metric(name="wait", unit="s"), Metric(name="cost", unit="USD")]
    >>> [str(each) for each in estimates([{"wait": 1.0}, {"wait": 3.0}], times)]
    ['2 s (-10.7 s to 14.7 s)']
    """
    units = units_of(metrics)
    known = [name for name in found[0] if _declared(name) in units and all(name in each for each in found)]
    order = {metric: place for place, metric in enumerate(units)}
    return tuple(_estimate(name, found, units) for name in sorted(known, key=lambda name: order[_declared(name)]))


def _declared(name: str) -> str:
    """The name under which a value is declared, whichever class it is of."""
    return name.partition("_class_")[0]


def _estimate(metric: str, found: Sequence[Amounts], units: Mapping[str, str]) -> Estimate:
    interval = student([each[metric] for each in found])
    return Estimate(
        metric=metric,
        amount=interval.mean,
        unit=units[_declared(metric)],
        source="simulated",
        low=interval.low,
        high=interval.high,
    )
