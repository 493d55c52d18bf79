"""Answers, comparisons and sweeps as tables: in a terminal, within its width or 80 columns, or in Markdown.

A row is a metric, its columns are the ladder: order 0, 1 and 2, then the simulation with its
95 % interval, all in one unit, and the verdict on the order to use.
"""

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby, pairwise
from textwrap import fill
from typing import TYPE_CHECKING, Literal

from secondorder.answers.answer import Answer, band_lines
from secondorder.answers.declared import SERVING
from secondorder.answers.estimate import Estimate, best_of
from secondorder.answers.metric import LATENCIES, declared
from secondorder.quantities import readable
from secondorder.studies.sweep import SweepPoint
from secondorder.validation.comparison import Comparison, on_load_axis
from secondorder.validation.verdicts import Verdict

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

WIDTH = 80
EXACT = "exact"


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
    """What one row shows: estimates of one metric by order, the simulated one, and the verdict on each order."""

    label: tuple[str, ...]
    rungs: Mapping[int, Estimate]
    witness: Estimate | None
    verdicts: Mapping[int | None, Verdict]

    @property
    def best(self) -> Estimate | None:
        """The closed form to use, which is judged."""
        return best_of(list(self.rungs.values())) if self.rungs else None

    @property
    def judged(self) -> str:
        """The order that is judged, the verdict, and how far off it is."""
        best, witness = self.best, self.witness
        if best is None or witness is None or best.order not in self.verdicts:
            return ""
        return f"{best.order}: {self._verdict(self.verdicts[best.order], best, witness)}"

    def _verdict(self, verdict: Verdict, best: Estimate, witness: Estimate) -> str:
        if verdict is Verdict.AGREES and not spread(witness) and _alike(best.amount, witness.amount):
            return EXACT
        if verdict not in (Verdict.AGREES, Verdict.BREAKS) or not witness.amount:
            return str(verdict)
        return f"{verdict} {_percent(best.amount / witness.amount - 1)}"


def comparison_grid(comparison: Comparison) -> Grid:
    """The ladder and the simulation, with verdicts."""
    lines = [
        compared_line((metric,), comparison, metric)
        for metric in _in_families([*comparison.solved, *comparison.simulated])
        if not of_a_priority(metric)
    ]
    above = [
        f"{comparison.scenario}: {comparison.solved.how}",
        f"{comparison.simulated.how}",
        agreement(comparison.margin, comparison.simulated.estimates),
    ]
    both = [*comparison.solved.estimates, *comparison.simulated.estimates]
    return ladder(("metric",), lines, above, [*_load_axis(comparison), *_score(comparison), *band_lines(both)])


def _load_axis(comparison: Comparison) -> list[str]:
    """The load at which each closed form that breaks reaches the simulated value."""
    found = [f"{metric} {on_load_axis(error)}" for (metric, _), error in comparison.load_errors.items()]
    return [f"what breaks reaches the simulated value at another load: {', '.join(found)}"] if found else []


def agreement(margin: float, simulated: Sequence[Estimate]) -> str:
    """What ± and the verdicts of a table mean."""
    if any(spread(each) for each in simulated):
        return f"± is a 95 % interval; a formula agrees if within {100 * margin:g} % of all of it"
    if all(each.low is None and each.steady for each in simulated):
        return "one replay has no interval, so that formulas have no verdict"
    return f"nothing is random: no intervals; a formula agrees if within {100 * margin:g} %"


def answer_grid(answer: Answer) -> Grid:
    """The estimates of one answer."""
    lines = [line((metric,), answer[metric]) for metric in _in_families(answer) if not of_a_priority(metric)]
    above = [f"{answer.scenario}: {answer.how}".rstrip(": ")]
    return ladder(("metric",), lines, above, band_lines(answer.estimates))


def of_a_priority(metric: str) -> bool:
    """Whether a metric is that of a service's requests of one priority, which stand in a table of their own."""
    return "_class_" in metric and declared(SERVING, metric) is not None


