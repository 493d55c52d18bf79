"""Figures: closed forms are lines, simulations are dots with bars, axes have units."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from secondorder.answers.estimate import Estimate
from secondorder.errors import FileError
from secondorder.files import check_place, unwritable, write_aside
from secondorder.quantities import Quantity, pretty, quantity, si
from secondorder.scenarios.queue import FirstCome, Queue
from secondorder.validation.loads import LoadStudy
from secondorder.validation.utilisation import UtilisationStudy

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BLUE, ORANGE, GREY, GREEN, INK = "#1f77b4", "#d9661f", "#8a8a8a", "#2a8f5b", "#222222"
ORDERS = {
    0: ("order 0: idle engine", GREY, ":"),
    1: ("order 1: mean value", GREEN, "--"),
    2: ("order 2: queueing", BLUE, "-"),
}


def knee_figure(study: LoadStudy, *, objective: Quantity | str) -> "Figure":
    """Tail of the time to first token, and time per output token, over the load."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.6), dpi=130, layout="constrained")
    tail, tokens = figure.subplots(1, 2)
    _draw(tail, study, "ttft_p99", orders=(0, 2), scale=1e3)
    tail.set(yscale="log", xlabel="arrival rate (request/s)", ylabel="time to first token, p99 (ms)")
    _objective(tail, study, objective)
    _draw(tokens, study, "tpot_mean", orders=(0, 1, 2), scale=1e3)
    tokens.set(xlabel="arrival rate (request/s)", ylabel="time per output token, mean (ms)", ylim=(0, None))
    for axes in (tail, tokens):
        axes.axvline(study.saturation, color=INK, linewidth=1)
        axes.annotate(
            f"saturation {study.saturation:.1f}/s", (study.saturation, 0.25), (4, 0), rotation=90, color=INK,
            xycoords=("data", "axes fraction"), textcoords="offset points", ha="left", va="center", fontsize=8,
        )  # fmt: skip
        axes.set_xlim(0, study.saturation * 1.06)
        tidy(axes)
    figure.suptitle(_title(study), fontsize=10)
    return figure


def utilisation_figure(study: UtilisationStudy) -> "Figure":
    """Each metric of a queue against its utilisation."""
    from matplotlib.figure import Figure

    count = len(study.metrics)
    figure = Figure(figsize=(5.2 * count, 4.4), dpi=130, layout="constrained")
    for axes, metric in zip(figure.subplots(1, count, squeeze=False)[0], study.metrics, strict=True):
        _draw_orders(axes, study, metric)
        truth = [answer.best(metric) for answer in study.simulated]
        dots(axes, study.dots, truth, 1.0)
        unit = study.solved[0].best(metric).unit
        axes.set(xlabel="utilisation", ylabel=f"{metric} ({unit})" if unit else metric, xlim=(0, 1), ylim=(0, None))
        tidy(axes)
    figure.suptitle(_queue_title(study.queue), fontsize=10)
    return figure


def _draw_orders(axes: Any, study: UtilisationStudy, metric: str) -> None:
    orders = sorted({e.order for answer in study.solved for e in answer.get(metric, ()) if e.order is not None})
    for order in orders:
        points = [
            (rho, e.amount)
            for rho, answer in zip(study.line, study.solved, strict=True)
            for e in answer.get(metric, ())
            if e.order == order
        ]
        _, colour, style = ORDERS[order]
        xs, ys = zip(*points, strict=True)
        axes.plot(xs, ys, color=colour, linestyle=style, linewidth=1.8, label=f"order {order}")


def _queue_title(queue: Queue) -> str:
    arrivals = type(queue.arrivals).__name__
    service = queue.service or queue.discipline
    kind = "" if isinstance(queue.discipline, FirstCome) else f", {type(queue.discipline).__name__}"
    servers = "1 server" if queue.servers == 1 else f"{queue.servers} servers"
    return f"{arrivals} arrivals, service {service}, {servers}{kind}"


def check_figure(path: str | Path) -> Path:
    """Refuse a file's name that no figure can be written to, before the work is done."""
    path = Path(path)
    if path.suffix.lower() not in (".png", ".svg", ".pdf"):
        raise FileError(str(path), given=f"a name ending in {path.suffix!r}", expected=".png, .svg or .pdf")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(str(path), error.strerror or "an error") from None
    check_place(str(path))
    return path


def save(figure: "Figure", path: str | Path) -> Path:
    """Write a figure; its kind is that of the file's name (.png, .svg, .pdf)."""
    path = check_figure(path)
    with write_aside(path) as aside:
        figure.savefig(aside)
    return path


def _draw(axes: Any, study: LoadStudy, metric: str, *, orders: tuple[int, ...], scale: float) -> None:
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


def dots(axes: Any, places: Sequence[float], truth: Sequence[Estimate], scale: float) -> None:
    """Simulated values with their intervals; hollow, and without one, where the simulation is not steady."""
    known = [(place, e) for place, e in zip(places, truth, strict=False) if e.steady]
    if known:
        bars = [
            [scale * (e.amount - (e.low if e.low is not None else e.amount)) for _, e in known],
            [scale * ((e.high if e.high is not None else e.amount) - e.amount) for _, e in known],
        ]
        axes.errorbar(
            [place for place, _ in known], [scale * e.amount for _, e in known], yerr=bars, fmt="o", color=ORANGE,
            markersize=5, capsize=3, linewidth=1.2, label="simulated, 95 % interval", zorder=3,
        )  # fmt: skip
    for steadiness in dict.fromkeys(e.steadiness for e in truth if not e.steady):
        mine = [(place, e.amount) for place, e in zip(places, truth, strict=False) if e.steadiness is steadiness]
        unsure = [(place, scale * amount) for place, amount in mine]
        label = f"simulated, {steadiness}"
        axes.plot(*zip(*unsure, strict=True), "o", color=ORANGE, markerfacecolor="none", markersize=5, label=label)


def tidy(axes: Any, where: str = "upper left") -> None:
    """A grid, no frame, a legend."""
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8, loc=where)


def _objective(axes: Any, study: LoadStudy, objective: Quantity | str) -> None:
    most = quantity(objective, "s", "objective")
    axes.axhline(1e3 * si(most), color="#b22222", linewidth=1, linestyle=(0, (6, 3)))
    axes.annotate(
        f"objective {pretty(si(most), 's')}", (0.01, 1e3 * si(most)), (0, 3), xycoords=("axes fraction", "data"),
        textcoords="offset points", fontsize=8, color="#b22222",
    )  # fmt: skip
    knee = study.knee("ttft_p99", most)
    if knee is not None:
        axes.plot([knee], [1e3 * si(most)], "v", color="#b22222", markersize=8, zorder=4)
        axes.annotate(
            f"knee {knee:.1f}/s", (knee, 1e3 * si(most)), (-6, 8), textcoords="offset points", ha="right", fontsize=8,
            color="#b22222",
        )  # fmt: skip


def _title(study: LoadStudy) -> str:
    scenario = study.scenario
    law = scenario.lengths
    lengths = getattr(law, "name", "") or type(law).__name__
    return (
        f"{scenario.model.name} on {scenario.accelerator.name}, {type(scenario.arrivals).__name__} arrivals, "
        f"lengths {lengths}, batch of {scenario.max_num_seqs}"
    )
