"""From a request's arrival to its first token: the rest of a step, full steps, the step that ends its prompt."""

from dataclasses import dataclass, fields, replace
from functools import cached_property

import numpy as np

from secondorder.analytic.serving.asynchronous import Ahead
from secondorder.analytic.serving.bulk_service import TiltedArrivals
from secondorder.analytic.serving.bursts import burst, rest_of_burst
from secondorder.analytic.serving.time_grid import TimeGrid
from secondorder.analytic.serving.transforms import exp
from secondorder.analytic.serving.under_way import (
    AGES,
    BUSY,
    FREE,
    FULL,
    NEGLIGIBLE,
    NONE,
    TINY,
    Steps,
    UnderWay,
    asynchronous,
    synchronous,
)
from secondorder.arrays import Booleans, Complexes, Floats, Integers

SOON = 2  # steps in which most prompts end
WAITS = 12  # groups of waits by which the backlog behind a prompt is found
ALIKE = 1e-9  # of the longest time: times as near as this are one, whatever rounding makes of them
DAMPING = 20.0  # powers of e by which what wraps around a short transform is damped


@dataclass(frozen=True, kw_only=True)
class FirstToken:
    """The time to first token in bulk-service queues of prompts, counted in cells; the first axis is the queue.

    ``steps``: duration (s) of a step with ``0 .. cap`` cells; ``last``: of one that ends a prompt. ``rate`` of the
    requests, request/s, which arrive in geometric bursts of mean ``burst``. ``backlog``: its stationary law.
    ``prompts``: laws of the cells of a prompt, a row for each group of requests, which sum to the group's share.
    ``idle``: whether a step without prompts is no step, the engine waits. ``ahead``: what waits when a step
    is scheduled while the one before it runs; None where it is scheduled after it.
    """

    steps: Floats
    last: Floats
    rate: float
    burst: float
    backlog: Floats
    prompts: Floats
    idle: Booleans
    ahead: Ahead | None

    def of(self, which: Booleans) -> "FirstToken":
        """Those of some of the queues."""
        if which.all():
            return self
        arrays = {each.name for each in fields(self)} - {"rate", "burst", "ahead"}
        chosen = {name: getattr(self, name)[which] for name in arrays}
        return replace(self, **chosen, ahead=self.ahead and self.ahead.at(which))

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
    def _under_way(self) -> UnderWay:
        """What an arriving request finds."""
        waiting = np.where(self.idle, self.backlog[:, 0] * self.burst / self.rate, 0.0)
        steps = Steps(seconds=self.steps, backlog=self.backlog, waiting=waiting)
        if self.ahead is None:
            return synchronous(steps)
        return asynchronous(steps, self.ahead)

    @cached_property
    def _own(self) -> tuple[Floats, Floats]:
        """Cells that the step which ends the prompt computes of it and of what came before.

        Probabilities by queue, group of prompts, situation on arrival, full steps between, and cells ``0 .. cap``; and
        the time in which what arrives is computed with the prompt or before it, s, by queue, situation and full steps.
        """
        cap, elapsed = self._cap, self._under_way.elapsed
        before = np.empty((*elapsed.shape, self._size // 2 + 1), complex)
        early = self._arriving(elapsed[:, :-1:2, None], self._prompt_transform[:, None])
        before[:, :-1:2], before[:, 1:-1:2], before[:, -1] = early, early * early * early, 1.0  # at 1/4 and 3/4
        before *= rest_of_burst(self._prompt_transform, self.burst)[:, None]
        before *= self._under_way.left
        before *= self._under_way.weight[..., None]
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
        return found, self._under_way.seen(self.steps[:, -1], count, ahead=self.ahead is not None)

    def _full_steps(self, transform: Complexes) -> int:
        """Steps that a prompt and the cells before it fill, but for a negligible share."""
        cap = self._cap
        most = (self._size - 1) // cap
        cells = np.fft.irfft(transform, n=self._size)[:, 1 : 1 + most * cap]
        last = np.flatnonzero(cells.reshape(len(cells), most, cap).sum(axis=2).max(axis=0) > NEGLIGIBLE)
        return int(last[-1]) + 1 if len(last) else 1

    @cached_property
    def laws(self) -> list[tuple[Floats, Floats]]:
        """For each queue, times to first token (s, rising) and their weights, of sum 1.

        A request arrives anywhere in a step or, where prompts need no full steps before their last, in half of one; a
        step that is scheduled already is independent of it. Of a prompt that waits for full steps, the two halves of
        the step under way are taken together.
        """
        own, seen = self._own[0].sum(axis=1), self._own[1]
        found, delays = self._under_way, self._under_way.scheduled.seconds
        begin = found.rest[..., None] + np.arange(own.shape[2]) * self.steps[:, -1, None, None]
        half = (found.elapsed + found.rest) / len(AGES)
        ends = [self._ends(own[:, :, :SOON], begin[:, :, :SOON], seen[:, :, :SOON], half, found.case)]
        if own.shape[2] > SOON:
            cells, wait, behind = _halves_together(own[:, :, SOON:], begin[:, :, SOON:], seen[:, :, SOON:])
            ends.append(self._ends(cells, wait, behind, 2 * half[:, ::2], found.case[::2]))
        first, last, weight, case = (np.concatenate(each, axis=-1) for each in zip(*ends, strict=True))
        grid = TimeGrid.over(first.min(axis=1), np.where(weight > 0, last, 0.0).max(axis=1) + delays[:, -1])
        whole = np.where(case == FULL, delays[:, -1:], 0.0)
        known = (case == NONE) | (case == FULL)
        mass = grid.anywhere(first[:, known] + whole[:, known], last[:, known] + whole[:, known], weight[:, known])
        some = [(at, case == at) for at in (FREE, BUSY) if at < found.scheduled.laws.shape[1]]
        if some:
            parts = [grid.anywhere(first[:, here], last[:, here], weight[:, here]) for _, here in some]
            mass += grid.later(np.stack(parts, axis=1), delays, found.scheduled.laws[:, : len(some)])
        mass /= mass.sum(axis=1, keepdims=True)
        return [(times[row > TINY], row[row > TINY]) for times, row in zip(grid.times, mass, strict=True)]

    def _ends(
        self, own: Floats, begin: Floats, seen: Floats, length: Floats, case: Integers
    ) -> tuple[Floats, Floats, Floats, Integers]:
        """When the step ends that ends the prompt, s: first and last time of each part of the law, weight and case.

        In that step, cells that arrived behind the prompt fill the room; how many is a convolution,
        done on sequences damped by ``e^(-damping k / size)`` so that what wraps around does not count.
        ``begin``: when that step begins, s, but for a step that is scheduled already, the middle of a time of this
        ``length``; ``seen``: the time in which what arrives is still computed in it.
        """
        cap, shape = self._cap, begin.shape
        size = 1 << int(np.ceil(np.log2(3 * cap + 2)))
        damped = np.exp(-DAMPING / (size - cap) * np.arange(size))
        prompt = self.prompts.sum(axis=1)[:, :size]
        prompt = np.fft.rfft(prompt * damped[: prompt.shape[1]], n=size)
        arriving = np.empty((*shape, size // 2 + 1), complex)
        full = self._arriving(self.steps[:, -1:, None], prompt[:, None])
        first = 1 if self.ahead is None else 2  # those that are not a full step more than the one before
        arriving[:, :, :first] = self._arriving(seen[:, :, :first, None], prompt[:, None, None])
        arriving[:, :, :first] *= rest_of_burst(prompt, self.burst)[:, None, None]
        for more in range(first, shape[2]):
            np.multiply(arriving[:, :, more - 1], full, out=arriving[:, :, more])
        together = np.fft.irfft(np.fft.rfft(own * damped[: cap + 1], n=size) * arriving, n=size)
        law = np.maximum(together[..., : cap + 1] / damped[: cap + 1], 0.0)
        law[..., -1] = np.maximum(own.sum(axis=-1) - law[..., :-1].sum(axis=-1), 0.0)
        law[law < NEGLIGIBLE**2] = 0.0
        middle = begin[..., None] + self.last[:, None, None]
        half = length[..., None, None] / 2
        begins, ends = ((middle + side).reshape(shape[0], -1) for side in (-half, half))
        law, case = law.reshape(shape[0], -1), np.repeat(case, law.shape[2] * law.shape[3])
        some = (law > 0).any(axis=0)
        return begins[:, some], ends[:, some], law[:, some], case[some]

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

    def decodes_begin(self, arrivals: TiltedArrivals) -> tuple[Floats, Floats]:
        """What the first two steps after a prompt's last take, where steps are scheduled ahead.

        With ``B`` the cells of the prompt's last step, and those that did not fit in it: the first step takes
        ``V = max(B - cap, 0)`` and what arrived in the step before the last, the second one ``Y``, what arrived in the
        last, and what the first left over. Found: masses of ``V`` and laws of ``Y``, by queue, group of prompts,
        whether ``B > cap``, and cells; given that, the two are independent.
        """
        behind, length, cap = self.backlog_behind, self.backlog.shape[1], self._cap
        fits = behind[..., : cap + 1]
        left = np.zeros((*behind.shape[:-1], 2, length))
        left[..., 0, 0], left[..., 1, 1 : length - cap] = fits.sum(axis=-1), behind[..., cap + 1 :]
        first = np.fft.rfft(left, n=self._size) * self._before_last(arrivals)[:, :, None]
        first = np.maximum(np.fft.irfft(first, n=self._size)[..., :length], 0.0)
        taken = np.zeros((*behind.shape[:-1], 2, cap + 1))
        taken[..., 0, :], taken[..., 1, -1] = fits / np.maximum(fits.sum(axis=-1, keepdims=True), TINY), 1.0
        rows = arrivals.in_rounds(taken.reshape(len(taken), -1, cap + 1))
        during = np.maximum(arrivals.untilt(rows, length), 0.0).reshape(first.shape)
        return first / first.sum(axis=(-1, -2), keepdims=True), during

    def _before_last(self, arrivals: TiltedArrivals) -> Complexes:
        """Transform of what arrives in the step before the one that ends a prompt, by queue and group of prompts.

        It is the step that was scheduled on arrival, or a full one where the prompt or those ahead of it need more.
        """
        own = self._own[0].sum(axis=-1)
        scheduled, case = self._under_way.scheduled.laws, self._under_way.case
        full = np.zeros_like(scheduled[:, :1])
        full[..., -1] = 1.0
        cases = [own[..., case == at, 0].sum(axis=2) for at in range(scheduled.shape[1])]
        at_once = np.stack([*cases, own[..., 1:].sum(axis=(2, 3))], axis=2)
        taken = at_once @ np.concatenate([scheduled, full], axis=1)
        taken /= np.maximum(taken.sum(axis=-1, keepdims=True), TINY)
        during = arrivals.untilt(arrivals.in_rounds(taken), self.backlog.shape[1])
        return np.fft.rfft(during, n=self._size)


def _halves_together(own: Floats, *times: Floats) -> list[Floats]:
    """Cells and mean times by situation and full steps, where two situations are halves of a step; the last is none."""
    share = np.maximum(own.sum(axis=-1), 1e-300)
    first, second = share[:, :-1:2], share[:, 1:-1:2]
    means = [(time[:, :-1:2] * first + time[:, 1:-1:2] * second) / (first + second) for time in times]
    cells = own[:, :-1:2] + own[:, 1:-1:2]
    return [
        np.concatenate([some, each[:, -1:]], axis=1) for some, each in zip([cells, *means], [own, *times], strict=True)
    ]


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
