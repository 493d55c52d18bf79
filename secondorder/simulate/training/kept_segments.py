"""What becomes of intervals whose steps vary: each attempt is drawn again, and a checkpoint keeps one of them."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np


class Drawn(NamedTuple):
    """An attempt at an interval: its number of steps, their sum in s, and the sum of their squares."""

    steps: int
    total: float
    squares: float


@dataclass(frozen=True, kw_only=True)
class KeptSegments:
    """Whole intervals that a checkpoint holds: their ``times`` of work, and sums of ``squares`` of their steps (s).

    Each has ``steps`` steps; ``lost`` counts the attempts that failures ended.
    """

    steps: int
    times: tuple[float, ...]
    squares: tuple[float, ...]
    lost: int

    @property
    def metrics(self) -> dict[str, float]:
        """Means over the run, and standard deviations about them."""
        count, times = len(self.times), np.array(self.times)
        mean = float(times.mean())
        of_step = float(np.mean(self.squares)) / self.steps - (mean / self.steps) ** 2
        return {
            "segment_time_mean": mean,
            "segment_time_sd": float(times.std(ddof=1)),
            "step_time_sd": math.sqrt(max(of_step, 0.0) * count * self.steps / (count * self.steps - 1)),
            "redraws_mean": self.lost / count,
        }


class Segments:
    """The attempts of a run under way, and those that stand so far."""

    def __init__(self) -> None:
        self.standing: list[Drawn] = []
        self.open = False
        self.lost = 0

    def begin(self) -> None:
        """An attempt is drawn."""
        self.open = True

    def end(self, drawn: Drawn) -> None:
        """The work of the attempt is done."""
        self.standing.append(drawn)
        self.open = False

    def go_back(self, saved: int) -> None:
        """All attempts after this number of intervals are lost."""
        self.lost += len(self.standing) - saved + self.open
        del self.standing[saved:]
        self.open = False

    def story(self, saved: int, whole: int) -> KeptSegments | None:
        """Of those that a checkpoint holds and that have ``whole`` steps; None for fewer than two."""
        kept = [each for each in self.standing[:saved] if each.steps == whole]
        if len(kept) < 2:
            return None
        times, squares = (tuple(each[place] for each in kept) for place in (1, 2))
        return KeptSegments(steps=whole, times=times, squares=squares, lost=self.lost)
