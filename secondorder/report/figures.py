"""One figure for any answer: each closed form divided by the simulated value, metric by metric."""

import math
from collections.abc import Mapping, Sequence
from functools import singledispatch
from typing import TYPE_CHECKING

import numpy as np

from secondorder.answers.answer import Answer
from secondorder.answers.estimate import Estimate
from secondorder.errors import InputError
from secondorder.quantities import pretty
from secondorder.report.gantt import pass_figure, round_figure
from secondorder.report.style import INK, MARKERS, ORANGE, ORDERS, SIMULATED, blank, styled
from secondorder.report.style import title as titled
from secondorder.report.timeline import PANELS, draw_timeline
from secondorder.scenarios.collective import Collective
from secondorder.scenarios.pipeline import Pipeline
from secondorder.validation.comparison import Comparison, Judged
from secondorder.validation.verdicts import Verdict

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

LEAST, MOST = 1 / 32, 32.0
"""Ratios at the ends of the axis; values beyond them are drawn there, as arrows."""
HOLLOW = "hollow: outside its domain, or undecided"
TICKS = tuple(2.0**power for power in range(-5, 6))
CLOSE = 0.8, 0.9, 1.0, 1.1, 1.25
"""Ticks where all ratios are near 1."""
COUNTS = (1e12, " trillion"), (1e9, " billion"), (1e6, " million")
"""Words of large counts, which have no unit."""


@singledispatch
def figure_of(scenario: object, result: Answer | Comparison, seed: int = 0) -> "Figure":
    """The figure of a scenario and its result; a kind of scenario may have a special figure.

    Errors: ``InputError`` where there are only closed forms.
    """
    check_drawable(scenario, isinstance(result, Comparison))
    assert isinstance(result, Comparison)
    return comparison_figure(result)


def check_drawable(scenario: object, simulated: bool) -> None:
    """Refuse a scenario that has only closed forms and no special figure."""
    if not simulated and figure_of.dispatch(type(scenario)) is figure_of.dispatch(object):
        expected = "a simulation to compare them with; there is none here, so leave out --figure"
        raise InputError("figure", given="closed forms alone", expected=expected)


@figure_of.register(Pipeline)
def _of_pipeline(scenario: Pipeline, result: Answer | Comparison, seed: int = 0) -> "Figure":
    return pass_figure(scenario, seed)


@figure_of.register(Collective)
def _of_collective(scenario: Collective, result: Answer | Comparison, seed: int = 0) -> "Figure":
    return round_figure(scenario, seed)


def _engine_series(simulated: Answer) -> "pd.DataFrame | None":
    """The engine over time; None for a simulation that has another series, or none."""
    series = simulated.series
    return series if series is not None and {"time", *(column for column, *_ in PANELS)} <= {*series} else None


@styled
def comparison_figure(comparison: Comparison) -> "Figure":
    """Each closed form over the simulation, on one axis for all metrics, and the engine at its right, if any."""
    groups = _groups(comparison)
    series = _engine_series(comparison.simulated)
    height = max(0.34 * len(groups) + 1.7, 4.6 if series is not None else 0)
    figure = blank(11 if series is not None else 8, height)
    left: Figure | SubFigure = figure
    if series is not None:
        left, right = np.asarray(figure.subfigures(1, 2, width_ratios=(1.45, 1)))
        draw_timeline(right, series)
    axes = left.subplots()
    for row, judged in enumerate(groups.values()):
        _row(axes, row, judged)
    _ratio_axis(axes, comparison.margin, groups)
    left.legend(loc="outside lower center", ncols=2)
    titled(figure, comparison.scenario)
    return figure


def _groups(comparison: Comparison) -> dict[str, list[Judged]]:
    groups: dict[str, list[Judged]] = {}
    for judged in comparison.judged:
        if judged.simulated.amount > 0 and math.isfinite(judged.simulated.amount):
            groups.setdefault(judged.formula.metric, []).append(judged)
    if not groups:
        expected = "a metric that is both solved and simulated, and is not 0"
        raise InputError("figure", given="none to compare", expected=expected)
    return groups


