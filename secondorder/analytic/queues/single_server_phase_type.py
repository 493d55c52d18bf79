"""M/PH/1: Poisson arrivals, phase-type service, one server: the wait is phase-type too.

A phase-type time starts in phase i with probability ``start[i]`` and moves at the rates of
``generator`` (1/s) until it leaves. ``Exponential``, ``Erlang`` and ``Hyperexponential`` of
``laws`` give both with ``phases()``.
"""

import numpy as np
import numpy.typing as npt

from secondorder.analytic.arguments import Floats, Real, fraction, non_negative, one, plain, stable
from secondorder.analytic.queues.transform_inversion import quantile
from secondorder.errors import InputError


def mean_wait(*, arrival_rate: float, start: npt.ArrayLike, generator: npt.ArrayLike) -> Real:
    """Mean wait in s: ``-beta U^-1 1``, ``beta`` and ``U`` as in ``wait_tail``.

    *Exact*, and equal to Pollaczek-Khinchine. ``arrival_rate`` and ``generator`` in 1/s, one
    queue at a time. Errors: ``Unstable`` where ``rho >= 1``, ``InputError``. *Source*: as ``wait_tail``.

    >>> round(mean_wait(arrival_rate=0.5, start=[1.0, 0.0], generator=[[-2.0, 2.0], [0.0, -2.0]]), 9)
    0.75
    """
    beta, wait, *_ = _queue(arrival_rate, start, generator)
    return plain(-beta @ np.linalg.solve(wait, np.ones(beta.size)))


def wait_tail(t: Real, *, arrival_rate: float, start: npt.ArrayLike, generator: npt.ArrayLike) -> Real:
    """``P(wait > t) = beta exp(U t) 1``.

    ``beta = -lambda start T^-1``, ``U = T + exits beta``: the residual service, begun again at each
    end with probability ``rho``; ``T`` the generator and ``exits = -T 1``. *Exact*. ``t`` in s,
    any shape; ``arrival_rate`` and ``generator`` in 1/s, one queue at a time. Errors:
    ``Unstable`` where ``rho >= 1``, ``InputError``.

    *Source*: Neuts, Matrix-Geometric Solutions in Stochastic Models (1981), section 5.3.

    >>> round(wait_tail(2.0, arrival_rate=0.8, start=[1.0], generator=[[-1.0]]), 6)
    0.536256
    """
    beta, wait, *_ = _queue(arrival_rate, start, generator)
    return plain(_tail(non_negative("t", t), beta, wait))


def wait_quantile(p: Real, *, arrival_rate: float, start: npt.ArrayLike, generator: npt.ArrayLike) -> Real:
    """The wait in s that a fraction ``p`` of the requests does not exceed: root of ``wait_tail(t) = 1 - p``.

    *Exact*. ``0 < p < 1``, any shape; ``arrival_rate`` and ``generator`` in 1/s, one queue at a
    time. Errors: ``Unstable`` where ``rho >= 1``, ``InputError``. *Source*: inverse of ``wait_tail``.

    >>> round(wait_quantile(0.99, arrival_rate=0.5, start=[1.0], generator=[[-1.0]]), 6)
    7.824046
    """
    beta, wait, *_ = _queue(arrival_rate, start, generator)
    return _quantile(p, beta, wait)


def response_tail(t: Real, *, arrival_rate: float, start: npt.ArrayLike, generator: npt.ArrayLike) -> Real:
    """``P(wait + service > t)``: the phases of the wait, then those of the service.

    *Exact*. ``t`` in s, any shape; ``arrival_rate`` and ``generator`` in 1/s, one queue at a
    time. Errors: ``Unstable`` where ``rho >= 1``, ``InputError``. *Source*: as ``wait_tail``.

    >>> round(response_tail(3.0, arrival_rate=0.5, start=[1.0], generator=[[-1.0]]), 9)
    0.22313016
    """
    return plain(_tail(non_negative("t", t), *_response(arrival_rate, start, generator)))


def response_quantile(p: Real, *, arrival_rate: float, start: npt.ArrayLike, generator: npt.ArrayLike) -> Real:
    """The response in s that a fraction ``p`` of the requests does not exceed: root of ``response_tail(t) = 1 - p``.

    *Exact*. ``0 < p < 1``, any shape; ``arrival_rate`` and ``generator`` in 1/s, one queue at a
    time. Errors: ``Unstable`` where ``rho >= 1``, ``InputError``. *Source*: inverse of ``response_tail``.

    >>> round(response_quantile(0.99, arrival_rate=0.5, start=[1.0], generator=[[-1.0]]), 6)
    9.21034
    """
    return _quantile(p, *_response(arrival_rate, start, generator))


Phases = tuple[Floats, Floats]


def _queue(
    arrival_rate: float, start: npt.ArrayLike, generator: npt.ArrayLike
) -> tuple[Floats, Floats, Floats, Floats]:
    """``beta`` and ``U`` of the wait, ``start`` and ``T`` of the service."""
    rate = one("arrival_rate", arrival_rate)
    first, moves = np.asarray(start, dtype=np.float64), np.asarray(generator, dtype=np.float64)
    if first.ndim != 1 or moves.shape != (first.size, first.size):
        expected = "as many rows and columns as start has phases"
        raise InputError("generator", given=f"shape {moves.shape} for {first.shape} phases", expected=expected)
    if (first < 0).any() or abs(first.sum() - 1) > 1e-9:
        raise InputError("start", given=first, expected="probabilities that sum to 1")
    exits = -moves.sum(axis=1)
    off_diagonal = moves - np.diag(np.diag(moves))
    if (off_diagonal < 0).any() or (exits < -1e-9 * np.abs(moves).max()).any() or not exits.max() > 0:
        expected = "rates of at least 0 off the diagonal and rows that sum to 0 or less, one of them to less"
        raise InputError("generator", given=moves.tolist(), expected=expected)
    occupied: Floats = np.linalg.solve(-moves.T, first).astype(np.float64)  # mean time in each phase
    stable(rate, float(occupied.sum()))
    return rate * occupied, moves + np.outer(exits, rate * occupied), first, moves


def _response(arrival_rate: float, start: npt.ArrayLike, generator: npt.ArrayLike) -> Phases:
    beta, wait, first, moves = _queue(arrival_rate, start, generator)
    served = np.outer(-wait.sum(axis=1), first)
    both = np.block([[wait, served], [np.zeros_like(moves), moves]])
    return np.concatenate([beta, (1 - beta.sum()) * first]), both


def _tail(t: Floats, start: Floats, generator: Floats) -> Floats:
    from scipy.linalg import expm

    found = [float(start @ expm(time * generator).sum(axis=1)) for time in t.reshape(-1)]
    return np.reshape(found, t.shape)


def _quantile(p: Real, start: Floats, generator: Floats) -> Real:
    level = fraction("p", p)
    scale = np.full_like(level, 1 / np.abs(np.diag(generator)).max())
    return plain(quantile(lambda t: _tail(t, start, generator), level, scale))
