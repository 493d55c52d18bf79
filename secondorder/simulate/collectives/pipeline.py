"""Pipelines: the order in which each stage works, and when it is done, straight from the times of its passes.

A stage does its next item in the order of its schedule when the item's input has come. Chunk ``c`` of stage
``s`` is virtual stage ``c stages + s``; without interleaving there is one chunk a stage. A send delays what is
sent, and keeps nobody busy.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from secondorder.arrays import Floats
from secondorder.errors import InputError, UnknownName


class Item(NamedTuple):
    """One pass of a microbatch through a virtual stage."""

    back: bool
    place: int
    microbatch: int


def order(stage: int, *, stages: int, microbatches: int, schedule: str, interleaving: int = 1) -> list[Item]:
    """The items of one stage in the order in which it does them.

    gpipe: all forward, then all backward. 1f1b: ``p - s - 1`` forward to warm up, then one forward, one backward.
    interleaved: the same with chunks, in groups of ``p`` microbatches, and ``2(p - s - 1) + (v-1)p`` to warm up.

    *Source*: Narayanan and others, Megatron-LM (2021), section 2.2, and its ``schedules.py``.

    >>> ["FB"[item.back] + str(item.microbatch) for item in order(0, stages=2, microbatches=3, schedule="1f1b")]
    ['F0', 'F1', 'B0', 'F2', 'B1', 'B2']
    """
    p, m, v = stages, microbatches, interleaving
    ahead = [Item(False, stage + p * (k % (p * v) // p), k // (p * v) * p + k % p) for k in range(m * v)]
    if v == 1:
        ahead = [Item(False, stage, k) for k in range(m)]
    behind = [Item(True, stage + p * (v - 1) - (item.place - stage), item.microbatch) for item in ahead]
    match schedule:
        case "forward":
            return ahead
        case "gpipe":
            return ahead + behind
        case "1f1b":
            warm = min(p - stage - 1, m)
        case "interleaved":
            warm = min(2 * (p - stage - 1) + (v - 1) * p, m * v)
        case _:
            raise UnknownName.among("schedule", schedule, ("gpipe", "1f1b", "interleaved", "forward"))
    steady = [item for pair in zip(ahead[warm:], behind, strict=False) for item in pair]
    return [*ahead[:warm], *steady, *behind[len(ahead) - warm :]]


def needs(item: Item, places: int) -> Item | None:
    """The item that must be done before this one: the pass before it of the same microbatch."""
    back, place, microbatch = item
    if not back:
        return Item(False, place - 1, microbatch) if place else None
    return Item(True, place + 1, microbatch) if place + 1 < places else Item(False, place, microbatch)


@lru_cache(maxsize=64)
def turns(stages: int, microbatches: int, schedule: str, interleaving: int) -> tuple[tuple[Item, Item | None], ...]:
    """All items, each with its input, in an order in which each comes after what it needs."""
    shape = {"stages": stages, "microbatches": microbatches, "interleaving": interleaving}
    left = [order(s, schedule=schedule, **shape) for s in range(stages)]
    done: set[Item] = set()
    turns: list[tuple[Item, Item | None]] = []
    at = [0] * stages
    while len(turns) < sum(map(len, left)):
        before = len(turns)
        for s in range(stages):
            while at[s] < len(left[s]):
                item = left[s][at[s]]
                needed = needs(item, stages * interleaving)
                if needed is not None and needed not in done:
                    break
                done.add(item)
                turns.append((item, needed))
                at[s] += 1
        assert len(turns) > before, "the schedule waits for itself"
    return tuple(turns)


def passes(
    forward: npt.ArrayLike,
    backward: npt.ArrayLike | None = None,
    *,
    send: npt.ArrayLike = 0.0,
    schedule: str = "1f1b",
    interleaving: int = 1,
) -> tuple[Floats, Floats]:
    """When each pass ends, in s: two arrays (..., virtual stages, microbatches), forward and backward.

    Arguments as those of ``makespan``; without a backward pass the second array is not a number.
    """
    times, sends = durations(forward, backward, send, schedule, interleaving)
    *lead, _, places, microbatches = times.shape
    stages = places // interleaving
    # microbatch and stage first: one item is one contiguous block over the leading axes
    times = np.ascontiguousarray(np.moveaxis(times, (-3, -2, -1), (0, 1, 2)))
    delay = np.ascontiguousarray(np.moveaxis(sends, (-2, -1), (0, 1)))
    ends = np.full((2, places, microbatches, *lead), np.nan)
    free = np.zeros((stages, *lead))
    apart = stages > 1
    for item, needed in turns(stages, microbatches, schedule, interleaving):
        stage = item.place % stages
        begin = free[stage]
        if needed is not None:
            come = ends[int(needed.back), needed.place, needed.microbatch]
            if apart and needed.place != item.place:
                come = come + delay[min(needed.place, item.place), item.microbatch]
            begin = np.maximum(begin, come)
        free[stage] = ends[int(item.back), item.place, item.microbatch] = (
            begin + times[int(item.back), item.place, item.microbatch]
        )
    found = np.moveaxis(ends, (1, 2), (-2, -1))
    return found[0], found[1]


def makespan(
    forward: npt.ArrayLike,
    backward: npt.ArrayLike | None = None,
    *,
    send: npt.ArrayLike = 0.0,
    schedule: str = "1f1b",
    interleaving: int = 1,
) -> Floats:
    """When each stage has done its last item, in s from the start: an array (..., stages). Its largest is the step.

    ``forward`` and ``backward`` (..., stages x interleaving, microbatches): how long each pass takes in s, a row a
    virtual stage (chunk ``c`` of stage ``s`` in row ``c stages + s``); ``send`` in s, one number or an array like
    them: row ``q`` is the way between virtual stages ``q`` and ``q+1``, both ways. Leading axes broadcast.
    ``schedule``: gpipe, 1f1b, interleaved, or forward (no backward pass). *Exact* for given times.
    Errors: ``InputError``.

    >>> makespan(np.ones((4, 8)), 2 * np.ones((4, 8))).max()  # (8 + 4 - 1) (1 + 2)
    np.float64(33.0)
    """
    ahead, behind = passes(forward, backward, send=send, schedule=schedule, interleaving=interleaving)
    last = (ahead if schedule == "forward" else np.maximum(ahead, behind)).max(axis=-1)
    return np.asarray(last.reshape(*last.shape[:-1], interleaving, -1).max(axis=-2))


def durations(
    forward: npt.ArrayLike, backward: npt.ArrayLike | None, send: npt.ArrayLike, schedule: str, interleaving: int
) -> tuple[Floats, Floats]:
    """The arguments of ``makespan``, checked: passes (..., 2, virtual stages, microbatches), sends without the 2."""
    ahead, sends = np.asarray(forward, dtype=np.float64), np.asarray(send, dtype=np.float64)
    if backward is None and schedule != "forward":
        raise InputError("backward", given=None, expected=f"times, with the schedule {schedule}")
    behind = np.asarray(0.0 if backward is None else backward, dtype=np.float64)
    if ahead.ndim < 2 or 0 in ahead.shape:
        raise InputError("forward", given=f"an array of shape {ahead.shape}", expected="(..., stages, microbatches)")
    shape = np.broadcast_shapes(ahead.shape, behind.shape, sends.shape)
    *_, places, microbatches = shape
    if interleaving < 1 or places % interleaving:
        given = f"{interleaving} with {places} virtual stages"
        raise InputError("interleaving", given=given, expected="a divisor of the number of virtual stages")
    if schedule != "interleaved" and interleaving != 1:
        raise InputError("interleaving", given=interleaving, expected=f"1 with the schedule {schedule}")
    if schedule == "interleaved" and microbatches % (places // interleaving):
        given = f"{microbatches} in {places // interleaving} stages"
        raise InputError("microbatches", given=given, expected="a multiple of stages with the schedule interleaved")
    times = np.stack([np.broadcast_to(ahead, shape), np.broadcast_to(behind, shape)], axis=-3)
    return times, np.broadcast_to(sends, shape)
