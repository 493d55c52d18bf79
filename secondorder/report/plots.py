"""Figures: closed forms are lines, simulations are dots with bars, axes have units."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from secondorder.errors import FileError
from secondorder.quantities import Quantity, pretty, quantity, si
from secondorder.validation.loads import LoadStudy

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
        axes.grid(alpha=0.25, linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=8, loc="upper left")
    figure.suptitle(_title(study), fontsize=10)
    return figure


def check_figure(path: str | Path) -> Path:
    """Refuse a file's name that no figure can be written to, before the work is done."""
    path = Path(path)
    if path.suffix.lower() not in (".png", ".svg", ".pdf"):
        raise FileError(str(path), given=f"a name ending in {path.suffix!r}", expected=".png, .svg or .pdf")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.open("ab").close()
    except OSError as error:
        raise FileError(str(path), given=str(error.strerror), expected="a file that can be written") from None
    return path


def save(figure: "Figure", path: str | Path) -> Path:
    """Write a figure; its kind is that of the file's name (.png, .svg, .pdf)."""
    path = check_figure(path)
    figure.savefig(path)
    return path


def _draw(axes: Any, study: LoadStudy, metric: str, *, orders: tuple[int, ...], scale: float) -> None:
    for order in orders:
        label, colour, style = ORDERS[order]
        rates, values = study.line(metric, order)
        if rates:
            axes.plot(rates, [scale * v for v in values], color=colour, linestyle=style, linewidth=1.8, label=label)
    rates = [load * study.saturation for load in study.loads]
    truth = [point.simulated.best(metric) for point in study.points]
    bars = [
        [scale * (e.amount - (e.low if e.low is not None else e.amount)) for e in truth],
        [scale * ((e.high if e.high is not None else e.amount) - e.amount) for e in truth],
    ]
    axes.errorbar(
        rates, [scale * e.amount for e in truth], yerr=bars, fmt="o", color=ORANGE, markersize=5, capsize=3,
        linewidth=1.2, label="simulated, 95 % interval", zorder=3,
    )  # fmt: skip
    if study.replays:
        values = [scale * replay.best(metric).amount for replay in study.replays]
        axes.plot(
            rates, values, "D", color=INK, markerfacecolor="none", markersize=5, label="trace's own arrivals, replayed"
        )


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
