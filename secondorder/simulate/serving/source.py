"""A service as a source of runs: compiled where the kernel knows all that it uses, on SimPy elsewhere."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from secondorder.errors import InputError
from secondorder.scenarios.serving import Serving
from secondorder.simulate.serving.asks import draw
from secondorder.simulate.serving.by_priority import latencies_by_priority
from secondorder.simulate.serving.columns import Columns, columns, compiled_columns
from secondorder.simulate.serving.compiled import run_compiled, witness_of
from secondorder.simulate.serving.measures import totals
from secondorder.simulate.serving.reference import RENEWAL, Reference, reference_of
from secondorder.simulate.serving.single_run import ServingRun, run
from secondorder.simulate.statistics.runs import Observed
from secondorder.simulate.streams import stream
from secondorder.simulate.witness import Witness
from secondorder.workloads.requests import Requests

BACKLOG, TURNS = 10_000, 20
"""Requests of the backlog that tells the speed of a full engine, and how often it fills the slots, at least."""


@dataclass(frozen=True)
class ServingSource:
    """The runs of a service; each replication has streams of its own."""

    scenario: Serving
    seed: int = 0
    witness: Witness | None = None

    @property
    def full(self) -> int:
        """Requests that fill every slot, or the cache."""
        return self.scenario.most_running

    def run(self, replication: int, length: int, flood: int = 0) -> Observed:
        """Serve ``length`` requests, and ``flood`` more that are there at the start."""
        drawn = asked = draw(self.scenario, length, self.seed, replication)
        if flood:
            asked = after(self._flood(replication, flood), drawn)
        found = observed(self.scenario, self._columns(asked), flood)
        if flood or self.reference is None:
            return found
        return replace(found, controls=self.reference.controls(drawn, stream(self.seed, replication, "reference")))

    @cached_property
    def reference(self) -> Reference | None:
        """The queue whose waits tell the luck of a run, from a backlog of its own streams.

        None where there is no such queue, or where the step time has no value for a full engine.
        """
        if not isinstance(self.scenario.arrivals, RENEWAL):
            return None
        backlog = self._flood(0, max(BACKLOG, TURNS * self.full))
        try:
            return reference_of(self.scenario, backlog, self._columns(backlog))
        except InputError:
            return None

    def _columns(self, asked: Requests) -> Columns:
        if witness_of(self.scenario, self.witness) == "kernel":
            return compiled_columns(self.scenario, asked)
        return columns(run(self.scenario, asked))

    def _flood(self, replication: int, count: int) -> Requests:
        """Requests of the scenario's lengths that all arrive at once."""
        sources = (stream(self.seed, replication, purpose) for purpose in ("flood arrivals", "flood lengths"))
        return replace(self.scenario.requests(count, *sources), arrival=np.zeros(count))


def serve(scenario: Serving, drawn: Requests, witness: Witness | None = None) -> ServingRun:
    """One run by a witness, the kernel where it can if none is named; both give the same times."""
    return run_compiled(scenario, drawn) if witness_of(scenario, witness) == "kernel" else run(scenario, drawn)


def observed(scenario: Serving, served: Columns, first: int = 0) -> Observed:
    """A run as the statistics see it, without its ``first`` requests."""
    last = served.arrival[-1] - served.latencies["e2el"].max()
    measured = {**served.latencies, **latencies_by_priority(served, scenario.priority_levels)}
    return Observed(
        values={name: values[first:] for name, values in measured.items()},
        work=served.found[first:],
        settled=max(0, int(np.searchsorted(served.arrival, last)) - first),
        totals=lambda start, end: totals(scenario, served, first + start, first + end),
    )


def after(before: Requests, drawn: Requests) -> Requests:
    """Some requests, and then others, with the prefixes that both know or neither."""
    known = before.hash_ids is not None and drawn.hash_ids is not None
    return Requests(
        arrival=np.concatenate([before.arrival, drawn.arrival]),
        input_tokens=np.concatenate([before.input_tokens, drawn.input_tokens]),
        output_tokens=np.concatenate([before.output_tokens, drawn.output_tokens]),
        hash_ids=(*(before.hash_ids or ()), *(drawn.hash_ids or ())) if known else None,
        hash_block=drawn.hash_block if known else 0,
        priorities=None if drawn.priorities is None else np.concatenate([before.priority, drawn.priority]),
    )
