"""A pipeline on SimPy: each stage a process that does its next item when the item's input has come."""

from collections.abc import Generator, Sequence
from functools import partial

import numpy as np
import numpy.typing as npt
import simpy

from secondorder.arrays import Floats
from secondorder.simulate.collectives.events import Box
from secondorder.simulate.collectives.pipeline import Item, durations, needs, order

Process = Generator[simpy.Event, object, None]


class Line:
    """The pipeline: the boxes in which inputs wait, and the time at which each item was done."""

    def __init__(self, env: simpy.Environment, places: int, stages: int, times: Floats, delays: Floats) -> None:
        self.env, self.places, self.stages, self.times, self.delays = env, places, stages, times, delays
        self.boxes: dict[Item, Box] = {}
        self.ends = np.full(times.shape, np.nan)

    def box(self, item: Item) -> Box:
        """Where the input of the item waits."""
        if item not in self.boxes:
            self.boxes[item] = Box(self.env)
        return self.boxes[item]

    def send(self, item: Item, follower: Item) -> None:
        """Send an item's result to the item that needs it: at once within a stage, else after the time on the link."""
        near = item.place == follower.place or self.stages == 1
        seconds = 0.0 if near else float(self.delays[min(item.place, follower.place), item.microbatch])
        box = self.box(follower)
        if seconds == 0:
            box.put()
        else:
            self.env.timeout(seconds).callbacks.append(partial(_put, box))

    def work(self, items: Sequence[Item], followers: dict[Item, Item]) -> Process:
        """One stage: item by item, wait for the input, work, send on."""
        for item in items:
            if needs(item, self.places) is not None and (come := self.box(item).take()) is not None:
                yield come
            place = int(item.back), item.place, item.microbatch
            yield self.env.timeout(float(self.times[place]))
            self.ends[place] = self.env.now
            if item in followers:
                self.send(item, followers[item])


def _put(box: Box, _: simpy.Event) -> None:
    box.put()


def passes(
    forward: npt.ArrayLike,
    backward: npt.ArrayLike | None = None,
    *,
    send: npt.ArrayLike = 0.0,
    schedule: str = "1f1b",
    interleaving: int = 1,
) -> tuple[Floats, Floats]:
    """When each pass of one step ends, in s: as ``pipeline.passes``, event by event, for one run (no leading axes)."""
    times, delays = durations(forward, backward, send, schedule, interleaving)
    _, places, microbatches = times.shape
    stages = places // interleaving
    env = simpy.Environment()
    line = Line(env, places, stages, times, delays)
    work = [
        order(s, stages=stages, microbatches=microbatches, schedule=schedule, interleaving=interleaving)
        for s in range(stages)
    ]
    followers = {needed: item for items in work for item in items if (needed := needs(item, places)) is not None}
    for items in work:
        env.process(line.work(items, followers))
    env.run()
    return line.ends[0], line.ends[1]
