"""The study of recovery as tables and a figure: ways to recover, and spares against the interval."""

from collections.abc import Mapping
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np

from secondorder.answers.answer import COLUMNS, row
from secondorder.answers.estimate import Estimate
from secondorder.answers.metric import EXTREMES
from secondorder.quantities import pretty
from secondorder.report.style import BLUE, INK, ORANGE, blank, dots, label_lines, styled, thin, tidy, title
from secondorder.report.tables import Grid, agreement, ladder, line
from secondorder.report.training import heading, round_ticks
from secondorder.studies.recovery import MEANINGS, RecoveryStudy, Way
from secondorder.systems.registry import SYSTEMS
from secondorder.validation.verdicts import verdict

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

SHARES: Mapping[str, str] = {
    "checkpoint_share": "written",
    "rework_share": "lost",
    "restart_share": "restart",
    "downtime_share": "down",
}
"""Columns of the table of where the time goes."""
BEATS = "beats one spare fewer at its best"


def recovery_grids(study: RecoveryStudy, margin: float | None = None) -> list[Grid]:
    """The tables of the study; a formula agrees within ``margin`` (a share; that of training if none is given)."""
    margin = SYSTEMS["training"].margin if margin is None else margin
    spreads = [_spreads(study)] if any(way.simulated for way in study.ways) else []
    surface = [_break_even(study)] if study.surface else []
    return [_ways(study, margin), *spreads, _where(study), *surface]


def recovery_frame(study: RecoveryStudy, margin: float | None = None) -> "pd.DataFrame":
    """All estimates of the study in one tidy frame, with the way and its interval in front."""
    import pandas as pd

    margin = SYSTEMS["training"].margin if margin is None else margin
    rows = []
    for way in study.ways:
        truth = {each.metric: each for each in way.simulated.estimates} if way.simulated else {}
        for each in (*way.solved.estimates, *truth.values()):
            simulated = truth.get(each.metric)
            judged = "" if each is simulated or simulated is None else str(verdict(each.amount, simulated, margin))
            rows.append((way.who, way.interval, *row(study.scenario.name, each, judged)))
    return pd.DataFrame(rows, columns=["recovery", "interval", *COLUMNS])


def _ways(study: RecoveryStudy, margin: float) -> Grid:
    lines = []
    for way in study.ways:
        formulas, label = way.solved["goodput"], (way.who, pretty(way.interval, "s"))
        if way.simulated is None:
            lines.append(line(label, formulas))
            continue
        truth = way.simulated.best("goodput")
        judged = {each.order: verdict(each.amount, truth, margin) for each in formulas}
        lines.append(line(label, [*formulas, truth], judged))
    found = [way.simulated.best("goodput") for way in study.ways if way.simulated]
    above = [heading(study.scenario), study.how, "goodput, each way at its own best interval"]
    above += [agreement(margin, found)] if found else []
    below = [f"{name}: {text}" for name, text in MEANINGS.items() if name in {way.who for way in study.ways}]
    below += [f"not described: {study.missing}"] if study.missing else []
    return ladder(("recovery", "interval"), lines, above, below)


def _spreads(study: RecoveryStudy) -> Grid:
    rows, short = [], ""
    for way in study.ways:
        if way.simulated is None:
            continue
        three = [way.simulated.best(name) for name in ("goodput_p5", "goodput", "goodput_p95")]
        rows.append([way.who, *map(_interval, three)])
        short = short or next((each.unsettled for each in three if each.unsettled), "")
    return Grid(
        header=["recovery", "p5", "mean", "p95"],
        rows=rows,
        above=["goodput of single runs: 5 and 95 % of them stay below p5 and p95"],
        below=[f"p5 and p95: {short}"] if short else [],
        numbers=frozenset(range(1, 4)),
    )


def _interval(estimate: Estimate) -> str:
    low, high = estimate.low, estimate.high
    if low is None or high is None or not np.isfinite([low, high]).all():
        return f"{estimate.amount:.4f}"
    return f"{estimate.amount:.4f} ± {(high - low) / 2:.4f}"


