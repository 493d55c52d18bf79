"""The random times of a collective, drawn stage by stage: how long each hop takes."""

from collections.abc import Iterator
from itertools import groupby

import numpy as np

from secondorder.arrays import Floats
from secondorder.scenarios.collective import Collective


def base(collective: Collective) -> Iterator[Floats]:
    """How long each hop takes without jitter, in s, for each stage (ranks); 0 where a rank receives nothing."""
    for senders, stages in groupby(collective.stages, lambda stage: stage.senders):
        factors = np.array(
            [collective.factor(sender, rank) if sender != rank else 0.0 for rank, sender in enumerate(senders)]
        )
        for stage in stages:
            yield stage.seconds * factors


def draw(collective: Collective, runs: int, rng: np.random.Generator) -> Iterator[Floats]:
    """How long each hop of ``runs`` independent runs takes, in s: for each stage of each operation (ranks, runs)."""
    shape = collective.ranks, runs
    for _ in range(collective.repeats):
        for still in base(collective):
            if collective.jitter is None:
                yield np.broadcast_to(still[:, None], shape)
            else:
                drawn = collective.law("jitter").sample(collective.ranks * runs, rng).reshape(shape)
                yield drawn * still[:, None]
