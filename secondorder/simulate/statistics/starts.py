"""Two starts of one system, from empty and from flooded, on the same streams: do they meet, or does work grow?"""

import math
from dataclasses import dataclass

import numpy as np

from secondorder.simulate.statistics.histogram import Floats

CLOSE = 0.1
"""Share of the work in system by which two starts that have met may differ."""
LOOKS = 12
"""Steps over the last three quarters of a run in which its growth is looked at."""
SURE = 4.0
"""Standard errors past which growth is no chance."""


@dataclass(frozen=True)
class Starts:
    """Work in system as requests arrive: a row a replication, ``empty`` and ``flooded`` on the same streams."""

    empty: Floats
    flooded: Floats

    @property
    def level(self) -> float:
        """Mean work over the second half from an empty start."""
        return float(_late(self.empty).mean())

    @property
    def flooded_level(self) -> float:
        """Mean work over the second half from a flooded start."""
        return float(_late(self.flooded).mean())

    def met(self, relaxation: float) -> bool:
        """Whether in every replication the second halves of both starts agree.

        Their means may differ by 10 % of the level and by four standard errors of a mean over half a run, which is
        what two independent runs would; runs of the same streams that have met differ by far less.
        """
        late = _late(self.empty)
        chance = SURE * float(late.std()) * math.sqrt(2 * relaxation / late.shape[1])
        apart = np.abs(_late(self.flooded).mean(axis=1) - late.mean(axis=1))
        return bool(apart.max() <= CLOSE * self.level + chance)

    @property
    def apart(self) -> str:
        """What is seen of two starts that do not meet."""
        return (
            f"from an empty start {self.level:.3g} requests are in the system, from a flooded one "
            f"{self.flooded_level:.3g}, and the two do not meet in {self.empty.shape[1]:,} requests"
        )

    @property
    def grows(self) -> float:
        """Work that each request adds in the long run; 0 unless it grows from both starts by more than chance."""
        gains = [growth(rows) for rows in (self.empty, self.flooded)]
        return min(each.rate for each in gains) if all(each.sure for each in gains) else 0.0

    @property
    def stays_flooded(self) -> bool:
        """Whether the work of the flooded start does not fall: its last quarter is hardly below its second."""
        quarter = self.flooded.shape[1] // 4
        before, after = self.flooded[:, quarter : 2 * quarter].mean(), self.flooded[:, -quarter:].mean()
        return bool(after > 0.8 * before)


@dataclass(frozen=True)
class Growth:
    """Work added per request, and by how many standard errors it is above 0."""

    rate: float
    score: float

    @property
    def sure(self) -> bool:
        return self.score > SURE


def growth(rows: Floats) -> Growth:
    """How fast work in system grows over the last three quarters of the runs (a row each).

    The gains over a dozen steps of each row are compared with their spread. Without a steady state work is a
    random walk with a drift, and its gains are independent. In a steady state they cancel, and the score is near 0.

    >>> walk = np.random.default_rng(1).normal(size=(4, 10_000))
    >>> growth(np.cumsum(walk + 0.1, axis=1)).sure, growth(walk).sure
    (True, False)
    """
    length = rows.shape[1]
    points = np.linspace(length // 4, length - 1, LOOKS + 1).astype(int)
    gains = np.diff(rows[:, points], axis=1)
    mean, error = float(gains.mean()), float(gains.std(ddof=1)) / math.sqrt(gains.size)
    rate = mean * LOOKS / max(int(points[-1] - points[0]), 1)
    return Growth(rate, mean / error if error else math.inf * mean if mean else 0.0)


def _late(rows: Floats) -> Floats:
    return rows[:, rows.shape[1] // 2 :]
