"""A collective on SimPy: each rank a process that takes and gives messages; one event a hop, no barrier.

A rank waits for a message that is not there yet; a message that comes early waits in the box. A rank may run ahead of
its receiver by as many messages as it can, and no rank knows where the others are.
"""

from collections.abc import Generator, Sequence

import numpy as np
import simpy

from secondorder.arrays import Floats
from secondorder.scenarios.collective import Collective, Stage

Process = Generator[simpy.Event, object, None]


class Box:
    """Messages that arrived over one link and are not yet taken."""

    __slots__ = ("env", "inside", "waiting")

    def __init__(self, env: simpy.Environment) -> None:
        self.env, self.inside = env, 0
        self.waiting: simpy.Event | None = None

    def put(self) -> None:
        """Put in one more message; a rank that waits for it goes on."""
        if self.waiting is not None:
            self.waiting.succeed()
            self.waiting = None
        else:
            self.inside += 1

    def take(self) -> simpy.Event | None:
        """The message, at once (None) or an event to wait for."""
        if self.inside:
            self.inside -= 1
            return None
        self.waiting = self.env.event()
        return self.waiting


Step = tuple[Box | None, Box | None, Box | None, Box | None]
"""A rank's boxes in a stage: what it receives, what it sends, thanks that it sends, thanks that it receives."""


def work(
    env: simpy.Environment, steps: Sequence[Step], hops: Sequence[float], repeats: int, done: list[float]
) -> Process:
    """One rank: stage by stage, give what it has, take what is sent to it, and note the end of each operation."""
    hop = iter(hops)
    for _ in range(repeats):
        for takes, gives, thanks, thanked in steps:
            if gives is not None:
                gives.put()
            seconds = next(hop)
            if takes is not None:
                if (message := takes.take()) is not None:
                    yield message
                yield env.timeout(seconds)
                if thanks is not None:
                    thanks.put()
            elif thanked is not None and (message := thanked.take()) is not None:
                yield message
        done.append(env.now)


def ends(collective: Collective, hops: Floats) -> Floats:
    """When each rank has done each operation of one run, in s: (repeats, ranks).

    ``hops`` (repeats x stages, ranks): how long each rank takes to receive in each stage, in s.
    """
    env = simpy.Environment()
    steps = _steps(env, collective.stages, collective.ranks)
    found: list[list[float]] = [[] for _ in range(collective.ranks)]
    for rank in range(collective.ranks):
        env.process(work(env, steps[rank], hops[:, rank].tolist(), collective.repeats, found[rank]))
    env.run()
    return np.array(found).T


def _steps(env: simpy.Environment, stages: Sequence[Stage], ranks: int) -> list[list[Step]]:
    ways: dict[tuple[int, int], Box] = {}

    def way(sender: int, receiver: int) -> Box:
        if (sender, receiver) not in ways:
            ways[sender, receiver] = Box(env)
        return ways[sender, receiver]

    steps: list[list[Step]] = [[] for _ in range(ranks)]
    for stage in stages:
        receivers = {sender: rank for rank, sender in enumerate(stage.senders) if sender != rank}
        for rank, sender in enumerate(stage.senders):
            receiver = receivers.get(rank)
            takes = way(sender, rank) if sender != rank else None
            gives = way(rank, receiver) if receiver is not None else None
            only_gives = receiver is not None and takes is None
            sender_only_gives = sender != rank and stage.senders[sender] == sender
            steps[rank].append(
                (
                    takes,
                    gives,
                    way(~rank, sender) if sender_only_gives else None,
                    way(~receiver, rank) if receiver is not None and only_gives else None,
                )
            )
    return steps
