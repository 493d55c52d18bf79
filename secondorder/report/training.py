"""Studies of a training run as tables and figures: over the interval, the spares, the size of the cluster."""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

from secondorder.answers.answer import COLUMNS, Answer, row
from secondorder.answers.estimate import Estimate
from secondorder.fleets.failures import Bursts, NewNodes, PlatformRenewal, ReplicatedPairs, StationaryNodes
from secondorder.quantities import pretty
from secondorder.report.style import BLUE, GREEN, GREY, INK, ORANGE, blank, dots, styled, tidy, title
from secondorder.report.tables import Grid, Line, agreement, ladder, line
from secondorder.scenarios.training import Training
from secondorder.simulate.statistics.intervals import Interval
from secondorder.studies.interval import Choice, IntervalStudy
from secondorder.studies.scaling import ScalingStudy, Size
from secondorder.studies.spares import SparesStudy
from secondorder.systems.registry import SYSTEMS
from secondorder.validation.verdicts import verdict

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Study: TypeAlias = IntervalStudy | SparesStudy | ScalingStudy
STYLES = {0: ("no failures", GREY, ":"), 1: ("first order", GREEN, "--"), 2: ("exact, or nearest to it", BLUE, "-")}


def study_grids(study: Study, margin: float | None = None) -> list[Grid]:
    """The tables of a study; a formula agrees within ``margin`` (a share; that of training if none is given)."""
    margin = SYSTEMS["training"].margin if margin is None else margin
    match study:
        case IntervalStudy():
            return [_choices(study), _over_intervals(study, margin), *_spreads(study)]
        case SparesStudy():
            costs = [_spares_costs(study)] if study.paid(0) is not None else []
            goodput = [_over_spares(study, metric, margin) for metric in ("availability", "goodput")]
            return [*goodput, *_spreads(study), *costs]
        case ScalingStudy():
            return [_over_sizes(study, margin), *_spreads(study), _costs(study)]


def study_frame(study: Study, margin: float | None = None) -> "pd.DataFrame":
    """All estimates of a study in one tidy frame, with what was varied in front, judged by ``margin``."""
    import pandas as pd

    margin = SYSTEMS["training"].margin if margin is None else margin
    rows = [(value, *rest) for value, rest in _rows(study, margin)]
    return pd.DataFrame(rows, columns=[_varied(study), *COLUMNS])


@styled
def study_figure(study: Study) -> "Figure":
    """Closed forms as lines, simulations as dots with bars."""
    match study:
        case IntervalStudy():
            return _interval_figure(study)
        case SparesStudy():
            return _spares_figure(study)
        case ScalingStudy():
            return _scaling_figure(study)


# Rows of frames


def _varied(study: Study) -> str:
    return {IntervalStudy: "interval", SparesStudy: "spares", ScalingStudy: "accelerators"}[type(study)]


def _rows(study: Study, margin: float) -> list[tuple[float, tuple[object, ...]]]:
    name = study.scenario.name
    match study:
        case IntervalStudy():
            points: list[tuple[float, Sequence[Estimate], Sequence[Estimate]]] = [
                (tau, solved["goodput"], [study.simulated[k], *study.spread[k]])
                for k, (tau, solved) in enumerate(zip(study.dots, study.points, strict=True))
            ]
            points += [(tau, solved["goodput"], ()) for tau, solved in zip(study.line, study.solved, strict=True)]
            points.sort(key=lambda point: point[0])
        case SparesStudy():
            points = [(count, *_pair(solved, found)) for count, solved, found in _counts(study)]
        case ScalingStudy():
            points = [(size.accelerators, *_pair(size.solved, size.simulated)) for size in study.sizes]
    return [(value, each) for value, solved, found in points for each in _judged(name, solved, found, margin)]


def _counts(study: SparesStudy) -> list[tuple[int, Answer, Answer | None]]:
    found = study.simulated or (None,) * len(study.counts)
    return list(zip(study.counts, study.solved, found, strict=True))


def _pair(solved: Answer, simulated: Answer | None) -> tuple[Sequence[Estimate], Sequence[Estimate]]:
    return solved.estimates, simulated.estimates if simulated else ()


def _judged(
    name: str, solved: Sequence[Estimate], simulated: Sequence[Estimate], margin: float
) -> list[tuple[object, ...]]:
    truth = {each.metric: each for each in simulated}
    rows = []
    for each in solved:
        judged = verdict(each.amount, truth[each.metric], margin) if each.metric in truth else ""
        rows.append(row(name, each, str(judged)))
    return rows + [row(name, each) for each in simulated]