def priority_grids(answer: Answer) -> list[Grid]:
    """What was simulated of the requests of each priority, a column each; nothing where they have none."""
    names = [name.split("_class_") for name in answer if of_a_priority(name)]
    levels = sorted({level for _, level in names}, key=int)
    if not levels:
        return []
    rows, marks = [], _Marks()
    for metric in _in_families(name for name, _ in names):
        known = [answer.get(f"{metric}_class_{level}", ()) for level in levels]
        lines = [line((metric,), each) for each in known]
        scale, unit = _scale(max(lines, key=lambda one: one.witness.amount if one.witness else -math.inf))
        cells = [marks.on(_interval(one.witness, scale, False), one.witness) if one.witness else "" for one in lines]
        rows.append([metric.replace("_per_", "/"), *cells, unit])
    return [
        Grid(
            header=["metric", *(f"priority {level}" for level in levels), ""],
            rows=rows,
            above=["by priority, simulated: no closed form tells the requests of one from those of another"],
            below=marks.notes,
            numbers=frozenset(range(1, len(levels) + 1)),
            breaks=_breaks([row[0] for row in rows]),
        )
    ]


def _in_families(metrics: Iterable[str]) -> list[str]:
    """Mean and quantiles of one quantity together, at the place of the first of them."""
    families: dict[str, list[tuple[float, str]]] = {}
    for metric in dict.fromkeys(metrics):
        found = _STATISTIC.search(metric)
        level = float(found[1].replace("_", ".")) if found and found[1] else 0.0
        families.setdefault(metric[: found.start()] if found else metric, []).append((level, metric))
    return [metric for family in families.values() for _, metric in sorted(family, key=lambda pair: pair[0])]


_STATISTIC = re.compile(r"_(?:mean|p(\d+(?:_\d+)?))$")


def sweep_grids(points: Sequence[SweepPoint], metrics: Sequence[str] | None = None) -> list[Grid]:
    """For each metric that was simulated (for each, if nothing was), its ladder over the points of a sweep."""
    found = [point for point in points if point.result is not None]
    refused = [point for point in points if point.refused]
    failed = [point for point in points if point.failed]
    solved = all(isinstance(point.result, Answer) for point in found)
    grids = []
    for metric in dict.fromkeys(name for point in found for name in point.metrics):
        lines = [_sweep_line(point, metric) for point in found if metric in point.metrics]
        wanted = metrics is None or metric in metrics
        if wanted and (solved or any(one.witness for one in lines)):
            grids.append(ladder(tuple(points[0].values), lines, [metric], []))
    if grids and (known := band_lines(_estimates(found))):
        grids[-1] = replace(grids[-1], below=[*grids[-1].below, *known])
    for head, without in (("infeasible", refused), ("failed", failed)):
        if without:
            places = [", ".join(point.values.values()) for point in without]
            reasons = [
                f"{place}: {point.refused or point.failed}" for place, point in zip(places, without, strict=True)
            ]
            grids.append(Grid(header=[head], rows=[[place] for place in places], below=reasons))
    return grids


def _estimates(points: Iterable[SweepPoint]) -> Iterator[Estimate]:
    """All that the points of a sweep found."""
    for point in points:
        if isinstance(point.result, Comparison):
            yield from (*point.result.solved.estimates, *point.result.simulated.estimates)
        elif point.result is not None:
            yield from point.result.estimates


def _sweep_line(point: SweepPoint, metric: str) -> Line:
    label = tuple(point.values.values())
    if isinstance(point.result, Comparison):
        return compared_line(label, point.result, metric)
    assert point.result is not None
    return line(label, point.result[metric])


def compared_line(label: tuple[str, ...], comparison: Comparison, metric: str) -> Line:
    """A row of one metric of a comparison."""
    estimates = [*comparison.solved.get(metric, ()), *comparison.simulated.get(metric, ())]
    return line(label, estimates, comparison.verdicts(metric))


