"""Answers, comparisons and sweeps as tables of 80 columns: in a terminal, or in Markdown.

A row is a metric, its columns are the ladder: order 0, 1 and 2, then the simulation with its
95 % interval, all in one unit, and what the simulation says of the highest order.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from textwrap import fill
from typing import TYPE_CHECKING, Any, Literal

from secondorder.quantities import pretty, quantity, si
from secondorder.scenarios.answers import Answer, Estimate
from secondorder.validation.comparison import Comparison
from secondorder.validation.verdicts import Verdict

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

WIDTH = 80
_OUTSIDE = "outside its domain: "


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Text in rows and columns, with lines above and notes below.

    ``numbers`` are the columns set flush right, ``breaks`` the rows after which a group ends.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    above: Sequence[str] = ()
    below: Sequence[str] = ()
    numbers: frozenset[int] = field(default_factory=frozenset)
    breaks: frozenset[int] = field(default_factory=frozenset)


# From answers to grids


@dataclass(frozen=True)
class Line:
    """What one row shows: estimates of one metric, by column, and a verdict on the best."""

    label: tuple[str, ...]
    rungs: Mapping[int, Estimate]
    witness: Estimate | None
    verdict: str = ""

    @property
    def best(self) -> Estimate | None:
        return self.rungs[max(self.rungs)] if self.rungs else None

    @property
    def judged(self) -> str:
        """The verdict, with how far off the best formula is."""
        best, witness = self.best, self.witness
        if best is None or witness is None or not self.verdict:
            return ""
        if self.verdict not in (Verdict.AGREES, Verdict.BREAKS) or not witness.amount:
            return self.verdict
        return f"{self.verdict} {_percent(best.amount / witness.amount - 1)}"


def comparison_grid(comparison: Comparison) -> Grid:
    """The ladder beside the simulation, with verdicts."""
    verdicts = {id(judged.formula): str(judged.verdict) for judged in comparison.judged}
    metrics = dict.fromkeys([*comparison.solved, *comparison.simulated])
    lines = [
        line((metric,), [*comparison.solved.get(metric, ()), *comparison.simulated.get(metric, ())], verdicts)
        for metric in metrics
    ]
    above = [
        f"{comparison.scenario}: {comparison.solved.how}",
        f"{comparison.simulated.how}",
        f"± is a 95 % interval; a formula agrees if within {100 * comparison.margin:g} % of all of it",
    ]
    return ladder(("metric",), lines, above, _score(comparison))


def answer_grid(answer: Answer) -> Grid:
    """The estimates of one answer."""
    lines = [line((metric,), answer[metric], {}) for metric in answer]
    return ladder(("metric",), lines, [f"{answer.scenario}: {answer.how}".rstrip(": ")], [])


def sweep_grids(frame: "pd.DataFrame", swept: Sequence[str]) -> list[Grid]:
    """For each metric that was simulated, its ladder over the points of a sweep."""
    grids = []
    infeasible = frame[frame["verdict"] == "infeasible"]
    frame = frame[frame["verdict"] != "infeasible"]
    for metric, rows in frame.groupby("metric", sort=False):
        lines = []
        for point, found in rows.groupby(list(swept), sort=False):
            estimates = [_estimate(row) for row in found.to_dict("records")]
            verdicts = {id(e): judged for e, judged in zip(estimates, found["verdict"], strict=True)}
            lines.append(line(tuple(map(str, point)), estimates, verdicts))
        if any(one.witness for one in lines):
            grids.append(ladder(tuple(swept), lines, [str(metric)], []))
    if len(infeasible):
        points = infeasible[list(swept)].astype(str).agg(", ".join, axis=1)
        reasons = [f"{point}: {note}" for point, note in zip(points, infeasible["note"], strict=True)]
        grids.append(Grid(header=["infeasible"], rows=[[point] for point in points], below=reasons))
    return grids


def _estimate(row: Mapping[Any, Any]) -> Estimate:
    """A row of a frame as the estimate that it was."""
    known = {key: None if row[key] != row[key] else row[key] for key in ("order", "ci_low", "ci_high")}
    return Estimate(
        metric=row["metric"],
        amount=row["value"],
        unit=row["unit"],
        source=row["source"],
        order=known["order"],
        low=known["ci_low"],
        high=known["ci_high"],
        in_domain=not row["note"].startswith(_OUTSIDE),
        note=row["note"].removeprefix(_OUTSIDE),
    )


def line(label: tuple[str, ...], estimates: Iterable[Estimate], verdicts: Mapping[int, str]) -> Line:
    """A row of the estimates of one metric; ``verdicts`` are those of formulas by their ``id``."""
    rungs, witness = {}, None
    for estimate in estimates:
        if estimate.order is None:
            witness = estimate
        else:
            rungs[int(estimate.order)] = estimate
    verdict = verdicts.get(id(rungs[max(rungs)]), "") if rungs else ""
    return Line(label, rungs, witness, verdict)


def ladder(labels: tuple[str, ...], lines: Sequence[Line], above: Sequence[str], below: Sequence[str]) -> Grid:
    """Lines as a grid, of only the columns that something stands in; ``labels`` head the first ones."""
    orders = sorted({order for one in lines for order in one.rungs})
    simulated, judged = any(one.witness for one in lines), any(one.judged for one in lines)
    heads = [*(label.rpartition(".")[2] for label in labels), *(f"order {order}" for order in orders)]
    marks = _Marks()
    rows = []
    for one in lines:
        scale, unit = _scale(one)
        cells = [marks.on(_number(one.rungs.get(order), scale), one.rungs.get(order)) for order in orders]
        witness = [marks.on(_interval(one.witness, scale), one.witness)] * simulated
        label = [part.replace("_per_", "/") for part in one.label]
        rows.append([*label, *cells, *witness, unit, *[one.judged] * judged])
    return Grid(
        header=[*heads, *["simulated"] * simulated, "", *["verdict"] * judged],
        rows=rows,
        above=above,
        below=[*marks.notes, *below],
        numbers=frozenset(range(len(labels), len(heads) + simulated)),
        breaks=_breaks([one.label[0] for one in lines]) if len(labels) == 1 else frozenset(),
    )


def _breaks(metrics: Sequence[str]) -> frozenset[int]:
    """The rows after which another time begins, or the times end."""
    times = [metric.partition("_")[0] if metric.startswith(("ttft", "tpot", "e2el")) else "" for metric in metrics]
    return frozenset(row for row, (this, following) in enumerate(pairwise(times)) if this != following)


class _Marks:
    """Footnotes, numbered as they come."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def on(self, text: str, estimate: Estimate | None) -> str:
        """A cell's text with the mark of the estimate's note."""
        if estimate is None or not estimate.note:
            return text
        plain = estimate.in_domain or estimate.note.startswith("not enough data")
        outside = "" if plain else _OUTSIDE
        number = self._numbers.setdefault(outside + estimate.note, len(self._numbers) + 1)
        return text + superscript(number)

    @property
    def notes(self) -> list[str]:
        return [f"{superscript(number)} {note}" for note, number in self._numbers.items()]


