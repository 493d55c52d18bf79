"""The map of an approximation: its error at the sampled points, and interpolated between them.

A cell is a box; the first one is the whole map. A cell is halved along one axis, again and again where the error
passes a border, so that cells are small there and large elsewhere. With ``y = ln(formula/truth)``, ``y/(1 + |y|)`` is
linear in each axis between the eight corners of a cell, bent by what it is in the middle where that was sampled.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib.resources import files
from itertools import product

from secondorder.breakdown.axes import Axis
from secondorder.breakdown.rows import BY_NAME, ROWS, Row
from secondorder.errors import InputError, UnknownName

DEPTH = 6
STEPS = 2**DEPTH
"""Steps of an axis: corners of cells lie on them."""

LEVELS = (0.05, 0.10, 0.25)
"""Errors whose borders a map is made for."""

LEAF = "-"

Corner = tuple[int, int, int]


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A box between two corners, or its two halves along ``axis`` (None for a whole box)."""

    low: Corner
    high: Corner
    axis: int | None = None
    halves: "tuple[Cell, Cell] | None" = None


@dataclass(frozen=True, kw_only=True)
class BreakdownMap:
    """Errors ``formula/truth - 1`` of one approximation over three axes.

    - ``row``: the approximation. ``corners``: ``ln(formula/truth)`` where it was sampled, in steps of each axis.
    - ``splits``: the cells, depth first: the axis along which a cell is halved, ``-`` for one that is whole.
    - ``noise``: half-width of the 95 % interval of a sample, as a share: the median and the largest.
    - ``command``, ``version``, ``date``: how, by what and when it was made.

    >>> mm1 = breakdown_map("mm1")
    >>> round(mm1.error_at(load=0.8, arrival_scv=1.0, service_scv=4.0), 1)
    -0.6
    >>> len(mm1.borders("service_scv", level=0.10, load=0.8, arrival_scv=1.0))  # below 1 and above
    2
    """

    row: Row
    corners: Mapping[Corner, float] = field(repr=False)
    splits: str = field(repr=False)
    noise: tuple[float, float]
    command: str
    version: str
    date: str

    @property
    def name(self) -> str:
        return self.row.name

    @property
    def axes(self) -> tuple[Axis, Axis, Axis]:
        return self.row.field.axes

    @cached_property
    def root(self) -> Cell:
        """The whole map, halved again and again."""
        letters = iter(self.splits)
        return _cell(letters, (0, 0, 0), (STEPS, STEPS, STEPS))

    def holds(self, **coordinates: float) -> bool:
        """Whether a point lies on the map. Errors: ``InputError`` where an axis is missing or unknown."""
        return all(axis.holds(value) for axis, value in zip(self.axes, self._ordered(coordinates), strict=True))

    def error_at(self, **coordinates: float) -> float:
        """The error ``formula/truth - 1`` at a point: a value for each axis. Errors: ``InputError`` off the map."""
        places = [axis.place(value) for axis, value in zip(self.axes, self._ordered(coordinates), strict=True)]
        return math.expm1(self.logarithm_at(places))

    def inside(self, *, margin: float = 0.10, **coordinates: float) -> bool:
        """Whether the formula is within ``margin`` of the truth at a point. Errors: ``InputError`` off the map."""
        return abs(self.error_at(**coordinates)) <= margin

    def borders(self, along: str, *, level: float = 0.10, **others: float) -> tuple[float, ...]:
        """The values of one axis at which the error passes ``level``, the other axes held.

        Errors: ``InputError``.
        """
        names = [axis.name for axis in self.axes]
        if along not in names:
            raise UnknownName.among("axis", along, names)
        axis = self.axes[names.index(along)]
        places = [k / (4 * STEPS) for k in range(4 * STEPS + 1)]
        held = [None if each.name == along else each.place(others[each.name]) for each in self._known(others, along)]
        errors = [math.expm1(self.logarithm_at([at if p is None else p for p in held])) for at in places]
        beyond = [abs(error) - level for error in errors]
        found = []
        for k in range(len(places) - 1):
            if (beyond[k] > 0) != (beyond[k + 1] > 0):
                share = beyond[k] / (beyond[k] - beyond[k + 1])
                found.append(_between(axis, places[k] + share / (4 * STEPS)))
        return tuple(found)

    def logarithm_at(self, places: Sequence[float]) -> float:
        """``ln(formula/truth)`` at places from 0 to 1 on the axes."""
        steps = [place * STEPS for place in places]
        cell = self.root
        while cell.halves is not None and cell.axis is not None:
            first, second = cell.halves
            cell = first if steps[cell.axis] <= first.high[cell.axis] else second
        shares = [(s - a) / (b - a) for s, a, b in zip(steps, cell.low, cell.high, strict=True)]
        value = self._linear(cell, shares) + self._bend(cell, shares)
        return value / (1 - abs(value))

    def _linear(self, cell: Cell, shares: Sequence[float]) -> float:
        """The bounded value between the corners of a cell; ``shares`` of its sides."""
        total = 0.0
        for upper in product((0, 1), repeat=3):
            weight = math.prod(t if up else 1 - t for t, up in zip(shares, upper, strict=True))
            if weight:
                total += weight * bounded(self.corners[_corner(cell, upper)])
        return total

    def _bend(self, cell: Cell, shares: Sequence[float]) -> float:
        """The correction by the known value in the middle: parabolas that vanish at the corners."""
        free = free_axes(self.axes, cell.low, cell.high)
        middle = middle_of(free, cell.low, cell.high)
        if not free or middle not in self.corners:
            return 0.0
        off = bounded(self.corners[middle]) - self._linear(cell, [0.5 if k in free else 0.0 for k in range(3)])
        return off * sum(4 * shares[k] * (1 - shares[k]) for k in free) / len(free)

    def _ordered(self, coordinates: Mapping[str, float]) -> list[float]:
        return [coordinates[axis.name] for axis in self._known(coordinates)]

    def _known(self, coordinates: Mapping[str, float], but: str = "") -> tuple[Axis, Axis, Axis]:
        names = [axis.name for axis in self.axes if axis.name != but]
        if set(coordinates) != set(names):
            given = ", ".join(coordinates) or "none"
            raise InputError(f"axes of {self.name}", given=given, expected=", ".join(names))
        return self.axes


