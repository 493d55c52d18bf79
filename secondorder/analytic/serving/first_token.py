"""From a request's arrival to its first token: the rest of a step, full steps, the step that ends its prompt."""

from dataclasses import dataclass, fields, replace
from functools import cached_property

import numpy as np

from secondorder.analytic.serving.bursts import burst, rest_of_burst
from secondorder.analytic.serving.runs import binned, parts
from secondorder.analytic.serving.transforms import exp
from secondorder.arrays import Booleans, Complexes, Floats

AGES = np.array([0.25, 0.75])  # share of the step under way that has passed when a request arrives
WITHIN = (np.arange(4) - 1.5) / 8  # by how much it may be less or more
EVERYWHERE = (np.arange(8) - 3.5) / 8  # of a step in which it may be anywhere
DURATIONS = (0.0, 0.4, 0.7, 0.85, 0.93, 0.98, 1.0)  # cuts of the law of the step under way
SOON = 2  # steps in which most prompts end
WAITS = 12  # groups of waits by which the backlog behind a prompt is found
NEGLIGIBLE = 1e-5  # share of the requests, against quantiles up to 1e-3
ALIKE = 1e-9  # of the longest time: times as near as this are one, whatever rounding makes of them
DAMPING = 20.0  # powers of e by which what wraps around a short transform is damped


