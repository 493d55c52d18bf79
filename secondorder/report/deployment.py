"""A run of a deployment as a figure: requests inside, times to first token, and how each request ended."""

from typing import TYPE_CHECKING

import numpy as np

from secondorder.answers.answer import Answer
from secondorder.arrays import Floats
from secondorder.quantities import si
from secondorder.report.style import BLUE, GREEN, GREY, INK, ORANGE, blank, styled, title
from secondorder.scenarios.deployment import Deployment
from secondorder.scenarios.replica_faults import Kill, RollingRestart, Slow, ZoneFailure

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAMED = ((ORANGE, "-"), (BLUE, "--"), (GREEN, "-."))
"""Colours and line styles of the replicas that a stated fault strikes; the others are one band."""
FATES = {"served": (BLUE, "."), "refused": (GREY, "x"), "timed out": (GREEN, "v"), "lost": (ORANGE, "D")}
"""Colour and mark of a request's fate."""
SHOWN = 1_000
"""Points in time of the band."""


@styled
def story_figure(scenario: Deployment, answer: Answer) -> "Figure":
    """The first replication of a simulated deployment over time: requests inside replicas, and times to first token.

    Requests that were not served are at the top, in the colour of their fate; faults at stated times are marked.
    """
    assert answer.requests is not None
    assert answer.series is not None
    figure = blank(10, 5.4)
    above, below = figure.subplots(2, 1, sharex=True)
    _inside(above, answer.series, _struck(scenario))
    _first_tokens(below, answer.requests)
    for axes in (above, below):
        _faults(axes, scenario, told=axes is above)
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), markerscale=2.5 if axes is below else 1)
    title(figure, f"{scenario.name}: {len(scenario.engines)} replicas at {scenario.rate:.3g} request/s", 10)
    return figure


def _struck(scenario: Deployment) -> list[int]:
    """The first replicas that a fault at a stated time strikes, as many as have a colour."""
    struck: list[int] = []
    for event in scenario.faults.events if scenario.faults else ():
        if isinstance(event, Kill | Slow):
            struck.append(event.replica)
        elif isinstance(event, ZoneFailure):
            struck.extend(event.replicas)
    return list(dict.fromkeys(struck))[: len(NAMED)]


def _inside(axes: "Axes", series: "pd.DataFrame", struck: list[int]) -> None:
    """Requests that run or wait in each replica that a fault strikes, and the least, mean and most of the others."""
    times = np.linspace(0, float(series["time"].max()), SHOWN)
    every = range(int(series["replica"].max()) + 1)
    numbers = [_number(series[series["replica"] == replica], times) for replica in every]
    others = np.array([number for replica, number in enumerate(numbers) if replica not in struck])
    if len(others):
        told = "other replicas" if struck else "replicas"
        axes.fill_between(times, others.min(axis=0), others.max(axis=0), color="#BBBBBB", linewidth=0)
        axes.plot([], [], color="#BBBBBB", linewidth=7, label=f"{told}, all")
        axes.plot(times, others.mean(axis=0), color=INK, linewidth=1, label=f"{told}, mean")
    for replica, (colour, style) in zip(struck, NAMED, strict=False):
        axes.plot(times, numbers[replica], style, color=colour, linewidth=1.3, label=f"replica {replica}")
    axes.set(ylabel="requests inside", ylim=(0, None))


def _number(own: "pd.DataFrame", times: Floats) -> Floats:
    """Requests inside one replica at each time; its engine is idle when it restarts."""
    number = (own["running"] + own["waiting"]).where(own["running"] > 0, 0)  # who wakes an engine has just come
    place = np.searchsorted(own["time"].to_numpy(), times)  # a state ends at its time
    return np.append(number.to_numpy(float), 0.0)[place]


def _first_tokens(axes: "Axes", requests: "pd.DataFrame") -> None:
    """A dot for each request, at its arrival."""
    longest = float(requests["ttft"].max())
    for fate, (colour, mark) in FATES.items():
        own = requests[requests["fate"] == fate]
        if len(own):
            height = own["ttft"] if fate == "served" else np.full(len(own), 1.2 * longest)
            axes.plot(own["arrival"], height, mark, markersize=2.5, color=colour, label=f"{fate}: {len(own):,}")
    axes.set(yscale="log", xlabel="arrival (s)", ylabel="time to first token (s)")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,g}")


def _faults(axes: "Axes", scenario: Deployment, *, told: bool) -> None:
    """Grey where replicas are away, orange where one is slow; ``told``: with entries of the legend."""
    kinds: set[str] = set()
    for event in scenario.faults.events if scenario.faults else ():
        if isinstance(event, Kill | ZoneFailure | RollingRestart):
            kind, lasts, colour = "restart", event.restart, INK
        elif isinstance(event, Slow):
            kind, lasts, colour = "slow", event.lasts, ORANGE
        else:
            continue
        label = kind if told and kind not in kinds else None
        axes.axvspan(si(event.at), si(event.at) + si(lasts), color=colour, alpha=0.1, linewidth=0, label=label)
        kinds.add(kind)