def _where(study: RecoveryStudy) -> Grid:
    """How the rest of the time is spent, in per cent."""
    rows = [[way.who, *(f"{100 * _best(way, metric):.2f} %" for metric in SHARES)] for way in study.ways]
    return Grid(
        header=["recovery", *SHARES.values()],
        rows=rows,
        above=["where the rest of the time goes" + ("" if study.ways[0].simulated else ", by closed form")],
        below=["restart: with the time to regroup; down: with the share of replicas that heal"],
        numbers=frozenset(range(1, 5)),
    )


def _best(way: Way, metric: str) -> float:
    return (way.simulated or way.solved).best(metric).amount


def _break_even(study: RecoveryStudy) -> Grid:
    rows = []
    for one in study.surface:
        between = ["", ""] if one.low is None or one.high is None else [pretty(one.low, "s"), pretty(one.high, "s")]
        rows.append([str(one.count), pretty(one.interval, "s"), f"{one.best:.4f}", *between])
    return Grid(
        header=["spares", "best interval", "goodput", "better from", "to"],
        rows=rows,
        above=["spares against the interval, by closed form"],
        below=["better from, to: the intervals with which this number of spares beats one spare fewer at its best"],
        numbers=frozenset(range(5)),
    )


# The figure


@styled
def recovery_figure(study: RecoveryStudy) -> "Figure":
    """Goodput of each way; beside it, if there are spares, the goodput over spares and intervals."""
    surface = bool(study.surface)
    figure = blank(10.8 if surface else 6.4, 4.4)
    panels = figure.subplots(1, 1 + surface, squeeze=False)[0]
    _draw_ways(panels[0], study)
    if surface:
        _draw_surface(panels[1], study)
    title(figure, heading(study.scenario), 9)
    figure.draw_without_rendering()
    thin(panels[-1], list(panels[-1].texts))
    return figure


def _draw_ways(axes: Any, study: RecoveryStudy) -> None:
    places = list(range(len(study.ways)))
    solved = [way.solved.best("goodput").amount for way in study.ways]
    axes.plot(places, solved, "D", color=BLUE, markersize=6, label="closed form")
    simulated = [way.simulated for way in study.ways if way.simulated is not None]
    dots(axes, places, [each.best("goodput") for each in simulated], 1.0)
    for place, each in enumerate(simulated):
        low, high = (each.best(f"goodput_{name}").amount for name in EXTREMES)
        edge = {"facecolor": (BLUE, 0.15), "edgecolor": BLUE, "linewidth": 0.7}
        axes.bar(place, high - low, 0.2, bottom=low, label="nine of ten runs" if place == 0 else None, **edge)
    labels = [f"{fill(way.who, 14)}\n{pretty(way.interval, 's')}" for way in study.ways]
    axes.set_xticks(places, labels)
    axes.set(ylabel="goodput, each at its own best interval", xlim=(-0.5, len(places) - 0.5))
    axes.margins(y=0.15)
    tidy(axes, "best")


def _draw_surface(axes: Any, study: RecoveryStudy) -> None:
    """Lines of equal goodput: along one, a spare and another interval break even."""
    hours, counts = [tau / 3600 for tau in study.intervals], [one.count for one in study.surface]
    levels = np.array([one.goodput for one in study.surface])
    drawn = axes.contour(hours, counts, levels, levels=12, colors=BLUE, linewidths=1)
    label_lines(axes, drawn, "%.3g", 8)
    best = [one.interval / 3600 for one in study.surface]
    axes.plot(best, counts, "*", color=INK, markersize=9, label="best interval", zorder=4)
    within = [one for one in study.surface if one.low is not None and one.high is not None]
    if within:
        low, high = ([(one.low if edge else one.high) for one in within] for edge in (True, False))
        spans = [np.clip(np.array([each or 0.0 for each in edge]) / 3600, hours[0], hours[-1]) for edge in (low, high)]
        axes.hlines([one.count for one in within], *spans, color=ORANGE, linewidth=3, label=BEATS)
    axes.set(xscale="log", xlabel="work between checkpoints (h)", ylabel="spare nodes", xlim=(hours[0], hours[-1]))
    axes.set_ylim(-0.3, counts[-1] + 0.3)
    axes.set_yticks(counts)
    round_ticks(axes, hours)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, 1.12), ncol=2, frameon=False, fontsize=9)
