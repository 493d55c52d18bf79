"""A sweep as a figure: each metric over the values of a field, closed forms as lines, simulations as dots with bars."""

import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from secondorder.answers.estimate import Estimate
from secondorder.errors import InputError
from secondorder.report.style import GREY, MARKERS, ORDERS, blank, dots, labelled, scale_of, styled, title
from secondorder.studies.sweep import SweepPoint
from secondorder.validation.comparison import Comparison

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST, MOST_OF_TWO = 4, 2
"""Metrics, or values of a second field, that one figure shows; metrics if a second field varies and none is chosen."""


@styled
def sweep_figure(points: Sequence[SweepPoint], metrics: Sequence[str] | None = None) -> "Figure":
    """A panel for each metric; if a second field varies, a row of panels for each of its values.

    Errors: ``InputError`` where more than two fields vary, or nothing was found.
    """
    varied = list(points[0].values)
    if len(varied) > 2:
        raise InputError("figure", given=f"{len(varied)} fields", expected="one field that varies, or two")
    shown = _metrics(points, metrics)
    if len(varied) == 2 and not metrics:  # more columns would be too small to read
        shown = shown[:MOST_OF_TWO]
    rows = list(dict.fromkeys(point.values[varied[1]] for point in points))[:MOST] if len(varied) == 2 else [""]
    wrapped = len(rows) == 1 and len(shown) > 2  # two rows of panels rather than one that is too wide for a screen
    down, across = (math.ceil(len(shown) / 2), 2) if wrapped else (len(rows), len(shown))
    figure = blank(5.2 * across if across > 1 else 6.8, 3.6 * down + 0.8)
    grid = figure.subplots(down, across, squeeze=False)
    for axes in grid.flat[len(rows) * len(shown) :]:
        axes.set_axis_off()
    panels = [grid.flat[: len(shown)]] if wrapped else grid
    scales = {metric: _scale(points, metric) for metric in shown}
    for line, value in zip(panels, rows, strict=True):
        mine = [point for point in points if not value or point.values[varied[1]] == value]
        for axes, metric in zip(line, shown, strict=True):
            _panel(axes, mine, varied[0], metric, scales[metric])
            axes.set_title(f"{varied[1]} = {value}" if value else "", parse_math=False)
    handles, labels = panels[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    title(figure, points[0].scenario)
    return figure


def _metrics(points: Sequence[SweepPoint], wanted: Sequence[str] | None) -> list[str]:
    """The wanted metrics, or the first that were simulated, or the first."""
    found = [point for point in points if point.result is not None]
    known = list(dict.fromkeys(metric for point in found for metric in point.metrics))
    simulated = {metric for point in found if isinstance(point.result, Comparison) for metric in point.result.simulated}
    shown = [metric for metric in known if (metric in wanted if wanted else not simulated or metric in simulated)]
    if not shown:
        raise InputError("figure", given="no point that could be solved", expected="at least one")
    return shown[:MOST]


def _scale(points: Sequence[SweepPoint], metric: str) -> tuple[float, str]:
    """How many SI units one unit of the axes of a metric is, and its symbol: the same in all its panels."""
    every = [estimate for point in points for estimate in _estimates(point, metric)]
    return scale_of([e.amount for e in every], every[0].unit) if every else (1.0, "")


def _panel(axes: "Axes", points: Sequence[SweepPoint], field: str, metric: str, scaled: tuple[float, str]) -> None:
    places, ticks, unit = _places([point.values[field] for point in points])
    found = [(place, _estimates(point, metric)) for place, point in zip(places, points, strict=True)]
    every = [estimate for _, estimates in found for estimate in estimates]
    if not every:
        axes.annotate("infeasible", (0.5, 0.5), xycoords="axes fraction", ha="center", color=GREY)
        return
    scale, shown = scaled
    for order, (label, colour, style) in ORDERS.items():
        line = [(place, e.amount / scale) for place, estimates in found for e in estimates if e.order == order]
        if line:
            axes.plot(
                *zip(*line, strict=True),
                color=colour,
                linestyle=style,
                marker=MARKERS[order],
                markersize=4,
                label=label,
            )
    truth = [(place, e) for place, estimates in found for e in estimates if e.order is None]
    if truth:
        dots(axes, [place for place, _ in truth], [e for _, e in truth], 1 / scale)
    refused = [place for place, point in zip(places, points, strict=True) if point.result is None]
    for place in refused:
        axes.axvline(place, color=GREY, linestyle=(0, (1, 2)), label="infeasible" if place == refused[0] else None)
    axes.set(xlabel=labelled(field, unit), ylabel=labelled(metric, shown), ylim=(0, None))
    if ticks:
        axes.set_xticks(places, ticks, parse_math=False)


def _estimates(point: SweepPoint, metric: str) -> list[Estimate]:
    if isinstance(point.result, Comparison):
        return [*point.result.solved.get(metric, ()), *point.result.simulated.get(metric, ())]
    return list(point.result.get(metric, ())) if point.result is not None else []


def _places(texts: Sequence[str]) -> tuple[list[float], list[str], str]:
    """Places of the values of a field on its axis, their ticks if they are words, and their unit.

    >>> _places(["2 request/s", "8 request/s"])
    ([2.0, 8.0], [], 'request/s')
    >>> _places(["ring", "tree"])
    ([0.0, 1.0], ['ring', 'tree'], '')
    """
    numbers = [re.fullmatch(r"([-+.\de]*\d\.?)\s*([^\d\s].*)?", text) for text in texts]
    units = {match[2] or "" for match in numbers if match}
    if all(numbers) and len(units) == 1:
        try:
            return [float(match[1]) for match in numbers if match], [], units.pop()
        except ValueError:
            pass
    words = list(dict.fromkeys(texts))
    return [float(words.index(text)) for text in texts], words, ""
