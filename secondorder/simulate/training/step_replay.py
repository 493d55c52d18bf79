"""A recorded training step on SimPy: every operation of every replica is a process that waits for what it needs."""

from collections.abc import Generator

import numpy as np
import simpy

from secondorder.arrays import Floats
from secondorder.workloads.step_graph import Group, StepGraph


def simulated_steps(graph: StepGraph, seconds: Floats) -> Floats:
    """Time of each step (s), one step after the other; ``seconds`` has the shape (operations, replicas, steps)."""
    return np.array([_Step(graph, seconds[..., step]).run() for step in range(seconds.shape[2])])


class _Step:
    def __init__(self, graph: StepGraph, seconds: Floats) -> None:
        self.env = simpy.Environment()
        self.graph, self.seconds = graph, seconds
        operations, replicas = seconds.shape
        self.done = [[self.env.event() for _ in range(replicas)] for _ in range(operations)]
        for group in graph.groups:
            sets = [range(replicas)] if group.across_replicas else [[replica] for replica in range(replicas)]
            for members in sets:
                self._meet(group, members)

    def run(self) -> float:
        self.env.run()
        return float(self.env.now)

    def _meet(self, group: Group, replicas: "range | list[int]") -> None:
        """The operations of a group on these replicas: all start when the last of them is ready."""
        needs = [
            self.done[before][replica]
            for member in group.members
            for before in self.graph.after[member]
            for replica in replicas
        ]
        ready = self.env.all_of(needs)
        for member in group.members:
            for replica in replicas:
                self.env.process(self._operate(member, replica, ready))

    def _operate(self, member: int, replica: int, ready: simpy.Event) -> Generator[simpy.Event, None, None]:
        yield ready
        yield self.env.timeout(float(self.seconds[member, replica]))
        self.done[member][replica].succeed()
