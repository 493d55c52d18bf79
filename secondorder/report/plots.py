"""Figures: closed forms are lines, simulations are dots with bars, axes have units."""

from typing import TYPE_CHECKING

from secondorder.quantities import Quantity, pretty, quantity, si
from secondorder.report.explanation import draw_waterfall
from secondorder.report.style import INK, ORDERS, RED, blank, dots, labelled, scale_of, styled, tidy, title
from secondorder.scenarios.queue import FirstCome, Queue
from secondorder.validation.explanation.explain import Explanation
from secondorder.validation.loads import LoadStudy
from secondorder.validation.utilisation import UtilisationStudy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@styled
def knee_figure(study: LoadStudy, why: Explanation, *, explained: float, objective: Quantity | str) -> "Figure":
    """Tail of the time to first token over the load; beside it, what the gap at the load ``explained`` is made of."""
    figure = blank(10, 4.2)
    tail, causes = figure.subplots(1, 2, width_ratios=[1.15, 1])
    _draw(tail, study, "ttft_p99", orders=(0, 2), scale=1e3)
    tail.set(yscale="log", xlabel="arrival rate (request/s)", ylabel="time to first token, p99 (ms)")
    tail.yaxis.set_major_formatter(lambda value, _: f"{value:,g}")
    _objective(tail, study, objective)
    tail.axvline(study.saturation, color=INK, linewidth=1)
    tail.annotate(
        f"saturation {study.saturation:.1f}/s", (study.saturation, 0.25), (4, 0), rotation=90, color=INK,
        xycoords=("data", "axes fraction"), textcoords="offset points", ha="left", va="center", fontsize=9,
    )  # fmt: skip
    tail.set_xlim(0, study.saturation * 1.06)
    tidy(tail)
    draw_waterfall(causes, why)
    causes.set_xlabel(f"why, at {explained:.0%} load: time to first token, p99 (ms)")
    title(figure, _title(study), 10)
    return figure


@styled
def utilisation_figure(study: UtilisationStudy) -> "Figure":
    """Each metric of a queue against its utilisation."""
    count = len(study.metrics)
    figure = blank(5.2 * count, 4.4)
    for axes, metric in zip(figure.subplots(1, count, squeeze=False)[0], study.metrics, strict=True):
        truth = [answer.best(metric) for answer in study.simulated]
        shown = [*truth, *(e for answer in study.solved for e in answer.get(metric, ()))]
        scale, unit = scale_of([e.amount for e in shown], shown[0].unit)
        _draw_orders(axes, study, metric, 1 / scale)
        dots(axes, study.dots, truth, 1 / scale)
        axes.set(xlabel="utilisation", ylabel=labelled(metric, unit), xlim=(0, 1), ylim=(0, None))
        tidy(axes)
    title(figure, _queue_title(study.queue), 10)
    return figure


def _draw_orders(axes: "Axes", study: UtilisationStudy, metric: str, scale: float) -> None:
    """The closed forms as lines; if there is none, the figure says so."""
    orders = sorted({e.order for answer in study.solved for e in answer.get(metric, ()) if e.order is not None})
    for order in orders:
        points = [
            (rho, scale * e.amount)
            for rho, answer in zip(study.line, study.solved, strict=True)
            for e in answer.get(metric, ())
            if e.order == order
        ]
        label, colour, style = ORDERS[order]
        above = 2.5 - order / 10  # dots and dashes over the line of a higher order that is equal
        axes.plot(*zip(*points, strict=True), color=colour, linestyle=style, linewidth=1.8, label=label, zorder=above)
    if not any(order > 0 for order in orders):
        axes.plot([], [], " ", label="no closed form but the bound" if orders else "no closed form of this metric")


def _queue_title(queue: Queue) -> str:
    arrivals = type(queue.arrivals).__name__
    service = queue.service or queue.discipline
    kind = "" if isinstance(queue.discipline, FirstCome) else f", {type(queue.discipline).__name__}"
    servers = "1 server" if queue.servers == 1 else f"{queue.servers} servers"
    return f"{arrivals} arrivals, service {service}, {servers}{kind}"


def _draw(axes: "Axes", study: LoadStudy, metric: str, *, orders: tuple[int, ...], scale: float) -> None:
    for order in orders:
        label, colour, style = ORDERS[order]
        rates, values = study.line(metric, order)
        if rates:
            axes.plot(rates, [scale * v for v in values], color=colour, linestyle=style, linewidth=1.8, label=label)
    rates = [load * study.saturation for load in study.loads]
    truth = [point.simulated.best(metric) for point in study.points]
    dots(axes, rates, truth, scale)
    if study.replays:
        values = [scale * replay.best(metric).amount for replay in study.replays]
        axes.plot(
            rates, values, "D", color=INK, markerfacecolor="none", markersize=5, label="trace's own arrivals, replayed"
        )


def _objective(axes: "Axes", study: LoadStudy, objective: Quantity | str) -> None:
    most = quantity(objective, "s", "objective")
    axes.axhline(1e3 * si(most), color=RED, linewidth=1, linestyle=(0, (6, 3)))
    axes.annotate(
        f"objective {pretty(si(most), 's')}", (0.01, 1e3 * si(most)), (0, 3), xycoords=("axes fraction", "data"),
        textcoords="offset points", fontsize=9, color=RED,
    )  # fmt: skip
    knee = study.knee("ttft_p99", most)
    if knee is not None:
        axes.plot([knee], [1e3 * si(most)], "v", color=RED, markersize=8, zorder=4)
        axes.annotate(
            f"knee {knee:.1f}/s", (knee, 1e3 * si(most)), (-6, 8), textcoords="offset points", ha="right", fontsize=9,
            color=RED,
        )  # fmt: skip


def _title(study: LoadStudy) -> str:
    scenario = study.scenario
    law = scenario.lengths
    lengths = getattr(law, "name", "") or type(law).__name__
    return (
        f"{scenario.model.name} on {scenario.accelerator.name}, {type(scenario.arrivals).__name__} arrivals, "
        f"lengths {lengths}, batch of {scenario.settings.max_num_seqs}"
    )