def superscript(number: int) -> str:
    return "".join("⁰¹²³⁴⁵⁶⁷⁸⁹"[int(digit)] for digit in str(number))


def _score(comparison: Comparison) -> list[str]:
    """How many metrics each order is right about."""
    found: dict[int, list[Verdict]] = {}
    for judged in sorted(comparison.judged, key=lambda one: one.formula.order or 0):
        found.setdefault(judged.formula.order or 0, []).append(judged.verdict)
    if all(verdict is Verdict.REPLAYED for verdicts in found.values() for verdict in verdicts):
        return []
    shares = [f"{each.count(Verdict.AGREES)} of {len(each)} at order {order}" for order, each in found.items()]
    return [f"agree: {', '.join(shares)}"] if shares else []


# Numbers


def _scale(row: Line) -> tuple[float, str]:
    """The unit that a row's numbers are shown in, and how many SI units it is."""
    shown = row.witness or row.best
    if shown is None:
        return 1.0, ""
    if not shown.unit:
        power = 3 * (math.floor(math.log10(abs(shown.amount))) // 3) if abs(shown.amount) >= 1e6 else 0
        return 10.0**power, f"e{power}" if power else ""
    symbol = pretty(shown.amount, shown.unit).partition(" ")[2]
    return si(quantity(f"1 {symbol}", shown.unit)), symbol.replace("request", "req").replace("token", "tok")


def _number(estimate: Estimate | None, scale: float) -> str:
    return "" if estimate is None else f"{estimate.amount / scale:,.{_decimals(estimate.amount / scale)}f}"


def _decimals(value: float) -> int:
    """How many make three significant digits, and no more than six."""
    if value == 0 or not math.isfinite(value):
        return 0
    return min(6, max(0, 2 - math.floor(math.log10(abs(value)))))


def _interval(estimate: Estimate | None, scale: float) -> str:
    """``value ± half width``, with one number of decimals."""
    if estimate is None or estimate.low is None or estimate.high is None:
        return _number(estimate, scale)
    half = (estimate.high - estimate.low) / 2 / scale
    if half <= 1e-9 * abs(estimate.amount / scale) or not math.isfinite(half):
        return _number(estimate, scale)
    decimals = _decimals(estimate.amount / scale)
    rounded = f"{half:,.{decimals}f}" if half >= 0.5 * 10**-decimals else f"{half:.1g}"
    return f"{_number(estimate, scale)} ± {rounded}"


def _percent(share: float) -> str:
    if abs(share) < 0.005:
        return "±0%"
    return f"{share:+.0%}" if share < 9.995 else f"x{1 + share:.3g}"


# From grids to text


def markdown(grid: Grid) -> str:
    """The grid as a Markdown table, with its lines above and below."""
    rule = ["---:" if column in grid.numbers else "---" for column in range(len(grid.header))]
    table = [_markdown_row(row) for row in (grid.header, rule, *grid.rows)]
    above, below = ([f"{text}  " for text in texts] for texts in (grid.above, grid.below))
    return "\n".join([*above, *[""] * bool(above), *table, *[""] * bool(below), *below]) + "\n"


def _markdown_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def render(grid: Grid, console: "Console") -> None:
    """Print the grid in 80 columns: in colours where the console has them."""
    width = min(WIDTH, console.width)
    _print_lines(grid.above, console, width)
    if grid.above:
        console.print()
    for gap, folded in ((2, False), (2, True), (1, True)):
        table = _table(grid, gap, folded)
        fits = console.measure(table)
        if fits.maximum <= width:
            break
    console.print(table, width=fits.maximum)
    if grid.below:
        console.print()
    _print_lines(grid.below, console, width)


def _table(grid: Grid, gap: int, folded: bool) -> "Table":
    """With ``gap`` spaces between columns, and the heads of numbers perhaps in two lines."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, gap - 1, 0, 0), header_style="bold")
    for place, name in enumerate(grid.header):
        justify: Literal["left", "right"] = "right" if place in grid.numbers else "left"
        head = name.replace(" ", "\n") if folded and place in grid.numbers else name
        table.add_column(head, justify=justify, vertical="bottom", no_wrap=True)
    for place, row in enumerate(grid.rows):
        table.add_row(*map(_styled, row))
        if place in grid.breaks:
            table.add_row()
    return table


def _print_lines(lines: Sequence[str], console: "Console", width: int) -> None:
    """Each line wrapped, its further lines set in."""
    for text in lines:
        wrapped = fill(text, width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
        console.print(wrapped, markup=False, highlight=False, soft_wrap=True)


_STYLES = {Verdict.AGREES: "green", Verdict.BREAKS: "red", Verdict.NOT_ENOUGH_DATA: "yellow"}


def _styled(cell: str) -> "Text":
    from rich.text import Text

    style = next((style for verdict, style in _STYLES.items() if cell.startswith(verdict)), "")
    return Text(cell, style=style)
