"""Moments of the duration of a run of steps, from a backlog chain on few states."""

from functools import lru_cache
from itertools import pairwise

import numpy as np

from secondorder.analytic.serving.bulk_service import TiltedArrivals
from secondorder.arrays import Floats, Integers

EVERY = 8  # cells up to which each is a knot
LOW_KNOTS = 12
HIGH_KNOTS = 32
MOST_STEPS = 48  # steps that are followed one by one; then the chain has forgotten its start
CHECKED = 8  # steps after which it is seen whether it has already
FORGOTTEN = 1e-4


def run_moments(
    arrivals: TiltedArrivals,
    backlog: Floats,
    durations: Floats,
    starts: Floats,
    steps: Floats,
    *,
    by_start: bool = False,
) -> Floats:
    """First three moments about ``steps`` mean steps of the duration of runs, from each law of the backlog.

    With ``g = T(W) - E[T]`` and ``S_m`` the sum over ``m`` steps, ``E_W[S_{m+1}] = g + P E[S_m]``, and likewise
    for squares and cubes; linear in ``m`` once the start is forgotten. The three are functions of the
    backlog, piecewise linear between few knots: close together up to a full step, in proportion beyond.

    A first axis for the queues. ``backlog``: their stationary laws. ``starts``: several laws of the first backlog of
    each. Found: by queue, law, moment (s, s^2, s^3) and number of steps; ``by_start``: after them the second and third
    moment of ``E_W[S_m]`` over the first backlogs ``W``.
    """
    knots, low = _knots(arrivals.cap, durations.shape[1])
    laws = arrivals.untilt(arrivals.rows[:, low], arrivals.size // 2)
    above = np.arange(len(low), len(knots))  # a row past the cap is that of the cap, moved
    row = np.concatenate([np.arange(len(low)), np.full(len(above), len(low) - 1)])
    moves = np.maximum(on_knots(laws, knots, row, np.maximum(knots - arrivals.cap, 0)), 0.0)
    moves /= moves.sum(axis=-1, keepdims=True)
    still = np.zeros(1, int)
    usual = on_knots(backlog[:, None], knots, still, still)[:, 0]
    g = durations[:, knots] - (usual * durations[:, knots]).sum(axis=1, keepdims=True)
    count = np.arange(starts.shape[1])
    begin = on_knots(starts, knots, count, 0 * count)
    return _at(steps, _by_step(g, moves, begin, int(min(MOST_STEPS, np.ceil(steps.max()))), by_start))


def together(one: Floats, other: Floats) -> Floats:
    """The first three moments of sums of two runs, from those ``by_start`` of each.

    *Approximation*: what the first backlogs make of the two runs is large together, so that standard deviations and
    cube roots of third central moments add. What chance adds later is independent: variances and third central moments
    add.
    """
    (mean, *whole), (others, *with_other) = _central(one), _central(other)
    start = [(_root(a, n) + _root(b, n)) ** n for n, a, b in zip((2, 3), whole[2:], with_other[2:], strict=True)]
    later = [a - c + b - d for a, c, b, d in zip(whole[:2], whole[2:], with_other[:2], with_other[2:], strict=True)]
    mean, variance, third = mean + others, np.maximum(start[0] + later[0], 0.0), start[1] + later[1]
    return np.stack([mean, variance + mean**2, third + 3 * mean * variance + mean**3], axis=2)


def _central(moments: Floats) -> list[Floats]:
    """The mean; variance and third central moment of runs, and of their means by start."""
    mean, *rest = np.moveaxis(moments, 2, 0)
    found = [mean]
    for second, third in (rest[:2], rest[2:]):
        found += [second - mean**2, third - 3 * mean * second + 2 * mean**3]
    return found


def _root(central: Floats, order: int) -> Floats:
    return np.asarray(np.sqrt(np.maximum(central, 0.0)) if order == 2 else np.cbrt(central))


@lru_cache(maxsize=64)
def _knots(cap: int, length: int) -> tuple[Integers, Integers]:
    """Backlogs between which the moments are straight, and those of them up to a full step."""
    few = min(cap, EVERY)
    low = np.unique(np.append(np.arange(few), np.round(np.geomspace(few, cap, LOW_KNOTS)))).astype(int)
    high = np.unique(np.round(np.geomspace(cap, length - 1, HIGH_KNOTS))).astype(int)
    return np.union1d(low, high), low


def _by_step(g: Floats, moves: Floats, begin: Floats, most: int, by_start: bool = False) -> Floats:
    """Moments by queue, law of the first backlog, order and 0, 1, ... steps, until they grow evenly.

    Each over the factorial of its order: those of a sum are then a product of two series.
    """
    orders = np.array([1.0, 2.0, 6.0, 1.0, 1.0][: 5 if by_start else 3])
    found = np.zeros((most + 1, len(g), len(orders), begin.shape[1]))
    back, starts = np.ascontiguousarray(moves.swapaxes(1, 2)), begin.swapaxes(1, 2)
    here = np.stack([g, g * g / 2, g**3 / 6], axis=1)
    once, twice = here[:, :1], here[:, 1]
    states = np.zeros((CHECKED + 1, len(g), 3, g.shape[1]))
    for m in range(0, most, CHECKED):
        states[0] = states[-1]
        for later, following in pairwise(states):
            rest = later @ back
            np.add(here, rest, out=following)
            following[:, 1:] += once * rest[:, :2]
            following[:, 2] += twice * rest[:, 0]
        count = min(CHECKED, most - m)
        some, reached = slice(m + 1, m + 1 + count), states[1 : 1 + count]
        found[some, :, :3] = reached @ starts
        if by_start:
            found[some, :, 3:] = reached[:, :, :1] ** [[2], [3]] @ starts
        if count == CHECKED and _settled(found[m + CHECKED - 2 : m + CHECKED + 1, :, :3]):
            found = found[: m + CHECKED + 1]
            break
    return np.asarray(np.moveaxis(found, 0, -1) * orders[:, None, None]).swapaxes(1, 2)


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
    """Laws on few values: the mass between two knots is shared so that the mean is kept; past the last it lies on it.

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