@dataclass(frozen=True, kw_only=True)
class FirstToken:
    """The time to first token in bulk-service queues of prompts, counted in cells; a first axis for the queues.

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
    idle: Booleans
    late: Floats

    def of(self, which: Booleans) -> "FirstToken":
        """Those of some of the queues."""
        if which.all():
            return self
        arrays = {each.name: getattr(self, each.name) for each in fields(self) if each.name not in ("rate", "burst")}
        return replace(self, **{name: array[which] for name, array in arrays.items()})

    @property
    def _cap(self) -> int:
        return len(self.steps[0]) - 1

    @cached_property
    def _size(self) -> int:
        return 2 * len(self.backlog[0])

    @cached_property
    def _prompt_transform(self) -> Complexes:
        return np.fft.rfft(self.prompts.sum(axis=1), n=self._size)

    def _arriving(self, seconds: Floats, prompt: Complexes) -> Complexes:
        """Transforms of the cells that arrive in this many seconds."""
        return exp(self.rate / self.burst * seconds * (burst(prompt, self.burst) - 1))

    @cached_property
    def _met(self) -> Floats:
        """Share of the time in which a step begins with each backlog: it is met in proportion to its duration."""
        return np.asarray(self.backlog * self.steps[:, np.minimum(np.arange(self.backlog.shape[1]), self._cap)])

    @cached_property
    def _under_way(self) -> tuple[Floats, Floats, Floats]:
        """Steps that an arriving request finds under way: elapsed and remaining time (s), and shares.

        A column for each pair of a duration and an age. Then, for each age, the full steps that leave cells over; at
        last an engine that idles, which is met for as long as it does.
        """
        cap, count = self._cap, len(AGES)
        low, high = self._met[:, : cap + 1], self._met[:, cap + 1 :].sum(axis=1)
        waiting = np.where(self.idle, self.backlog[:, 0] * self.burst / self.rate, 0.0)
        groups = [parts(steps, met + 1e-300, DURATIONS) for steps, met in zip(self.steps, low, strict=True)]
        durations, shares = (np.array(part) for part in zip(*groups, strict=True))
        full, none = np.repeat(self.steps[:, -1:], count, axis=1), np.zeros((len(low), 1))
        seconds = np.concatenate([np.repeat(durations, count, axis=1), full, none], axis=1)
        ages = np.concatenate([np.tile(AGES, len(DURATIONS)), [0.0]])
        of_each = np.concatenate([shares * low.sum(axis=1, keepdims=True), high[:, None]], axis=1) / count
        weight = np.concatenate([np.repeat(of_each, count, axis=1), waiting[:, None]], axis=1)
        weight = np.where(weight > NEGLIGIBLE * weight.sum(axis=1, keepdims=True), weight, 0.0)
        return ages * seconds, (1 - ages) * seconds, weight / weight.sum(axis=1, keepdims=True)

    @cached_property
    def _left_over(self) -> Complexes:
        """Transform of the cells that a full step leaves over, where it leaves any."""
        high = self._met[:, self._cap + 1 :]
        left = np.zeros((len(high), self._size))
        left[:, 1 : 1 + high.shape[1]] = high / np.maximum(high.sum(axis=1, keepdims=True), 1e-300)
        return np.fft.rfft(left)

    @cached_property
    def _own(self) -> tuple[Floats, Floats]:
        """Cells that the step which ends the prompt computes of it and of what came before.

        Probabilities by queue, group of prompts, situation on arrival, full steps between, and cells ``0 .. cap``; and
        the wait until that step begins, s, by queue, situation and full steps.
        """
        cap, (elapsed, rest, weight) = self._cap, self._under_way
        before = np.empty((*elapsed.shape, self._size // 2 + 1), complex)
        early = self._arriving(elapsed[:, :-1:2, None], self._prompt_transform[:, None])
        before[:, :-1:2], before[:, 1:-1:2], before[:, -1] = early, early * early * early, 1.0  # at 1/4 and 3/4
        before *= rest_of_burst(self._prompt_transform, self.burst)[:, None]
        before[:, -1 - len(AGES) : -1] *= self._left_over[:, None]
        before *= weight[..., None]
        own = np.fft.rfft(self.prompts, n=self._size)
        count = self._full_steps(own.sum(axis=1) * before.sum(axis=1))
        every = 1  # a transform of every second frequency has room for half as many cells: enough for these steps
        while self._size // every >= 2 * (2 + count * cap):
            every *= 2
        cells = np.fft.irfft(own[:, :, None, ::every] * before[:, None, :, ::every], n=self._size // every)
        found = np.zeros((*cells.shape[:3], count, cap + 1))
        np.maximum(cells[..., 1 : 1 + count * cap].reshape(*cells.shape[:3], count, cap), 0.0, out=found[..., 1:])
        np.maximum(cells[..., 0], 0.0, out=found[..., 0, 0])  # a prompt of less than a cell still needs a step
        found /= found.sum(axis=(1, 2, 3, 4), keepdims=True)
        return found, rest[..., None] + np.arange(count) * self.steps[:, -1, None, None]

    def _full_steps(self, transform: Complexes) -> int:
        """Steps that a prompt and the cells before it fill, but for a negligible share."""
        cap = self._cap
        most = (self._size - 1) // cap
        cells = np.fft.irfft(transform, n=self._size)[:, 1 : 1 + most * cap]
        last = np.flatnonzero(cells.reshape(len(cells), most, cap).sum(axis=2).max(axis=0) > NEGLIGIBLE)
        return int(last[-1]) + 1 if len(last) else 1

    @cached_property
    def laws(self) -> list[tuple[Floats, Floats]]:
        """For each queue, atoms (s, rising) of the time to first token, and their weights, of sum 1.

        Of a prompt that waits for full steps, the two halves of the step under way are taken together.
        """
        own, waited = self._own[0].sum(axis=1), self._own[1]
        duration = (self._under_way[0] + self._under_way[1])[..., None]
        found = [self._ends(own[:, :, :SOON], waited[:, :, :SOON], WITHIN * duration)]
        if own.shape[2] > SOON:
            cells, wait = _halves_together(own[:, :, SOON:], waited[:, :, SOON:])
            found.append(self._ends(cells, wait, EVERYWHERE * duration[:, ::2]))
        atoms, weight = (np.concatenate(part, axis=1) for part in zip(*found, strict=True))
        return [binned(row, mass / mass.sum()) for row, mass in zip(atoms, weight, strict=True)]

    def _ends(self, own: Floats, waited: Floats, spread: Floats) -> tuple[Floats, Floats]:
        """When the step ends that ends the prompt, s, and weights: all of a queue in a row.

        In that step, cells that arrived behind the prompt fill the room; how many is a convolution,
        done on sequences damped by ``e^(-damping k / size)`` so that what wraps around does not count. The wait is
        more or less by ``spread``, in s.
        """
        cap, shape = self._cap, waited.shape
        size = 1 << int(np.ceil(np.log2(3 * cap + 2)))
        damped = np.exp(-DAMPING / (size - cap) * np.arange(size))
        prompt = self.prompts.sum(axis=1)[:, :size]
        prompt = np.fft.rfft(prompt * damped[: prompt.shape[1]], n=size)
        arriving = np.empty((*shape, size // 2 + 1), complex)
        full = self._arriving(self.steps[:, -1:, None], prompt[:, None])
        arriving[:, :, 0] = self._arriving(waited[:, :, :1], prompt[:, None])
        arriving[:, :, 0] *= rest_of_burst(prompt, self.burst)[:, None]
        for more in range(1, shape[2]):
            np.multiply(arriving[:, :, more - 1], full, out=arriving[:, :, more])
        together = np.fft.irfft(np.fft.rfft(own * damped[: cap + 1], n=size) * arriving, n=size)
        law = np.maximum(together[..., : cap + 1] / damped[: cap + 1], 0.0)
        law[..., -1] = np.maximum(own.sum(axis=-1) - law[..., :-1].sum(axis=-1), 0.0)
        law[law < NEGLIGIBLE**2] = 0.0
        atoms = self.late[:, None, None, None] + waited[..., None] + self.last[:, None, None]
        atoms = atoms[..., None] + spread[:, :, None, None]
        weight = np.broadcast_to(law[..., None] / spread.shape[-1], atoms.shape)
        return atoms.reshape(shape[0], -1), weight.reshape(shape[0], -1)

    @cached_property
    def backlog_behind(self) -> Floats:
        """Laws of the backlog when the step that ends a prompt begins, of each group of prompts."""
        found = [_by_wait(own, waited) for own, waited in zip(*self._own, strict=True)]
        cells, waits = (np.array(part) for part in zip(*found, strict=True))
        prompt, length = self._prompt_transform[:, ::2], self._size // 2  # the backlog is counted up to half the size
        arriving = self._arriving(waits[..., None], prompt[:, None])
        arriving *= rest_of_burst(prompt, self.burst)[:, None]
        together = (np.fft.rfft(cells, n=length) * arriving[:, None]).sum(axis=2)
        laws = np.maximum(np.fft.irfft(together, n=length), 0.0)
        return np.asarray(laws / laws.sum(axis=-1, keepdims=True))


def _halves_together(own: Floats, waited: Floats) -> tuple[Floats, Floats]:
    """Cells and mean waits by situation and full steps, where two situations are halves of a step; the last is none."""
    share = np.maximum(own.sum(axis=-1), 1e-300)
    first, second = share[:, :-1:2], share[:, 1:-1:2]
    means = (waited[:, :-1:2] * first + waited[:, 1:-1:2] * second) / (first + second)
    cells = own[:, :-1:2] + own[:, 1:-1:2]
    return np.concatenate([cells, own[:, -1:]], axis=1), np.concatenate([means, waited[:, -1:]], axis=1)


def _by_wait(own: Floats, waited: Floats) -> tuple[Floats, Floats]:
    """Cells of the last step of a prompt by group of prompts, in equal parts of the law of the wait; mean waits."""
    order = np.argsort(np.round(waited / waited.max() / ALIKE), axis=None, kind="stable")
    flat = own.reshape(len(own), -1, own.shape[-1])[:, order]
    share, waits = flat.sum(axis=(0, 2)), waited.ravel()[order]
    part = np.minimum((share.cumsum() - share / 2) * WAITS, WAITS - 1).astype(int)
    mass = np.bincount(part, share, minlength=WAITS)
    means = np.bincount(part, share * waits, minlength=WAITS) / np.maximum(mass, 1e-300)
    member = (part == np.arange(WAITS)[:, None]).astype(float)
    return member @ flat, means
