"""From a request's arrival to its first token: the rest of a step, full steps, the step that ends its prompt."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from secondorder.analytic.serving.bursts import burst, rest_of_burst
from secondorder.analytic.serving.runs import binned, parts
from secondorder.arrays import Complexes, Floats

AGES = np.array([0.25, 0.75])  # share of the step under way that has passed when a request arrives
WITHIN = (np.arange(4) - 1.5) / 8  # by how much it may be less or more
DURATIONS = (0.0, 0.4, 0.7, 0.85, 0.93, 0.98, 1.0)  # cuts of the law of the step under way
WAITS = 12  # groups of waits by which the backlog behind a prompt is found
NEGLIGIBLE = 1e-5  # share of the requests, against quantiles up to 1e-3
DAMPING = 20.0  # powers of e by which what wraps around a short transform is damped


@dataclass(frozen=True, kw_only=True)
class FirstToken:
    """The time to first token in a bulk-service queue of prompts, counted in cells.

    ``steps``: duration (s) of a step with ``0 .. cap`` cells; ``last``: of one that ends a prompt. ``rate`` of the
    requests, request/s, which arrive in geometric bursts of mean ``burst``. ``backlog``: its stationary law.
    ``prompts``: laws of the cells of a prompt, a row for each group of requests, which sum to the group's share.
    ``idle``: whether a step without prompts is no step, the engine waits. ``late`` (s): what is added to every wait.
    """

    steps: Floats
    last: Floats
    rate: float
    burst: float
    backlog: Floats
    prompts: Floats
    idle: bool
    late: float

    @property
    def _cap(self) -> int:
        return len(self.steps) - 1

    @cached_property
    def _size(self) -> int:
        return 2 * len(self.backlog)

    @cached_property
    def _prompt_transform(self) -> Complexes:
        return np.fft.rfft(self.prompts.sum(axis=0), n=self._size)

    def _arriving(self, seconds: Floats, prompt: Complexes) -> Complexes:
        """Transforms of the cells that arrive in this many seconds."""
        return np.exp(self.rate / self.burst * seconds * (burst(prompt, self.burst) - 1))

    @cached_property
    def _under_way(self) -> tuple[Floats, Floats, Floats, Floats]:
        """Steps that an arriving request finds under way: elapsed and remaining time (s), shares, cells left over.

        A row for each pair of a duration and an age. The cells left over, beyond the room of the step, are a law
        for each row. A step is met in proportion to its duration; an idle engine for as long as it idles.
        """
        cap, met = self._cap, self.backlog * self.steps[np.minimum(np.arange(len(self.backlog)), self._cap)]
        waiting = self.backlog[0] * self.burst / self.rate if self.idle else 0.0
        low, high = met[: cap + 1], met[cap + 1 :]
        durations, shares = parts(self.steps, low + 1e-300, DURATIONS)
        seconds = np.concatenate([np.repeat(durations, len(AGES)), np.full(len(AGES), self.steps[-1]), [0.0]])
        ages = np.concatenate([np.tile(AGES, len(durations)), AGES, [0.0]])
        left = np.zeros((len(seconds), self._size))
        left[:, 0] = 1.0
        if high.sum() > 0:
            left[len(durations) * len(AGES) : -1] = 0.0
            left[len(durations) * len(AGES) : -1, 1 : 1 + len(high)] = high / high.sum()
        weight = np.concatenate(
            [
                np.repeat(shares * low.sum(), len(AGES)) / len(AGES),
                np.full(len(AGES), high.sum() / len(AGES)),
                [waiting],
            ]
        )
        kept = weight > NEGLIGIBLE * weight.sum()
        weight = weight[kept] / weight[kept].sum()
        return (ages * seconds)[kept], ((1 - ages) * seconds)[kept], weight, left[kept]

    @cached_property
    def _own(self) -> tuple[Floats, Floats]:
        """Cells that the step which ends the prompt computes of it and of what came before.

        Probabilities by group of prompts, situation on arrival, full steps between, and cells ``0 .. cap``; and
        the wait until that step begins, s, by situation and full steps.
        """
        cap, (elapsed, rest, weight, left) = self._cap, self._under_way
        before = self._arriving(elapsed[:, None], self._prompt_transform)
        before *= rest_of_burst(self._prompt_transform, self.burst)
        behind = left[:, 0] < 1
        before[behind] *= np.fft.rfft(left[behind])
        own = np.fft.rfft(self.prompts, n=self._size)
        cells = np.maximum(np.fft.irfft(own[:, None] * before, n=self._size), 0.0) * weight[:, None]
        count = (self._size - 1) // cap
        blocks = cells[..., 1 : 1 + count * cap].reshape(*cells.shape[:2], count, cap)
        last = np.flatnonzero(blocks.sum(axis=(0, 1, 3)) > NEGLIGIBLE)
        count = int(last[-1]) + 1 if len(last) else 1
        found = np.concatenate([np.zeros((*cells.shape[:2], count, 1)), blocks[:, :, :count]], axis=-1)
        found[:, :, 0, 0] = cells[..., 0]  # a prompt of less than a cell still needs a step
        return found / found.sum(), rest[:, None] + np.arange(count) * self.steps[-1]

    @cached_property
    def _law(self) -> tuple[Floats, Floats]:
        """Atoms (s) of the time to first token, and their weights.

        In the step that ends the prompt, cells that arrived behind it fill the room; how many is a convolution,
        done on sequences damped by ``e^(-damping k / size)`` so that what wraps around does not count.
        """
        cap, own, waited = self._cap, self._own[0].sum(axis=0), self._own[1]
        size = 1 << int(np.ceil(np.log2(3 * cap + 2)))
        damped = np.exp(-DAMPING / (size - cap) * np.arange(size))
        prompt = self.prompts.sum(axis=0)[:size]
        prompt = np.fft.rfft(np.pad(prompt, (0, size - len(prompt))) * damped)
        arriving = self._arriving(waited[..., None], prompt) * rest_of_burst(prompt, self.burst)
        together = np.fft.irfft(np.fft.rfft(own * damped[: cap + 1], n=size) * arriving, n=size)
        law = np.maximum(together[..., : cap + 1] / damped[: cap + 1], 0.0)
        law[..., -1] = np.maximum(own.sum(axis=-1) - law[..., :-1].sum(axis=-1), 0.0)
        atoms = self.late + waited[..., None] + self.last
        law = np.where(law > NEGLIGIBLE**2, law, 0.0)
        spread = WITHIN * (self._under_way[0] + self._under_way[1])[:, None]
        atoms = atoms[..., None] + spread[:, None, None, :]
        weight = np.repeat(law.ravel() / law.sum() / len(WITHIN), len(WITHIN))
        return binned(atoms.ravel(), weight)

    @property
    def atoms(self) -> Floats:
        """Times to first token, s."""
        return self._law[0]

    @property
    def weight(self) -> Floats:
        """Their weights, of sum 1."""
        return self._law[1]

    @cached_property
    def backlog_behind(self) -> Floats:
        """Law of the backlog when the step that ends a prompt begins, a row for each group of prompts."""
        own, waited = self._own
        order = np.argsort(waited, axis=None, kind="stable")
        flat = own.reshape(len(own), -1, own.shape[-1])[:, order]
        share = flat.sum(axis=(0, 2))
        part = np.minimum((share.cumsum() - share / 2) * WAITS, WAITS - 1).astype(int)
        used = np.unique(part)
        waits = np.array([np.average(waited.ravel()[order][part == p], weights=share[part == p]) for p in used])
        cells = np.stack([flat[:, part == p].sum(axis=1) for p in used], axis=1)
        arriving = self._arriving(waits[:, None], self._prompt_transform)
        arriving *= rest_of_burst(self._prompt_transform, self.burst)
        laws = np.fft.irfft((np.fft.rfft(cells, n=self._size) * arriving).sum(axis=1), n=self._size)
        laws = np.maximum(laws[:, : len(self.backlog)], 0.0)
        return np.asarray(laws / laws.sum(axis=1, keepdims=True))
