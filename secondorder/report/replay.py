"""A measured run and its replay: the table, and the distributions."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from secondorder.quantities import pretty
from secondorder.report.page import Section, plan_of
from secondorder.report.style import BLUE, INK, ORANGE, blank, scale_of, styled, title
from secondorder.report.tables import Grid
from secondorder.validation.replay import Replay
from secondorder.validation.replayed_steps import METRICS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BELOW = (
    "load: change of the load at which the replay would give what was measured",
    "each request: median absolute error of single requests",
    "closed form: of the highest order inside its domain, where there is one",
)
WIDE = 20
"""Ratio of the largest to the smallest latency from which an axis is logarithmic."""
NAMES = {"ttft": "time to first token", "tpot": "time per output token", "e2el": "end to end"}


def replay_grid(replays: Sequence[Replay]) -> Grid:
    """Measured, simulated and closed form, of one run or of several."""
    added = max(each.front_end for each in replays)
    below = (f"simulated: {pretty(added, 's')} of the profile's front end in each first token",) if added else ()
    several = len(replays) > 1
    notes = [f"{each.run.name}: {note}" if several else note for each in replays for note in each.notes]
    return error_grid(pd.concat([each.frame for each in replays], ignore_index=True), [], (*below, *notes, *BELOW))


def error_grid(table: "pd.DataFrame", above: Sequence[str], below: Sequence[str] = ()) -> Grid:
    """Rows of measured and simulated times; the column ``run`` is shown where there are several."""
    names = list(dict.fromkeys(table["run"]))
    if len(names) == 1:
        above, table = [f"{names[0]}", *above], table.drop(columns="run")
    header = [str(name) for name in table.columns]
    rows = [[_cell(name, value) for name, value in zip(header, row, strict=True)] for row in table.to_numpy().tolist()]
    numbers = frozenset(k for k, name in enumerate(header) if name not in ("run", "rows", "metric"))
    return Grid(header=header, rows=rows, above=above, below=below, numbers=numbers)


def _cell(column: str, value: object) -> str:
    if not isinstance(value, float):
        return str(value)
    if value != value:
        return ""
    if column in ("error", "load"):
        return f"{value:+.1%}"
    return f"{value:.1%}" if column == "each request" else pretty(value, "s")


@styled
def replay_figure(replay: Replay) -> "Figure":
    """Distributions of each latency, measured and simulated, with the closed forms of the median and the p99."""
    figure = blank(10, 3.8)
    for axes, name in zip(figure.subplots(1, len(METRICS), sharey=True), METRICS, strict=True):
        _draw(axes, replay, name)
    first = figure.axes[0]
    first.set(ylabel="share of the requests")
    handles, labels = max((axes.get_legend_handles_labels() for axes in figure.axes), key=lambda both: len(both[1]))
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    title(figure, f"{replay.run.name}: {len(replay.measured):,} requests, measured and replayed")
    return figure


def _draw(axes: "Axes", replay: Replay, name: str) -> None:
    both = [np.sort(frame[name].dropna().to_numpy()) for frame in (replay.measured, replay.simulated)]
    scale, unit = scale_of([float(np.quantile(both[0], 0.5))], "s")
    for values, colour, style, label in zip(both, (INK, ORANGE), ("-", "--"), ("measured", "simulated"), strict=True):
        axes.plot(values / scale, np.arange(1, len(values) + 1) / len(values), style, color=colour, label=label)
    known = [(replay.closed_form[key], level) for level, key in _levels(name) if key in replay.closed_form]
    if known:
        places, levels = zip(*known, strict=True)
        axes.plot(np.array(places) / scale, levels, "D", color=BLUE, label="closed form, p50 and p99", zorder=3)
    axes.set(xlabel=f"{NAMES[name]} ({unit})", ylim=(0, 1.02))
    ends = [*both[0], *both[1], *(place for place, _ in known)]
    if max(ends) > WIDE * min(ends) > 0:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:g}")


def _levels(name: str) -> list[tuple[float, str]]:
    return [(0.5, f"{name}_p50"), (0.99, f"{name}_p99")]


def replay_section(replay: Replay) -> Section:
    """The part of a report about one run."""
    figures = [replay_figure(replay)]
    return Section(title=replay.run.name, plan=plan_of(replay.scenario), grids=[replay_grid([replay])], figures=figures)
