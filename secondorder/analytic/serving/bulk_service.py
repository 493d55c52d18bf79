"""A queue whose server takes up to ``cap`` units in each round, and whose rounds last the longer the more they take.

The backlog ``W`` at the beginning of rounds is a Markov chain: ``W' = W - min(W, cap) + Y_i``, ``i = min(W, cap)``,
with ``Y_i`` the units that arrive in a round that takes ``i``. Above ``cap`` it is a random walk of steps
``Y_cap - cap``, and a random walk has a Wiener-Hopf factorisation, two transforms away from the law of its steps.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from secondorder.arrays import Complexes, Floats


@dataclass(frozen=True, kw_only=True)
class TiltedArrivals:
    """Laws of the arrivals ``Y_0 .. Y_cap`` by their transforms: a row each, of sequences of length ``size``.

    ``rows[i] = rfft(P(Y_i = k) e^(tilt k))``. The tilt lies between 0 and the decay of the backlog, so that the
    steps of the walk, tilted, sum to less than 1 and the logarithm of ``1 - p`` exists. ``empty``: the law after an
    empty round, where that is another one (an idle server waits for an arrival), tilted likewise.
    """

    rows: Complexes
    size: int
    tilt: float

    @cached_property
    def _fall(self) -> Floats:
        return np.asarray(np.exp(-self.tilt * np.arange(self.size)))

    def untilt(self, transform: Complexes) -> Floats:
        """Sequences from their tilted transforms."""
        return np.asarray(np.fft.irfft(transform, n=self.size) * self._fall)

    def tilted(self, law: Floats) -> Complexes:
        """The tilted transform of a sequence that begins at 0."""
        return np.asarray(np.fft.rfft(law * np.exp(self.tilt * np.arange(len(law))), n=self.size))


def stationary_backlog(arrivals: TiltedArrivals) -> Floats:
    """Stationary law of the backlog at the beginning of rounds, probabilities of ``0 .. size/2 - 1`` units.

    With ``p(z) = A_cap(z) z^-cap`` the transform of a step of the walk, ``1 - p = F_+ F_-``, where ``F_+`` has powers
    of ``z`` from 0 on and ``F_-`` negative ones: the exponentials of the two halves of the cepstrum of ``1 - p``.
    ``1/F_-`` counts the new minima of the walk at each depth, ``1 - F_-`` is the law of the next one. So the chain
    watched below ``cap`` alone has the transitions ``a_i(j) + sum_w v_i(w) D(w - j)``, ``v_i = a_i / F_-`` the
    minima visited above ``cap`` and ``D = 1 - F_-``; and above ``cap`` the law is ``[sum_i pi_i v_i]_+ / F_+``.

    *Exact* but for what wraps around ``size``. *Source*: Wiener-Hopf factorisation by transforms, Asmussen, Applied
    Probability and Queues (2003), VIII.3; Grübel 1991 (Algorithm AS 265); elimination by Grassmann, Taksar, Heyman
    1985.
    """
    rows, size = arrivals.rows, arrivals.size
    cap, half = len(rows) - 1, size // 2
    shift = np.exp(cap * (2j * np.pi * np.arange(half + 1) / size - arrivals.tilt))
    cepstrum = np.fft.irfft(np.log(1 - rows[-1] * shift), n=size)
    up, down = np.zeros(size), np.zeros(size)
    up[:half], down[half:] = cepstrum[:half], cepstrum[half:]
    up_factor, down_factor = np.exp(np.fft.rfft(up)), np.exp(np.fft.rfft(down))

    untilt = np.exp(-arrivals.tilt * np.arange(size))
    laws = np.fft.irfft(rows, n=size)[:, : cap + 1] * untilt[: cap + 1]
    minima = (np.fft.irfft(rows / down_factor, n=size) * untilt)[:, cap + 1 : 2 * cap + 1]
    depth = np.arange(1, cap + 1)
    descent = -np.fft.irfft(down_factor, n=size)[size - depth] * np.exp(arrivals.tilt * depth)
    landing = np.zeros((cap, cap + 1))  # from the minimum cap + 1 + w to the next one, at j <= cap
    for w in range(cap):
        landing[w, w + 1 :] = descent[w:][::-1]
    censored = np.maximum(laws + np.einsum("iw,wj->ij", minima, landing), 0.0)
    low = stationary(censored)

    above = np.fft.irfft(np.einsum("i,ik->k", low, rows) / down_factor, n=size)
    above[: cap + 1] = above[half:] = 0.0
    law = np.fft.irfft(np.fft.rfft(above) / up_factor, n=size)[:half] * untilt[:half]
    law[: cap + 1] = low[:half]
    law = np.maximum(law, 0.0)
    return np.asarray(law / law.sum())


def stationary(moves: Floats) -> Floats:
    """Stationary law of a finite Markov chain by elimination of states, without a subtraction.

    Rows need not sum to 1: what a row lacks is shared in proportion. *Source*: Grassmann, Taksar, Heyman 1985.

    >>> stationary(np.array([[0.5, 0.5], [1.0, 0.0]])).round(6).tolist()
    [0.666667, 0.333333]
    """
    moves = moves / np.maximum(moves.sum(axis=1, keepdims=True), 1e-300)
    last = len(moves) - 1
    for n in range(last, 0, -1):
        leaving = max(float(moves[n, :n].sum()), 1e-300)
        moves[:n, n] /= leaving
        moves[:n, :n] += moves[:n, n, None] * moves[n, :n]
    law = np.zeros(last + 1)
    law[0] = 1.0
    for n in range(1, last + 1):
        law[n] = (law[:n] * moves[:n, n]).sum()
        if law[n] > 1:  # by a power of 2, which rounds nothing: state 0 may be rarer than any number
            law[: n + 1] = np.ldexp(law[: n + 1], -np.frexp(law[n])[1])
    return np.asarray(law / law.sum())