def bounded(logarithm: float) -> float:
    """``y/(1 + |y|)``.

    >>> bounded(0.0), bounded(-1.0)
    (0.0, -0.5)
    """
    return logarithm / (1 + abs(logarithm))


def _between(axis: Axis, place: float) -> float:
    if axis.scale == "log":
        return float(axis.low * (axis.high / axis.low) ** place)
    return axis.low + place * (axis.high - axis.low)


def _cell(letters: Iterator[str], low: Corner, high: Corner) -> Cell:
    letter = next(letters)
    if letter == LEAF:
        return Cell(low=low, high=high)
    axis = int(letter)
    below, above = halved(low, high, axis)
    halves = _cell(letters, *below), _cell(letters, *above)
    return Cell(low=low, high=high, axis=axis, halves=halves)


def halved(low: Corner, high: Corner, axis: int) -> tuple[tuple[Corner, Corner], tuple[Corner, Corner]]:
    """The two halves of a box along an axis.

    >>> halved((0, 0, 0), (4, 4, 4), 1)
    (((0, 0, 0), (4, 2, 4)), ((0, 2, 0), (4, 4, 4)))
    """
    middle = (low[axis] + high[axis]) // 2
    end, begin = list(high), list(low)
    end[axis] = begin[axis] = middle
    return (low, _triple(end)), (_triple(begin), high)


def free_axes(axes: Sequence[Axis], low: Corner, high: Corner) -> list[int]:
    """The axes along which a box may be halved; on an axis of whole numbers the middle must be one."""
    return [k for k, axis in enumerate(axes) if high[k] - low[k] > (STEPS // 4 if axis.whole else 1)]


def middle_of(free: Sequence[int], low: Corner, high: Corner) -> Corner:
    """The middle of a box, at the low end of the axes that are not free."""
    return _triple([(a + b) // 2 if k in free else a for k, (a, b) in enumerate(zip(low, high, strict=True))])


def _triple(numbers: Sequence[int]) -> Corner:
    a, b, c = numbers
    return a, b, c


def _corner(cell: Cell, upper: Sequence[int]) -> Corner:
    return _triple([b if up else a for a, b, up in zip(cell.low, cell.high, upper, strict=True)])


# Files


def names() -> list[str]:
    """The approximations that have a map."""
    return [row.name for row in ROWS]


def row_of(name: str) -> Row:
    """What is mapped under a name. Errors: ``UnknownName``."""
    if name not in BY_NAME:
        raise UnknownName.among("map", name, names())
    return BY_NAME[name]


@cache
def breakdown_map(name: str) -> BreakdownMap:
    """The map of an approximation, from the package's own data.

    Errors: ``UnknownName``.

    >>> breakdown_map("mm1").inside(load=0.9, arrival_scv=1.0, service_scv=4.0)
    False
    """
    row = row_of(name)
    return read(row, (files("secondorder.breakdown") / "data" / f"{name}.json").read_text(encoding="utf-8"))


def read(row: Row, text: str) -> BreakdownMap:
    """A map from what ``write`` has written."""
    kept = json.loads(text)
    return BreakdownMap(
        row=row,
        corners={(a, b, c): value for a, b, c, value in kept["corners"]},
        splits=kept["splits"],
        noise=(kept["noise"][0], kept["noise"][1]),
        command=kept["command"],
        version=kept["version"],
        date=kept["date"],
    )


def write(found: BreakdownMap) -> str:
    """A map as JSON, one line for each sample."""
    about = {
        "name": found.name,
        "axes": {axis.name: [axis.low, axis.high, axis.scale] for axis in found.axes},
        "value": "ln(formula/truth) at places from 0 to 64 on the axes",
        "command": found.command,
        "version": found.version,
        "date": found.date,
        "noise": list(found.noise),
        "splits": found.splits,
    }
    head = json.dumps(about, indent=1)[:-2]
    lines = ",\n".join(json.dumps([*corner, round(value, 4)]) for corner, value in sorted(found.corners.items()))
    return f'{head},\n "corners": [\n{lines}\n ]\n}}\n'
