"""Spare nodes on a shelf, and the crews that repair what failed."""

from collections.abc import Iterator

import simpy

from secondorder.scenarios.training import Spares
from secondorder.simulate.training.recorder import Process


class Depot:
    """Takes failed nodes in for repair, gives out spares. ``repairs`` says how long each repair takes."""

    def __init__(self, env: simpy.Environment, spares: Spares, repairs: Iterator[float]) -> None:
        self.env, self.repairs = env, repairs
        self.shelf = simpy.Container(env, init=spares.count)
        self.crews = None if spares.crews is None else simpy.Resource(env, capacity=spares.crews)

    def exchange(self) -> simpy.Event:
        """A failed node comes in; the event tells when a working one is there."""
        self.env.process(self.repair())
        return self.shelf.get(1)

    def repair(self) -> Process:
        """Repair one node, in the order in which they came; then it is a spare."""
        if self.crews is None:
            yield self.env.timeout(next(self.repairs))
        else:
            with self.crews.request() as crew:
                yield crew
                yield self.env.timeout(next(self.repairs))
        yield self.shelf.put(1)
