"""How many failures a run meets: the mean, and the spread of single runs.

Clocks: the failures' clock runs in work, writes and restarts, and stands still for a ``downtime`` after each
failure. So ``n`` failures fit into a horizon ``T`` exactly if they fit into ``T - (n - 1) downtime`` of running time.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import assert_never

import numpy as np
import numpy.typing as npt

from secondorder.analytic.arguments import Floats
from secondorder.analytic.queues import markov_modulated
from secondorder.analytic.training.gap_survival import is_poisson, palm_gap
from secondorder.analytic.training.renewal_function import renewal_function, renewal_spread
from secondorder.answers.estimate import Standing, approximation, exact
from secondorder.errors import InputError
from secondorder.fleets.failures import (
    Bursts,
    FailureProcess,
    NewNodes,
    PlatformRenewal,
    ReplicatedPairs,
    StationaryNodes,
)
from secondorder.laws import Exponential, Gamma
from secondorder.quantities import si

Tail = Callable[[float, float], float]
"""``P(at least n failures in a running time t)``."""

MANY = 30
"""Failures from which a law of counts by two moments is taken to be in its domain."""


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Failures over a horizon: ``mean``, the quantiles ``p5`` and ``p95``, and how far they may be trusted."""

    mean: float
    p5: float
    p95: float
    mean_standing: Standing
    spread_standing: Standing


def failures_over(*, process: FailureProcess, horizon: float, downtime: float = 0.0) -> Counts:
    """Failures of a process in ``horizon``, each followed by ``downtime``.

    Poisson failures and bursts: the law of the count, *exact*. Renewed platforms: the sum of ``n`` gaps as a
    gamma time of its mean and variance, exact for gamma gaps. Nodes: mean (``T/M`` stationary, ``N H(T)``
    new) and variance from the renewal function, and a gamma law through both. All in s. Errors: ``InputError``.

    *Source*: counts and sums of gaps: Cox, Renewal Theory (1962), chapter 3; bursts: Fischer and
    Meier-Hellstern 1993.

    >>> from secondorder.fleets.failures import read_failures
    >>> counts = failures_over(process=read_failures("exponential 3 h"), horizon=30 * 86400.0)
    >>> round(counts.mean, 6), counts.p5, counts.p95   # Poisson of mean 240
    (240.0, 215.0, 266.0)
    """
    try:
        tail, index = _tail(process, horizon)
    except InputError:  # a law without a variance has no index of dispersion
        mean = horizon / (process.mtbf + downtime)
        wild = approximation(
            outside="the gaps have no finite variance: the rate of the long run alone, without a spread"
        )
        return Counts(mean=mean, p5=math.nan, p95=math.nan, mean_standing=wild, spread_standing=wild)

    def reached(n: int) -> float:
        left = horizon - (n - 1) * downtime
        return tail(n, left) if left > 0 else 0.0

    mean = _mean(process, horizon, downtime, reached)
    known = is_poisson(process) or isinstance(process, Bursts)
    known |= isinstance(process, PlatformRenewal) and isinstance(process.gap, Gamma)
    enough = mean >= MANY * max(1.0, index)
    few = "" if known or enough else f"{mean:.3g} failures are too few for it"
    gamma = "a gamma law through mean and variance"
    renewed = isinstance(process, PlatformRenewal | ReplicatedPairs)
    return Counts(
        mean=mean,
        p5=quantile(reached, 0.05, mean),
        p95=quantile(reached, 0.95, mean),
        mean_standing=exact() if known else approximation(gamma, outside=few if renewed else ""),
        spread_standing=exact() if known else approximation(gamma, outside=few),
    )


def _mean(process: FailureProcess, horizon: float, downtime: float, reached: Callable[[int], float]) -> float:
    match process:
        case StationaryNodes() | Bursts():
            return horizon / (process.mtbf + downtime)
        case NewNodes():
            return _new_nodes_mean(process, horizon, downtime)
        case PlatformRenewal() | ReplicatedPairs():
            rough = horizon / (process.mtbf + downtime)
            if rough > 1e5:
                return rough  # the start does not show among that many
            most = quantile(reached, 1 - 1e-12, rough)
            return float(sum(reached(n) for n in range(1, int(most) + 2)))
        case _:
            assert_never(process)


