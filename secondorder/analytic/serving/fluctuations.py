"""How steps fluctuate together: a longer step lets more requests arrive, which make later steps longer.

Counted in steps, the arrivals are a Hawkes process. A request that arrives adds the time ``s`` of its prompt to one
step and its decode's share ``theta`` to each of the ``O - 1`` steps after it; and arrivals come in
proportion to how long a step lasts. Shots that excite themselves have a spectrum in closed form.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from secondorder.arrays import Complexes, Floats, Integers

MOST_BLOCKS = 1024
"""Blocks of steps that the longest answer is counted in."""
MEMORY = 4
"""Longest answers in a transform."""
MOST_FEEDBACK = 0.97
"""Arrivals that an arrival causes, at most: where slots do not bind before, an engine with more would be unstable."""


@dataclass(frozen=True, kw_only=True)
class Fluctuations:
    """Second moments of step times and of the number of decodes, linear in the deviations from their means.

    Shots ``h_r(k) = s_r [k = 0] + theta_r [0 < k < O_r]`` of the requests ``r``, ``H_r`` their transform, arrivals
    of ``rate T_k`` in step ``k``: the spectrum of the step times is

        ``S(w) = rate E[T] E|H_r|^2 / |1 - rate E[H_r]|^2``,

    and that of the number of decodes, and the cross spectrum, follow with the shots ``g_r(k) = [0 < k < O_r]``.
    Where the arrivals are not Poisson's but have the spectrum ``rate I(w)``, ``(I(w) - 1) |E[H_r]|^2`` comes on top
    of ``E|H_r|^2`` (``dispersion``, rad/s; ``burst``: the mean burst that the backlog of prompts is solved with).
    ``prompt`` (``s``, s), ``decode`` (``theta``, s), ``steps`` (``O - 1``), ``weight``: an entry for each kind of
    request. ``mean_step`` in s, ``rate`` in request/s.

    *Approximation*: linear; *valid when* slots seldom bind. *Source*: Hawkes 1971 (spectrum); Brémaud and Massoulié
    2002 (marks).
    """

    prompt: Floats
    decode: Floats
    steps: Floats
    weight: Floats
    rate: float
    mean_step: float
    dispersion: Callable[[Floats], Floats]
    burst: float

    @cached_property
    def _block(self) -> int:
        """Steps in a block: spectra are taken of the means of blocks."""
        return max(1, int(np.ceil(self.steps.max() / MOST_BLOCKS)))

    @cached_property
    def _blocks(self) -> int:
        return int(np.ceil(self.steps.max() / self._block)) + 2

    @cached_property
    def _size(self) -> int:
        return 1 << int(np.ceil(np.log2(MEMORY * self._blocks)))

    @cached_property
    def _last(self) -> tuple[Integers, Floats]:
        """The block in which each request ends, and the share of it in which it is still there."""
        at = self.steps / self._block
        low = np.floor(at).astype(int)
        return low, at - low

    def _still_there(self, weight: Floats) -> Floats:
        """Weight of the requests that decode in each block after their arrival."""
        low, part = self._last
        ends = np.bincount(low, weight * (1 - part), minlength=self._blocks + 1)
        ends += np.bincount(low + 1, weight * part, minlength=self._blocks + 1)
        return np.asarray(ends[::-1].cumsum()[::-1][1:])

    def _shots(self, weight: Floats) -> Complexes:
        return np.fft.rfft(self._still_there(weight), n=self._size)

    def _pairs(self, weight: Floats) -> Floats:
        """Transform of how long each request decodes beyond a lag, on both sides of it."""
        beyond = self._still_there(weight)[::-1].cumsum()[::-1]
        return np.asarray(2 * np.fft.rfft(beyond, n=self._size).real - beyond[0])

    @cached_property
    def feedback(self) -> float:
        """Arrivals that one arrival causes by the time that it adds."""
        return self.rate * float((self.weight * (self.prompt + self.decode * self.steps)).sum())

    @cached_property
    def _stays(self) -> tuple[Complexes, Complexes, Floats, Floats, Floats]:
        """Transforms of the decodes of a request and of what they add to steps; with their pairs: of both, of each."""
        w, theta = self.weight, self.decode
        shots = self._shots(w), self._shots(w * theta)
        return *shots, self._pairs(w), self._pairs(w * theta), self._pairs(w * theta * theta)

    def _gain(self, mean_shot: Complexes, feedback: float) -> Complexes:
        """What becomes of an arrival with all the arrivals that it causes."""
        damped = min(1.0, MOST_FEEDBACK / max(feedback, 1e-300))
        return np.asarray(1 / (1 - damped * self.rate * self._block * mean_shot))

    def _caused(self, gain: Complexes, feedback: float) -> Complexes:
        """Decodes of the arrivals that a step causes by each second of it."""
        damped = min(1.0, MOST_FEEDBACK / max(feedback, 1e-300))
        return np.asarray(damped * self.rate * self._block * self._stays[0] * gain)

    @cached_property
    def _spectra(self) -> tuple[Floats, Floats, Complexes]:
        """Of the step time (s^2), of the decodes, of a step time and the decodes before it (s); by arrivals."""
        s, w = self.prompt / self._block, self.weight
        mean_stay, mean_decode, alone, pairs, squares = self._stays
        mean_shot = (w * s).sum() + mean_decode
        gain = self._gain(mean_shot, self.feedback)
        shot = (w * s * s).sum() + 2 * self._shots(w * s * self.decode).real + squares
        shot = shot + self._excess * np.abs(mean_shot) ** 2
        with_decodes = self._shots(w * s) + pairs + self._excess * mean_stay * mean_shot.conj()
        caused = self._caused(gain, self.feedback)
        decodes = alone + self._excess * np.abs(mean_stay) ** 2 + 2 * (caused.conj() * with_decodes).real
        decodes += np.abs(caused) ** 2 * shot
        return np.abs(gain) ** 2 * shot, decodes, (with_decodes + caused * shot) * gain.conj()

    @property
    def _arriving(self) -> float:
        """Requests in a block of steps."""
        return self.rate * self.mean_step * self._block

    @cached_property
    def _covariances(self) -> tuple[Floats, Floats]:
        """By lag, in blocks: of the step time (s^2), of a step time and the decodes before it (s)."""
        steps, _, cross = self._spectra
        back = np.fft.irfft(self._arriving * cross, n=self._size)
        return np.fft.irfft(self._arriving * steps, n=self._size), np.concatenate([back[:1], back[:0:-1]])

    @cached_property
    def _excess(self) -> Floats:
        """What the spectrum of the arrivals, over their rate, has beyond Poisson's, by frequency."""
        turns = np.fft.rfftfreq(self._size, d=self._block * self.mean_step)
        return self.dispersion(np.asarray(2 * np.pi * turns, float)) - 1

    @property
    def found_more(self) -> float:
        """Sequences that decode when a request arrives beyond their mean: arrivals that bunch meet each other."""
        gain = self._gain((self.weight * self.prompt).sum() / self._block + self._stays[1], self.feedback)
        return float(np.fft.irfft(self._excess * (self._stays[0] * gain).conj(), n=self._size)[0])

    @property
    def decodes_variance(self) -> float:
        """Variance of the number of sequences that decode."""
        return self._variance(self._spectra[1])

    @property
    def smooth_variance(self) -> float:
        """The same if prompts were spread evenly over the steps, which all decodes then lengthen, and arrivals random.

        Shots of ``theta / (1 - rate E[s])`` alone.
        """
        _, mean_decode, alone, pairs, squares = self._stays
        more = 1 / (1 - self.rate * float((self.weight * self.prompt).sum()))
        feedback = more * self.rate * float((self.weight * self.decode * self.steps).sum())
        caused = more * self._caused(self._gain(more * mean_decode, feedback), feedback)
        return self._variance(alone + 2 * caused.real * pairs + np.abs(caused) ** 2 * squares)

    def _variance(self, spectrum: Floats) -> float:
        """The covariance at lag 0: the sum of a spectrum over both signs of the frequency.

        Where nothing varies, as with equal requests at equal gaps, rounding may take the sum below zero.
        """
        both_signs = float(2 * spectrum.sum() - spectrum[0] - spectrum[-1])
        return self._arriving * max(both_signs, 0.0) / self._size

    def run_variance(self, steps: Floats) -> Floats:
        """Variance of the duration of runs of this many steps, s^2, less that of prompts with the decodes held fixed.

        The latter, ``m rate E[T] E[s^2] / (1 - rate E[s])^2``, is found better by the chain of the backlog.
        """
        variance = self._of_sums(self._covariances[0])
        blocks = np.arange(1, len(variance) + 1)
        bunched = 2 * (self.burst - 1) * (self.weight * self.prompt).sum() ** 2
        alone = self.rate * self.mean_step * ((self.weight * self.prompt**2).sum() + bunched)
        alone /= self._block * (1 - self.rate * (self.weight * self.prompt).sum()) ** 2
        share = np.maximum(variance - alone * blocks, 0.0) / blocks**2
        return np.asarray(np.interp(steps, blocks * self._block, share) * steps**2)

    def mean_variance(self, steps: Floats) -> Floats:
        """Variance of the mean number of decodes over runs of this many steps, over that of the number in one.

        One where the number does not vary.
        """
        variance = self._of_sums(np.fft.irfft(self._spectra[1], n=self._size))
        if variance[0] <= 0:
            return np.ones_like(steps)
        blocks = np.arange(1, len(variance) + 1)
        return np.asarray(np.interp(steps, blocks * self._block, variance / blocks**2) / variance[0])

    def _of_sums(self, covariances: Floats) -> Floats:
        """Variances of sums over 1, 2, ... blocks, from the covariances by lag."""
        half = self._size // 2
        lags = covariances[1 : half - 1].cumsum() * 2
        return np.asarray((covariances[0] + np.concatenate([[0.0], lags])).cumsum())

    def run_covariance(self, steps: Floats) -> Floats:
        """Covariance of the number of decodes now and the duration of the next steps, s."""
        half = self._size // 2
        blocks = np.arange(1, half)
        return np.asarray(
            np.interp(steps, blocks * self._block, self._covariances[1][1:half].cumsum() / blocks) * steps
        )
