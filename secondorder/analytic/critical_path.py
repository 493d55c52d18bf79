"""Mean and spread of the times at which a pipeline's stages are done: Clark's maxima along its passes.

A pass begins when its stage is free and its input has come, ``end = max(free, input + send) + pass``. With passes of
known mean and variance the ends are taken as jointly normal, and the maximum of two normals is replaced by
the normal of its exact mean, variance and covariances::

    a^2 = var A + var B - 2 cov(A, B),  alpha = (mean A - mean B) / a
    E max = mean A Phi(alpha) + mean B Phi(-alpha) + a phi(alpha)
    cov(max, Y) = cov(A, Y) Phi(alpha) + cov(B, Y) Phi(-alpha)

*Exact* without variance: then it is the longest path. *Source*: Clark, The greatest of a finite set of random variables
(1961), equations 2 to 7; the order of the passes: Narayanan and others, Megatron-LM (2021), section 2.2.
"""

from collections.abc import Iterator
from math import erfc, exp, pi, sqrt
from typing import NamedTuple

import numpy as np

from secondorder.analytic.arguments import Floats

Pass = tuple[bool, int, int]
"""Whether it goes back, its chunk (place in the model), its microbatch."""


class Durations(NamedTuple):
    """Mean and variance of the passes of one microbatch, for each chunk, in s and s^2.

    ``last`` are those of the last microbatch's backward passes.
    """

    forward: tuple[Floats, Floats]
    backward: tuple[Floats, Floats]
    last: tuple[Floats, Floats]


def ends(
    *, durations: Durations, send: float, stages: int, microbatches: int, schedule: str, interleaving: int = 1
) -> tuple[Floats, Floats]:
    """Mean (chunks,) in s and covariance (chunks, chunks) in s^2 of when each chunk's last backward pass ends.

    Chunk ``k`` of ``stages x interleaving`` lies on stage ``k mod stages``; a ``send`` in s delays what goes from
    chunk to chunk and keeps no stage busy. ``schedule``: gpipe, 1f1b or interleaved. *Exact* without variance,
    else approximate: maxima of normals are not normal. *Source*: Clark 1961.

    >>> one, two, none = np.ones(4), 2 * np.ones(4), np.zeros(4)
    >>> times = Durations(forward=(one, none), backward=(two, none), last=(two, none))
    >>> ends(durations=times, send=0.0, stages=4, microbatches=8, schedule="1f1b")[0]  # (8 + 4 - 1) (1 + 2) the first
    array([33., 31., 29., 27.])
    """
    chunks = stages * interleaving
    times = _Times(stages, noisy=any(pair[1].any() for pair in durations))
    sent: dict[Pass, int] = {}
    queues = [list(work(s, stages, microbatches, schedule, interleaving)) for s in range(stages)]
    done, at = [], [0] * stages
    while any(at[s] < len(queues[s]) for s in range(stages)):
        for stage, queue in enumerate(queues):
            while at[stage] < len(queue):
                back, chunk, microbatch = queue[at[stage]]
                source = _source(back, chunk, microbatch, chunks)
                if source is not None and source[1] % stages != stage:  # else it is there when the stage is free
                    if source not in sent:
                        break
                    times.wait(stage, sent.pop(source), send)
                pair = durations.forward
                if back:
                    pair = durations.last if microbatch == microbatches - 1 else durations.backward
                times.add(stage, float(pair[0][chunk]), float(pair[1][chunk]))
                if _leaves(back, chunk, chunks, stages):
                    sent[back, chunk, microbatch] = times.keep(stage)
                if back and microbatch == microbatches - 1:
                    done.append((chunk, times.keep(stage)))
                at[stage] += 1
    slots = [slot for _, slot in sorted(done)]
    return times.mean[slots], times.covariance[np.ix_(slots, slots)]


def greatest(mean: Floats, covariance: Floats) -> tuple[float, float]:
    """Mean and variance of the greatest of jointly normal times, by Clark's maxima, largest means first.

    >>> mean, variance = greatest(np.zeros(2), np.eye(2))
    >>> round(mean, 6), round(variance, 6)  # 1/sqrt(pi), 1 - 1/pi
    (0.56419, 0.68169)
    """
    order = np.argsort(-mean, kind="stable")
    mean, covariance = mean[order], covariance[np.ix_(order, order)].copy()
    top, row, variance = float(mean[0]), covariance[0].copy(), float(covariance[0, 0])
    for k in range(1, len(mean)):
        top, variance, share = clark(top, variance, float(mean[k]), float(covariance[k, k]), float(row[k]))
        row = share * row + (1 - share) * covariance[k]
    return top, variance