def _new_nodes_mean(process: NewNodes, horizon: float, downtime: float) -> float:
    """``n = N H(T - D n)``, by bisection: the right side falls."""
    law = process.law("lifetime")

    def found(running: float) -> float:
        return process.nodes * float(renewal_function(running, law=law))

    if downtime == 0:
        return found(horizon)
    ages = np.linspace(0, 1, 2001) ** 2 * horizon
    wall = ages + downtime * process.nodes * renewal_function(ages, law=law)
    return (horizon - float(np.interp(horizon, wall, ages))) / downtime


def _tail(process: FailureProcess, horizon: float) -> tuple[Tail, float]:
    """The tail of the count, and its index of dispersion: variance over mean."""
    match process:
        case PlatformRenewal() | ReplicatedPairs():
            mean, scv = process.mtbf, gap_scv(process)
            return lambda n, t: _gamma_tail(n, t / mean, scv), scv
        case Bursts():
            index = float(markov_modulated.index_of_dispersion_over(horizon, **_phases(process)))
            return lambda n, t: float(burst_counts(process=process, t=t)[int(n) :].sum()), index
        case StationaryNodes():
            mean, index = process.mtbf, _node_index(process, horizon)
            return lambda n, t: _gamma_tail(n + (index - 1) / 2, t / mean, index), index
        case NewNodes():
            law, index = process.law("lifetime"), _node_index(process, horizon)

            def tail(n: float, t: float) -> float:
                met = process.nodes * float(renewal_function(t, law=law))
                return _gamma_tail(n + (index - 1) / 2, met, index)

            return tail, index
        case _:
            assert_never(process)


def _gamma_tail(n: float, mean: float, index: float) -> float:
    """``P(the sum of n gamma gaps of scv index is at most mean gaps long)``; Poisson at an index of 1."""
    from scipy.special import gammainc

    index = max(index, 1e-9)
    return 1.0 if n <= 0 else float(gammainc(n / index, mean / index))


def _node_index(process: StationaryNodes | NewNodes, horizon: float) -> float:
    law = process.law("lifetime")
    if isinstance(law, Exponential):
        return 1.0
    new, old = renewal_spread(horizon, law=law)
    if isinstance(process, StationaryNodes):
        return old * law.moment(1) / horizon
    return new / float(renewal_function(horizon, law=law))


def gap_scv(process: PlatformRenewal | ReplicatedPairs) -> float:
    """Squared coefficient of variation of the gap; of pairs from their excess: ``E[X^2] = 2 int e(t) dt``."""
    if isinstance(process, PlatformRenewal):
        law = process.law("gap")
        return law.moment(2) / law.moment(1) ** 2 - 1
    gap = palm_gap(process)
    times = gap.mean * np.linspace(0, 1, 4001) ** 2 * 12  # increasing hazard: nothing is left after 12 means
    return 2 * float(np.trapezoid(gap.excess(times), times)) / gap.mean**2 - 1


def quantile(reached: Callable[[int], float], p: float, near: float) -> float:
    """The least ``n`` with ``P(N <= n) >= p``, from ``reached(n) = P(N >= n)``; searched from ``near``.

    >>> quantile(lambda n: 0.5**n, 0.95, 3.0)   # geometric
    4.0
    """
    low, high = -1, max(1, int(near))
    while reached(high + 1) > 1 - p:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if reached(middle + 1) > 1 - p else (low, middle)
    return float(high)