def line(
    label: tuple[str, ...], estimates: Iterable[Estimate], verdicts: Mapping[int | None, Verdict] | None = None
) -> Line:
    """A row of the estimates of one metric; ``verdicts`` are those on each order."""
    rungs, witness = {}, None
    for estimate in estimates:
        if estimate.order is None:
            witness = estimate
        else:
            rungs[estimate.order] = estimate
    return Line(label, rungs, witness, verdicts or {})


def ladder(labels: tuple[str, ...], lines: Sequence[Line], above: Sequence[str], below: Sequence[str]) -> Grid:
    """Lines as a grid, without empty columns; ``labels`` head the first ones."""
    orders = sorted({order for one in lines for order in one.rungs})
    simulated, formulas = any(one.witness for one in lines), _formulas(lines)
    judged = bool(formulas)
    heads = [*(label.rpartition(".")[2] for label in labels), *(f"order {order}" for order in orders)]
    marks = _Marks()
    rows = []
    for one in lines:
        scale, unit = _scale(one)
        whole = _all_whole(one, scale)
        cells = [marks.on(_number(one.rungs.get(order), scale, whole), one.rungs.get(order)) for order in orders]
        witness = [marks.on(_interval(one.witness, scale, whole), one.witness)] * simulated
        label = [part.replace("_per_", "/") for part in one.label]
        rows.append([*label, *cells, *witness, unit, *[one.judged] * judged])
    return Grid(
        header=[*heads, *["simulated"] * simulated, "", *[VERDICT] * judged],
        rows=rows,
        above=above,
        below=[*formulas, *marks.notes, *below],
        numbers=frozenset(range(len(labels), len(heads) + simulated)),
        breaks=_breaks([one.label[0] for one in lines]) if len(labels) == 1 else frozenset(),
    )


VERDICT = "verdict on order"


def _formulas(lines: Sequence[Line]) -> list[str]:
    """The formula of each order that a verdict judges, with its rows if an order has several formulas."""
    judged: dict[int, dict[str, list[str]]] = {}
    for one in lines:
        if one.judged and one.best is not None and one.best.order is not None:
            rows = judged.setdefault(one.best.order, {}).setdefault(one.best.source, [])
            rows.append(", ".join(one.label))
    return [
        f"order {order}: {source}" + (f" (of {', '.join(rows)})" if len(sources) > 1 else "")
        for order, sources in sorted(judged.items())
        for source, rows in sources.items()
    ]


def _breaks(metrics: Sequence[str]) -> frozenset[int]:
    """The rows after which the group of one time ends; a time with a single row is not a group."""
    groups = [(time, len(list(rows))) for time, rows in groupby(metrics, key=_latency)]
    times = [time if size > 1 else "" for time, size in groups for _ in range(size)]
    return frozenset(row for row, (this, following) in enumerate(pairwise(times)) if this != following)


def _latency(metric: str) -> str:
    return next((latency.name for latency in LATENCIES if metric in latency.names), "")


class _Marks:
    """Footnotes, numbered as they come."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def on(self, text: str, estimate: Estimate | None) -> str:
        """A cell's text with the mark of what qualifies the estimate."""
        if estimate is None or not estimate.remark:
            return text
        number = self._numbers.setdefault(estimate.remark, len(self._numbers) + 1)
        return text + superscript(number)

    @property
    def notes(self) -> list[str]:
        return [f"{superscript(number)} {note}" for note, number in self._numbers.items()]


def superscript(number: int) -> str:
    return "".join("⁰¹²³⁴⁵⁶⁷⁸⁹"[int(digit)] for digit in str(number))


def _score(comparison: Comparison) -> list[str]:
    """The number of metrics that each order gets right."""
    found: dict[int, list[Verdict]] = {}
    for judged in sorted(comparison.judged, key=lambda one: one.formula.order or 0):
        found.setdefault(judged.formula.order or 0, []).append(judged.verdict)
    if all(verdict is Verdict.REPLAYED for verdicts in found.values() for verdict in verdicts):
        return []
    shares = [f"{each.count(Verdict.AGREES)} of {len(each)} at order {order}" for order, each in found.items()]
    return [f"agree: {', '.join(shares)}"] if shares else []


