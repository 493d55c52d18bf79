"""Constants of a step time fitted over several replayed schedules, with the uncertainty that the schedule adds.

Once it is known which steps lay in a measured time, the time is linear in the constants; a replay with the constants
tells which. A small change of the constants moves requests into other steps, so replays and fits in turn jump about
their fixed point. The equations of several rounds around it, solved together, do not.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from secondorder.arrays import Floats

APPROACH = 5
"""Replays that only lead to the neighbourhood; each goes ``STRIDE`` of the way."""
STRIDE = 0.7
FEWEST, MOST = 12, 24
"""Replays whose equations are solved together: at least, and before a fit is said not to have settled."""
CLOSEST = 1e-4
"""Relative scatter of a measured time that is assumed at least, and change of the times that is none."""

NOTHING = 1e-9
"""Share of the measured times that a constant adds to its least value, below which it is that: a solver's rounding."""


class Equations(NamedTuple):
    """``matrix @ constants = target``, a row a measured time: of which ``request``, and if of its ``first`` token."""

    matrix: Floats
    target: Floats
    request: npt.NDArray[np.int_]
    first: npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class FixedPoint:
    """``constants``, their standard errors (``spread``), and whether later rounds agree with earlier ones."""

    constants: Floats
    spread: Floats
    rounds: int
    settled: bool


def fixed_point(equations: Callable[[Floats], Equations], start: Floats, least: Floats) -> FixedPoint:
    """Constants, at least ``least``, that solve the ``equations`` of the schedules which they themselves give.

    Solved together over at least 12 rounds, until the first and the second half of them give constants within one
    standard error, or times within a ten-thousandth; after 24 rounds it has not settled. Targets are in parts of what
    was measured.

    *Standard errors:* those of least squares whose residuals are independent between requests (Huber-White), plus what
    the schedule adds in common: the variance of the single rounds' solutions in place of the part of it that is
    independent between requests, which the first already has.
    Source: White 1980, eq. 8; between-round variance as in Rubin 1987, eq. 3.1.6.
    """
    constants = start
    for _ in range(APPROACH):
        solved = _solved([equations(constants)], least)
        constants = constants + STRIDE * (solved - constants)
    seen: list[Equations] = []
    alone: list[Floats] = []
    spread, settled = np.zeros(len(start)), False
    while len(seen) < MOST and not settled:
        for _ in range(2):
            seen.append(equations(constants))
            alone.append(_solved(seen[-1:], least))
            constants = _solved(seen, least)
        if len(seen) >= FEWEST:
            spread = _spread(seen, constants, least, np.array(alone))
            half = len(seen) // 2
            apart = _solved(seen[:half], least) - _solved(seen[half:], least)
            moved = float(np.sqrt(np.mean((seen[-1].matrix @ apart) ** 2)))
            settled = bool((np.abs(apart) <= spread).all()) or moved < CLOSEST
    return FixedPoint(constants=constants, spread=spread, rounds=APPROACH + len(seen), settled=settled)


def _solved(seen: Sequence[Equations], least: Floats) -> Floats:
    return _robust(seen, least)[0]


def _robust(seen: Sequence[Equations], least: Floats) -> tuple[Floats, Floats, Floats]:
    """Bounded robust least squares by reweighting: constants, residuals, weights.

    Times between tokens and times to the first token each have a scatter of their own; a time further off than three of
    it counts in proportion.
    """
    from scipy.optimize import lsq_linear

    matrix, target, first = (np.concatenate([getattr(e, name) for e in seen]) for name in ("matrix", "target", "first"))
    scale = np.linalg.norm(matrix, axis=0)
    scale[scale == 0] = 1.0
    weight = np.ones(len(target))
    found = missed = np.zeros(0)
    for _ in range(8):
        rows = np.column_stack([matrix / scale, target]) * np.sqrt(weight)[:, None]
        triangle: Floats = np.asarray(np.linalg.qr(rows, mode="r"))
        found = lsq_linear(triangle[:, :-1], triangle[:, -1], bounds=(least * scale, np.inf)).x / scale
        found = np.where((found - least) * scale < NOTHING, least, found)
        missed = target - matrix @ found
        width = np.where(first, _width(missed[first]), _width(missed[~first]))
        weight = np.minimum(1.0, 3 * width / np.maximum(np.abs(missed), 1e-300)) / width**2
    return found, missed, weight


def _width(missed: Floats) -> float:
    """Standard deviation of normal residuals with this median size."""
    return max(1.4826 * float(np.median(np.abs(missed))), CLOSEST) if missed.size else 1.0


def _spread(seen: Sequence[Equations], constants: Floats, least: Floats, alone: Floats) -> Floats:
    """Standard errors: see ``fixed_point``."""
    _, missed, weight = _robust(seen, least)
    matrix = np.concatenate([each.matrix for each in seen])
    scale = np.linalg.norm(matrix, axis=0)
    scale[scale == 0] = 1.0
    scaled = matrix / scale
    inverse = np.linalg.pinv(scaled.T @ (weight[:, None] * scaled))
    scores = (weight * missed)[:, None] * scaled @ inverse
    count = int(seen[0].request.max()) + 1
    by_round = np.zeros((len(seen), count, len(constants)))
    for place, rows in enumerate(np.split(scores, np.cumsum([len(each.target) for each in seen])[:-1])):
        np.add.at(by_round[place], seen[place].request, rows)
    requests = len(np.unique(seen[0].request))
    within = (by_round.sum(axis=0) ** 2).sum(axis=0) * requests / max(requests - len(constants), 1)
    deviations = (by_round - by_round.mean(axis=0)) * len(seen)
    independent = (deviations**2).sum(axis=(0, 1)) / (len(seen) - 1)
    between = (alone * scale).var(axis=0, ddof=1)
    spread: Floats = np.sqrt(np.maximum(within - independent, 0.0) + between) / scale
    return spread
