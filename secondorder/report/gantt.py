"""Gantt charts: the passes of a pipeline and the hops of a ring, with the last to end marked."""

from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from secondorder.arrays import Floats, Integers
from secondorder.errors import InputError
from secondorder.report.style import BLUE, GREEN, GREY, INK, ORANGE, RED, blank, scale_of, styled
from secondorder.scenarios.collective import Collective
from secondorder.scenarios.pipeline import Pipeline

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_ROWS, MOST_BARS = 64, 20_000
"""Ranks or stages of a figure, and bars, beyond which bars could not be distinguished."""


@styled
def pass_figure(scenario: Pipeline, seed: int = 0) -> "Figure":
    """One step of a pipeline: forward and backward passes of each stage, and the stage that is done last."""
    from secondorder.simulate.collectives.answer import durations
    from secondorder.simulate.collectives.pipeline import passes

    _check(scenario.stages, 2 * scenario.stages * scenario.interleaving * scenario.microbatches)
    forward, backward = durations(scenario, 1, seed, 0)
    ahead, behind = passes(
        forward,
        backward,
        send=scenario.send_seconds,
        schedule=scenario.schedule,
        interleaving=scenario.interleaving,
    )
    bars = [(ahead[0], forward[0], BLUE, "forward")]
    if backward is not None:
        bars.append((behind[0], backward[0], GREEN, "backward"))
    places = np.arange(ahead.shape[1]) % scenario.stages
    title = f"{scenario.name}: one step of {scenario.microbatches} microbatches, {scenario.schedule}"
    slow = [f"stage {k} is {f:g} times as slow" for k, f in enumerate(scenario.factors) if f != 1]
    return _gantt(bars, places, scenario.stages, "stage", "; ".join([title, *slow[:3]]))


@styled
def round_figure(scenario: Collective, seed: int = 0) -> "Figure":
    """One operation of a collective: the hops of each rank, and the rank that is done last."""
    from secondorder.simulate.collectives import hops, recursion
    from secondorder.simulate.streams import stream

    count = len(scenario.stages)
    _check(scenario.ranks, count * scenario.ranks)
    drawn = list(islice(hops.draw(scenario, 1, stream(seed, 0, "hops")), count))
    lasts = np.array(drawn)[..., 0].T
    ends = np.array(list(recursion.after_stages(scenario, drawn)))[..., 0].T
    what = f"{scenario.algorithm} {scenario.operation}".replace("_", " ")
    title = f"{scenario.name}: one {what} of {scenario.ranks} ranks"
    return _gantt([(ends, lasts, BLUE, "receiving")], np.arange(scenario.ranks), scenario.ranks, "rank", title)


def _check(rows: int, bars: int) -> None:
    if rows > MOST_ROWS or bars > MOST_BARS:
        expected = f"at most {MOST_ROWS} rows and {MOST_BARS:,} bars"
        raise InputError("figure", given=f"{rows:,} rows of {bars:,} bars", expected=expected)


def _gantt(bars: list[tuple[Floats, Floats, str, str]], places: Integers, count: int, row: str, title: str) -> "Figure":
    """Bars from ``end - lasts`` to ``end``; ``places`` says in which row each line of the arrays is."""
    end = max(float(np.nanmax(ends)) for ends, *_ in bars)
    scale, unit = scale_of([end], "s")
    figure = blank(10, min(0.28 * count + 2, 9))
    axes = figure.subplots()
    done = np.zeros(count)
    for ends, lasts, colour, label in bars:
        for line, place in enumerate(places):
            spans = [(float(e - d) / scale, float(d) / scale) for e, d in zip(ends[line], lasts[line], strict=True)]
            axes.broken_barh(
                spans, (place - 0.4, 0.8), facecolor=colour, edgecolor="white", linewidth=0.4,
                label=label if line == 0 else None,
            )  # fmt: skip
            done[place] = max(done[place], float(np.nanmax(ends[line])))
    late = int(done.argmax())
    work = np.bincount(places, np.sum([np.nansum(lasts, axis=1) for _, lasts, *_ in bars], axis=0), count)
    marked = late if row == "rank" else int(work.argmax())
    told = "done last" if row == "rank" else f"the busiest: {100 * work[marked] / end:.0f} % of the time"
    label = f"{row} {marked}, {told}"
    axes.axhspan(marked - 0.5, marked + 0.5, facecolor="none", edgecolor=ORANGE, linewidth=2, zorder=4, label=label)
    axes.axvline(end / scale, color=RED, linewidth=1)
    axes.annotate(
        f"{row} {late} is done last, after {end / scale:.3g} {unit}", (end / scale, -0.55), (-4, 2),
        textcoords="offset points", ha="right", va="bottom", color=RED, fontsize=9, annotation_clip=False,
    )  # fmt: skip
    busy = float(work.sum()) / (count * end)
    axes.set(xlabel=f"time ({unit}); {100 * (1 - busy):.1f} % of it idle", ylabel=row, ylim=(count - 0.4, -0.6))
    axes.set_xlim(0, 1.01 * end / scale)
    step = max(1, count // 16)
    axes.set_yticks(range(0, count, step))
    axes.grid(axis="y", visible=False)
    figure.legend(loc="outside lower center", ncols=3)
    axes.set_title(title, loc="left", pad=22, color=INK, fontsize=10, parse_math=False)
    axes.spines["left"].set_color(GREY)
    return figure
