"""Intervals of what independent replications measured."""

from collections.abc import Iterable, Mapping, Sequence

from secondorder.answers.estimate import Estimate
from secondorder.answers.metric import Metric, unit_of, units_of
from secondorder.simulate.statistics.estimates import simulated
from secondorder.simulate.statistics.intervals import student

Amounts = Mapping[str, float]


def estimates(found: Sequence[Amounts], metrics: Iterable[Metric]) -> tuple[Estimate, ...]:
    """The mean, with Student's 95 % interval, of each metric that every replication has, also by class.

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
    return simulated(metric, student([each[metric] for each in found]), units[_declared(metric)])


def every_estimate(found: Sequence[Amounts], metrics: Iterable[Metric], why: str = "") -> tuple[Estimate, ...]:
    """The mean of every value of the replications, in their order; without an interval where ``why`` says so.

    >>> [str(each) for each in every_estimate([{"wait": 1.0}, {"wait": 3.0}], [Metric(name="wait", unit="s")])]
    ['2 s (-10.7 s to 14.7 s)']
    """
    known = tuple(metrics)
    return tuple(
        simulated(name, student([each[name] for each in found]), unit_of(known, name), why) for name in found[0]
    )
