"""What the fields of a scenario do to a metric: tables of 80 columns, and a tornado."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from secondorder.quantities import pretty, readable
from secondorder.report.style import BLUE, INK, ORANGE, blank, labelled, scale_of, styled
from secondorder.report.tables import Grid, digits, superscript
from secondorder.studies.numeric_fields import Skipped, short_unit
from secondorder.studies.sensitivity import Effect, Sensitivity, described
from secondorder.studies.sobol import Sobol

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_BARS = 15
"""Fields that a tornado shows; the table has all."""
VAGUE = 0.1
"""Half width of the interval of a share of the variance, from which on it says nothing."""


def sensitivity_grid(study: Sensitivity) -> Grid:
    """One row for each field, the strongest first; below are notes and the fields that were not varied."""
    simulated = study.witness == "simulate"
    moved = [row for row in study.rows if row.swing or row.elasticity]
    notes = list(dict.fromkeys(row.note for row in moved if row.note))
    scale, symbol = readable(study.base, study.unit)
    rows = []
    for row in moved:
        mark = superscript(notes.index(row.note) + 1) if row.note else ""
        ends = [digits(end / scale, share=not study.unit) for end in (row.at_low, row.at_high)]
        slope = f"{_slope(row.elasticity)}{mark}"
        if simulated and row.low is not None and row.high is not None:
            slope += f" ± {(row.high - row.low) / 2:.2f}"
        rows.append([row.path, described(row), row.step, *ends, slope])
    witness = "simulated pairs by common random numbers" if simulated else "closed forms"
    above = [
        f"{study.scenario}: {study.metric} = {pretty(study.base, study.unit)}; each field alone, by {witness}",
        "low, high: the metric with the field a step lower, and higher",
        "elasticity: percent of the metric for a percent of the field",
    ]
    below = [f"{superscript(place)} {note}" for place, note in enumerate(notes, 1)]
    below += _still([row for row in study.rows if not (row.swing or row.elasticity)])
    unit = f" ({symbol})" if symbol else ""
    return Grid(
        header=["field", "value", "step", f"low{unit}", f"high{unit}", "elasticity"], rows=rows, above=above,
        below=[*below, *_not_varied(study.skipped)], numbers=frozenset({1, 2, 3, 4, 5}),
    )  # fmt: skip


def _still(rows: Sequence[Effect]) -> list[str]:
    """The fields without effect; for those that could move one way only, that way."""
    paths: dict[str, list[str]] = {}
    for row in rows:
        how = f" at {row.step} ({row.note})" if row.note else ""
        paths.setdefault(how, []).append(row.path)
    return [f"no effect{how}: {', '.join(found)}" for how, found in sorted(paths.items())]


def _slope(elasticity: float) -> str:
    """An elasticity with its sign, unless it rounds to 0."""
    text = f"{elasticity:+.2f}"
    return text[1:] if float(text) == 0 else text


def _not_varied(skipped: Sequence[Skipped]) -> list[str]:
    """One line for each reason, with its fields."""
    reasons: dict[str, list[str]] = {}
    for one in skipped:
        reasons.setdefault(one.reason, []).append(one.path)
    return [f"not varied ({reason}): {', '.join(paths)}" for reason, paths in reasons.items()]


def sobol_grid(study: Sobol) -> Grid:
    """One row for each field: its range, and its shares of the variance alone and with other fields."""
    rows = []
    for row in study.rows:
        unit = short_unit(row.unit)
        rows.append(
            [
                row.path,
                f"{pretty(row.low_value, unit)} to {pretty(row.high_value, unit)}",
                f"{row.first:.2f} ± {(row.first_high - row.first_low) / 2:.2f}",
                f"{row.total:.2f} ± {(row.total_high - row.total_low) / 2:.2f}",
            ]
        )
    mean, deviation = pretty(study.mean, study.unit), pretty(study.deviation, study.unit)
    above = [
        f"{study.scenario}: {study.metric}, mean {mean}, standard deviation {deviation} over the ranges",
        "first: share of the variance that a field makes alone; total: with all that it does through others",
    ]
    below = [_interactions(study)] if len(rows) > 1 else []
    return Grid(
        header=["field", "range", "first", "total"], rows=rows, above=above, below=below, numbers=frozenset({2, 3})
    )


def _interactions(study: Sobol) -> str:
    """What changes of one field at a time cannot show."""
    half = (study.interactions_high - study.interactions_low) / 2
    share = f"{study.interactions:.0%} ± {half:.0%} of the variance"
    if study.interactions_low > 0:
        return f"{share} is no field's alone: one at a time does not show it"
    if half < VAGUE:
        return f"fields that act together are not seen: {share}"
    return f"too few samples to say whether fields act together: {share}; take more"


@styled
def tornado_figure(study: Sensitivity, most: int = MOST_BARS) -> "Figure":
    """Bars from the metric at each field's lower value to that at its higher one, the widest on top."""
    shown = [row for row in study.rows if row.swing][:most][::-1]
    figure = blank(8.4, 1.7 + 0.36 * max(len(shown), 1))
    axes = figure.subplots()
    scale, unit = scale_of([end for row in shown for end in (row.at_low, row.at_high)], study.unit)
    for place, row in enumerate(shown):
        _bar(axes, place, row, study.base, scale, first=place == len(shown) - 1)
    axes.axvline(study.base / scale, color=INK, linewidth=1)
    axes.set_yticks(range(len(shown)), [f"{row.path} {row.step}" for row in shown])
    axes.set_xlabel(labelled(study.metric, unit))
    axes.margins(x=0.2)
    axes.grid(axis="y", visible=False)
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    if shown:
        figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    witness = "simulated" if study.witness == "simulate" else "closed forms"
    figure.suptitle(f"{study.scenario}: {study.metric} with each field alone, {witness}", fontsize=10)
    return figure


def _bar(axes: object, place: int, row: Effect, base: float, scale: float, *, first: bool) -> None:
    folded = (row.at_low - base) * (row.at_high - base) > 0  # both ends on one side: a peak or a valley lies between
    for end, colour, label, side in (
        (row.at_low, BLUE, "field lower", 1),
        (row.at_high, ORANGE, "field higher", -1),
    ):
        middle, height = (place + 0.155 * side, 0.31) if folded else (place, 0.62)
        axes.barh(  # type: ignore[attr-defined]
            middle, (end - base) / scale, left=base / scale, height=height, color=colour, label=label if first else None
        )
    right = max(row.at_low, row.at_high, base) / scale
    axes.annotate(  # type: ignore[attr-defined]
        f"elasticity {_slope(row.elasticity)}",
        (right, place),
        (4, 0),
        textcoords="offset points",
        va="center",
        fontsize=9,
        color=INK,
    )
