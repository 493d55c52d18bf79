"""The backlog of prompts where a step is scheduled while the one before it runs."""

from dataclasses import dataclass, fields
from typing import Self

import numpy as np

from secondorder.analytic.serving.bulk_service import TiltedArrivals, Walk
from secondorder.arrays import Booleans, Complexes, Floats

ROUNDS = 3
"""How many times the laws of steps that are not full are computed again."""
LEAST = 1e-16
"""Probability of more than a full step, at least: below it is rounding."""


@dataclass(frozen=True, kw_only=True)
class Ahead:
    """Laws of the cells ``W`` that wait when step ``k`` begins and step ``k + 1`` is scheduled, by queue.

    Step ``k + 1`` takes up to ``cap`` of them, and what arrives during step ``k`` is seen after that:

        ``W' = max(W - cap, 0) + Y(T)``,

    ``T`` the duration of step ``k``, which took up to ``cap`` of what waited one step before. So ``T`` depends on the
    step before and not on ``W``: a long queue does not lengthen the step in which it is counted, and queues are
    shorter than with synchronous scheduling.

    Steps that left nothing over are of three kinds: after two such steps or more, after one, and after a full step.
    ``taken``: probability of each kind and number of cells in the step. ``waiting``: law of ``W`` in each kind.
    ``full``: probability of a step that leaves cells over and of ``W`` in it. ``taken`` and ``full`` sum to 1.

    *Approximation*: within a kind, ``W`` does not depend on what the step takes. *Valid when* the queue is stable.
    *Source*: the walk above ``cap`` as in ``bulk_service.stationary_backlog``.
    """

    taken: Floats
    waiting: Floats
    full: Floats

    @classmethod
    def of(cls, arrivals: TiltedArrivals, backlog: Floats) -> Self:
        """From the arrivals in steps; ``backlog``, the law with synchronous scheduling, is where the search starts.

        A full step ends in one that leaves nothing over, with the cells ``t`` (law ``F``, cut at ``cap``) and ``Y_cap``
        waiting; that is followed by one with the cells ``Y_cap``, and ``Y_t`` waiting; and so on. Where more than
        ``cap`` wait, the next step is full, and the walk begins.
        """
        cap, most = arrivals.cap, arrivals.rows[:, -1]
        walk, low = Walk.of(arrivals), slice(cap + 1)
        after_full = _law(arrivals, most)
        second = _normed(after_full[:, low])
        last, later = _normed(backlog[:, low]), _normed(backlog[:, low])
        in_second, in_later = arrivals.during(second), arrivals.during(later)
        for _ in range(ROUNDS):
            in_last = arrivals.during(last)
            after_last, after_later = _law(arrivals, in_last), _law(arrivals, in_later)
            few = _beyond(after_full, cap), _beyond(after_last, cap), _beyond(after_later, cap)
            twice = 1 - few[0]  # probabilities relative to the first kind after a full step
            more = twice * (1 - few[1]) / few[2]
            waiting = np.stack([after_later, after_last, after_full], axis=1)
            weights = np.stack([more, twice, np.ones_like(more)], axis=1)
            during = np.stack([in_later, in_second, in_last], axis=1)
            start = (weights[..., None] * arrivals.left_over(waiting) * during).sum(axis=1)
            full = np.maximum(walk.above(start), 0.0)
            left = start + arrivals.left_over(full[:, None])[:, 0] * most
            full[:, low] = np.maximum(arrivals.untilt(left[:, None], cap + 1)[:, 0], 0.0)
            last = _normed(full[:, low])
            later = _normed(more[:, None] * after_later[:, low] + twice[:, None] * after_last[:, low])
            shares = weights[:, :2] * np.stack([1 - few[2], 1 - few[1]], axis=1)
            shares /= shares.sum(axis=1, keepdims=True)
            in_later = shares[:, :1] * arrivals.during(later) + shares[:, 1:] * in_second
        taken = weights[..., None] * np.stack([later, second, last], axis=1)
        total = taken.sum(axis=(1, 2)) + full.sum(axis=1)
        return cls(taken=taken / total[:, None, None], waiting=waiting, full=full / total[:, None])

    @classmethod
    def none(cls, queues: int, cap: int, half: int) -> Self:
        """Laws of queues that are not stable: every step is full, and as much waits as there is room for."""
        full = np.zeros((queues, half))
        full[:, -1] = 1.0
        return cls(taken=np.zeros((queues, 3, cap + 1)), waiting=np.repeat(full[:, None], 3, axis=1), full=full)

    def at(self, which: Booleans) -> "Ahead":
        """Those of some of the queues."""
        return Ahead(taken=self.taken[which], waiting=self.waiting[which], full=self.full[which])

    def put(self, which: Booleans, found: "Ahead") -> None:
        """Put what is ``found`` for some of the queues in its place."""
        for each in fields(self):
            getattr(self, each.name)[which] = getattr(found, each.name)

    def mean_step(self, seconds: Floats) -> Floats:
        """Mean duration of a step, of steps that last this long with ``0 .. cap`` cells."""
        return np.asarray((self.taken.sum(axis=1) * seconds).sum(axis=1) + self.full.sum(axis=1) * seconds[:, -1])


def _law(arrivals: TiltedArrivals, transform: Complexes) -> Floats:
    """Probabilities of ``0 .. size/2 - 1`` cells, from a tilted transform of each queue."""
    return np.maximum(arrivals.untilt(transform[:, None], arrivals.size // 2)[:, 0], 0.0)


def _beyond(law: Floats, cap: int) -> Floats:
    """Probability of more cells than a step takes."""
    return np.asarray(np.maximum(law[:, cap + 1 :].sum(axis=1), LEAST), float)


def _normed(law: Floats) -> Floats:
    return np.asarray(law / np.maximum(law.sum(axis=1, keepdims=True), LEAST))
