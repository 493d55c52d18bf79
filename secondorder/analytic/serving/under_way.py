"""What an arriving request finds under way: the rest of a step, the step scheduled after it, the tokens before it."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from secondorder.analytic.serving.asynchronous import Ahead
from secondorder.analytic.serving.runs import parts
from secondorder.arrays import Complexes, Floats

AGES = np.array([0.25, 0.75])  # share of the step under way that has passed when a request arrives
WITHIN = (np.arange(4) - 1.5) / 8  # by how much it may be less or more
LATE = (0.0, 0.25, 0.5, 0.75, 1.0)  # cuts of the law of the step that is already scheduled: an atom for each of WITHIN
PAIRED = [
    1,
    3,
    0,
    2,
]  # atoms of that step in the order of WITHIN: the two are independent, so neither may follow the other
DURATIONS = (0.0, 0.4, 0.7, 0.85, 0.93, 0.98, 1.0)  # cuts of the law of the step under way
NEGLIGIBLE = 1e-5  # share of the requests, against quantiles up to 1e-3
TINY = 1e-300


@dataclass(frozen=True, kw_only=True)
class UnderWay:
    """Situations that a request finds on arrival: pairs of one step at each of ``AGES``, at last an idle engine.

    By queue and situation: ``elapsed`` and ``rest`` of the step under way (s), the ``weight`` of the situation.
    ``late``: durations of the step that is already scheduled when the request arrives (s), four equally likely ones of
    each situation; 0 where the next step takes the request. ``left``: transform of the cells that waited before the
    step under way and are in no scheduled step.
    """

    elapsed: Floats
    rest: Floats
    weight: Floats
    late: Floats
    left: Complexes

    @classmethod
    def of(cls, seconds: Floats, weight: Floats, late: Floats, left: Complexes, waiting: Floats) -> Self:
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
            late=np.concatenate([np.repeat(late, count, axis=1), np.zeros((len(seconds), 1, len(WITHIN)))], axis=1),
            left=np.concatenate([np.repeat(left, count, axis=1), np.ones_like(left[:, :1])], axis=1),
        )

    def seen(self, full: Floats, count: int, *, ahead: bool) -> Floats:
        """Time in which what arrives is computed with the last tokens of a prompt or before them, s.

        It ends when the last step of the prompt begins; where steps are scheduled ahead, when the one before it does.
        ``full``: duration of a full step of each queue. By queue, situation, and ``0 .. count - 1`` full steps between.
        """
        steps = np.arange(count) * full[:, None, None]
        if not ahead:
            return np.asarray(self.rest[..., None] + steps)
        late = self.late.mean(axis=2, keepdims=True)
        found = self.rest[..., None] + late + steps - full[:, None, None]
        found[..., :1] = self.rest[..., None]
        return np.asarray(found)


@dataclass(frozen=True, kw_only=True)
class Steps:
    """The steps of queues of prompts: their ``seconds`` with ``0 .. cap`` cells, and the stationary ``backlog``.

    ``waiting``: what an idle engine counts for, s a step. ``alone``: the least duration of a step that is scheduled
    while another runs, s.
    """

    seconds: Floats
    backlog: Floats
    waiting: Floats
    alone: Floats

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
    return UnderWay.of(seconds, weight, np.zeros((*seconds.shape, len(WITHIN))), left, steps.waiting)


def asynchronous(steps: Steps, ahead: Ahead) -> UnderWay:
    """Where step ``k + 1`` is scheduled when step ``k`` begins: what arrives during step ``k`` is in ``k + 2``.

    A request waits for the rest of step ``k``, for step ``k + 1``, and behind ``max(W - cap, 0)`` cells, ``W`` those
    that waited when step ``k`` began: what is left over is computed in the scheduled step, so that a queue delays a
    request by less than a whole step.
    """
    whole = steps.seconds[:, -1:]
    met = ahead.taken * steps.seconds[:, None]
    waiting = (met.sum(axis=2)[..., None] * ahead.waiting).sum(axis=1)
    free = _Scheduled.of(steps, waiting)
    high = _Scheduled.of(steps, whole * ahead.full)
    met = met.sum(axis=1)
    durations, shares = steps.groups(met)
    mean, always = (durations * shares).sum(axis=1, keepdims=True), np.repeat(whole[:, :, None], len(WITHIN), axis=2)
    count, none = durations.shape[1], np.ones((len(met), 1, steps.size // 2 + 1), complex)
    return UnderWay.of(
        np.concatenate([durations, mean, whole, whole], axis=1),
        np.concatenate([shares * free.within, free.beyond, high.within, high.beyond], axis=1),
        np.concatenate([np.repeat(free.late, count, axis=1), always, high.late, always], axis=1),
        np.concatenate([np.repeat(none, count, axis=1), free.left, none, high.left], axis=1),
        steps.waiting,
    )


@dataclass(frozen=True, kw_only=True)
class _Scheduled:
    """The step that is scheduled when another begins, by queue.

    ``within``, ``beyond``: masses of a step that takes all cells that wait, and of one that leaves some over; ``late``:
    durations of the former, s; ``left``: transform of what the latter leaves.
    """

    within: Floats
    beyond: Floats
    late: Floats
    left: Complexes

    @classmethod
    def of(cls, steps: Steps, law: Floats) -> Self:
        """From the masses of the cells that wait."""
        seconds = np.maximum(steps.seconds, steps.alone[:, None])
        taken = law[:, : steps.cap + 1]
        late = [parts(each, mass + TINY, LATE)[0] for each, mass in zip(seconds, taken, strict=True)]
        return cls(
            within=taken.sum(axis=1, keepdims=True),
            beyond=law[:, steps.cap + 1 :].sum(axis=1, keepdims=True),
            late=np.array(late)[:, None, PAIRED],
            left=_normed(steps.left_over(law))[:, None],
        )


def _normed(transform: Complexes) -> Complexes:
    """That of a law of the same shape and mass 1."""
    total = transform[..., :1].real
    return np.asarray(np.where(total > TINY, transform / np.maximum(total, TINY), 1.0))
