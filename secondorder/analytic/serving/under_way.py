"""What an arriving request finds: the rest of the step under way, the step scheduled next, the tokens ahead of it."""

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np

from secondorder.analytic.serving.asynchronous import Ahead
from secondorder.analytic.serving.runs import parts
from secondorder.arrays import Complexes, Floats, Integers

AGES = np.array([0.25, 0.75])  # share of the step under way that has passed when a request arrives
DURATIONS = (0.0, 0.4, 0.7, 0.85, 0.93, 0.98, 1.0)  # cuts of the law of the step under way
NEGLIGIBLE = 1e-5  # share of the requests, against quantiles up to 1e-3
TINY = 1e-300


@dataclass(frozen=True, kw_only=True)
class Scheduled:
    """The step that is already scheduled when a request arrives: laws of its cells, in each of several cases.

    ``seconds``: its duration with ``0 .. cap`` cells, by queue; ``laws``: by queue and case. No case where the
    next step takes the request.
    """

    seconds: Floats
    laws: Floats

    @cached_property
    def mean(self) -> Floats:
        """Mean duration, s, by queue and case."""
        return np.asarray((self.laws * self.seconds[:, None]).sum(axis=2))


NONE, FREE, BUSY, FULL = -1, 0, 1, 2
"""Cases of a step that is scheduled already: none is; it fits, beside one that fits or a full one; it is full."""


