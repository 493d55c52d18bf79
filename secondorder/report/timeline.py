"""An engine over time: what runs, what waits and what the cache holds, as a figure and as a trace for Perfetto."""

import heapq
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from secondorder.arrays import Floats
from secondorder.errors import FileError
from secondorder.report.style import BLUE, GREEN, ORANGE, scale_of

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure, SubFigure

Event: TypeAlias = dict[str, object]
"""One event of a trace, as JSON holds it."""

SHOWN = 600
"""Points of a line; of a longer series each is the mean over a span of time."""
REQUESTS = 5_000
"""Requests of a trace file, at most: the viewer grows slow beyond."""

PANELS = (("running", "sequences running", BLUE), ("waiting", "requests waiting", ORANGE), ("kv_usage", "", GREEN))


def draw_timeline(figure: "Figure | SubFigure", series: "pd.DataFrame") -> None:
    """The three panels, one under the other, on one axis of time."""
    scale, unit = scale_of([float(series["time"].iloc[-1])], "s")
    for axes, (column, label, colour) in zip(figure.subplots(3, 1, sharex=True), PANELS, strict=True):
        times, values = _thinned(series["time"].to_numpy(), series[column].to_numpy())
        share = column == "kv_usage"
        axes.fill_between(times / scale, 100 * values if share else values, color=colour, alpha=0.35, linewidth=0)
        axes.plot(times / scale, 100 * values if share else values, color=colour, linewidth=1.1)
        axes.set_ylabel("cache used (%)" if share else label, fontsize=9)
        axes.set_ylim(0, None)
        axes.margins(x=0)
        axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlabel(f"time of one run from an empty start ({unit})")


def _thinned(times: Floats, values: Floats) -> tuple[Floats, Floats]:
    """Means over ``SHOWN`` spans of time, weighted by how long each state lasts."""
    if len(times) <= SHOWN:
        return times, values
    edges = np.linspace(0, times[-1], SHOWN + 1)
    area = np.concatenate([[0.0], np.cumsum(np.diff(times, prepend=0.0) * values)])
    means = np.diff(np.interp(edges, np.concatenate([[0.0], times]), area)) / np.diff(edges)
    return edges[1:], means


# A trace


def trace_events(requests: "pd.DataFrame", series: "pd.DataFrame") -> Event:
    """A run in the Trace Event Format, which https://ui.perfetto.dev opens: a slice for each stay of a request.

    Requests that overlap are on different tracks. Times in us from the start of the run.
    *Source*: Duca and Sinclair, Trace Event Format (2016).
    """
    shown = requests.head(REQUESTS)
    until = float(shown["finish"].max()) if len(shown) else 0.0
    return {"displayTimeUnit": "ms", "traceEvents": [*_slices(shown), *_counters(series[series["time"] <= until])]}


def write_trace(requests: "pd.DataFrame", series: "pd.DataFrame", path: str | Path) -> Path:
    """Write the trace of a run as JSON."""
    try:
        Path(path).write_text(json.dumps(trace_events(requests, series)), encoding="utf-8")
    except OSError as error:
        raise FileError(str(path), given=str(error.strerror), expected="a file that can be written") from None
    return Path(path)


def _slices(requests: "pd.DataFrame") -> Iterator[Event]:
    free: list[int] = []
    leaving: list[tuple[float, int]] = []
    tracks = 0
    yield {"name": "process_name", "ph": "M", "pid": 1, "args": {"name": "requests"}}
    for place, request in enumerate(_rows(requests)):
        while leaving and leaving[0][0] <= request["arrival"]:
            heapq.heappush(free, heapq.heappop(leaving)[1])
        if not free:
            tracks += 1
            free.append(tracks)
        track = heapq.heappop(free)
        heapq.heappush(leaving, (request["finish"], track))
        yield from _slices_of(place, request, track)


def _rows(frame: "pd.DataFrame") -> Iterator[dict[str, float]]:
    columns = {str(name): frame[name].to_numpy(float).tolist() for name in frame.columns}
    return (dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True))


def _slices_of(place: int, request: dict[str, float], track: int) -> Iterator[Event]:
    whole = {name: int(request[name]) for name in ("input_tokens", "output_tokens", "cached_tokens", "preemptions")}
    spans: tuple[tuple[str, str, str, dict[str, int]], ...] = (
        (f"request {place}", "arrival", "finish", whole),
        ("waiting", "arrival", "scheduled", {}),
        ("prefill", "scheduled", "first_token", {}),
        ("decode", "first_token", "finish", {}),
    )
    for name, start, end, told in spans:
        if (lasts := request[end] - request[start]) > 0:
            at = {"pid": 1, "tid": track, "ts": 1e6 * request[start], "dur": 1e6 * lasts}
            yield {"name": name, "ph": "X", **at, "args": told}


def _counters(series: "pd.DataFrame") -> Iterator[Event]:
    yield {"name": "process_name", "ph": "M", "pid": 2, "args": {"name": "engine"}}
    start = 0.0
    for span in _rows(series):
        for name in ("running", "waiting", "kv_usage"):
            yield {"name": name, "ph": "C", "pid": 2, "ts": 1e6 * start, "args": {name: span[name]}}
        start = span["time"]
