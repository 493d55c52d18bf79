"""How often an interval holds the truth: the test of every interval that the library prints."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from secondorder.errors import InputError
from secondorder.executor import run_each


class Bounded(Protocol):
    """An ``Interval`` or an ``Estimate``."""

    @property
    def low(self) -> float | None: ...
    @property
    def high(self) -> float | None: ...


@dataclass(frozen=True)
class Coverage:
    """``covered`` of ``intervals`` held the truth."""

    covered: int
    intervals: int

    @property
    def share(self) -> float:
        return self.covered / self.intervals

    def bounds(self, confidence: float = 0.95) -> tuple[float, float]:
        """Wilson's interval of the coverage itself."""
        return wilson(self.covered, self.intervals, confidence)

    def keeps(self, nominal: float = 0.95, confidence: float = 0.95) -> bool:
        """Whether the nominal coverage is among those that the count allows."""
        low, high = self.bounds(confidence)
        return low <= nominal <= high

    def __add__(self, other: "Coverage") -> "Coverage":
        return Coverage(self.covered + other.covered, self.intervals + other.intervals)

    def __str__(self) -> str:
        low, high = self.bounds()
        return f"{self.share:.1%} of {self.intervals} ({low:.1%} to {high:.1%})"


def wilson(successes: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Interval of a probability from independent trials.

    ``(p + z^2/2n ± z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n)``. *Approximation* that holds its
    confidence on average for all ``p``. *Valid for* independent trials, so not for the requests of one run.
    *Source*: Wilson 1927; Brown, Cai and DasGupta 2001.

    >>> low, high = wilson(190, 200)
    >>> round(low, 4), round(high, 4)
    (0.9104, 0.9726)
    """
    from scipy.special import ndtri

    if not 0 <= successes <= trials or trials == 0:
        raise InputError("successes", given=f"{successes} of {trials}", expected="up to all of at least one trial")
    z, p = float(ndtri((1 + confidence) / 2)), successes / trials
    middle = p + z * z / (2 * trials)
    half = z * math.sqrt(p * (1 - p) / trials + z * z / (4 * trials**2))
    whole = 1 + z * z / trials
    return max(0.0, (middle - half) / whole), min(1.0, (middle + half) / whole)


def coverage(
    simulate: Callable[[int], Mapping[str, Bounded]],
    truths: Mapping[str, float],
    seeds: Iterable[int],
    *,
    jobs: int = 1,
) -> dict[str, Coverage]:
    """How often the intervals of a simulated twin hold the known truth, metric by metric.

    ``simulate`` gives the intervals of one seed. ``jobs`` processes share the seeds. Errors:
    ``InputError`` where a metric has no interval. The metrics of one seed share their luck: pool
    (``pooled``) over seeds and systems, not over metrics.

    >>> import numpy as np
    >>> from secondorder.simulate.statistics.intervals import student
    >>> def twin(seed):
    ...     return {"mean": student(np.random.default_rng(seed).normal(3.0, 1.0, 8))}
    >>> print(coverage(twin, {"mean": 3.0}, range(400))["mean"])
    94.2% of 400 (91.5% to 96.1%)
    """
    answers = list(run_each(lambda seed: _held(simulate, truths, seed), list(seeds), jobs))
    return {metric: Coverage(sum(held[metric] for held in answers), len(answers)) for metric in truths}


def _held(simulate: Callable[[int], Mapping[str, Bounded]], truths: Mapping[str, float], seed: int) -> dict[str, bool]:
    found = simulate(seed)
    return {metric: _holds(metric, found[metric], truth) for metric, truth in truths.items()}


def _holds(metric: str, interval: Bounded, truth: float) -> bool:
    if interval.low is None or interval.high is None:
        raise InputError(metric, given="a single run without an interval", expected="at least 2 replications")
    return interval.low <= truth <= interval.high


def pooled(coverages: Iterable[Coverage]) -> Coverage:
    """All of them as one count.

    >>> print(pooled([Coverage(95, 100), Coverage(93, 100)]))
    94.0% of 200 (89.8% to 96.5%)
    """
    return sum(coverages, start=Coverage(0, 0))
