"""Simulations that answer in a tenth of a second: long runs by the compiled kernels, with intervals from batches."""

from collections.abc import Callable, Iterable
from functools import lru_cache

import numpy as np

from secondorder.answers.estimate import Estimate
from secondorder.arrays import Floats
from secondorder.laws import Service
from secondorder.simulate.statistics.intervals import student
from secondorder.simulate.streams import stream

BATCHES, CUSTOMERS = 20, 200_000
"""Batches of a run, after one that is cut as the warm-up, and customers of it."""

Statistic = Callable[[Floats], float]


def mean(values: Floats) -> float:
    """The mean."""
    return float(values.mean())


def p99(values: Floats) -> float:
    """The value that 99 of 100 do not exceed."""
    return float(np.quantile(values, 0.99))


def with_here(places: Iterable[float], here: float) -> list[float]:
    """The places of dots, and one where the slider stands.

    >>> with_here((0.2, 0.8), 0.5)
    [0.2, 0.5, 0.8]
    """
    return sorted({*places, here})


def waits(
    *, rate: float, law: Service, servers: int = 1, gap_scv: float = 1.0, customers: int = CUSTOMERS, seed: int = 1
) -> tuple[Floats, Floats]:
    """Waits and services in s of customers who come at ``rate`` 1/s, first come first served.

    ``gap_scv`` is that of their gaps, which follow a gamma law; 1 is Poisson.
    """
    from secondorder.simulate.kernels.queues import first_come

    arrival, service = np.cumsum(_gaps(gap_scv, customers, seed) / rate), _services(law, customers, seed)
    return first_come(arrival, service, servers) - arrival, service


@lru_cache(maxsize=8)
def _gaps(scv: float, customers: int, seed: int) -> Floats:
    """Gaps of mean 1: those of every load of a figure."""
    return stream(seed, 0, "gaps").gamma(1 / scv, scv, customers)


@lru_cache(maxsize=8)
def _services(law: Service, customers: int, seed: int) -> Floats:
    return law.sample(customers, stream(seed, 0, "services"))


def estimate(values: Floats, statistic: Statistic, *, metric: str = "", unit: str = "s") -> Estimate:
    """A statistic with a 95 % interval from the batches of one run, of which the first twentieth is cut."""
    kept = values[len(values) // BATCHES :]
    parts = kept[len(kept) % BATCHES :].reshape(BATCHES, -1)
    return of_runs([statistic(part) for part in parts], metric=metric, unit=unit)


def of_runs(values: "list[float]", *, metric: str = "", unit: str = "s") -> Estimate:
    """The mean of independent runs, or of batches as good as independent, with its 95 % interval."""
    found = student(values)
    return Estimate(metric=metric, amount=found.mean, unit=unit, source="simulated", low=found.low, high=found.high)
