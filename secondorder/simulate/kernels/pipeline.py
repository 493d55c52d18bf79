"""A pipeline, compiled: the floats of ``simulate.collectives.pipeline``, run by run."""

import numpy as np
import numpy.typing as npt

from secondorder.arrays import Floats, Integers
from secondorder.simulate.collectives.pipeline import Item, durations, turns
from secondorder.simulate.kernels.compilation import announced, compiled


def passes(
    forward: npt.ArrayLike,
    backward: npt.ArrayLike | None = None,
    *,
    send: npt.ArrayLike = 0.0,
    schedule: str = "1f1b",
    interleaving: int = 1,
) -> tuple[Floats, Floats]:
    """When each pass ends, in s: two arrays (..., virtual stages, microbatches), forward and backward.

    Arguments and results are those of ``simulate.collectives.pipeline.passes``.

    >>> ahead, behind = passes(np.ones((4, 8)), 2 * np.ones((4, 8)))
    >>> behind.max()  # (8 + 4 - 1) (1 + 2)
    np.float64(33.0)
    """
    times, sends = durations(forward, backward, send, schedule, interleaving)
    *lead, _, places, microbatches = times.shape
    stages = places // interleaving
    plan = np.array([_numbers(*turn) for turn in turns(stages, microbatches, schedule, interleaving)])
    each = np.require(times.reshape(-1, 2, places, microbatches), requirements=("C", "W"))
    delays = np.require(sends.reshape(-1, places, microbatches), requirements=("C", "W"))
    ends = np.full(each.shape, np.nan)
    with announced(follow):
        follow(plan, each, delays, np.zeros(stages), ends)
    found = ends.reshape(*lead, 2, places, microbatches)
    return found[..., 0, :, :], found[..., 1, :, :]


def _numbers(item: Item, needed: Item | None) -> tuple[int, ...]:
    """A turn as whole numbers; -1 where nothing is needed."""
    before = (-1, -1, -1) if needed is None else (int(needed.back), needed.place, needed.microbatch)
    return (int(item.back), item.place, item.microbatch, *before)


@compiled
def follow(plan: Integers, times: Floats, delays: Floats, free: Floats, ends: Floats) -> None:
    """Do the turns of the plan in each run; ``free`` is the time at which each stage is free."""
    stages = free.size
    for run in range(times.shape[0]):
        free[:] = 0.0
        for turn in range(plan.shape[0]):
            back, place, microbatch = plan[turn, 0], plan[turn, 1], plan[turn, 2]
            before = plan[turn, 4]
            begin = free[place % stages]
            if before >= 0:
                come = ends[run, plan[turn, 3], before, plan[turn, 5]]
                if stages > 1 and before != place:
                    come = come + delays[run, min(before, place), microbatch]
                begin = max(begin, come)
            end = begin + times[run, back, place, microbatch]
            free[place % stages] = ends[run, back, place, microbatch] = end
