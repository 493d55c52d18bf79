"""What a simulation offers so that its steady state can be found: runs, and what is observed in them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from secondorder.simulate.statistics.controls import Control
from secondorder.simulate.statistics.histogram import Floats, Histogram, histogram

Totals = Callable[[int, int], Mapping[str, tuple[float, float]]]
"""``(first, last)`` to the numerator and the denominator of each ratio over these requests, and over their time."""

Known: TypeAlias = tuple[npt.NDArray[np.float64 | np.bool_], float]
"""A value of each request, and its mean, which is known."""

POINTS = 2048
"""Means that are kept of the work in system over a section."""


@dataclass(frozen=True)
class Observed:
    """One run, request by request in order of arrival.

    ``values``: of each measured quantity, one per request (NaN where it has none). ``work``: what is in the system as
    each request arrives, such as the requests ahead of it. ``settled``: how many of the requests cannot have been
    affected by the end of the arrivals. ``totals``: ratios that are no mean of values, such as a throughput.
    ``controls``: for a statistic of all values ("mean", "p99") or of one ("e2el_p99"), a value of each request that is
    correlated with it, and that value's known mean.
    """

    values: Mapping[str, Floats] = field(repr=False)
    work: Floats = field(repr=False)
    settled: int
    totals: Totals = field(repr=False)
    controls: Mapping[str, Known] = field(default_factory=dict, repr=False)


class Source(Protocol):
    """A simulated system as a source of runs.

    ``full``: requests that fill it, so that more must wait; a flooded start has at least twice as many.
    """

    @property
    def full(self) -> int: ...

    def run(self, replication: int, length: int, flood: int = 0) -> Observed:
        """One run of ``length`` requests, from streams that depend on the replication alone.

        ``flood`` requests more are there at the start; they are not among those observed.
        """
        ...


@dataclass(frozen=True)
class Section:
    """What is kept of a part of a run: the laws of its values, its totals, its work in system, and its controls."""

    laws: Mapping[str, Histogram] = field(repr=False)
    totals: Mapping[str, tuple[float, float]] = field(repr=False)
    work: Floats = field(repr=False)
    controls: Mapping[str, Control] = field(default_factory=dict, repr=False)


def section(run: Observed, first: int, last: int) -> Section:
    """The section of the requests from ``first`` to before ``last``."""
    laws = {name: values[first:last] for name, values in run.values.items()}
    return Section(
        {name: histogram(values) for name, values in laws.items() if (values >= 0).any()},
        run.totals(first, last),
        grouped_means(run.work[first:last], POINTS),
        {
            statistic: Control(_total(values[first:last]), last - first, expected)
            for statistic, (values, expected) in run.controls.items()
        },
    )


def _total(values: npt.NDArray[np.float64 | np.bool_]) -> float:
    """Their sum in order, so that it does not depend on the machine."""
    return float(np.cumsum(values)[-1])


def grouped_means(series: Floats, points: int) -> Floats:
    """At most about ``points`` means of equally many neighbours; what is left over at the front is cut."""
    width = max(1, len(series) // points)
    return np.asarray(series[len(series) % width :].reshape(-1, width).mean(axis=1))
