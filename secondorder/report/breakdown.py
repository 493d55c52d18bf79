"""The map of an approximation as tables and as a figure: where its error passes 5, 10 and 25 %."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from secondorder.breakdown.axes import Axis
from secondorder.breakdown.breakdown_map import LEVELS, BreakdownMap
from secondorder.breakdown.consult import in_words
from secondorder.breakdown.rows import ROWS
from secondorder.report.style import INK, blank, label_lines, styled, thin, title
from secondorder.report.tables import Grid

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS, ROWS_OF_TABLE = 7, 5
"""Values of the first and of the second axis in a table."""
FINE = 97
"""Points of an axis in a figure."""
BANDS = ("#b35806", "#f1a340", "#fee0b6", "#f7f7f7", "#d8daeb", "#998ec3", "#542788")
"""Colours from far too low to far too high, which the colour-blind tell apart (ColorBrewer PuOr)."""

Point = Mapping[str, float]


def list_grid() -> Grid:
    """All maps, with their axes."""
    rows = [[row.name, row.metric, ", ".join(axis.name for axis in row.field.axes)] for row in ROWS]
    return Grid(
        header=["map", "metric", "axes"], rows=rows, above=[f"{len(rows)} approximations and where they break"],
        below=["secondorder map NAME draws one"],
    )  # fmt: skip


def map_grids(found: BreakdownMap, point: Point | None = None) -> list[Grid]:
    """The error in % over the first two axes, for the point's value of the third axis, or for three values."""
    grids = [_grid(found, value) for value in _thirds(found.axes[2], point)]
    first, last = grids[0], grids[-1]
    above = [f"{found.row.title}: error of {found.row.metric} in %", found.row.field.given, *first.above]
    below = [sentence(found, point)] if point is not None else []
    below.append(f"truth: {found.row.field.truth}")
    below.append(f"made {found.date} by {found.command}")
    grids[0] = Grid(header=first.header, rows=first.rows, above=above, numbers=first.numbers, below=first.below)
    last = grids[-1]
    grids[-1] = Grid(header=last.header, rows=last.rows, above=last.above, numbers=last.numbers, below=below)
    return grids


def sentence(found: BreakdownMap, point: Point) -> str:
    """What the map says about a point: the error there, and the loads at which it crosses 10 %."""
    first = found.axes[0]
    others = {name: value for name, value in point.items() if name != first.name}
    borders = found.borders(first.name, **others)
    at = ", ".join(f"{name} {value:.3g}" for name, value in point.items())
    if borders:
        passed = f"it passes 10 % at {first.name} {' and '.join(f'{border:.2g}' for border in borders)}"
    else:
        side = "within" if found.inside(**point) else "beyond"
        passed = f"it is {side} 10 % at every {first.name} of the map"
    return f"at {at}: {in_words(found.error_at(**point))}; {passed}"


def records(found: BreakdownMap, point: Point | None = None) -> list[dict[str, object]]:
    """One row for each cell of the tables: the axes and the error as a share."""
    x, y, z = found.axes
    return [
        {
            "map": found.name,
            x.name: a,
            y.name: b,
            z.name: c,
            "error": found.error_at(**{x.name: a, y.name: b, z.name: c}),
        }
        for c in _thirds(z, point)
        for b in _values(y, ROWS_OF_TABLE)
        for a in _values(x, COLUMNS)
    ]


def _values(axis: Axis, count: int) -> list[float]:
    return list(dict.fromkeys(axis.value(k / (count - 1)) for k in range(count)))


def _thirds(axis: Axis, point: Point | None) -> list[float]:
    return [point[axis.name]] if point is not None else _values(axis, 3)


def _grid(found: BreakdownMap, third: float) -> Grid:
    x, y, z = found.axes
    columns = _values(x, COLUMNS)
    rows = [
        [f"{value:.3g}", *(_percent(found.error_at(**{x.name: at, y.name: value, z.name: third})) for at in columns)]
        for value in _values(y, ROWS_OF_TABLE)
    ]
    header = [f"{y.name} \\ {x.name}", *(f"{value:.2g}" for value in columns)]
    return Grid(header=header, rows=rows, above=[f"{z.name} {third:.3g}"], numbers=frozenset(range(1, len(header))))


