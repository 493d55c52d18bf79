"""One run of a service as plain arrays: what is measured of it, without a table of requests."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from secondorder.answers.metric import REQUEST_LATENCIES
from secondorder.arrays import Floats, Integers
from secondorder.scenarios.serving import Serving
from secondorder.simulate.serving.asks import clocked, seconds
from secondorder.simulate.serving.single_run import Busy, ServingRun, latencies
from secondorder.workloads.requests import Requests

Counts: TypeAlias = npt.NDArray[np.int64 | np.int32]


@dataclass(frozen=True, kw_only=True)
class Columns:
    """A run: times in s, one place per request in order of arrival; and the engine span by span.

    ``latencies``: each by name. ``found``: requests that each arrival finds in the system. ``end``, ``running`` and
    ``kv_usage``: of each span of time, as in the ``series`` of a ``ServingRun``.
    """

    arrival: Floats = field(repr=False)
    first_token: Floats = field(repr=False)
    finish: Floats = field(repr=False)
    input_tokens: Counts = field(repr=False)
    output_tokens: Counts = field(repr=False)
    cached_tokens: Counts = field(repr=False)
    preemptions: Counts = field(repr=False)
    latencies: Mapping[str, Floats] = field(repr=False)
    found: Floats = field(repr=False)
    end: Floats = field(repr=False)
    running: Counts = field(repr=False)
    kv_usage: Floats = field(repr=False)
    priority: Integers | None = field(default=None, repr=False)
    """Of each request, where they have some."""
    below: Mapping[str, Counts] = field(default_factory=dict, repr=False)
    """Tokens of each request that each lower tier of the cache had."""
    links: Mapping[str, Busy] = field(default_factory=dict, repr=False)
    writes: Mapping[str, Busy] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.arrival)


def columns(run: ServingRun) -> Columns:
    """The arrays of a run's tables."""
    requests, series = run.requests, run.series
    arrival, finish = requests["arrival"].to_numpy(), requests["finish"].to_numpy()
    return Columns(
        arrival=arrival,
        first_token=requests["first_token"].to_numpy(),
        finish=finish,
        input_tokens=requests["input_tokens"].to_numpy(),
        output_tokens=requests["output_tokens"].to_numpy(),
        cached_tokens=requests["cached_tokens"].to_numpy(),
        preemptions=requests["preemptions"].to_numpy(),
        latencies={name: requests[name].to_numpy() for name in REQUEST_LATENCIES} | _fetches(run),
        found=in_system(arrival, finish),
        end=series["time"].to_numpy(),
        running=series["running"].to_numpy(),
        kv_usage=series["kv_usage"].to_numpy(),
        priority=requests["priority"].to_numpy() if "priority" in requests else None,
        below={name: requests[f"{name}_tokens"].to_numpy() for name in run.links},
        links=run.links,
        writes=run.writes,
    )


def _fetches(run: ServingRun) -> dict[str, Floats]:
    """How long requests were away for blocks of lower tiers; NaN for those that were not."""
    if not run.links:
        return {}
    away = run.requests["fetch"].to_numpy()
    return {"fetch": np.where(away > 0, away, np.nan)}


def compiled_columns(scenario: Serving, drawn: Requests) -> Columns:
    """Serve these requests by the compiled engine: the arrays of ``columns``, without the tables."""
    from secondorder.simulate.kernels.serving.run import record

    arrival, found = clocked(drawn), record(scenario, drawn)
    end, running, _, used = found.series.T
    return Columns(
        arrival=seconds(arrival),
        first_token=seconds(found.first_token),
        finish=seconds(found.finish),
        input_tokens=np.asarray(drawn.input_tokens),
        output_tokens=np.asarray(drawn.output_tokens),
        cached_tokens=found.cached,
        preemptions=found.preemptions,
        latencies=latencies(arrival, found.first_token, found.finish, np.asarray(drawn.output_tokens)),
        found=found.found.astype(np.float64),
        end=seconds(end),
        running=running,
        kv_usage=used / (2 * (scenario.kv_blocks - 1)),
        priority=None if drawn.priorities is None else drawn.priority,
    )


def in_system(arrival: Floats, finish: Floats) -> Floats:
    """Requests that each arrival finds in the system; one that leaves at that very instant still counts.

    >>> in_system(np.array([0.0, 1.0, 2.0]), np.array([1.5, 5.0, 6.0]))
    array([0., 1., 1.])
    """
    gone = np.searchsorted(np.sort(finish), arrival)
    return np.asarray(np.arange(len(arrival)) - gone, float)
