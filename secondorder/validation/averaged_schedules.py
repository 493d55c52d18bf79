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
TRUTHS = 12
"""Constants near the fit that are replayed as if they were the truth, in opposite pairs."""
THINNED = 2
"""Each truth is fitted in every second round only."""
CLOSEST = 1e-4
"""Relative scatter of a measured time that is assumed at least, and change of the times that is none."""

NOTHING = 1e-9
"""Share of the measured times that a constant adds to its least value, below which it is that: a solver's rounding."""


class Equations(NamedTuple):
    """``matrix @ constants = target``, a row a measured time: of which ``request``, and if of its ``first`` token.

    Both sides are in s times ``weight``.
    """

    matrix: Floats
    target: Floats
    request: npt.NDArray[np.int_]
    first: npt.NDArray[np.bool_]
    weight: Floats


@dataclass(frozen=True, kw_only=True)
class FixedPoint:
    """``constants``, their standard errors (``spread``) with the degrees of ``freedom`` that each is known with, and
    whether later rounds agree with earlier ones."""

    constants: Floats
    spread: Floats
    freedom: Floats
    rounds: int
    settled: bool


def fixed_point(equations: Callable[[Floats], Equations], start: Floats, least: Floats) -> FixedPoint:
    """Constants, at least ``least``, that solve the ``equations`` of the schedules which they themselves give.

    Solved together over at least 12 rounds, until the first and the second half of them give constants within one
    standard deviation of what a single round gives, or times within a ten-thousandth; after 24 rounds it has not
    settled. Targets are in parts of what was measured.

    *Standard errors:* the times of a truth that lies as far off as the fit is uncertain are themselves a replay. The
    schedules around the fit, fitted to those of 12 such truths, miss them by ``e``, on account of the schedule alone.
    The scatter of the measured times comes from the residuals, which are independent between requests (Huber-White);
    what of them is the schedule's is known from the same truths, and is taken off: ``max(white - independent, 0) +
    mean(e^2)``. The first part is known from all requests, the second from 12 truths: their degrees of freedom are
    joined by ``nu = (a + b)^2/(a^2/nu_a + b^2/nu_b)``.

    Source: White 1980, eq. 8; Efron and Tibshirani 1993, section 6.5 (parametric bootstrap); Satterthwaite 1946,
    eq. 17.
    """
    constants = start
    for _ in range(APPROACH):
        solved = _solved([equations(constants)], least)
        constants = constants + STRIDE * (solved - constants)
    seen: list[Equations] = []
    alone: list[Floats] = []
    settled = False
    while len(seen) < MOST and not settled:
        for _ in range(2):
            seen.append(equations(constants))
            alone.append(_solved(seen[-1:], least))
            constants = _solved(seen, least)
        if len(seen) >= FEWEST:
            half = len(seen) // 2
            apart = _solved(seen[:half], least) - _solved(seen[half:], least)
            moved = float(np.sqrt(np.mean((seen[-1].matrix @ apart) ** 2)))
            scatter = _scatter(seen, constants, least, np.array(alone))
            settled = bool((np.abs(apart) <= scatter).all()) or moved < CLOSEST
    spread, freedom = _spread(equations, seen, constants, least, np.cov(np.array(alone), rowvar=False))
    rounds = APPROACH + len(seen) + TRUTHS
    return FixedPoint(constants=constants, spread=spread, freedom=freedom, rounds=rounds, settled=settled)


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


def _scores(rows: Equations, missed: Floats, weight: Floats) -> Floats:
    """By row, what it adds to the constants with these residuals."""
    scale = np.linalg.norm(rows.matrix, axis=0)
    scale[scale == 0] = 1.0
    scaled = rows.matrix / scale
    inverse = np.linalg.pinv(scaled.T @ (weight[:, None] * scaled))
    found: Floats = (weight * missed)[:, None] * scaled @ inverse / scale
    return found


def _by_request(rows: Equations, scores: Floats) -> Floats:
    found = np.zeros((int(rows.request.max()) + 1, scores.shape[1]))
    np.add.at(found, rows.request, scores)
    return found


