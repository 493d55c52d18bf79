"""Why a formula and the simulation differ, as a table and a waterfall; where the time of requests went, as a table."""

from textwrap import fill
from typing import TYPE_CHECKING

from secondorder.quantities import readable
from secondorder.report.style import BLUE, GREY, INK, ORANGE, blank, styled
from secondorder.report.tables import Grid, digits
from secondorder.simulate.serving.causes import Cause
from secondorder.validation.explanation.explain import Explanation, Part

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from secondorder.simulate.serving.partition import Partition

NOT_A_SUM = (
    "a quantile is not a sum: a part is what turning the effect off would change,",
    "on average over all orders; it is not where the time of a request went",
)

NOTHING = 1e-5
"""What is shown as nothing, in the unit of a table, whose values are about 1 to 1,000."""


def explanation_grid(found: Explanation) -> Grid:
    """One row for each part, the formula above and the simulated value below."""
    scale, symbol = readable(max(abs(found.simulated.amount), abs(found.formula.amount)), found.unit)
    formula = found.told if found.formula.order is None else f"{found.told}: {found.formula.source}"
    rows = [[formula, digits(found.formula.amount / scale), "", ""]]
    rows += [_row(part, scale) for part in found.parts]
    rows.append(["simulated", digits(found.simulated.amount / scale), "", ""])
    below = ["alone: added to the bare system; last: taken away from the whole system"]
    if not found.metric.endswith("_mean"):
        below += NOT_A_SUM
    if found.given:
        below.append(f"given, on throughout: {', '.join(found.given)}")
    if found.idle:
        below.append(f"no effect: {', '.join(found.idle)}")
    unit = f" ({symbol})" if symbol else ""
    return Grid(
        header=["part", f"{found.metric}{unit}", "alone", "last"], rows=rows, above=[found.sentence], below=below,
        numbers=frozenset({1, 2, 3}), breaks=frozenset({0, len(rows) - 2}),
    )  # fmt: skip


def _signed(value: float) -> str:
    """Three digits with a sign; formulas of a service have eight digits, so that smaller values count as 0."""
    return f"{value:+.3g}" if abs(value) >= NOTHING else "0"


def _row(part: Part, scale: float) -> list[str]:
    value = _signed(part.value / scale)
    if part.low is not None and part.high is not None:
        value += f" ± {(part.high - part.low) / 2 / scale:.2g}"
    ends = ["" if end is None else _signed(end / scale) for end in (part.first, part.last)]
    return [part.name, value, *ends]


@styled
def waterfall(found: Explanation) -> "Figure":
    """From the formula to the simulated value, one step for each part."""
    figure = blank(9, 1.6 + 0.42 * (len(found.parts) + 2))
    draw_waterfall(figure.subplots(), found)
    figure.suptitle(fill(found.sentence, 110), fontsize=9)
    return figure


def draw_waterfall(axes: "Axes", found: Explanation) -> None:
    """The steps from the formula to the simulated value; parts that are zero are left out."""
    scale, symbol = readable(max(abs(found.simulated.amount), abs(found.formula.amount)), found.unit)
    parts = [part for part in found.parts if abs(part.value / scale) >= NOTHING]
    level, places = found.formula.amount / scale, len(parts) + 1
    axes.barh(places, level, color=GREY, height=0.6)
    for place, part in zip(range(places - 1, 0, -1), parts, strict=True):
        step = part.value / scale
        axes.barh(place, step, left=level, color=ORANGE if step >= 0 else BLUE, height=0.6)
        half = 0.0 if part.low is None or part.high is None else (part.high - part.low) / 2 / scale
        right = max(level, level + step + half)
        axes.errorbar(level + step, place, xerr=half or None, color=INK, capsize=3, linewidth=1)
        axes.annotate(_signed(step), (right, place), (6, 0), textcoords="offset points", va="center", fontsize=9)
        level += step
    axes.barh(0, found.simulated.amount / scale, color=INK, height=0.6)
    names = ["simulated", *(part.name for part in reversed(parts)), found.told]
    axes.set_yticks(range(places + 1), names)
    axes.set_xlabel(f"{found.metric} ({symbol})" if symbol else found.metric)
    axes.margins(x=0.12)
    axes.grid(axis="y", visible=False)
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)


def partition_grid(parts: "Partition", metric: str, request: int | None = None) -> Grid:
    """Where the time went of the mean request, of those around the p99 and of one; how many are at each cause."""
    table, number = parts.summary(metric, request=request), parts.littles_law(metric)["number"]
    totals = table.sum()
    scale, symbol = readable(float(totals.max()), "s")
    names = {"mean": "mean", "around_p99": "around the p99"}
    columns = [names.get(str(column), str(column).replace("_", " ")) for column in table.columns]
    rows = [
        [
            cause.words,
            *(digits(float(value) / scale) for value in table.loc[cause.column].to_numpy()),
            digits(float(number[cause.column])),
        ]
        for cause in Cause
        if table.loc[cause.column].any()
    ]
    rows.append(["sum", *(digits(value / scale) for value in totals), digits(float(number.sum()))])
    above = [
        f"{parts.scenario}: where the {metric} of {len(parts.ttft):,} requests went; each request's parts sum to it"
    ]
    below = [
        "a step is split in this order: own work alone, other decodes, other prompts",
        f"number: requests at a cause on average, {digits(parts.rate)} request/s times the mean",
    ]
    return Grid(
        header=[f"cause ({symbol})", *columns, "number"], rows=rows, above=above, below=below,
        numbers=frozenset(range(1, len(columns) + 2)), breaks=frozenset({len(rows) - 2}),
    )  # fmt: skip