def burst_counts(*, process: Bursts, t: float) -> Floats:
    """Probabilities of 0, 1, 2, ... failures of a bursty process in a time ``t``, from a stationary start.

    From the generating function ``theta exp((D0 + z D1) t) 1`` on the unit circle, by fast Fourier transform. *Exact*
    to 1e-12. ``t`` in s. *Source*: Fischer and Meier-Hellstern 1993; Abate and Whitt 1992 for the transform.

    >>> bursts = Bursts(mtbf_calm="6 h", mtbf_storm="10 min", calm="24 h", storm="1 h")
    >>> chances = burst_counts(process=bursts, t=86_400.0)
    >>> round(float(chances @ np.arange(len(chances))), 6)   # a day over 2.5 h
    9.6
    """
    phases = _phases(process)
    mean = t / process.mtbf
    sd = math.sqrt(mean * float(markov_modulated.index_of_dispersion_over(t, **phases)))
    size = 1 << math.ceil(math.log2(mean + 40 * sd + 64))
    z = np.exp(-2j * np.pi * np.arange(size) / size)
    l1, l2, r1, r2 = phases["rate_1"], phases["rate_2"], 1 / phases["sojourn_1"], 1 / phases["sojourn_2"]
    a, d = l1 * (z - 1) - r1, l2 * (z - 1) - r2
    middle, half = (a + d) / 2, (a - d) / 2
    root = np.sqrt(half**2 + r1 * r2)
    root = np.where(np.abs(root) < 1e-12 * (r1 + r2), 1e-12 * (r1 + r2), root)
    more, less = np.exp((middle + root) * t), np.exp((middle - root) * t)
    even, odd = (more + less) / 2, (more - less) / (2 * root)
    calm, storm = r2 / (r1 + r2), r1 / (r1 + r2)
    # theta (even I + odd (A - middle I)) 1, A = [[a, r1], [r2, d]]
    transform = even + odd * (calm * (half + r1) + storm * (r2 - half))
    return np.asarray(np.maximum(np.fft.ifft(transform).real, 0.0))


def _phases(process: Bursts) -> dict[str, float]:
    return {
        "rate_1": 1 / si(process.mtbf_calm),
        "rate_2": 1 / si(process.mtbf_storm),
        "sojourn_1": si(process.calm),
        "sojourn_2": si(process.storm),
    }


def failures_until_done(
    *, lengths: npt.ArrayLike, repeats: npt.ArrayLike, restart: float, mtbf: float
) -> tuple[float, float, float]:
    """Mean, 5 % and 95 % quantile of the Poisson failures until segments of these ``lengths`` are done.

    The first attempt at a segment of length ``l`` lasts with ``e^(-l/M)``, each after a failure with
    ``e^(-(R + l)/M)``: the count has the generating function ``prod (p + (1-p) z q / (1 - (1-q) z))^k``, ``k`` the
    ``repeats``. *Exact* up to 20,000 failures, by fast Fourier transform; beyond, a normal law. All in s.
    Infinite where the mean is. *Source*: geometric attempts.

    >>> mean, low, high = failures_until_done(lengths=[1054.4], repeats=[300], restart=300.0, mtbf=8240.0)
    >>> round(mean, 2), low, high
    (42.47, 31.0, 55.0)
    """
    length, times = np.asarray(lengths, np.float64), np.asarray(repeats, np.float64)
    length, times = length[times > 0], times[times > 0]
    first, again = np.exp(-length / mtbf), np.exp(-(restart + length) / mtbf)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        mean = float((times * (1 - first) / again).sum())
        second = (1 - first) * (2 - again) / again**2
        variance = float((times * (second - ((1 - first) / again) ** 2)).sum())
    if not (math.isfinite(mean) and math.isfinite(variance)):
        return mean, math.inf, math.inf
    sd = math.sqrt(variance)
    if mean + 12 * sd > 20_000:
        return mean, max(round(mean - 1.6448536 * sd), 0), round(mean + 1.6448536 * sd)
    size = 1 << math.ceil(math.log2(mean + 40 * sd + 64))
    z = np.exp(-2j * np.pi * np.arange(size) / size)[:, None]
    transform = ((first + (1 - first) * z * again / (1 - (1 - again) * z)) ** times).prod(axis=1)
    below = np.cumsum(np.fft.ifft(transform).real)
    low, high = (float(np.argmax(below >= level - 1e-12)) for level in (0.05, 0.95))
    return mean, low, high