def _percent(error: float) -> str:
    return f"{100 * error:+.0f}"


# Figure


@styled
def map_figure(found: BreakdownMap, point: Point | None = None) -> "Figure":
    """The error over the first two axes, in a panel for each of three values of the third, with the user's point."""
    x, y, z = found.axes
    thirds = _panels(z, point)
    figure = blank(3.6 * len(thirds) + 1.2, 4.2)
    panels = np.atleast_1d(figure.subplots(1, len(thirds), sharey=True))
    bands = None
    for axes, third in zip(panels, thirds, strict=True):
        bands = _panel(axes, found, third)
        axes.set_title(f"{z.meaning} = {third:.3g}")
        axes.set_xlabel(x.meaning)
        if point is not None and third == point[z.name]:
            axes.plot(
                point[x.name], point[y.name], "*", markersize=17, color="white", markeredgecolor=INK, clip_on=False
            )
            error, right = found.error_at(**point), x.place(point[x.name]) > 0.5
            axes.annotate(
                f"you: {100 * error:+.0f} %", (point[x.name], point[y.name]), (-9 if right else 9, 8),
                textcoords="offset points", ha="right" if right else "left", fontweight="bold",
                bbox={"boxstyle": "round,pad=0.2", "facecolor": "white", "edgecolor": INK},
            )  # fmt: skip
    panels[0].set_ylabel(y.meaning)
    if bands is not None:
        bar = figure.colorbar(bands, ax=list(panels), ticks=_levels(), extend="both", shrink=0.95)
        bar.ax.set_yticklabels([f"{100 * level:+.0f} %" for level in _levels()])
        bar.set_label("formula against truth")
    title(figure, f"{found.row.title}: {found.row.metric}\n{found.row.field.given}")
    figure.draw_without_rendering()
    first = [f"{sign}{level} %" for level in (10, 25, 5) for sign in "+-"]
    for axes in panels:
        labels = [text for text in axes.texts if text.get_text() in first]
        thin(axes, sorted(labels, key=lambda text: first.index(text.get_text())))
    return figure


def _panels(axis: Axis, point: Point | None) -> list[float]:
    """Three values of the third axis; the point's value replaces the nearest."""
    values = _values(axis, 3)
    if point is None:
        return values
    own = point[axis.name]
    nearest = min(range(len(values)), key=lambda k: abs(axis.place(values[k]) - axis.place(own)))
    return [*values[:nearest], own, *values[nearest + 1 :]]


def _levels() -> list[float]:
    return [-level for level in reversed(LEVELS)] + list(LEVELS)


def _panel(axes: Any, found: BreakdownMap, third: float) -> Any:
    x, y, z = found.axes
    places = np.linspace(0, 1, FINE)
    held = z.place(third)
    errors = np.expm1([[found.logarithm_at([a, b, held]) for a in places] for b in places])
    grid = [np.array([_plain(axis, place) for place in places]) for axis in (x, y)]
    levels = _levels()
    bands = axes.contourf(*grid, errors, levels=levels, colors=BANDS, extend="both")
    widths: Sequence[float] = [1.0, 2.4, 0.8, 0.8, 2.4, 1.0]
    lines = axes.contour(*grid, errors, levels=levels, colors=INK, linewidths=widths, linestyles="solid")
    label_lines(axes, lines, {level: f"{100 * level:+.0f} %" for level in levels}, 9)
    for axis, scale, ticks in ((x, axes.set_xscale, axes.xaxis), (y, axes.set_yscale, axes.yaxis)):
        if axis.scale == "log":
            scale("log")
            _tick(ticks, axis)
    return bands


def _plain(axis: Axis, place: float) -> float:
    """The value at a place, also between whole numbers."""
    return float(axis.low * (axis.high / axis.low) ** place) if axis.scale == "log" else axis.value(place)


def _tick(ticks: Any, axis: Axis) -> None:
    from matplotlib.ticker import FixedFormatter, FixedLocator, NullFormatter

    values = _values(axis, 5)
    ticks.set_major_locator(FixedLocator(values))
    ticks.set_major_formatter(FixedFormatter([f"{value:.2g}" for value in values]))
    ticks.set_minor_formatter(NullFormatter())