# Numbers


def spread(simulated: Estimate) -> float:
    """The half width of an interval; 0 where nothing is random, or there is none."""
    if simulated.low is None or simulated.high is None:
        return 0.0
    half = (simulated.high - simulated.low) / 2
    return half if half > 1e-9 * abs(simulated.amount) else 0.0


def _alike(one: float, other: float) -> bool:
    return math.isclose(one, other, rel_tol=1e-9)


def _scale(row: Line) -> tuple[float, str]:
    """The unit that a row's numbers are shown in, and how many SI units it is."""
    shown = [each for each in (row.witness, row.best, *row.rungs.values()) if each is not None]
    if not shown:
        return 1.0, ""
    first = next((each for each in shown if each.amount and math.isfinite(each.amount)), shown[0])
    if not first.unit:
        large = 1e6 <= abs(first.amount) < math.inf
        power = 3 * (math.floor(math.log10(abs(first.amount))) // 3) if large else 0
        return 10.0**power, f"x 1e{power}" if power else ""
    scale, symbol = readable(first.amount, first.unit)
    return scale, symbol.replace("request", "req").replace("token", "tok")


def _all_whole(row: Line, scale: float) -> bool:
    """Whether a row is a count without decimals: all its numbers are whole and have no interval."""
    shown = [*row.rungs.values(), *([row.witness] if row.witness else [])]
    certain = row.witness is None or not spread(row.witness)
    return certain and scale == 1 and all(float(each.amount).is_integer() for each in shown)


def _number(estimate: Estimate | None, scale: float, whole: bool = False) -> str:
    if estimate is None:
        return ""
    value = estimate.amount / scale
    return f"{value:,.0f}" if whole else digits(value, share=not estimate.unit)


def digits(value: float, *, share: bool = False) -> str:
    """Three significant digits, thousands whole; powers of ten below 0.0001. Of a share near 1, up to its last nine."""
    if 0 < abs(value) < _TINY:
        return f"{value:.2e}"
    if share and abs(value - 1) < _ROUNDING:
        value = 1.0
    if not share or not 0.99 < value < 1:
        return f"{value:,.{_decimals(value)}f}"
    nines = -math.floor(math.log10(1 - value))
    return f"{value:.{max(3, nines)}f}" if nines <= _NINES else f">{1 - 10**-_NINES:.{_NINES}f}"


_TINY, _NINES, _ROUNDING = 1e-4, 5, 1e-12


def _decimals(value: float) -> int:
    """The decimals that make three significant digits."""
    if value == 0 or not math.isfinite(value):
        return 0
    return max(0, 2 - math.floor(math.log10(abs(value))))


def value_in_words(estimate: Estimate | None) -> str:
    """A value with its unit, to three digits."""
    if estimate is None:
        return ""
    scale, unit = readable(estimate.amount, estimate.unit)
    return f"{_number(estimate, scale)} {unit}".strip()


def interval_in_words(estimate: Estimate | None) -> str:
    """A value with half the width of its interval and its unit."""
    if estimate is None:
        return ""
    scale, unit = readable(estimate.amount, estimate.unit)
    return f"{_interval(estimate, scale)} {unit}".strip()


def _interval(estimate: Estimate | None, scale: float, whole: bool = False) -> str:
    """``value ± half width``, with one number of decimals."""
    half = spread(estimate) / scale if estimate else 0.0
    if estimate is None or not half or not math.isfinite(half):
        return _number(estimate, scale, whole)
    value = estimate.amount / scale
    if 0 < abs(value) < _TINY:
        return f"{value:.2e} ± {half:.1g}"
    decimals = _decimals(value)
    rounded = f"{half:,.{decimals}f}" if half > 0.5 * 10**-decimals else f"{half:.1g}"
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
    """Print the grid in the console's width, at most 80 columns; wider where it must be, but never cut."""
    width = min(WIDTH, console.width)
    _print_lines(grid.above, console, width)
    if grid.above:
        console.print()
    for fit in _FITS:
        table = _table(grid, fit)
        needed = console.measure(table, options=console.options.update(max_width=_UNBOUNDED)).maximum
        if needed <= width:
            break
    given, console.width = console.width, max(console.width, needed)  # rich cuts what is wider than its console
    console.print(table, width=needed)
    console.width = given
    if grid.below:
        console.print()
    _print_lines(grid.below, console, width)


_UNBOUNDED = 10_000


@dataclass(frozen=True)
class _Fit:
    """Spaces between columns; heads of numbers in two lines; intervals below the values.

    ``label`` and ``after``: characters in a line of a label, and of what follows the numbers.
    """

    gap: int = 1
    folded: bool = True
    label: int = 0
    after: int = 10
    below: bool = False


_FITS = (
    _Fit(gap=2, folded=False),
    _Fit(gap=2),
    _Fit(),
    *(_Fit(label=label) for label in (24, 16, 12)),
    *(_Fit(label=label, below=True) for label in (16, 12, 10)),
    _Fit(label=8, after=6, below=True),
)
"""The widest first."""


def _table(grid: Grid, fit: _Fit) -> "Table":
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, fit.gap - 1, 0, 0), header_style="bold")
    for place, name in enumerate(grid.header):
        justify: Literal["left", "right"] = "right" if place in grid.numbers else "left"
        head = _stacked(name, fit.after) if name == VERDICT and fit.folded else name
        head = head.replace(" ", "\n") if fit.folded and place in grid.numbers else head
        least = 1 if fit.gap == 1 else None  # rich measures an empty column as 0, but draws it 1 wide
        table.add_column(head, justify=justify, vertical="bottom", no_wrap=True, min_width=least)
    for place, row in enumerate(grid.rows):
        table.add_row(*(_styled(_fitted(cell, at, grid, fit)) for at, cell in enumerate(row)))
        if place in grid.breaks:
            table.add_row()
    return table


