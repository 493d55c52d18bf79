"""Layouts of a service by cost and latency, with those that no other one beats in both."""

from typing import TYPE_CHECKING

from secondorder.report.style import BLUE, GREY, INK, ORANGE, blank, outlined, scale_of, styled
from secondorder.studies.candidates import Found

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAMED = 4
"""Layouts of a panel that are named, the cheapest first."""


@styled
def pareto_figure(found: Found, title: str) -> "Figure":
    """One panel for each p99, and for carbon if it is known: layouts by cost, a line along those unbeaten in both."""
    metrics = [*found.best.p99s, *(["carbon"] if found.best.carbon is not None else [])]
    figure = blank(5 * len(metrics) + 1, 4.4)
    panels = figure.subplots(1, len(metrics), squeeze=False)[0]
    for axes, metric in zip(panels, metrics, strict=True):
        values = [each.of(metric) for each in found.candidates]
        scale, unit = (1.0, "kgCO2e/hour") if metric == "carbon" else scale_of(values, "s")
        for source, colour, style in (("closed form", GREY, "o"), ("simulated", ORANGE, "D")):
            mine = [each for each in found.candidates if each.source == source]
            places = [each.cost for each in mine], [each.of(metric) / scale for each in mine]
            axes.plot(*places, style, color=colour, markersize=5, label=source if mine else None)
        front = found.pareto(metric)
        line = [each.cost for each in front], [each.of(metric) / scale for each in front]
        axes.step(*line, where="post", color=BLUE, linewidth=1.2, label="not beaten in both", zorder=0)
        for each in front[:NAMED]:
            at = (each.cost, each.of(metric) / scale)
            outlined([axes.annotate(found.label(each), at, (5, 5), textcoords="offset points", fontsize=8, color=INK)])
        axes.set(xlabel="cost (USD/hour)", ylabel=f"{metric} ({unit})", ylim=(0, None))
        axes.margins(x=0.12)
    panels[-1].legend(loc="best")
    figure.suptitle(title, fontsize=10, parse_math=False)
    return figure
