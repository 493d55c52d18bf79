"""The look of every figure: colours that the colour-blind can distinguish, sizes for a lecture hall and for print."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import wraps
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Literal, ParamSpec, TypeAlias, TypeVar

from secondorder.answers.estimate import Estimate
from secondorder.errors import FileError
from secondorder.files import check_place, unwritable, write_aside
from secondorder.quantities import readable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.contour import ContourSet
    from matplotlib.figure import Figure
    from matplotlib.text import Text

P = ParamSpec("P")
T = TypeVar("T")
Corner: TypeAlias = Literal["upper left", "lower right", "lower center", "best", "upper right"]

BLUE, ORANGE, GREEN, RED = "#0072B2", "#D55E00", "#009E73", "#B2182B"
"""Colours of Okabe and Ito's palette, and a red for limits that are crossed."""
GREY, INK = "#6E6E6E", "#222222"
SIMULATED = "simulated, 95 % interval"
ORDERS = {
    0: ("order 0: alone", GREY, ":"),
    1: ("order 1: means", GREEN, "--"),
    2: ("order 2: variability", BLUE, "-"),
}
"""Label, colour and line style of the closed forms of an order."""
MARKERS = {0: "v", 1: "s", 2: "D"}
"""Markers of the closed forms of an order, which differ in shape for print in grey."""


def _settings() -> AbstractContextManager[None]:
    """The settings of a figure, until the context ends."""
    import matplotlib

    return matplotlib.rc_context(
        {
            "font.size": 10,
            "axes.titlesize": 10,
            "axes.labelsize": 10,
            "legend.fontsize": 9,
            "xtick.labelsize": 9,
            "ytick.labelsize": 9,
            "svg.hashsalt": "secondorder",
            "axes.grid": True,
            "grid.alpha": 0.25,
            "grid.linewidth": 0.6,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "legend.frameon": False,
            "axes.axisbelow": True,
        }
    )


def styled(function: Callable[P, T]) -> Callable[P, T]:
    """The function, drawing with these settings; those of the caller do not change."""

    @wraps(function)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> T:
        with _settings():
            return function(*args, **kwargs)

    return drawn


def blank(width: float, height: float) -> "Figure":
    """An empty figure of a size in inches, without a window."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=130, layout="constrained")


def title(figure: "Figure", text: str, size: float = 11) -> None:
    """The title of a figure; dollar signs in a name are not read as a formula."""
    figure.suptitle(text, fontsize=size, parse_math=False)


def outlined(texts: "Iterable[Text]") -> None:
    """Give texts a white edge, so that they can be read over lines and dark areas."""
    from matplotlib.patheffects import withStroke

    for text in texts:
        text.set_path_effects([withStroke(linewidth=2.5, foreground="white")])


def label_lines(axes: "Axes", lines: "ContourSet", told: str | Mapping[float, str], size: float) -> "list[Text]":
    """Write the value of each line of equal height onto it."""
    labels = list(axes.clabel(lines, fmt=told, fontsize=size, colors=INK, inline=False))
    for label in labels:
        label.set_bbox({"boxstyle": "round,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.85})
    return labels


def thin(axes: "Axes", labels: "Sequence[Text]") -> None:
    """Take away each label that is cut at the edge, or covers an earlier one or another text, once all is laid out."""
    whole = axes.get_window_extent()
    kept = [text.get_window_extent() for text in axes.texts if text not in labels]
    for label in labels:
        box = label.get_window_extent()
        inside = whole.x0 <= box.x0 and box.x1 <= whole.x1 and whole.y0 <= box.y0 and box.y1 <= whole.y1
        if inside and not any(box.overlaps(other) for other in kept):
            kept.append(box)
        else:
            label.remove()


def tidy(axes: "Axes", where: Corner = "upper left") -> None:
    """A grid, no frame, a legend."""
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9, loc=where)


def scale_of(values: Sequence[float], unit: str) -> tuple[float, str]:
    """How many SI units one unit of an axis is, and its symbol: the same for all that the axis shows.

    >>> scale_of([0.02, 0.5], "s")
    (0.001, 'ms')
    """
    largest = max((abs(value) for value in values if abs(value) < float("inf")), default=0.0)
    return readable(largest, unit) if unit and largest else (1.0, unit)


def labelled(metric: str, unit: str) -> str:
    """A metric with its unit as the label of an axis.

    >>> labelled("ttft_p99", "ms")
    'ttft_p99 (ms)'
    """
    return f"{metric} ({unit})" if unit else metric


def dots(axes: "Axes", places: Sequence[float], truth: Sequence[Estimate], scale: float) -> None:
    """Simulated values with their intervals; hollow and without an interval if the simulation is not steady."""
    known = [(place, e) for place, e in zip(places, truth, strict=False) if e.steady]
    if known:
        bars = [
            [scale * (e.amount - (e.low if e.low is not None else e.amount)) for _, e in known],
            [scale * ((e.high if e.high is not None else e.amount) - e.amount) for _, e in known],
        ]
        axes.errorbar(
            [place for place, _ in known], [scale * e.amount for _, e in known], yerr=bars, fmt="o", color=ORANGE,
            markersize=5, capsize=3, linewidth=1.2, label=SIMULATED, zorder=3,
        )  # fmt: skip
    for steadiness in dict.fromkeys(e.steadiness for e in truth if not e.steady):
        mine = [(place, e.amount) for place, e in zip(places, truth, strict=False) if e.steadiness is steadiness]
        unsure = [(place, scale * amount) for place, amount in mine]
        label = f"simulated, {steadiness}"
        axes.plot(*zip(*unsure, strict=True), "o", color=ORANGE, markerfacecolor="none", markersize=5, label=label)


# Files


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


@styled
def save(figure: "Figure", path: str | Path) -> Path:
    """Write a figure; its kind is that of the file's name (.png, .svg, .pdf)."""
    path = check_figure(path)
    with write_aside(path) as aside:
        figure.savefig(aside)
    return path


@styled
def inline_svg(figure: "Figure") -> str:
    """A figure as an ``svg`` element for a page: letters as outlines, no comments, no metadata, no links."""
    text = StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    svg = text.getvalue()[text.getvalue().index("<svg") :]
    svg = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    return re.sub(r' xmlns(:\w+)?="[^"]*"', "", svg, count=2).replace("xlink:href", "href").strip()
