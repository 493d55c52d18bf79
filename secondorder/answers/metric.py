"""Metrics: what is measured, in which unit, and by which statistics."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from secondorder.errors import UnknownName

QUANTILES: Mapping[str, float] = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
"""Levels of the quantiles of a time: the median and the tail."""

EXTREMES: Mapping[str, float] = {"p5": 0.05, "p95": 0.95}
"""Levels of the quantiles over whole runs, between which nine runs in ten lie."""

MEAN_AND_QUANTILES = ("mean", *QUANTILES)


@dataclass(frozen=True, kw_only=True)
class Metric:
    """Something that is measured: its ``name``, its SI ``unit`` (empty for shares and counts) and its ``statistics``.

    A metric with statistics has one value for each; each class of customers, station or tier may have its own.

    >>> Metric(name="wait", unit="s", statistics=("mean", "p99")).names
    ('wait_mean', 'wait_p99')
    >>> Metric(name="utilisation").names
    ('utilisation',)
    """

    name: str
    unit: str = ""
    statistics: tuple[str, ...] = ()

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names of its values in an answer."""
        return tuple(f"{self.name}_{statistic}" for statistic in self.statistics) or (self.name,)


LATENCIES = (
    Metric(name="ttft", unit="s", statistics=MEAN_AND_QUANTILES),
    Metric(name="tpot", unit="s", statistics=MEAN_AND_QUANTILES),
    Metric(name="itl", unit="s", statistics=("mean", "p99", "max")),
    Metric(name="e2el", unit="s", statistics=MEAN_AND_QUANTILES),
)
"""Times of a request: to its first token, per output token, between two tokens, and from end to end."""

REQUEST_LATENCIES = tuple(metric.name for metric in LATENCIES if metric.statistics == MEAN_AND_QUANTILES)
"""Latencies that each request has one of: ``ttft``, ``tpot``, ``e2el``."""


def metric_of(metrics: Iterable[Metric], value: str) -> Metric:
    """The metric that a value of an answer belongs to; ``wait_mean_class_2`` is that of the second class.

    Errors: ``UnknownName`` for a value that no metric has.

    >>> metric_of(LATENCIES, "ttft_p99").name, metric_of(LATENCIES, "e2el_mean_class_2").unit
    ('ttft', 's')
    """
    metrics = tuple(metrics)
    if (found := declared(metrics, value)) is not None:
        return found
    raise UnknownName.among("metric", value, list(units_of(metrics)))


def declared(metrics: Iterable[Metric], value: str) -> Metric | None:
    """The metric that a value of an answer belongs to; None where it is not declared."""
    name = value.partition("_class_")[0].partition("_station_")[0].partition("_tier_")[0]
    return next((metric for metric in metrics if name in metric.names), None)


def value_name(quantity: str, statistic: str) -> str:
    """The name of a statistic of a quantity, which may be that of a class.

    >>> value_name("ttft", "p99"), value_name("ttft_class_1", "p99")
    ('ttft_p99', 'ttft_p99_class_1')
    """
    name, mark, kind = quantity.partition("_class_")
    return f"{name}_{statistic}{mark}{kind}"


def unit_of(metrics: Iterable[Metric], value: str) -> str:
    """The unit of a value of an answer.

    >>> unit_of(LATENCIES, "tpot_p50")
    's'
    """
    return metric_of(metrics, value).unit


def units_of(metrics: Iterable[Metric]) -> dict[str, str]:
    """The unit of every value that these metrics have, in their order.

    >>> units_of([Metric(name="step_time", unit="s", statistics=("mean", "p99")), Metric(name="mfu")])
    {'step_time_mean': 's', 'step_time_p99': 's', 'mfu': ''}
    """
    return {name: metric.unit for metric in metrics for name in metric.names}