def _row(axes: "Axes", row: int, judged: Sequence[Judged]) -> None:
    truth = judged[0].simulated
    low, high = (1.0 if edge is None else edge / truth.amount for edge in (truth.low, truth.high))
    filled = ORANGE if truth.steady else "none"
    if truth.steady and math.isfinite(high):
        axes.plot([max(low, LEAST), min(high, MOST)], [row, row], color=ORANGE, linewidth=3, zorder=2)
    axes.plot([1], [row], "o", color=ORANGE, markerfacecolor=filled, markersize=4, zorder=5)
    for one in judged:
        order = one.formula.order or 0
        _, colour, _ = ORDERS[order]
        ratio, place = one.formula.amount / truth.amount, _place(one)
        marker = MARKERS[order] if place == ratio else "<" if ratio < place else ">"
        face = colour if _trusted(one) else "white"
        axes.plot([place], [row], marker, color=colour, markerfacecolor=face, markersize=7, zorder=4)
    axes.annotate(_shown(truth), (1.01, row), xycoords=("axes fraction", "data"), va="center", fontsize=9)


def _trusted(one: Judged) -> bool:
    """Whether the verdict counts: it is reached, and the closed form is inside its domain."""
    return one.verdict in (Verdict.AGREES, Verdict.BREAKS) and one.formula.in_domain


def _place(one: Judged) -> float:
    """Where the closed form is drawn on the axis of ratios."""
    return min(max(one.formula.amount / one.simulated.amount, LEAST), MOST)


def _shown(truth: Estimate) -> str:
    scale, word = next(((s, w) for s, w in COUNTS if not truth.unit and truth.amount >= s), (1.0, ""))
    value = f"{pretty(truth.amount / scale, truth.unit)}{word}".replace("request", "req").replace("token", "tok")
    return value if truth.steady else f"{value} ?"


def _ratio_axis(axes: "Axes", margin: float, groups: Mapping[str, Sequence[Judged]]) -> None:
    axes.set_xscale("log", base=2)
    axes.axvline(1, color=INK, linewidth=0.8)
    axes.axvspan(1 - margin, 1 + margin, color="#BBBBBB", alpha=0.35, linewidth=0, label=f"± {100 * margin:g} %")
    places = [_place(one) for judged in groups.values() for one in judged]
    if CLOSE[0] < min(places) and max(places) < CLOSE[-1]:
        axes.set_xticks(CLOSE, [f"{tick:g}" for tick in CLOSE])
        axes.set_xlim(CLOSE[0] / 1.05, CLOSE[-1] * 1.05)
    else:
        axes.set_xticks(TICKS, [f"{tick:g}" if tick >= 1 else f"1/{1 / tick:.0f}" for tick in TICKS])
        axes.set_xlim(min(0.5, *places) / 1.25, max(2.0, *places) * 1.25)
    axes.set_xticks([], minor=True)
    axes.set_yticks(range(len(groups)), list(groups))
    axes.set_ylim(len(groups) - 0.4, -0.6)
    axes.set_xlabel("closed form / simulated")
    axes.annotate("simulated", (1.01, 1.0), xycoords="axes fraction", va="bottom", fontsize=9)
    _explain_marks(axes, [one for judged in groups.values() for one in judged])


def _explain_marks(axes: "Axes", every: Sequence[Judged]) -> None:
    """Entries of the legend, for the marks that this figure has."""
    axes.plot([], [], "o-", color=ORANGE, label=SIMULATED)
    shown = {one.formula.order or 0 for one in every}
    for order in sorted(shown):
        label, colour, _ = ORDERS[order]
        axes.plot([], [], MARKERS[order], color=colour, label=label)
    if not all(_trusted(one) for one in every):
        axes.plot([], [], MARKERS[max(shown)], color=INK, markerfacecolor="white", label=HOLLOW)
    if any(_place(one) != one.formula.amount / one.simulated.amount for one in every):
        axes.plot([], [], ">", color=INK, markerfacecolor="white", label="arrow: beyond the axis")
    if not all(one.simulated.steady for one in every):
        axes.plot([], [], " ", label="?: no interval: simulated too briefly, or unstable")