@dataclass(frozen=True, kw_only=True)
class UnderWay:
    """Situations that a request finds on arrival: a pair for a step at each of ``AGES``, and last an idle engine.

    By queue and situation: ``elapsed`` and ``rest`` of the step under way (s), the ``weight`` of the situation.
    ``case``: which of the cases of ``scheduled`` each situation is, or ``NONE``. ``left``: transform of the cells that
    waited before the step under way and are in no scheduled step.
    """

    elapsed: Floats
    rest: Floats
    weight: Floats
    case: Integers
    scheduled: Scheduled
    left: Complexes

    @classmethod
    def of(
        cls, seconds: Floats, weight: Floats, case: list[int], scheduled: Scheduled, left: Complexes, waiting: Floats
    ) -> Self:
        """From the durations of the step under way, by queue; ``waiting``: weights of an idle engine."""
        count, none = len(AGES), np.zeros((len(seconds), 1))
        weight = np.concatenate([np.repeat(weight / count, count, axis=1), waiting[:, None]], axis=1)
        weight = np.where(weight > NEGLIGIBLE * weight.sum(axis=1, keepdims=True), weight, 0.0)
        seconds = np.concatenate([np.repeat(seconds, count, axis=1), none], axis=1)
        ages = np.concatenate([np.tile(AGES, (seconds.shape[1] - 1) // count), [0.0]])
        return cls(
            elapsed=ages * seconds,
            rest=(1 - ages) * seconds,
            weight=weight / weight.sum(axis=1, keepdims=True),
            case=np.append(np.repeat(case, count), NONE),
            scheduled=scheduled,
            left=np.concatenate([np.repeat(left, count, axis=1), np.ones_like(left[:, :1])], axis=1),
        )

    @cached_property
    def late(self) -> Floats:
        """Mean duration, s, of the step that is already scheduled, by queue and situation."""
        return np.concatenate([self.scheduled.mean, np.zeros((len(self.rest), 1))], axis=1)[:, self.case]

    def seen(self, full: Floats, count: int, *, ahead: bool) -> Floats:
        """Time in which what arrives is computed with the last tokens of a prompt or before them, s.

        It ends when the last step of the prompt begins; where steps are scheduled ahead, when the one before it does.
        ``full``: duration of a full step of each queue. By queue, situation, and ``0 .. count - 1`` full steps between.
        """
        steps = np.arange(count) * full[:, None, None]
        if not ahead:
            return np.asarray(self.rest[..., None] + steps)
        found = self.rest[..., None] + self.late[..., None] + steps - full[:, None, None]
        found[..., :1] = self.rest[..., None]
        return np.asarray(found)


@dataclass(frozen=True, kw_only=True)
class Steps:
    """The steps of queues of prompts: their ``seconds`` with ``0 .. cap`` cells, and the stationary ``backlog``.

    ``waiting``: what an idle engine counts for, s a step.
    """

    seconds: Floats
    backlog: Floats
    waiting: Floats

    @property
    def cap(self) -> int:
        return int(self.seconds.shape[1]) - 1

    @property
    def size(self) -> int:
        """Length of the transforms."""
        return 2 * int(self.backlog.shape[1])

    @property
    def met(self) -> Floats:
        """Share of the time in which a step begins with each backlog: it is met in proportion to its duration."""
        places = np.minimum(np.arange(self.backlog.shape[1]), self.cap)
        return np.asarray(self.backlog * self.seconds[:, places])

    def left_over(self, mass: Floats) -> Complexes:
        """Transform of the cells that full steps leave over, from masses by backlog; the masses are kept."""
        left = np.zeros((len(mass), self.size))
        high = mass[:, self.cap + 1 :]
        left[:, 1 : 1 + high.shape[1]] = high
        return np.fft.rfft(left)

    def groups(self, low: Floats) -> tuple[Floats, Floats]:
        """Durations of steps that leave nothing over, in few groups, and their shares."""
        found = [parts(steps, met + TINY, DURATIONS) for steps, met in zip(self.seconds, low, strict=True)]
        durations, shares = zip(*found, strict=True)
        return np.array(durations), np.array(shares)


def synchronous(steps: Steps) -> UnderWay:
    """Where a step is scheduled when the one before has ended: what arrives during a step is in the next one."""
    cap = steps.cap
    low, high = steps.met[:, : cap + 1], steps.met[:, cap + 1 :].sum(axis=1, keepdims=True)
    durations, shares = steps.groups(low)
    seconds = np.concatenate([durations, steps.seconds[:, -1:]], axis=1)
    weight = np.concatenate([shares * low.sum(axis=1, keepdims=True), high], axis=1)
    left = np.ones((*seconds.shape, steps.size // 2 + 1), complex)
    left[:, -1] = _normed(steps.left_over(steps.met))
    none = Scheduled(seconds=steps.seconds, laws=np.zeros((len(seconds), 0, cap + 1)))
    return UnderWay.of(seconds, weight, [NONE] * seconds.shape[1], none, left, steps.waiting)


def asynchronous(steps: Steps, ahead: Ahead) -> UnderWay:
    """Where step ``k + 1`` is scheduled when step ``k`` begins: what arrives during step ``k`` is in ``k + 2``.

    A request waits for the rest of step ``k``, for step ``k + 1``, and behind ``max(W - cap, 0)`` cells, ``W`` those
    that waited when step ``k`` began: what is left over is computed in the scheduled step, so that a queue delays a
    request by less than a whole step.
    """
    whole, cap = steps.seconds[:, -1:], steps.cap
    met = ahead.taken * steps.seconds[:, None]
    free = (met.sum(axis=2)[..., None] * ahead.waiting).sum(axis=1)
    high = whole * ahead.full
    durations, shares = steps.groups(met.sum(axis=1))
    mean, count = (durations * shares).sum(axis=1, keepdims=True), durations.shape[1]
    within, beyond = zip(*((law[:, : cap + 1], law[:, cap + 1 :].sum(axis=1)) for law in (free, high)), strict=True)
    fit = [each.sum(axis=1, keepdims=True) for each in within]
    full = np.zeros_like(within[0])
    full[:, -1] = 1.0
    laws = np.stack([*(law / np.maximum(mass, TINY) for law, mass in zip(within, fit, strict=True)), full], axis=1)
    left = np.ones((len(met), count + 3, steps.size // 2 + 1), complex)
    left[:, -3], left[:, -1] = _normed(steps.left_over(free)), _normed(steps.left_over(high))
    return UnderWay.of(
        np.concatenate([durations, mean, whole, whole], axis=1),
        np.concatenate([shares * fit[0], beyond[0][:, None], fit[1], beyond[1][:, None]], axis=1),
        [FREE] * count + [FULL, BUSY, FULL],
        Scheduled(seconds=steps.seconds, laws=laws),
        left,
        steps.waiting,
    )


def _normed(transform: Complexes) -> Complexes:
    """That of a law of the same shape and mass 1."""
    total = transform[..., :1].real
    return np.asarray(np.where(total > TINY, transform / np.maximum(total, TINY), 1.0))
