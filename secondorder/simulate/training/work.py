"""The work between two checkpoints: a fluid, or whole steps."""

import math
from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np

from secondorder.arrays import Floats
from secondorder.laws import Service
from secondorder.quantities import si
from secondorder.scenarios.training import Training
from secondorder.simulate.training.kept_segments import Drawn

BLOCK = 2**16
"""Step times drawn at once."""

Draw = Callable[[int], Floats]


class Work(Protocol):
    """``segments`` in all (infinite where the run only ends with its time), of ``each`` steps that may vary."""

    segments: float
    each: int
    varies: bool

    def seconds(self, segment: int) -> float:
        """How long the next attempt at a segment (0, 1, ...) takes; each attempt is drawn again."""

    def steps(self, segments: int, elapsed: float) -> int:
        """Steps done in whole segments and in the time ``elapsed`` of the latest attempt."""

    def drawn(self, segment: int) -> Drawn:
        """The latest attempt at a segment."""


class Fluid:
    """Work without steps: ``interval`` seconds a segment, what is left in the last."""

    each, varies = 0, False

    def __init__(self, interval: float, work: float | None) -> None:
        self.interval = interval
        self.segments = math.inf if work is None else pieces(work, interval)
        self.last = interval if work is None else work - (self.segments - 1) * interval

    def seconds(self, segment: int) -> float:
        """The interval, or the rest."""
        return self.interval if segment + 1 < self.segments else self.last

    def steps(self, segments: int, elapsed: float) -> int:
        """None."""
        return 0

    def drawn(self, segment: int) -> Drawn:
        """No steps."""
        return Drawn(0, self.seconds(segment), 0.0)


class Steps:
    """Whole steps: as many as it takes to fill the interval on average, what is left in the last segment.

    >>> even = Steps(10.0, 25.0, 4.0, None)
    >>> even.segments, even.seconds(0), even.seconds(2), even.steps(1, 9.0)
    (3, 12.0, 4.0, 5)
    """

    def __init__(self, interval: float, work: float | None, mean: float, draw: Draw | None) -> None:
        self.mean = mean
        self.each = pieces(interval, mean)
        steps = math.inf if work is None else pieces(work, mean)
        self.segments = math.inf if work is None else math.ceil(steps / self.each)
        self.last = self.each if work is None else int(steps - (self.segments - 1) * self.each)
        self.times = np.full(self.each, mean)
        self.varies = draw is not None
        self.rows = None if draw is None else self.draw_rows(draw)

    def draw_rows(self, draw: Draw) -> Iterator[Floats]:
        """The steps of one segment after the other."""
        rows = max(1, BLOCK // self.each)
        while True:
            yield from draw(rows * self.each).reshape(rows, self.each)

    def seconds(self, segment: int) -> float:
        """The sum of as many draws as there are steps."""
        if self.rows is not None:
            self.times = next(self.rows)
        return float(self.times[: self.count(segment)].sum())

    def count(self, segment: int) -> int:
        """Steps of a segment."""
        return self.each if segment + 1 < self.segments else self.last

    def drawn(self, segment: int) -> Drawn:
        """Its steps, their sum and that of their squares."""
        times = self.times[: self.count(segment)]
        return Drawn(len(times), float(times.sum()), float(times @ times))

    def steps(self, segments: int, elapsed: float) -> int:
        """Whole steps."""
        if segments >= self.segments:
            return (segments - 1) * self.each + self.last
        return segments * self.each + int(np.searchsorted(self.times.cumsum(), elapsed * (1 + 1e-12), side="right"))


def pieces(total: float, piece: float) -> int:
    """How many pieces it takes to fill the total; rounding of 1e-9 is no piece.

    >>> pieces(0.3, 0.1), pieces(0.31, 0.1)
    (3, 4)
    """
    return max(1, math.ceil(total / piece - 1e-9))


def work_of(scenario: Training, step: Service | None, draw: Draw | None) -> Work:
    """Of a scenario, by the law of its steps."""
    work = None if scenario.work is None else si(scenario.work)
    if step is None:
        return Fluid(scenario.interval, work)
    return Steps(scenario.interval, work, step.moment(1), draw)
