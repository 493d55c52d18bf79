"""A collective without events: when each rank has done each operation, straight from the times of the hops.

Stage by stage, all runs at once: a rank that receives is ready at ``max(own, sender's) + hop``, a rank that only sends
is ready when its message has arrived, and the others stay as they were.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import cycle, groupby, islice

import numpy as np

from secondorder.arrays import Floats, Integers
from secondorder.scenarios.collective import Collective, Stage


def ends(collective: Collective, hops: Iterable[Floats]) -> Floats:
    """When each rank has done each operation, in s: (repeats, ranks, ...).

    ``hops``: for each stage of each operation how long each rank takes to receive, in s, (ranks, ...). *Exact*,
    bit for bit what messages on SimPy give (``events``).
    """
    return np.stack(
        list(islice(after_stages(collective, hops), len(collective.stages) - 1, None, len(collective.stages)))
    )


def after_stages(collective: Collective, hops: Iterable[Floats]) -> Iterator[Floats]:
    """When each rank has done each stage of each operation, in s: (ranks, ...)."""
    now: Floats = np.zeros(collective.ranks)
    for number, ((senders, gives, takers), times) in enumerate(zip(_moves(collective.stages), hops, strict=False)):
        if number == 0:
            now = np.zeros(times.shape)
        now = np.maximum(now, now[senders]) + times
        if len(gives):
            now[gives] = now[takers]
        yield now


Move = tuple[Integers, Integers, Integers]
"""The rank that each receives from; the ranks that only send, and where to."""


def _moves(stages: Sequence[Stage]) -> Iterator[Move]:
    """The moves of one operation after the other, without end; stages in succession with the same senders share one."""
    for senders, alike in groupby(cycle(stages), lambda stage: stage.senders):
        move = _move(np.array(senders))
        for _ in alike:
            yield move


def _move(senders: Integers) -> Move:
    receives = senders != np.arange(len(senders))
    takers = np.flatnonzero(receives & ~receives[senders])
    return senders, senders[takers], takers