def _fitted(cell: str, at: int, grid: Grid, fit: _Fit) -> str:
    """A cell of the column ``at``, perhaps in several lines."""
    if at in grid.numbers:
        return cell.replace(" ± ", "\n± ") if fit.below else cell
    if not fit.label:
        return cell
    return _stacked(cell, fit.label if at < min(grid.numbers, default=at + 1) else fit.after)


def _stacked(cell: str, width: int) -> str:
    """A cell in lines of about ``width`` characters: broken at spaces, before slashes, after dots and underscores.

    A word of more than ``LONG`` characters is hyphenated where lines are shorter than that.
    """
    lines = [""]
    for word in re.findall(r"/?[^ ._/]+[ ._]*|[ ._/]+", cell):
        if width < LONG < len(word.rstrip("._ ")):
            lines += [word[: LONG - 1] + "-", word[LONG - 1 :]]
            continue
        if lines[-1] and len(lines[-1]) + len(word.rstrip()) > width:
            lines.append("")
        lines[-1] += word
    return "\n".join(line.rstrip() for line in lines if line)


LONG = 11
"""Characters of the longest word that is never hyphenated."""


def _print_lines(lines: Sequence[str], console: "Console", width: int) -> None:
    """Each line wrapped, its further lines set in."""
    for text in lines:
        wrapped = fill(text, width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
        console.print(wrapped, markup=False, highlight=False, soft_wrap=True)


_STYLES = {Verdict.AGREES: "green", Verdict.BREAKS: "red", Verdict.NOT_ENOUGH_DATA: "yellow"}


def _styled(cell: str) -> "Text":
    from rich.text import Text

    judged = cell.partition(": ")[2]
    style = next((style for verdict, style in _STYLES.items() if judged.startswith(verdict)), "")
    return Text(cell, style=style)
