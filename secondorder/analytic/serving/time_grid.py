"""Laws of times in bins of equal width: times uniform between two limits, and sums of independent times."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from secondorder.arrays import Floats

BINS = 4096
"""Bins of a law, from its shortest to its longest time."""
MARGIN = 2
"""Bins that are left free on either side."""


@dataclass(frozen=True, kw_only=True)
class TimeGrid:
    """Bins from ``low`` on, each of this ``width``, s; an entry for each of several laws."""

    low: Floats
    width: Floats

    @classmethod
    def over(cls, low: Floats, high: Floats) -> Self:
        """For times between these, s."""
        width = np.maximum(high - low, 1e-12 * np.abs(high) + 1e-300) / (BINS - 2 * MARGIN)
        return cls(low=low - MARGIN * width, width=width)

    @property
    def times(self) -> Floats:
        """The middle of each bin, s: a row for each law."""
        return np.asarray(self.low[:, None] + (np.arange(BINS) + 0.5) * self.width[:, None])

    def anywhere(self, first: Floats, last: Floats, weight: Floats) -> Floats:
        """Masses by law and bin of times that lie evenly between ``first`` and ``last`` (s), each of this weight.

        By law and time; the mean and the mass are kept. A time that is known to a bin lies anywhere in one.
        """
        middle = (first + last) / 2 - self.low[:, None]
        length = np.maximum((last - first) / self.width[:, None], 1.0)
        rise = weight / length
        begin = middle / self.width[:, None] - length / 2
        slope = self._shared(np.concatenate([begin, begin + length], axis=1), np.concatenate([rise, -rise], axis=1))
        return np.asarray(np.maximum(slope.cumsum(axis=1), 0.0))

    def later(self, masses: Floats, delays: Floats, weight: Floats) -> Floats:
        """Masses by law and bin after independent delays, of several cases together.

        ``masses`` by law, case and bin; in each case the delay takes each of ``delays`` (s) with the case's ``weight``.
        """
        places = delays / self.width[:, None]
        delay = np.stack([self._shared(places, case) for case in weight.swapaxes(0, 1)], axis=1)
        found = np.fft.irfft((np.fft.rfft(masses) * np.fft.rfft(delay)).sum(axis=1), n=BINS)
        return np.asarray(np.maximum(found, 0.0))

    def _shared(self, places: Floats, weight: Floats) -> Floats:
        """Weights by law and bin; what lies between two bins is shared so that the mean is kept."""
        places = np.clip(places, 0, BINS - 1)  # beyond lies nothing of weight
        low = np.floor(places).astype(int)
        up, low = weight * (places - low), low + BINS * np.arange(len(low))[:, None]
        found = np.bincount(low.ravel(), (weight - up).ravel(), minlength=BINS * len(low) + 1)
        found[1:] += np.bincount(low.ravel(), up.ravel(), minlength=BINS * len(low) + 1)[:-1]
        return np.asarray(found[:-1].reshape(len(low), BINS))
