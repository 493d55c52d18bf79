"""A deployment as a source of runs: what its steady state is found from."""

from dataclasses import dataclass, replace

import numpy as np

from secondorder.scenarios.deployment import Deployment
from secondorder.simulate.deployment.compiled import serve, witness_of
from secondorder.simulate.deployment.measures import Totals, inside, values
from secondorder.simulate.deployment.run import DeploymentRun
from secondorder.simulate.serving.source import after
from secondorder.simulate.statistics.runs import Observed
from secondorder.simulate.streams import stream
from secondorder.simulate.witness import Witness
from secondorder.workloads.requests import Requests

FILLED = {"kernel": 256, "events": 32}
"""Requests that count as filling a replica, at most, by witness: a first run has twenty times as many."""


@dataclass(frozen=True)
class DeploymentSource:
    """The runs of a deployment; each replication has streams of its own."""

    scenario: Deployment
    seed: int = 0
    witness: Witness | None = None

    @property
    def full(self) -> int:
        """Requests that fill the replicas."""
        most = FILLED[witness_of(self.scenario, self.witness)]
        return sum(min(engine.most_running, most) for engine in self.scenario.engines)

    def run(self, replication: int, length: int, flood: int = 0) -> Observed:
        """Serve ``length`` requests, and ``flood`` more that are there at the start."""
        drawn = asked = drawn_requests(self.scenario, length, self.seed, replication)
        if flood:
            asked = after(self._flood(replication, flood), drawn)
        found = serve(self.scenario, asked, seed=self.seed, replication=replication, witness=self.witness)
        return observed(self.scenario, found, flood)

    def _flood(self, replication: int, count: int) -> Requests:
        """Requests of the scenario's lengths that all arrive at once."""
        sources = (stream(self.seed, replication, purpose) for purpose in ("flood arrivals", "flood lengths"))
        return replace(self.scenario.serving.requests(count, *sources), arrival=np.zeros(count))


def drawn_requests(scenario: Deployment, length: int, seed: int, replication: int) -> Requests:
    """The requests of one replication."""
    arrivals, lengths = (stream(seed, replication, purpose) for purpose in ("arrivals", "lengths"))
    return scenario.serving.requests(length, arrivals, lengths)


def one_run(scenario: Deployment, length: int, seed: int, witness: Witness, replication: int) -> DeploymentRun:
    """One replication from empty replicas."""
    drawn = drawn_requests(scenario, length, seed, replication)
    return serve(scenario, drawn, seed=seed, replication=replication, witness=witness)


def observed(scenario: Deployment, run: DeploymentRun, first: int = 0) -> Observed:
    """A run as the statistics see it, without its ``first`` requests."""
    arrival, ended = (run.requests[name].to_numpy() for name in ("arrival", "ended"))
    last = arrival[-1] - (ended - arrival).max()
    totals = Totals(scenario, run)
    return Observed(
        values={name: each[first:] for name, each in values(scenario, run).items()},
        work=np.asarray(inside(run.requests, arrival)[first:] - 1, np.float64),  # without the one that arrives
        settled=max(0, int(np.searchsorted(arrival, last)) - first),
        totals=lambda start, end: totals(first + start, first + end),
    )