# Grids


def _line(label: tuple[str, ...], metric: str, solved: Answer, simulated: Estimate | None, margin: float) -> Line:
    formulas = [_in_every_row(each) for each in solved[metric]]
    if simulated is None:
        return line(label, formulas)
    verdicts = {each.order: verdict(each.amount, simulated, margin) for each in formulas}
    return line(label, [*formulas, simulated], verdicts)


def _in_every_row(estimate: Estimate) -> Estimate:
    """An estimate with only the qualifications that all rows have, so that the rows share their footnotes."""
    outside = _without_numbers(estimate.outside) or "its conditions do not hold" * bool(estimate.outside)
    return replace(estimate, outside=outside, note=_without_numbers(estimate.note))


def _without_numbers(text: str) -> str:
    """The parts of a note without text in brackets or after a colon; none if a number remains."""
    told = (re.sub(r" \([^)]*\)", "", part.partition(":")[0]) for part in text.split("; "))
    return "; ".join(part for part in told if not re.search(r"\d\.\d", part))


def _choices(study: IntervalStudy) -> Grid:
    shown = bool(study.simulated)
    header = ["chosen by", "interval", "goodput", "regret", *["simulated", "regret"] * shown]
    rows = [_choice(each) for each in study.choices]
    above = [heading(study.scenario), study.how]
    below = ["regret: share of the best goodput that is lost; Young and Daly for exponential failures"]
    if study.note:
        below.append(study.note)
    if study.plateau is not None:
        low, high = (pretty(tau, "s") for tau in study.plateau)
        below.append(f"simulated, the best is somewhere between {low} and {high}")
    return Grid(header=header, rows=rows, above=above, below=below, numbers=frozenset(range(1, len(header))))


def _choice(choice: Choice) -> list[str]:
    cells = [choice.who, pretty(choice.interval, "s"), f"{choice.goodput:.4f}", f"{100 * max(choice.regret, 0):.3f} %"]
    if choice.simulated is not None and choice.simulated_regret is not None:
        cells += [_plus_minus(choice.simulated, 4), _plus_minus(choice.simulated_regret, 3, 100) + " %"]
    return cells


def _plus_minus(interval: Interval, decimals: int, scale: float = 1) -> str:
    middle = scale * interval.mean
    if interval.low is None or interval.high is None:
        return f"{middle:.{decimals}f}"
    return f"{middle:.{decimals}f} ± {scale * (interval.high - interval.low) / 2:.{decimals}f}"


def _over_intervals(study: IntervalStudy, margin: float) -> Grid:
    if study.simulated:
        places: Iterable[tuple[float, Answer, Estimate | None]] = zip(
            study.dots, study.points, study.simulated, strict=True
        )
    else:
        places = [(tau, solved, None) for tau, solved in list(zip(study.line, study.solved, strict=True))[::6]]
    lines = [_line((pretty(tau, "s"),), "goodput", solved, found, margin) for tau, solved, found in places]
    above = ["goodput: share of the wall time that is work kept", *_agreement(study.simulated, margin)]
    return ladder(("interval",), lines, above, [])


def _agreement(simulated: Sequence[Estimate], margin: float) -> list[str]:
    """What ± and verdicts mean, where there are any."""
    return [agreement(margin, simulated)] if simulated else []


def _spreads(study: Study) -> list[Grid]:
    """The goodput of single runs: its 5th and 95th percentile and its mean."""
    places = _spread_places(study)
    if not places:
        return []
    rows = [[label, *(_plus_minus(_between(each), 4) for each in three)] for label, *three in places]
    short = next((each.unsettled for _, *three in places for each in three if each.unsettled), "")
    return [
        Grid(
            header=[_varied(study), "p5", "mean", "p95"],
            rows=rows,
            above=["goodput of single runs: 5 and 95 % of them stay below p5 and p95"],
            below=[f"p5 and p95: {short}"] if short else [],
            numbers=frozenset(range(1, 4)),
        )
    ]


