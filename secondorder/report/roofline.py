"""The roofline's chart: attainable FLOP/s over FLOP/byte, and where the passes are under it."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from secondorder.analytic.roofline import RooflineAnswer
from secondorder.report.style import BLUE, GREEN, GREY, INK, ORANGE, outlined

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = (BLUE, ORANGE, GREEN, "#7b4fa3", "#b22222", "#8c6d31", GREY)
MARKERS = {"compute": "s", "memory": "o", "overhead": "^"}
Labelled = tuple[str, RooflineAnswer]


def roofline_figure(passes: Sequence[Labelled]) -> "Figure":
    """A roof for each part and precision; each labelled pass at its intensity and the FLOP/s that it reaches.

    The roof is ``min(peak, bandwidth intensity)`` of the datasheet. What keeps a pass below it, overhead and
    efficiencies, is the line above it. The marker shows what binds.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5.6), dpi=130, layout="constrained")
    axes = figure.subplots()
    roofs = {(one.accelerator, one.precision): one for _, one in passes}
    colours = {key: COLOURS[place % len(COLOURS)] for place, key in enumerate(roofs)}
    low, high = _frame(axes, passes)
    for key, roof in roofs.items():
        at = np.array([low, roof.peak / roof.bandwidth, high])
        axes.plot(at, np.minimum(roof.peak, roof.bandwidth * at), color=colours[key], linewidth=1.8)
    for _, one in passes:
        _hang(axes, one, colours[one.accelerator, one.precision])
    _write(axes, passes)
    _tell(axes, roofs, colours, {str(one.bottleneck) for _, one in passes})
    figure.suptitle(", ".join(dict.fromkeys(one.model for _, one in passes)) + " under the roofline", fontsize=10)
    return figure


def _reached(one: RooflineAnswer) -> tuple[float, float]:
    """FLOP/byte and FLOP/s of a pass."""
    return float(one.intensity), float(one.flops / one.latency)


def _frame(axes: "Axes", passes: Sequence[Labelled]) -> tuple[float, float]:
    """The axes, wide enough for all; the least and the greatest intensity in them."""
    at, reached = zip(*(_reached(one) for _, one in passes), strict=True)
    ridges = [one.peak / one.bandwidth for _, one in passes]
    low, high = min(*at, *ridges) / 4, max(*at, *ridges) * 8
    axes.set(xscale="log", yscale="log", xlim=(low, high))
    axes.set_ylim(min(reached) / 6, 2.5 * max(one.peak for _, one in passes))
    axes.set(xlabel="operational intensity (FLOP/byte)", ylabel="reached (FLOP/s)")
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    return low, high


def _hang(axes: "Axes", one: RooflineAnswer, colour: str) -> None:
    at, reached = _reached(one)
    axes.plot([at, at], [reached, min(one.peak, one.bandwidth * at)], color=colour, linewidth=0.8, linestyle=":")
    axes.plot([at], [reached], MARKERS[str(one.bottleneck)], color=colour, markersize=6, zorder=3)


def _write(axes: "Axes", passes: Sequence[Labelled]) -> None:
    """Labels to the lower right of their points, else to the upper left; where neither place is free, none."""
    (left, right), (bottom, top) = np.log10(axes.get_xlim()), np.log10(axes.get_ylim())
    taken: list[tuple[float, float, float]] = []
    for label, one in passes:
        at, reached = _reached(one)
        x, y = (math.log10(at) - left) / (right - left), (math.log10(reached) - bottom) / (top - bottom)
        width = 0.0095 * len(label)
        for start, height, offset, side in ((x, y - 0.02, (7, -11), "left"), (x - width, y + 0.02, (-7, 5), "right")):
            if all(abs(height - h) > 0.035 or start > s + w or s > start + width for s, h, w in taken):
                taken.append((start, height, width))
                outlined([axes.annotate(label, (at, reached), offset, textcoords="offset points", fontsize=8, ha=side)])
                break


def _tell(
    axes: "Axes", roofs: dict[tuple[str, str], RooflineAnswer], colours: dict[tuple[str, str], str], bound: set[str]
) -> None:
    from matplotlib.lines import Line2D

    lines = [
        Line2D(
            [], [], color=colours[key], label=f"{', '.join(key)}: ridge at {roof.peak / roof.bandwidth:.0f} FLOP/byte"
        )
        for key, roof in roofs.items()
    ]
    marks = [
        Line2D([], [], color=INK, marker=marker, linestyle="", label=f"bound by {name}")
        for name, marker in MARKERS.items()
        if name in bound
    ]
    axes.legend(handles=lines + marks, frameon=False, fontsize=8, loc="lower right")
