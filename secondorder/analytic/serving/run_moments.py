"""Moments of the duration of a run of steps, from a backlog chain on few states."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Self

import numpy as np

from secondorder.analytic.serving.bulk_service import TiltedArrivals
from secondorder.arrays import Floats, Integers

EVERY = 8  # cells up to which each is a knot
LOW_KNOTS = 12
HIGH_KNOTS = 32
MOST_STEPS = 48  # steps of a chain that are followed one by one; then it has forgotten its start
CHECKED = 8  # steps after which it is seen whether it has already
FORGOTTEN = 1e-4
FACTORIALS = np.array([1.0, 2.0, 6.0])


def run_moments(arrivals: TiltedArrivals, backlog: Floats, durations: Floats, starts: Floats, steps: Floats) -> Floats:
    """First three moments about ``steps`` mean steps of the duration of runs, from each law of the backlog.

    With ``g = T(W) - E[T]`` and ``S_m`` the sum over ``m`` steps, ``E_W[S_{m+1}] = g + P E[S_m]``, and likewise
    for squares and cubes; linear in ``m`` once the start is forgotten. The three are functions of the
    backlog, piecewise linear between few knots: close together up to a full step, in proportion beyond.

    A first axis for the queues. ``backlog``: their stationary laws. ``starts``: several laws of the first backlog of
    each. Found: by queue, law, moment (s, s^2, s^3) and number of steps.
    """
    chain = Chain.of(arrivals, backlog, durations)
    begin = chain.laws(starts).swapaxes(1, 2)
    found = chain.follow(steps, lambda states: np.moveaxis(states[1:] @ begin, -1, 2))
    return _at(steps, found)


def run_moments_of_two(
    arrivals: TiltedArrivals, backlog: Floats, durations: Floats, first: Floats, during: Floats, steps: Floats
) -> Floats:
    """The same of runs whose steps are of two chains in turn, as where a step is scheduled while another runs.

    ``first``: laws of the cells ``V`` that wait for the first step, in several cases, masses of sum 1 in all; the
    second step has ``max(V - cap, 0) + Y``, ``during`` the law of ``Y`` in each case. By queue, law, case and cells.

    With ``S_m(V)`` the sum over ``m`` steps of one chain from ``V``, a run of ``2 m`` steps lasts
    ``S_m(V) + S_m(max(V - cap, 0) + Y)``: the two are as independent as ``V`` and ``Y``, unless ``V`` leaves cells
    over. *Approximation*: what steps leave over later is computed in the same chain.
    """
    chain = Chain.of(arrivals, backlog, durations)
    shape, knots = first.shape, chain.knots
    begin = chain.laws(first.reshape(shape[0], -1, shape[-1])).reshape(*shape[:3], len(knots))
    moved = np.tile(np.maximum(knots - arrivals.cap, 0), shape[1] * shape[2])
    row = np.repeat(np.arange(shape[1] * shape[2]), len(knots))
    after = on_knots(during.reshape(shape[0], -1, shape[-1]), knots, row, moved)
    after = np.maximum(after, 0.0).reshape(*shape[:3], len(knots), len(knots)).swapaxes(-1, -2)

    def both(states: Floats) -> Floats:
        """Moments of one and two steps more, from each of the states."""
        one, other = states[1:, :, None, None], states[:, :, None, None] @ after
        found = [_summed(one, other[:-1]), _summed(one, other[1:])]
        means = [(each * begin[..., None, :]).sum(axis=(-1, -3)) for each in found]
        return np.stack(means, axis=1).reshape(-1, *means[0].shape[1:])

    return _at(steps, chain.follow(steps, both))


def _summed(one: Floats, other: Floats) -> Floats:
    """Moments of a sum of two independent times, from those of each, all over the factorials of their orders."""
    found = one + other
    found[..., 1, :] += one[..., 0, :] * other[..., 0, :]
    found[..., 2, :] += one[..., 1, :] * other[..., 0, :] + one[..., 0, :] * other[..., 1, :]
    return found


@dataclass(frozen=True, kw_only=True)
class Chain:
    """The backlog of queues on few values, ``knots``: how it ``moves`` in a step, and how long that lasts.

    ``g``, the duration over the mean one, by queue and knot, s; ``moves`` by queue, knot and the next knot.
    """

    knots: Integers
    g: Floats
    moves: Floats

    @classmethod
    def of(cls, arrivals: TiltedArrivals, backlog: Floats, durations: Floats) -> Self:
        """From the stationary laws of the backlog and the durations of a step by backlog."""
        knots, low = _knots(arrivals.cap, durations.shape[1])
        laws = arrivals.untilt(arrivals.rows[:, low], arrivals.size // 2)
        above = np.arange(len(low), len(knots))  # a row past the cap is that of the cap, moved
        row = np.concatenate([np.arange(len(low)), np.full(len(above), len(low) - 1)])
        moves = np.maximum(on_knots(laws, knots, row, np.maximum(knots - arrivals.cap, 0)), 0.0)
        moves /= moves.sum(axis=-1, keepdims=True)
        still = np.zeros(1, int)
        usual = on_knots(backlog[:, None], knots, still, still)[:, 0]
        g = durations[:, knots] - (usual * durations[:, knots]).sum(axis=1, keepdims=True)
        return cls(knots=knots, g=g, moves=moves)

    def laws(self, laws: Floats) -> Floats:
        """Several laws of each queue on the knots."""
        return on_knots(laws, self.knots, np.arange(laws.shape[1]), np.zeros(1, int))

    def follow(self, steps: Floats, read: Callable[[Floats], Floats]) -> Floats:
        """What is ``read`` from the moments from each knot of 0, 1, ... steps, until it grows evenly.

        Moments are over the factorial of their order: those of a sum are then a product of two series. By number of
        steps, queue, order and knot; read: by number, queue, law and order. Found: by queue, law, order and number.
        """
        g, back = self.g, np.ascontiguousarray(self.moves.swapaxes(1, 2))
        here = np.stack([g, g * g / 2, g**3 / 6], axis=1)
        once, twice = here[:, :1], here[:, 1]
        states = np.zeros((CHECKED + 1, len(g), 3, g.shape[1]))
        parts: list[Floats] = []
        for _ in range(0, MOST_STEPS, CHECKED):
            states[0] = states[-1]
            for later, following in pairwise(states):
                rest = later @ back
                np.add(here, rest, out=following)
                following[:, 1:] += once * rest[:, :2]
                following[:, 2] += twice * rest[:, 0]
            parts.append(read(states))
            if sum(map(len, parts)) >= steps.max() or _settled(parts[-1][-3:]):
                break
        found = np.concatenate([np.zeros_like(parts[0][:1]), *parts])
        return np.asarray(np.moveaxis(found * FACTORIALS, 0, -1))


@lru_cache(maxsize=64)
def _knots(cap: int, length: int) -> tuple[Integers, Integers]:
    """Backlogs between which the moments are straight, and those of them up to a full step."""
    few = min(cap, EVERY)
    low = np.unique(np.append(np.arange(few), np.round(np.geomspace(few, cap, LOW_KNOTS)))).astype(int)
    high = np.unique(np.round(np.geomspace(cap, length - 1, HIGH_KNOTS))).astype(int)
    return np.union1d(low, high), low


def _at(steps: Floats, found: Floats) -> Floats:
    """Moments of this many steps, between those of whole numbers; straight beyond the last."""
    last = found.shape[-1] - 1
    low = np.minimum(np.floor(steps).astype(int), max(last - 1, 0))
    part = steps - low
    high = np.minimum(low + 1, last)
    return np.asarray(found[..., low] * (1 - part) + found[..., high] * part)


def _settled(last: Floats) -> bool:
    """Whether the last three moments grow evenly."""
    before, slope = np.diff(last, axis=0)
    return bool((np.abs(slope - before) <= FORGOTTEN * np.abs(last[-1])).all())


def on_knots(laws: Floats, knots: Integers, row: Integers, moved: Integers) -> Floats:
    """Laws on few values: mass between two knots is shared so that the mean is kept; mass past the last knot is put on
    it.

    Several laws of each queue. Found for each entry of ``row`` and ``moved``: the law in that row, moved up by as many
    cells.
    """
    zero = np.zeros((*laws.shape[:2], 1))
    mass = np.concatenate([zero, laws.cumsum(axis=-1)], axis=-1)
    sums = np.concatenate([zero, (laws * np.arange(laws.shape[-1])).cumsum(axis=-1)], axis=-1)
    ends = np.clip(knots - moved[:, None], 0, laws.shape[-1])
    at = mass[:, row[:, None], ends]
    inside, first = np.diff(at), np.diff(sums[:, row[:, None], ends])
    up = (first + (moved[:, None] - knots[:-1]) * inside) / np.diff(knots)
    found = np.zeros((len(laws), len(row), len(knots)))
    found[..., :-1] += inside - up
    found[..., 1:] += up
    found[..., -1] += mass[:, row, -1] - at[..., -1]
    return found