def _spread_places(study: Study) -> list[tuple[str, Estimate, Estimate, Estimate]]:
    """Labels, and the 5th percentile, mean and 95th percentile of the simulated goodput."""
    match study:
        case IntervalStudy():
            dots = zip(study.dots, study.spread, study.simulated, strict=True)
            return [(pretty(tau, "s"), low, mean, high) for tau, (low, high), mean in dots]
        case SparesStudy():
            found = [(str(count), answer) for count, _, answer in _counts(study)]
        case ScalingStudy():
            found = [(f"{size.accelerators:,}", size.simulated) for size in study.sizes]
    return [
        (label, answer.best("goodput_p5"), answer.best("goodput"), answer.best("goodput_p95"))
        for label, answer in found
        if answer is not None
    ]


def _between(estimate: Estimate) -> Interval:
    """The interval of an estimate that has one that is finite."""
    low, high = estimate.low, estimate.high
    known = low is not None and high is not None and math.isfinite(low) and math.isfinite(high)
    return Interval(estimate.amount, low if known else None, high if known else None)


def _over_spares(study: SparesStudy, metric: str, margin: float) -> Grid:
    lines = [
        _line((str(count),), metric, solved, found.best(metric) if found else None, margin)
        for count, solved, found in _counts(study)
    ]
    above = {
        "availability": [
            heading(study.scenario),
            study.how,
            "availability: share of the time not waiting for a repair",
            *_agreement([answer.best(metric) for answer in study.simulated], margin),
        ],
        "goodput": ["goodput: share of the wall time that is work kept"],
    }[metric]
    below = [] if metric == "availability" else _advice(study)
    return ladder(("spares",), lines, above, below)


def _advice(study: SparesStudy) -> list[str]:
    wanted = [(share, study.enough(share)) for share in (0.99, 0.999, 0.9999)]
    said = [f"{count} for {share:.4g}" for share, count in wanted if count is not None]
    lines = [f"fewest of these spares for an availability: {', '.join(said)}"] if said else []
    if missed := [f"{share:.4g}" for share, count in wanted if count is None]:
        lines.append(f"with none of these spares is the availability {' or '.join(missed)}")
    if study.paid(0) is None:
        lines.append("no cost of spares is shown: that needs a model and its cluster, to know how many nodes work")
    return lines


def _spares_costs(study: SparesStudy) -> Grid:
    """The cost of an accelerator's hour of kept work, by the number of spares."""
    rows, shares = [], []
    for count, solved, found in _counts(study):
        share, goodput = study.paid(count), (found or solved).best("goodput").amount
        assert share is not None
        shares.append(share / goodput if goodput > 0 else math.inf)
        cells = [str(count), f"{share:.4f}", f"{goodput:.4f}", f"{shares[-1]:.4f}"]
        rows.append([*cells, *[f"{study.price * shares[-1]:.4g}" for _ in [0] if study.price is not None]])
    least = study.counts[shares.index(min(shares))]
    below = [
        "paid: accelerators, spares included, over those that work; for kept work: paid over goodput",
        f"work that is kept is cheapest with {least} of these spares",
    ]
    priced = study.price is not None
    below += [f"an accelerator is paid {study.price:.4g} USD/hour"] if priced else ["no price is known: give one"]
    header = ["spares", "paid", "goodput", "for kept work", *["USD/hour kept"] * priced]
    above = ["cost: what is paid for, spares idle or not"]
    return Grid(header=header, rows=rows, above=above, below=below, numbers=frozenset(range(1, len(header))))


def _over_sizes(study: ScalingStudy, margin: float) -> Grid:
    lines = [
        _line(
            (f"{size.accelerators:,}", pretty(size.interval, "s")),
            "goodput",
            size.solved,
            size.simulated.best("goodput") if size.simulated else None,
            margin,
        )
        for size in study.sizes
    ]
    found = [size.simulated.best("goodput") for size in study.sizes if size.simulated]
    above = [_of_sizes(study), study.how, "goodput, each size at its own best interval", *_agreement(found, margin)]
    return ladder(("accelerators", "interval"), lines, above, [f"left out: {why}" for why in study.left_out])


def _costs(study: ScalingStudy) -> Grid:
    priced = any(size.price is not None for size in study.sizes)
    header = ["accelerators", "mtbf", "goodput", "worth", *["USD/hour paid", "USD/hour kept"] * priced]
    throughput = any("throughput" in size.solved for size in study.sizes)
    header += ["tokens/s"] * throughput
    rows = [_cost(size, priced, throughput) for size in study.sizes]
    below = ["worth: accelerators that never fail and would do as much"]
    if priced:
        spares = study.scenario.spares is not None
        known = all(size.paid is not None for size in study.sizes)
        what = (
            ("spares included" if known else "spares left out, as their number in a node is not known")
            if spares
            else ""
        )
        below.append("; ".join(filter(None, ["kept: for an hour of one accelerator's work that is kept", what])))
    return Grid(header=header, rows=rows, below=below, numbers=frozenset(range(len(header))))