def clark(
    mean: float, variance: float, other: float, other_variance: float, covariance: float
) -> tuple[float, float, float]:
    """Mean and variance of the greater of two normals, and ``Phi(alpha)``, the share of the first in covariances."""
    spread = variance + other_variance - 2 * covariance
    if spread <= 1e-12 * (variance + other_variance):  # they differ by a constant
        return (mean, variance, 1.0) if mean >= other else (other, other_variance, 0.0)
    a = sqrt(spread)
    alpha = (mean - other) / a
    share, density = erfc(-alpha / sqrt(2)) / 2, exp(-alpha * alpha / 2) / sqrt(2 * pi)
    # moments about ``other``, so that no digits are lost to it
    gap = mean - other
    first = gap * share + a * density
    second = (gap * gap + variance) * share + other_variance * (1 - share) + gap * a * density
    return other + first, max(second - first * first, 0.0), share


def work(stage: int, stages: int, microbatches: int, schedule: str, interleaving: int) -> Iterator[Pass]:
    """The passes of one stage in order: this many forward to warm up, then forward and backward in turn."""
    p, m, v = stages, microbatches, interleaving
    total = m * v
    match schedule:
        case "gpipe":
            warm = total
        case "1f1b":
            warm = min(p - 1 - stage, total)
        case _:
            warm = min(2 * (p - 1 - stage) + (v - 1) * p, total)
    for k in range(warm):
        yield _pass(k, False, stage, p, v)
    for k in range(warm, total):
        yield _pass(k, False, stage, p, v)
        yield _pass(k - warm, True, stage, p, v)
    for k in range(total - warm, total):
        yield _pass(k, True, stage, p, v)


def _pass(k: int, back: bool, stage: int, p: int, v: int) -> Pass:
    """The ``k``-th pass of its direction on a stage: groups of ``p`` microbatches, chunk after chunk."""
    if v == 1:
        return back, stage, k
    group, within = divmod(k, p * v)
    turn, member = divmod(within, p)
    return back, stage + p * (v - 1 - turn if back else turn), group * p + member


def _source(back: bool, chunk: int, microbatch: int, chunks: int) -> Pass | None:
    """The pass whose result this one needs."""
    if not back:
        return (False, chunk - 1, microbatch) if chunk else None
    return (True, chunk + 1, microbatch) if chunk + 1 < chunks else (False, chunk, microbatch)


def _leaves(back: bool, chunk: int, chunks: int, stages: int) -> bool:
    """Whether the result goes to another stage."""
    return stages > 1 and (chunk > 0 if back else chunk + 1 < chunks)


class _Times:
    """Jointly normal times: when each stage is free (the first slots), and results on their way."""

    def __init__(self, stages: int, noisy: bool) -> None:
        self.noisy = noisy
        self.mean, self.covariance = np.zeros(4 * stages), np.zeros((4 * stages, 4 * stages))
        self.spare = list(range(4 * stages - 1, stages - 1, -1))

    def wait(self, stage: int, slot: int, send: float) -> None:
        """The stage goes on when it is free and what lies in the slot has come; the slot is free again."""
        cov = self.covariance
        mean, variance, share = clark(
            float(self.mean[stage]),
            float(cov[stage, stage]),
            float(self.mean[slot]) + send,
            float(cov[slot, slot]),
            float(cov[stage, slot]),
        )
        self.mean[stage] = mean
        if self.noisy:
            row = share * cov[stage] + (1 - share) * cov[slot]
            cov[stage, :] = cov[:, stage] = row
            cov[stage, stage] = variance
        self.spare.append(slot)

    def add(self, stage: int, mean: float, variance: float) -> None:
        """A pass, independent of all before."""
        self.mean[stage] += mean
        self.covariance[stage, stage] += variance

    def keep(self, stage: int) -> int:
        """A copy of when the stage is free, in a slot of its own."""
        if not self.spare:
            self._grow()
        slot = self.spare.pop()
        self.mean[slot] = self.mean[stage]
        if self.noisy:
            self.covariance[slot, :] = self.covariance[:, slot] = self.covariance[stage]
            self.covariance[slot, slot] = self.covariance[stage, stage]
        return slot

    def _grow(self) -> None:
        size = len(self.mean)
        self.mean = np.concatenate([self.mean, np.zeros(size)])
        wide = np.zeros((2 * size, 2 * size))
        wide[:size, :size] = self.covariance
        self.covariance = wide
        self.spare = list(range(2 * size - 1, size - 1, -1))
