"""Where to sample a map: coarsely everywhere, finely where its error crosses a border."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import product

from secondorder.breakdown.axes import Axis
from secondorder.breakdown.breakdown_map import LEAF, LEVELS, STEPS, Corner, bounded, free_axes, halved, middle_of

FIRST = 2
"""Times that each axis is halved before the borders are looked for."""
TOLERANCES = dict(zip(LEVELS, (0.006, 0.0025, 0.012), strict=True))
"""Error of the interpolation that is borne at a border, by its level."""
BORDERS = {bounded(math.log1p(sign * level)): TOLERANCES[level] for level in LEVELS for sign in (1, -1)}
"""The same by the bounded value of the border."""

NEAR = 0.03
"""Distance from a border at which a box is asked in its middle."""

Value = Callable[[Corner], float]


@dataclass(kw_only=True)
class Box:
    """A cell that is being made. ``bent``: expected distance of the middle's error from a straight line, by axis."""

    low: Corner
    high: Corner
    bent: tuple[float, float, float]
    axis: int | None = None
    halves: "tuple[Box, Box] | None" = None

    @property
    def corners(self) -> list[Corner]:
        return [(a, b, c) for a, b, c in product(*zip(self.low, self.high, strict=True))]

    @property
    def volume(self) -> float:
        """The volume of a box in cubic steps."""
        return math.prod(b - a for a, b in zip(self.low, self.high, strict=True))


@dataclass(kw_only=True)
class Sampling:
    """A map that is being sampled: ``value`` gives ``ln(formula/truth)`` at a corner."""

    axes: tuple[Axis, Axis, Axis]
    value: Value
    most: int
    known: dict[Corner, float] = field(default_factory=dict)

    def run(self) -> str:
        """Sample until the borders are known well enough, or at ``most`` corners; the cells, depth first."""
        root = Box(low=(0, 0, 0), high=(STEPS, STEPS, STEPS), bent=(0.0, 0.0, 0.0))
        leaves = [root]
        for axis in (0, 1, 2) * FIRST:
            leaves = [half for box in leaves for half in self.halve(box, axis)]
        queue: list[tuple[float, int, Box]] = []
        count = 0
        while True:
            for box in leaves:
                self.check(box)
                if (need := self.need(box)) > 1 and self.bent_most(box) is not None:
                    heappush(queue, (-need * math.sqrt(box.volume), count, box))
                    count += 1
            if not queue or len(self.known) >= self.most:
                break
            *_, box = heappop(queue)
            most_bent = self.bent_most(box)
            assert most_bent is not None
            leaves = list(self.halve(box, most_bent))
        return "".join(_letters(root))

    def at(self, corner: Corner) -> float:
        """The bounded value at a corner."""
        if corner not in self.known:
            self.known[corner] = self.value(corner)
        return bounded(self.known[corner])

    def halve(self, box: Box, axis: int) -> tuple[Box, Box]:
        """Two halves. Their middles are expected a quarter as far from a straight line as the middle was."""
        below, above = halved(box.low, box.high, axis)
        middle = below[1][axis]
        off = 0.0
        for corner in box.corners:
            if corner[axis] == box.low[axis]:
                ends = self.at(corner) + self.at(_moved(corner, axis, box.high[axis]))
                off = max(off, abs(self.at(_moved(corner, axis, middle)) - ends / 2))
        bent = tuple(off / 4 if k == axis else each for k, each in enumerate(box.bent))
        one, other = (Box(low=low, high=high, bent=(bent[0], bent[1], bent[2])) for low, high in (below, above))
        box.axis, box.halves = axis, (one, other)
        return one, other

    def check(self, box: Box) -> None:
        """Sample the middle of a box at a border, since the earlier halves may hide how bent it is."""
        values = [self.at(corner) for corner in box.corners]
        reach = sum(box.bent) + NEAR
        if not any(min(values) - reach <= border <= max(values) + reach for border in BORDERS):
            return
        free = free_axes(self.axes, box.low, box.high)
        middle = middle_of(free, box.low, box.high)
        around = [self.at(c) for c in box.corners if all(c[k] == middle[k] or k in free for k in range(3))]
        off = abs(self.at(middle) - sum(around) / len(around))
        if free and off > sum(box.bent):
            more = (off - sum(box.bent)) / len(free)
            a, b, c = (bent + more * (k in free) for k, bent in enumerate(box.bent))
            box.bent = a, b, c

    def need(self, box: Box) -> float:
        """The interpolation error over the tolerated one, at the worst border; 0 if there is none."""
        off, values = sum(box.bent), [self.at(corner) for corner in box.corners]
        low, high = min(values) - off, max(values) + off
        return max((off / borne for border, borne in BORDERS.items() if low <= border <= high), default=0.0)

    def bent_most(self, box: Box) -> int | None:
        """The axis along which halving helps most, of those that can be halved."""
        free = free_axes(self.axes, box.low, box.high)
        return max(free, key=lambda k: box.bent[k], default=None)


def _moved(corner: Corner, axis: int, to: int) -> Corner:
    moved = list(corner)
    moved[axis] = to
    return moved[0], moved[1], moved[2]


def _letters(box: Box) -> Iterator[str]:
    if box.halves is None:
        yield LEAF
        return
    yield str(box.axis)
    for half in box.halves:
        yield from _letters(half)
