"""What the figures of the labs share: a panel with lines and dots, and why, as a waterfall."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from secondorder.answers.estimate import Estimate
from secondorder.labs.lab import plain
from secondorder.report.style import BLUE, GREEN, GREY, INK, ORANGE, RED, blank, dots, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = (BLUE, GREEN, GREY, RED)
STYLES = ("-", "--", ":", "-.")
Line = tuple[Sequence[float], Sequence[float]]


@styled
def picture(
    lines: Mapping[str, Line],
    *,
    x: str,
    y: str,
    places: Sequence[float] = (),
    truth: Sequence[Estimate] = (),
    scale: float = 1.0,
    here: float | None = None,
    marks: Mapping[str, tuple[float, float]] | None = None,
    why: Mapping[str, float] | None = None,
    why_unit: str = "",
    top: float | None = None,
    log: str = "",
) -> "Figure":
    """Closed forms as lines and simulations as dots with bars; beside them why, as steps that add up.

    Values are multiplied by ``scale`` for the axis ``y``. ``here`` is where the slider stands, ``marks`` are points
    with names, ``top`` is the end of the axis, ``log`` names the axes that are logarithmic.
    """
    figure = blank(9.4, 3.8)
    panels = figure.subplots(1, 2 if why else 1, squeeze=False, width_ratios=[1.7, 1] if why else [1])[0]
    axes = panels[0]
    for (label, (xs, ys)), colour, style in zip(lines.items(), COLOURS, STYLES, strict=False):
        axes.plot(xs, [scale * value for value in ys], style, color=colour, linewidth=2, label=label)
    if len(places):
        dots(axes, places, truth, scale)
        axes.locator_params(axis="x", integer=all(isinstance(place, int) for place in places))
    for number, (name, (place, value)) in enumerate((marks or {}).items()):
        axes.plot([place], [scale * value], "*", color=INK, markersize=11, zorder=5)
        offset = (5, 8) if number % 2 == 0 else (-5, -17)
        axes.annotate(name, (place, scale * value), offset, textcoords="offset points", fontsize=9)
    if here is not None:
        axes.axvline(here, color=ORANGE, alpha=0.35, linewidth=6, zorder=0)
    _axis(axes, x, y, top, log)
    if why:
        waterfall(panels[1], {name: scale * value for name, value in why.items()}, why_unit)
    figure.legend(
        *axes.get_legend_handles_labels(), loc="outside upper center", ncols=2 if max(map(len, lines)) > 28 else 3
    )
    return figure


def _axis(axes: "Axes", x: str, y: str, top: float | None, log: str) -> None:
    from matplotlib.ticker import LogLocator

    axes.set(xlabel=x, ylabel=y)
    if "x" in log:
        axes.set_xscale("log", subs=[])
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    if "y" in log:
        axes.set_yscale("log", subs=[])
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    else:
        axes.set_ylim(0, top)


def waterfall(axes: "Axes", parts: Mapping[str, float], unit: str) -> None:
    """Parts that add up, each from where the one before ended, and their sum."""
    at = 0.0
    names = [*parts, "all"]
    for row, (name, value) in enumerate([*parts.items(), ("all", sum(parts.values()))]):
        start = 0.0 if name == "all" else at
        axes.barh(row, value, left=start, color=INK if name == "all" else COLOURS[row % len(COLOURS)], height=0.6)
        place = max(start, start + value), row
        axes.annotate(plain(value), place, (4, 0), textcoords="offset points", va="center", fontsize=9)
        at += value
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.margins(x=0.2)
    axes.locator_params(axis="x", nbins=5)
    axes.set(xlabel=f"why ({unit})" if unit else "why")
    axes.grid(axis="y", visible=False)
