"""Admissions that know how long each answer will be: none of them ever has to preempt."""

import numpy as np

from secondorder.arrays import Integers
from secondorder.simulate.serving.policies import Candidate


def peak_reserved(candidate: Candidate) -> bool:
    """Whether it and all running requests would fit in the cache if all were at their longest at once."""
    lasts = [candidate.own.last, *(each.last for each in candidate.residents())]
    return sum(-(-last // candidate.block_size) for last in lasts) <= candidate.total


def look_ahead(candidate: Candidate) -> bool:
    """Whether it and all running requests fit in the cache at each later step; each grows by a token a step until it
    ends.

    The most is held just before one of them ends. A policy of this admission has ``until_an_end=False``: room may come
    with time alone.
    """
    everyone = np.array([candidate.own, *candidate.residents()])
    now, left = everyone[:, 0], everyone[:, 1] - everyone[:, 0]
    return bool((_held(now, left, candidate.block_size) <= candidate.total).all())


def _held(now: Integers, left: Integers, block_size: int) -> Integers:
    """Blocks in use in this step, and in the last step of each."""
    ends = np.unique(np.append(left[left > 0], 0))
    tokens = now + ends[:, np.newaxis]
    alive = left >= ends[:, np.newaxis]
    held: Integers = np.where(alive, -(-tokens // block_size), 0).sum(axis=1)
    return held
