"""Stragglers of recorded steps: the table of what they cost, and the ranks as a map."""

from typing import TYPE_CHECKING

import numpy as np

from secondorder.report.style import BLUE, INK, ORANGE, blank, styled, title
from secondorder.report.tables import Grid
from secondorder.studies.stragglers import Part, StragglerStudy

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_REPLICAS = 3
"""Replicas that the table lists, the slowest first; JSON and CSV have all."""
HEADER = ("part", "", "slowdown alone", "added", "removed", "Shapley")


def straggler_grid(study: StragglerStudy) -> Grid:
    """What stragglers cost by type of operation, stage, replica, and the slowest ranks together."""
    types, stages, ranks = ([c for c in study.parts if c.kind == kind] for kind in ("type", "stage", "ranks"))
    replicas = sorted((c for c in study.parts if c.kind == "replica"), key=lambda c: -c.alone)[:MOST_REPLICAS]
    rows = [_row(study, part) for part in (*types, *stages, *replicas, *ranks)]
    ends = np.cumsum([len(types), len(stages), len(replicas)]) - 1
    return Grid(
        header=HEADER,
        rows=rows,
        above=_above(study),
        below=_below(study),
        numbers=frozenset(range(2, 6)),
        breaks=frozenset(ends.tolist()),
    )


def _row(study: StragglerStudy, part: Part) -> tuple[str, ...]:
    fair = "" if part.shapley is None else f"{100 * part.shapley / (study.undelayed - study.ideal):.1f}"
    name = f"{len(study.slowest)} of all" if part.kind == "ranks" else part.name
    shares = (f"{100 * study.added(part):.1f}", f"{100 * study.removed(part):.1f}")
    return (part.kind, name, f"{part.alone / study.ideal:.4f}", *shares, fair)


def _above(study: StragglerStudy) -> list[str]:
    trace = study.trace
    measured = f"measured {study.measured:.4f} s a step; without launch delays {study.undelayed:.4f} s"
    alike = f"{study.ideal:.4f} s if all operations of a kind took the same: a slowdown of {study.slowdown:.4f}"
    return [
        f"{trace.name}: {trace.replicas} replicas of {trace.stages} stages, {len(trace.steps)} steps",
        f"{measured} (a slowdown of {study.launch_slowdown:.4f})",
        alike,
    ]


def _below(study: StragglerStudy) -> list[str]:
    ranks = ", ".join(f"stage {stage} of replica {replica}" for stage, replica in study.slowest)
    return [
        "alone: time of a step with this part as recorded and all others ideal, over the ideal",
        "added, removed: share (%) of the slowdown that this part alone brings, and that goes without it",
        "Shapley: the share of a type, its mean over all orders of adding the types",
        f"slowest ranks: {ranks}",
    ]


@styled
def straggler_figure(study: StragglerStudy) -> "Figure":
    """Ranks by the slowdown that their own times alone cause, and the shares of types and stages."""
    trace = study.trace
    score = {kind: [c.alone / study.ideal for c in study.parts if c.kind == kind] for kind in ("stage", "replica")}
    ranks = np.minimum.outer(score["stage"], score["replica"])
    figure = blank(10, 4.8)
    left, right = figure.subplots(1, 2, width_ratios=[1.25, 1])
    shown = left.imshow(ranks, aspect="auto", cmap="cividis", vmin=min(1.0, float(ranks.min())), origin="lower")
    left.set(xlabel="replica", ylabel="stage", yticks=range(trace.stages), title="slowdown of a step by rank")
    left.locator_params(axis="x", integer=True)
    left.grid(visible=False)
    for stage, replica in study.slowest:
        for colour, width in (("white", 5), (INK, 2)):  # seen on the dark and on the bright end of the colours
            mark = {"markersize": 12, "markeredgecolor": colour, "markeredgewidth": width}
            left.plot(replica, stage, "s", markerfacecolor="none", **mark)
    figure.colorbar(shown, ax=left, label="time of a step over the ideal")
    parts = [c for c in study.parts if c.kind in ("type", "stage")][::-1]
    names = [f"stage {c.name}" if c.kind == "stage" else c.name for c in parts]
    places = np.arange(len(parts))
    right.barh(places + 0.2, [100 * study.added(c) for c in parts], 0.38, color=BLUE, label="added alone")
    right.barh(places - 0.2, [100 * study.removed(c) for c in parts], 0.38, color=ORANGE, label="removed")
    right.set_yticks(places, names)
    right.axvline(0, color=INK, linewidth=0.8)
    right.set(xlabel="share of the slowdown (%)", title="what makes a step slow")
    right.legend(loc="center right")
    times = f"a step takes {study.undelayed:.2f} s, {study.slowdown:.3f} times the ideal {study.ideal:.2f} s"
    title(figure, f"{trace.name}: {times}; the slowest ranks are marked")
    return figure
