"""Moments of the duration of a run of steps, from a backlog chain on few states."""

import numpy as np

from secondorder.analytic.serving.bulk_service import TiltedArrivals
from secondorder.arrays import Floats, Integers

EVERY = 8  # cells up to which each is a knot
LOW_KNOTS = 12
HIGH_KNOTS = 32
MOST_STEPS = 96  # steps that are followed one by one; then the chain has forgotten its start
CHECKED = 8  # steps after which it is seen whether it has already
FORGOTTEN = 1e-5


def run_moments(arrivals: TiltedArrivals, backlog: Floats, durations: Floats, starts: Floats, steps: Floats) -> Floats:
    """First three moments about ``steps`` mean steps of the duration of runs, from each law of the backlog.

    With ``g = T(W) - E[T]`` and ``S_m`` the sum over ``m`` steps, ``E_W[S_{m+1}] = g + P E[S_m]``, and likewise
    for squares and cubes; linear in ``m`` once the start is forgotten. The three are functions of the
    backlog, piecewise linear between few knots: close together up to a full step, in proportion beyond.

    ``backlog``: its stationary law. ``starts``: a row for each law of the first backlog. Found: by law, moment (s,
    s^2, s^3) and number of steps.
    """
    cap = len(arrivals.rows) - 1
    low = np.unique(np.append(np.arange(min(cap, EVERY)), np.round(np.geomspace(min(cap, EVERY), cap, LOW_KNOTS))))
    low = low.astype(int)
    high = np.unique(np.round(np.geomspace(cap, len(durations) - 1, HIGH_KNOTS))).astype(int)
    knots = np.union1d(low, high)
    laws = arrivals.untilt(arrivals.rows[low])
    above = np.arange(len(low), len(knots))  # a row past the cap is that of the cap, moved
    row = np.concatenate([np.arange(len(low)), np.full(len(above), len(low) - 1)])
    moves = on_knots(laws, knots, row, np.maximum(knots - cap, 0))
    moves = np.maximum(moves, 0.0)
    moves /= moves.sum(axis=1, keepdims=True)
    at_knots = durations[knots]
    g = at_knots - float((on_knots(backlog[None, :], knots, np.zeros(1, int), np.zeros(1, int))[0] * at_knots).sum())
    begin = on_knots(starts, knots, np.arange(len(starts)), np.zeros(len(starts), int))
    most = int(min(MOST_STEPS, np.ceil(steps.max())))
    found, later, back = np.zeros((len(starts), 3, most + 1)), np.zeros((3, len(knots))), np.ascontiguousarray(moves.T)
    last = most
    for m in range(1, most + 1):
        first, second, third = np.einsum("ik,kj->ij", later, back)
        later = np.array([g + first, g**2 + 2 * g * first + second, g**3 + 3 * g**2 * first + 3 * g * second + third])
        found[:, :, m] = np.einsum("gk,ik->gi", begin, later)
        if m % CHECKED == 0 and _settled(found, m):
            last = m
            break
    grid = np.arange(last + 1)
    beyond = np.maximum(steps - last, 0.0)
    return np.array(
        [
            [np.interp(steps, grid, row[: last + 1]) + beyond * (row[last] - row[last - 1]) for row in law]
            for law in found
        ]
    )


def _settled(found: Floats, m: int) -> bool:
    """Whether the moments grow evenly."""
    slope, before = found[..., m] - found[..., m - 1], found[..., m - 1] - found[..., m - 2]
    return bool((np.abs(slope - before) <= FORGOTTEN * np.abs(found[..., m])).all())


def on_knots(laws: Floats, knots: Integers, row: Integers, moved: Integers) -> Floats:
    """Laws on few values: the mass between two knots is shared so that the mean is kept; past the last it lies on it.

    Found for each entry of ``row`` and ``moved``: the law in that row, moved up by as many cells.
    """
    zero = np.zeros((len(laws), 1))
    mass = np.concatenate([zero, laws.cumsum(axis=1)], axis=1)
    sums = np.concatenate([zero, (laws * np.arange(laws.shape[1])).cumsum(axis=1)], axis=1)
    ends = np.clip(knots - moved[:, None], 0, laws.shape[1])
    inside, first = np.diff(mass[row[:, None], ends]), np.diff(sums[row[:, None], ends])
    up = (first + (moved[:, None] - knots[:-1]) * inside) / np.diff(knots)
    found = np.zeros((len(row), len(knots)))
    found[:, :-1] += inside - up
    found[:, 1:] += up
    found[:, -1] += mass[row, -1] - mass[row, ends[:, -1]]
    return found
