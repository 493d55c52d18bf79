"""An open queue as a source of runs from an empty and from a flooded start."""

import math
from dataclasses import dataclass

import numpy as np

from secondorder.scenarios.queue import Queue
from secondorder.simulate.queues.run import run
from secondorder.simulate.statistics.runs import Observed


@dataclass(frozen=True)
class QueueSource:
    """The runs of a queue with one line; the flood is ahead of those observed."""

    queue: Queue
    seed: int = 0

    @property
    def full(self) -> int:
        """Customers that fill the servers, and a line of which the last one gives up."""
        queue = self.queue
        limit = queue.patience.law("limit").moment(1) if queue.patience is not None else 0.0
        return math.ceil(queue.servers * (1 + limit / queue.mean_service))

    def run(self, replication: int, length: int, flood: int = 0) -> Observed:
        """One run; its work in system are the customers who have not left for good."""
        served = run(self.queue, length, seed=self.seed, replication=replication, flood=flood)
        gone = np.sort(served.gone)
        inside = np.arange(len(served)) - np.searchsorted(gone, served.arrival, side="right").astype(float)
        return Observed({}, inside[flood:], length, lambda first, last: {})
