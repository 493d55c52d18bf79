"""A queue whose server takes up to ``cap`` units in each round, in rounds that last longer the more they take.

The backlog ``W`` at the beginning of rounds is a Markov chain: ``W' = W - min(W, cap) + Y_i``, ``i = min(W, cap)``,
with ``Y_i`` the units that arrive in a round that takes ``i``. Above ``cap`` it is a random walk of steps
``Y_cap - cap``, and a random walk has a Wiener-Hopf factorisation, two transforms away from the law of its steps.

Several queues are solved together: the first axis of all arrays.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np

from secondorder.analytic.serving.transforms import exp
from secondorder.arrays import Booleans, Complexes, Floats

NOISE = 1e-14
"""Probabilities up to this are rounding errors of a transform, which a tilt would make large."""
SCALED = 16
"""States after which probabilities are scaled, so that they remain floats."""


@dataclass(frozen=True, kw_only=True)
class TiltedArrivals:
    """Laws of the arrivals ``Y_0 .. Y_cap`` by their transforms, of sequences of length ``size``.

    ``rows[q, i] = rfft(P(Y_i = k) e^(tilt k))`` in queue ``q``. The tilt of each queue lies between 0 and the decay of
    its backlog, so that the steps of the walk, tilted, sum to less than 1 and the logarithm of ``1 - p`` exists.
    """

    rows: Complexes
    size: int
    tilt: Floats

    def of(self, which: Booleans) -> "TiltedArrivals":
        """The laws of some of the queues."""
        return self if which.all() else TiltedArrivals(rows=self.rows[which], size=self.size, tilt=self.tilt[which])

    @property
    def cap(self) -> int:
        """Units that a round takes at most."""
        return len(self.rows[0]) - 1

    @cached_property
    def rise(self) -> Floats:
        """``e^(tilt k)``, a row for each queue."""
        return np.asarray(np.exp(self.tilt[:, None] * np.arange(self.size)))

    @cached_property
    def fall(self) -> Floats:
        """``e^(-tilt k)``, with an axis before the last one."""
        return np.asarray(1 / self.rise)[:, None]

    def untilt(self, transform: Complexes, length: int) -> Floats:
        """The first probabilities of several laws of each queue, from their tilted transforms."""
        return np.asarray(np.fft.irfft(transform, n=self.size)[..., :length] * self.fall[..., :length])

    def during(self, taken: Floats) -> Complexes:
        """Tilted transforms of what arrives in a round that takes units of a law, one of each queue."""
        return np.asarray(np.einsum("qi,qif->qf", taken, self._parts).view(complex))  # by one thread: others wake late

    def in_rounds(self, taken: Floats) -> Complexes:
        """The same of several laws of each queue."""
        return np.asarray((taken @ self._parts).view(complex))

    @cached_property
    def _parts(self) -> Floats:
        """Real and imaginary parts of ``rows`` in turn: weights are real."""
        return np.asarray(np.ascontiguousarray(self.rows).view(float))

    def left_over(self, laws: Floats) -> Complexes:
        """Tilted transforms of what a round leaves over where it leaves any, from several laws of each queue."""
        cap, length = self.cap, laws.shape[-1]
        above = np.zeros((*laws.shape[:-1], self.size))
        above[..., 1 : length - cap] = (
            np.where(laws > NOISE, laws, 0.0)[..., cap + 1 :] * self.rise[:, None, 1 : length - cap]
        )
        return np.asarray(np.fft.rfft(above))

    def next_backlog(self, laws: Floats) -> Floats:
        """Laws of the backlog a round later, of several of each queue; cut at as many units as they have."""
        cap, length = self.cap, laws.shape[-1]
        low = self.in_rounds(laws[..., : cap + 1])
        found = self.untilt(low + self.left_over(laws) * self.rows[:, None, -1], length)
        found = np.maximum(found, 0.0)
        return np.asarray(found / found.sum(axis=-1, keepdims=True))


@dataclass(frozen=True, kw_only=True)
class Walk:
    """The random walk of the backlog above ``cap``: the factors ``F_+`` (``up``) and ``F_-`` (``down``)."""

    arrivals: TiltedArrivals
    up: Complexes
    down: Complexes

    @classmethod
    def of(cls, arrivals: TiltedArrivals) -> Self:
        """By the cepstrum of ``1 - p``."""
        size, cap, half = arrivals.size, arrivals.cap, arrivals.size // 2
        turn = exp(np.asarray(2j * np.pi * cap / size * np.arange(half + 1), complex))
        step = arrivals.rows[:, -1] * (turn * np.exp(-cap * arrivals.tilt)[:, None])
        cepstrum = np.fft.irfft(np.log(1 - step), n=size)
        up, down = cepstrum.copy(), cepstrum
        up[:, half:], down[:, :half] = 0.0, 0.0
        return cls(arrivals=arrivals, up=exp(np.fft.rfft(up)), down=exp(np.fft.rfft(down)))

    def above(self, start: Complexes) -> Floats:
        """Expected visits of each backlog above ``cap``, from the tilted transform of where the walk starts.

        The walk ends when it comes to ``cap`` or below. Probabilities up to ``cap`` are 0.
        """
        size, half, cap = self.arrivals.size, self.arrivals.size // 2, self.arrivals.cap
        found = np.fft.irfft(start / self.down, n=size)
        found[:, : cap + 1] = found[:, half:] = 0.0
        found = np.fft.irfft(np.fft.rfft(found) / self.up, n=size)[:, :half] * self.arrivals.fall[:, 0, :half]
        found[:, : cap + 1] = 0.0
        return np.asarray(found)


def stationary_backlog(arrivals: TiltedArrivals) -> Floats:
    """Stationary laws of the backlog at the beginning of rounds, probabilities of ``0 .. size/2 - 1`` units.

    With ``p(z) = A_cap(z) z^-cap`` the transform of a step of the walk, ``1 - p = F_+ F_-``, where ``F_+`` has powers
    of ``z`` from 0 on and ``F_-`` negative ones: the exponentials of the two halves of the cepstrum of ``1 - p``.
    ``1/F_-`` counts the new minima of the walk at each depth, ``1 - F_-`` is the law of the next one. So the chain
    watched up to ``cap`` alone has the transitions ``a_i(j) + sum_{w > cap} v_i(w) D(w - j)``, ``v_i = a_i / F_-`` the
    minima visited and ``D = 1 - F_-``; as ``a_i = v_i F_-``, that is ``sum_{w <= cap} v_i(w) F_-(j - w)``. Above
    ``cap`` the law is ``[sum_i pi_i v_i]_+ / F_+``.

    *Exact* apart from what wraps around ``size``. *Source*: Wiener-Hopf factorisation by transforms, Asmussen, Applied
    Probability and Queues (2003), VIII.3; Grübel 1991 (Algorithm AS 265); elimination by Grassmann, Taksar, Heyman
    1985.
    """
    size, cap, half = arrivals.size, arrivals.cap, arrivals.size // 2
    walk = Walk.of(arrivals)
    minima = arrivals.untilt(arrivals.rows * (1 / walk.down)[:, None], cap + 1)
    units = np.arange(cap + 1)
    falls = np.fft.irfft(walk.down, n=size)[:, -units] * arrivals.rise[:, : cap + 1]
    landing = np.tril(falls[:, np.abs(units[:, None] - units)])  # from w to j, w >= j
    low = stationary(np.maximum(minima @ landing, 0.0))

    law = walk.above(arrivals.during(low))
    law[:, : cap + 1] = low[:, :half]
    law = np.maximum(law, 0.0)
    return np.asarray(law / law.sum(axis=1, keepdims=True))


def stationary(moves: Floats) -> Floats:
    """Stationary laws of finite Markov chains, one along the first axis, by elimination of states without subtractions.

    Rows need not sum to 1: what a row lacks is shared in proportion. *Source*: Grassmann, Taksar, Heyman 1985.

    >>> stationary(np.array([[[0.5, 0.5], [1.0, 0.0]]])).round(6).tolist()
    [[0.666667, 0.333333]]
    """
    moves = moves / np.maximum(moves.sum(axis=-1, keepdims=True), 1e-300)
    last = moves.shape[-1] - 1
    for n in range(last, 0, -1):
        leaving = np.maximum(moves[:, n, :n].sum(axis=-1), 1e-300)
        moves[:, :n, n] /= leaving[:, None]
        moves[:, :n, :n] += moves[:, :n, n, None] * moves[:, n, None, :n]
    law = np.zeros(moves.shape[:-1])
    law[:, 0] = 1.0
    for n in range(1, last + 1):
        law[:, n] = (law[:, :n] * moves[:, :n, n]).sum(axis=-1)
        if n % SCALED == 0:  # by a power of 2, which rounds nothing: state 0 may be rare
            large = np.frexp(law[:, : n + 1].max(axis=-1))[1] - 1
            law[:, : n + 1] = np.ldexp(law[:, : n + 1], -large[:, None])
    return np.asarray(law / law.sum(axis=-1, keepdims=True))
