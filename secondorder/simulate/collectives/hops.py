"""What chance decides of a collective, drawn stage by stage: how long each hop takes."""

from collections.abc import Iterator

import numpy as np

from secondorder.arrays import Floats
from secondorder.scenarios.collective import Collective


def base(collective: Collective) -> Floats:
    """How long each hop takes without jitter, in s: (stages, ranks); 0 where a rank receives nothing."""
    return np.array(
        [
            [
                stage.seconds * collective.factor(sender, rank) if sender != rank else 0.0
                for rank, sender in enumerate(stage.senders)
            ]
            for stage in collective.stages
        ]
    )


def draw(collective: Collective, runs: int, rng: np.random.Generator) -> Iterator[Floats]:
    """How long each hop of ``runs`` independent runs takes, in s: for each stage of each operation (ranks, runs)."""
    shape = collective.ranks, runs
    for _ in range(collective.repeats):
        for still in base(collective)[..., None]:
            if collective.jitter is None:
                yield np.broadcast_to(still, shape)
            else:
                yield collective.law("jitter").sample(collective.ranks * runs, rng).reshape(shape) * still
