"""Buckets of gradients that go out while the backward pass goes on, with drawn times.

Each rank computes its buckets one after another; the communication of a bucket begins when all ranks have it
ready and the bucket before it has gone.
"""

from collections.abc import Generator

import numpy as np
import numpy.typing as npt
import simpy

from secondorder.arrays import Floats
from secondorder.errors import InputError


def finish(compute: npt.ArrayLike, comm: npt.ArrayLike) -> tuple[Floats, Floats]:
    """When the computation of the last rank, and the communication of the last bucket, ends, in s.

    ``compute`` (..., ranks, buckets): how long each rank computes each bucket; ``comm`` (..., buckets): how long
    each communicates; both in s; leading axes broadcast. *Exact*, bit for bit what ``on_simpy`` gives.

    >>> finish([[1.0, 1.0, 1.0], [1.0, 2.0, 1.0]], [0.5, 0.5, 0.5])
    (array(4.), array(4.5))
    """
    work, sent = np.asarray(compute, dtype=np.float64), np.asarray(comm, dtype=np.float64)
    if work.ndim < 2 or sent.ndim < 1 or work.shape[-1] != sent.shape[-1] or not sent.shape[-1]:
        given, expected = f"shapes {work.shape} and {sent.shape}", "(..., ranks, buckets) and (..., buckets)"
        raise InputError("compute and comm", given=given, expected=expected)
    ready = np.cumsum(work, axis=-1).max(axis=-2)
    gone = np.zeros(np.broadcast_shapes(ready.shape[:-1], sent.shape[:-1]))
    for bucket in range(sent.shape[-1]):
        gone = np.maximum(gone, ready[..., bucket]) + sent[..., bucket]
    return np.asarray(ready[..., -1]), np.asarray(gone)


def exposed(compute: npt.ArrayLike, comm: npt.ArrayLike) -> Floats:
    """Communication in s after the last rank has computed its last bucket. Arguments as those of ``finish``."""
    computed, gone = finish(compute, comm)
    return np.asarray(gone - computed)


def on_simpy(compute: npt.ArrayLike, comm: npt.ArrayLike) -> tuple[float, float]:
    """As ``finish`` for one step, event by event: ``compute`` (ranks, buckets), ``comm`` (buckets)."""
    work, sent = np.asarray(compute, dtype=np.float64), np.asarray(comm, dtype=np.float64)
    env = simpy.Environment()
    ready = [[env.event() for _ in sent] for _ in work]
    computed: list[float] = []

    def backward(times: list[float], marks: list[simpy.Event]) -> Generator[simpy.Event, object, None]:
        for seconds, mark in zip(times, marks, strict=True):
            yield env.timeout(seconds)
            mark.succeed()
        computed.append(env.now)

    def communicate() -> Generator[simpy.Event, object, None]:
        for bucket, seconds in enumerate(sent.tolist()):
            for marks in ready:
                if not marks[bucket].processed:
                    yield marks[bucket]
            yield env.timeout(seconds)

    for times, marks in zip(work.tolist(), ready, strict=True):
        env.process(backward(times, marks))
    last = env.process(communicate())
    env.run(last)
    return max(computed), float(env.now)