def _together(seen: Sequence[Equations]) -> Equations:
    return Equations(*(np.concatenate(column) for column in zip(*seen, strict=True)))


def _corrected(seen: Sequence[Equations]) -> float:
    """The factor by which a variance of residuals is too small: the constants were fitted to the same requests."""
    requests, constants = len(np.unique(seen[0].request)), int(seen[0].matrix.shape[1])
    return requests / max(requests - constants, 1)


def _scatter(seen: Sequence[Equations], constants: Floats, least: Floats, alone: Floats) -> Floats:
    """Of constants that a single round gives: between rounds, and what requests add on average over the rounds."""
    _, missed, weight = _robust(seen, least)
    rows = _together(seen)
    parts = np.split(_scores(rows, missed, weight), np.cumsum([len(each.target) for each in seen])[:-1])
    by_round = np.array([_by_request(each, part) for each, part in zip(seen, parts, strict=True)])
    within = (by_round.sum(axis=0) ** 2).sum(axis=0) * _corrected(seen)
    deviations = (by_round - by_round.mean(axis=0)) * len(seen)
    independent = (deviations**2).sum(axis=(0, 1)) / (len(seen) - 1)
    found: Floats = np.sqrt(np.maximum(within - independent, 0.0) + alone.var(axis=0, ddof=1))
    return found


def _spread(
    equations: Callable[[Floats], Equations],
    seen: Sequence[Equations],
    constants: Floats,
    least: Floats,
    between: Floats,
) -> tuple[Floats, Floats]:
    """Standard errors and their degrees of freedom: see ``fixed_point``. ``between``: covariance of single rounds."""
    _, missed, weight = _robust(seen, least)
    rows = _together(seen)
    requests = _by_request(rows, _scores(rows, missed, weight))
    white = requests.T @ requests * _corrected(seen)
    square, independent = np.zeros(len(constants)), np.zeros(len(constants))
    for away in _draws(white + between):
        truth = np.maximum(constants + away, least)
        replayed = equations(truth)
        added = (replayed.matrix @ truth - replayed.target) / replayed.weight
        moved = [each._replace(target=each.target + added * each.weight) for each in seen[::THINNED]]
        found, _, weight = _robust(moved, least)
        rows = _together(moved)
        scores = _scores(rows, rows.target - rows.matrix @ truth, weight)
        square += (found - truth) ** 2 / TRUTHS
        independent += (_by_request(rows, scores) ** 2).sum(axis=0) / TRUTHS
    scatter = np.maximum(np.diag(white) - independent, 0.0)
    return np.sqrt(scatter + square), _freedom(scatter, square, max(len(requests) - len(constants), 1))


def _freedom(scatter: Floats, schedule: Floats, requests: int) -> Floats:
    """Degrees of freedom of ``scatter + schedule``, known with ``requests`` and ``TRUTHS`` of them.

    >>> _freedom(np.array([1.0, 1.0, 0.0, 0.0]), np.array([0.0, 1.0, 1.0, 0.0]), 74).round(1)
    array([74. , 41.3, 12. , 12. ])
    """
    parts = scatter**2 / requests + schedule**2 / TRUTHS
    found: Floats = np.divide(
        (scatter + schedule) ** 2, parts, out=np.full(len(scatter), float(TRUTHS)), where=parts > 0
    )
    return found


def _draws(covariance: Floats) -> Floats:
    """Deviations with this covariance, the same ones each time, in opposite pairs."""
    size = np.sqrt(np.diag(covariance))
    size[size == 0] = 1.0
    values, vectors = np.linalg.eigh(covariance / np.outer(size, size))
    root = vectors * np.sqrt(np.maximum(values, 0.0)) * size[:, None]
    normal = np.random.default_rng(np.random.SeedSequence(1)).standard_normal((TRUTHS // 2, len(size)))
    found: Floats = np.concatenate([normal, -normal]) @ root.T
    return found
