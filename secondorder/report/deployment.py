"""A run of a deployment as a figure: requests inside, times to first token, and how each request ended."""

from typing import TYPE_CHECKING

import numpy as np

from secondorder.answers.answer import Answer
from secondorder.quantities import si
from secondorder.report.style import BLUE, GREEN, GREY, INK, ORANGE, blank, styled, title
from secondorder.scenarios.deployment import Deployment
from secondorder.scenarios.replica_faults import Kill, RollingRestart, Slow, ZoneFailure

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS, STYLES = (BLUE, ORANGE, GREEN, GREY), ("-", "--")
"""Colours and line styles of the replicas."""
FATES = {"served": BLUE, "refused": GREY, "timed out": GREEN, "lost": ORANGE}


@styled
def story_figure(scenario: Deployment, answer: Answer) -> "Figure":
    """The first replication of a simulated deployment over time: requests inside replicas, and times to first token.

    Requests that were not served are at the top, in the colour of their fate; faults at stated times are marked.
    """
    assert answer.requests is not None
    assert answer.series is not None
    figure = blank(10, 5.4)
    above, below = figure.subplots(2, 1, sharex=True)
    _inside(above, answer.series)
    _first_tokens(below, answer.requests)
    for axes in (above, below):
        _faults(axes, scenario)
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), markerscale=4)
    title(figure, f"{scenario.name}: {len(scenario.engines)} replicas at {scenario.rate:.3g} request/s", 10)
    return figure


def _inside(axes: "Axes", series: "pd.DataFrame") -> None:
    """Requests that run or wait in each replica; its engine is idle when it restarts."""
    count = int(series["replica"].max()) + 1
    for replica in range(count):
        own = series[series["replica"] == replica]
        number = (own["running"] + own["waiting"]).where(own["running"] > 0, 0)  # who wakes an engine has just come
        label = f"replica {replica}" if count <= 8 else None
        colour, style = COLOURS[replica % len(COLOURS)], STYLES[replica // len(COLOURS) % len(STYLES)]
        axes.plot(own["time"], number, style, color=colour, linewidth=0.9, drawstyle="steps-pre", label=label)
    axes.set(ylabel="requests inside", ylim=(0, None))


def _first_tokens(axes: "Axes", requests: "pd.DataFrame") -> None:
    """A dot for each request, at its arrival."""
    longest = float(requests["ttft"].max())
    for fate, colour in FATES.items():
        own = requests[requests["fate"] == fate]
        if len(own):
            height = own["ttft"] if fate == "served" else np.full(len(own), 1.2 * longest)
            axes.plot(own["arrival"], height, ".", markersize=2.5, color=colour, label=f"{fate}: {len(own):,}")
    axes.set(yscale="log", xlabel="arrival (s)", ylabel="time to first token (s)")


def _faults(axes: "Axes", scenario: Deployment) -> None:
    for event in scenario.faults.events if scenario.faults else ():
        if isinstance(event, Kill | ZoneFailure | RollingRestart):
            axes.axvspan(si(event.at), si(event.at) + si(event.restart), color=INK, alpha=0.08)
        elif isinstance(event, Slow):
            axes.axvspan(si(event.at), si(event.at) + si(event.lasts), color=ORANGE, alpha=0.08)
