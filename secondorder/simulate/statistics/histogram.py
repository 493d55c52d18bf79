"""The law of many values, kept as counts of narrow bins: laws of separate runs add up, and memory does not grow.

A bin holds the values that agree in their first eleven binary digits: its width is below 0.05 % of its values.
The mean of its values stands for all of them, so a law of a few distinct values is kept exactly.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from secondorder.errors import InputError

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

SHIFT = 52 - 11
"""Binary digits of a float's fraction that are dropped."""
LEAST = 1e-12
"""Values below this one share the first bin; times are counted in picoseconds."""


def _code(value: float) -> int:
    return int(np.array([value]).view(np.int64)[0] >> SHIFT)


FIRST = _code(LEAST) - 1


@dataclass(frozen=True)
class Histogram:
    """``counts`` of values in the ``bins``, in ascending order; ``means``, ``least`` and ``greatest`` value of each."""

    bins: Integers = field(repr=False)
    counts: Integers = field(repr=False)
    means: Floats = field(repr=False)
    least: Floats = field(repr=False)
    greatest: Floats = field(repr=False)

    @property
    def size(self) -> int:
        """How many values it holds."""
        return int(self.counts.sum())

    @property
    def mean(self) -> float:
        """The mean of all values."""
        return self.total / self.size

    @property
    def total(self) -> float:
        """The sum of all values."""
        return float(np.cumsum(self.means * self.counts)[-1])

    def place(self, level: float) -> int:
        """The place among the bins of the least value that a share of at least ``level`` does not exceed."""
        cumulated = np.cumsum(self.counts)
        wanted = min(max(level, 0.0), 1.0) * int(cumulated[-1]) - 1e-9
        return min(int(np.searchsorted(cumulated, max(wanted, 0.5))), len(self.bins) - 1)

    def quantile(self, level: float) -> float:
        """The least value that a share of at least ``level`` does not exceed, to within 0.05 %.

        >>> histogram(np.arange(1.0, 101.0)).quantile(0.5)
        50.0
        """
        return float(self.means[self.place(level)])

    def share_up_to(self, bin_: int) -> float:
        """The share of the values in this bin or a lower one."""
        place = int(np.searchsorted(self.bins, bin_, side="right"))
        return float(self.counts[:place].sum()) / self.size


def histogram(values: npt.ArrayLike) -> Histogram:
    """The histogram of values of at least 0; those that are NaN are left out.

    Errors: ``InputError`` for a negative value, or where no value is left.

    >>> found = histogram([1.0, 1.0, 2.0, np.nan])
    >>> found.counts.tolist(), found.means.tolist()
    ([2, 1], [1.0, 2.0])
    """
    given = np.ascontiguousarray(values, float)
    kept = given[~np.isnan(given)]
    if not len(kept) or kept.min() < 0:
        raise InputError("values", given=kept.min() if len(kept) else "none", expected="values of at least 0")
    codes = np.maximum((kept + 0.0).view(np.int64) >> SHIFT, FIRST)
    return _collected(codes, np.ones(len(kept), np.int64), kept, kept, kept)


def pooled(histograms: Iterable[Histogram]) -> Histogram:
    """The histogram of all their values together."""
    each = list(histograms)
    counts = np.concatenate([one.counts for one in each])
    sums = np.concatenate([one.means * one.counts for one in each])
    least, greatest = (np.concatenate([getattr(one, end) for one in each]) for end in ("least", "greatest"))
    return _collected(np.concatenate([one.bins for one in each]), counts, sums, least, greatest)


def _collected(codes: Integers, counts: Integers, sums: Floats, least: Floats, greatest: Floats) -> Histogram:
    lowest = int(codes.min())
    places = codes - lowest
    number = np.bincount(places, weights=counts).astype(np.int64)
    total = np.bincount(places, weights=sums)
    bottom, top = np.full(len(number), np.inf), np.full(len(number), -np.inf)
    np.minimum.at(bottom, places, least)
    np.maximum.at(top, places, greatest)
    filled = np.flatnonzero(number)
    means = np.clip(total[filled] / number[filled], bottom[filled], top[filled])  # equal values have that very mean
    return Histogram(filled + lowest, number[filled], means, bottom[filled], top[filled])