def _cost(size: Size, priced: bool, throughput: bool) -> list[str]:
    goodput = best(size, "goodput").amount
    cells = [
        f"{size.accelerators:,}",
        pretty(size.scenario.mtbf, "s"),
        f"{goodput:.4f}",
        f"{size.effective(goodput):,.0f}",
    ]
    if priced:
        paid, kept = size.price, size.cost(goodput)
        cells += ["" if paid is None else f"{paid:.3g}", "" if kept is None else f"{kept:.3g}"]
    if throughput:
        cells.append(f"{best(size, 'throughput').amount:,.0f}" if "throughput" in size.solved else "")
    return cells


def best(size: Size, metric: str) -> Estimate:
    """The simulated estimate if there is one, otherwise that of the highest order."""
    answer = size.simulated if size.simulated is not None and metric in size.simulated else size.solved
    return answer.best(metric)


def heading(scenario: Training) -> str:
    """What a study is about."""
    law = KINDS[type(scenario.process)]
    between, stop = pretty(scenario.mtbf, "s"), pretty(scenario.blocking_seconds, "s")
    return f"{scenario.name}: a failure every {between} ({law}), {stop} for a checkpoint"


def _of_sizes(study: ScalingStudy) -> str:
    """The heading of a study over sizes, which fail at different rates."""
    law = KINDS[type(study.scenario.process)]
    given = f"{pretty(study.scenario.mtbf, 's')} at {study.accelerators:,}"
    stops = sorted({pretty(size.scenario.blocking_seconds, "s") for size in study.sizes})
    stop = f"{stops[0]} for a checkpoint" if len(stops) == 1 else "checkpoints as the storage takes them"
    return f"{study.scenario.name}: failures in proportion to the accelerators, every {given} ({law}); {stop}"


KINDS: Mapping[type, str] = {
    PlatformRenewal: "platform renewed",
    StationaryNodes: "nodes of all ages",
    NewNodes: "nodes new at the start",
    Bursts: "in bursts",
    ReplicatedPairs: "replicated pairs",
}

# Figures


def _axes(count: int) -> "tuple[Figure, Sequence[Axes]]":
    figure = blank(5.2 * count if count > 1 else 6.4, 4.4)
    return figure, figure.subplots(1, count, squeeze=False)[0]


def _draw(
    axes: "Axes", xs: Sequence[float], answers: Sequence[Answer], metric: str, scale: Callable[[int, float], float]
) -> None:
    """The closed forms of a metric along ``xs``; ``scale`` turns the value at a place into what is drawn."""
    for order, (label, colour, style) in STYLES.items():
        points = [
            (x, scale(place, e.amount))
            for place, (x, answer) in enumerate(zip(xs, answers, strict=True))
            for e in answer.get(metric, ())
            if e.order == order
        ]
        if points:
            axes.plot(*zip(*points, strict=True), color=colour, linestyle=style, linewidth=1.8, label=label)


def round_ticks(axes: "Axes", values: Sequence[float]) -> None:
    """Ticks at 1, 2 and 5 times the powers of ten of a logarithmic axis."""
    low, high = min(values), max(values)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [step * 10.0**power for power in powers for step in (1, 2, 5) if low <= step * 10.0**power <= high]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_xticks([], minor=True)


def _times(estimate: Estimate, factor: float) -> Estimate:
    """An estimate and its interval, multiplied by ``factor``."""
    low, high = (None if edge is None else factor * edge for edge in (estimate.low, estimate.high))
    return replace(estimate, amount=factor * estimate.amount, low=low, high=high)


def _under(estimate: Estimate, above: float) -> Estimate:
    """``above`` divided by an estimate and by its interval."""
    low, high = (None if edge is None else above / edge for edge in (estimate.high, estimate.low))
    return replace(estimate, amount=above / estimate.amount, low=low, high=high)


def _same(_: int, value: float) -> float:
    return value


MARKS: Mapping[str, tuple[str, str]] = {
    "given": ("s", ORANGE),
    "Young": ("v", GREEN),
    "Daly": ("^", GREY),
    "best": ("*", INK),
}


LEGEND = 2.4
"""Inches for a legend beside its panel: above and below a bowl there is no room for one."""


def _shade(axes: "Axes", xs: Sequence[float], study: Study) -> None:
    """The range of nine of ten runs."""
    if places := _spread_places(study):
        lows, highs = [low.amount for _, low, _, _ in places], [high.amount for _, _, _, high in places]
        axes.fill_between(
            xs[: len(lows)],
            lows,
            highs,
            facecolor=(BLUE, 0.15),
            edgecolor=BLUE,
            linewidth=0.7,
            label="nine of ten runs",
        )


def _interval_figure(study: IntervalStudy) -> "Figure":
    figure, (axes,) = _axes(1)
    hours = [tau / 3600 for tau in study.line]
    _draw(axes, hours, study.solved, "goodput", _same)
    if study.beside:
        other = [answer.best("goodput").amount for answer in study.beside]
        axes.plot(hours, other, color=INK, linestyle="-.", linewidth=1.2, label="blocking, with the same write")
    _shade(axes, [tau / 3600 for tau in study.dots], study)
    dots(axes, [tau / 3600 for tau in study.dots], study.simulated, 1.0)
    for choice in study.choices:
        marker, colour = MARKS[choice.who]
        name = f"{choice.who}: {choice.interval / 3600:.3g} h"
        axes.plot([choice.interval / 3600], [choice.goodput], marker, color=colour, markersize=9, label=name, zorder=4)
    low = min([e.amount for e in study.simulated] + [answer.best("goodput").amount for answer in study.solved])
    axes.set(xscale="log", xlabel="work between checkpoints (h)", ylabel="goodput (share of wall time)")
    round_ticks(axes, hours)
    axes.set_ylim(max(0.0, low - 0.05), 1.0)
    figure.set_size_inches(figure.get_figwidth() + LEGEND, figure.get_figheight())
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    title(figure, heading(study.scenario), 9)
    return figure


def _spares_figure(study: SparesStudy) -> "Figure":
    figure, panels = _axes(2)
    for axes, metric in zip(panels, ("availability", "goodput"), strict=True):
        _draw(axes, study.counts, study.solved, metric, _same)
        dots(axes, study.counts, [answer.best(metric) for answer in study.simulated], 1.0)
        if metric == "goodput":
            _shade(axes, study.counts, study)
        axes.set(xlabel="spare nodes", ylabel=f"{metric} (share of wall time)")
        axes.set_ylim(max(0.0, axes.get_ylim()[0]), 1.01)
        tidy(axes, "lower right")
    title(figure, heading(study.scenario), 9)
    return figure


def _scaling_figure(study: ScalingStudy) -> "Figure":
    priced = all(size.price is not None for size in study.sizes)
    figure, panels = _axes(2 + priced)
    counts = [size.accelerators for size in study.sizes]
    solved = [size.solved for size in study.sizes]
    simulated = [size.simulated.best("goodput") for size in study.sizes if size.simulated is not None]
    _draw(panels[0], counts, solved, "goodput", _same)
    dots(panels[0], counts[: len(simulated)], simulated, 1.0)
    _shade(panels[0], counts, study)
    worth = [_times(each, count) for each, count in zip(simulated, counts, strict=False)]
    dots(panels[1], counts[: len(worth)], worth, 1.0)
    panels[0].set(ylabel="goodput (share of wall time)", ylim=(0, 1.02))
    _draw(panels[1], counts, solved, "goodput", lambda place, value: counts[place] * value)
    panels[1].plot(counts, counts, color=INK, linewidth=0.8, linestyle=(0, (1, 2)), label="all that are paid for")
    panels[1].set(ylabel="accelerators' worth of work kept", yscale="log")
    if priced:
        _draw(panels[2], counts, solved, "goodput", lambda place, value: study.sizes[place].cost(value) or 0.0)
        prices = [size.cost(1.0) or 0.0 for size in study.sizes]
        costs = [_under(each, price) for each, price in zip(simulated, prices, strict=False)]
        dots(panels[2], counts[: len(costs)], costs, 1.0)
        panels[2].set(ylabel="USD for an accelerator's hour of work kept")
    for axes in panels:
        axes.set(xscale="log", xlabel="accelerators")
        for axis in (axes.xaxis, axes.yaxis) if axes is panels[1] else (axes.xaxis,):
            axis.set_major_formatter(lambda value, _: f"{value:,g}")
        tidy(axes, "best")
    title(figure, _of_sizes(study), 9)
    return figure
