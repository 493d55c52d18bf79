"""Runs whose allocations end at a planned time: the work that one allocation keeps.

Clocks: failures strike in restarts, work and writes, the last one too; not in a downtime, in the idle rest of an
allocation, or in the queue.
"""

import math
from dataclasses import dataclass

import numpy as np

from secondorder.analytic.arguments import non_negative, one
from secondorder.arrays import Floats

CELLS = 20_000
"""Cells of time of an allocation, where there is a downtime."""


@dataclass(frozen=True, kw_only=True)
class _Periods:
    """What a run keeps that starts with a restart and is stopped after a time, unless it fails before (all in s)."""

    interval: float
    write: float
    mtbf: float
    restart: float
    last: bool  # whether a last checkpoint is written when it is stopped

    @property
    def period(self) -> float:
        return self.interval + self.write

    def kept(self, time: Floats) -> Floats:
        """``f(h)``: until the first failure, ``tau sum e^(-c_j/M)`` over whole periods, and what is saved at the stop.

        ``c_j = R + j (tau + w)`` is the end of write ``j``.
        """
        tau, w, m = self.interval, self.write, self.mtbf
        since = time - self.restart
        whole = np.floor(np.maximum(since, 0.0) / self.period)
        held = tau * math.exp(-self.restart / m) * _powers(whole, self.period / m)
        left = np.maximum(since, 0.0) - whole * self.period
        working = left * math.exp(-w / m)
        writing = tau * np.exp(-np.maximum(self.period - left, 0.0) / m)
        last = np.where(left <= tau, working, writing) if self.last else 0.0
        return np.asarray(np.where(since > 0, held + np.exp(-time / m) * last, 0.0))

    def total(self, time: Floats) -> Floats:
        """The integral of ``kept`` from 0."""
        tau, m, p = self.interval, self.mtbf, self.period
        since = np.maximum(time - self.restart, 0.0)
        whole = np.floor(since / p)
        left = since - whole * p
        first = math.exp(-self.restart / m)
        # of the writes: sum over j <= n of e^(-c_j/M) (h - c_j)
        held, later = _powers(whole, p / m), _weighted_powers(whole, p / m)
        found = tau * first * (since * held - p * later)
        if self.last:
            each = self._saved(np.array([p]))[0] * math.exp(p / m) * _powers(whole, p / m)
            found = found + first * (each + np.exp(-whole * p / m) * self._saved(left))
        return np.asarray(found)

    def _saved(self, left: Floats) -> Floats:
        """The integral over the first ``left`` seconds of a period of ``e^(-y/M)`` times what a stop there saves."""
        tau, w, m = self.interval, self.write, self.mtbf
        work = np.minimum(left, tau)
        working = math.exp(-w / m) * m * (m - (work + m) * np.exp(-work / m))
        return np.asarray(working + tau * math.exp(-(tau + w) / m) * np.maximum(left - tau, 0.0))


def _powers(count: Floats, x: float) -> Floats:
    """``sum_{j=1}^{n} e^(-j x)``."""
    return np.asarray(math.exp(-x) * -np.expm1(-count * x) / -math.expm1(-x))


def _weighted_powers(count: Floats, x: float) -> Floats:
    """``sum_{j=1}^{n} j e^(-j x)``."""
    return np.asarray((_powers(count, x) - count * np.exp(-(count + 1) * x)) / -math.expm1(-x))


def work_of_allocation(
    *,
    usable: float,
    interval: float,
    write: float,
    mtbf: float,
    restart: float = 0.0,
    downtime: float = 0.0,
    last_write: bool = True,
) -> float:
    """Mean work in s kept by an allocation whose nodes are there for ``usable`` seconds, under Poisson failures.

    With ``f(h)`` the work kept before the first failure, or before the stop at ``h``, the mean work is
    ``K(h) = f(h) + J(h - D)``, ``M J'(h) = f(h) + J(h - D) - J(h)``: a failure at ``x`` is followed by a downtime ``D``
    and by the same with ``h - x - D`` left. Without a downtime ``K(h) = f(h) + (1/M) integral_0^h f``, in closed form;
    with one the equation is solved on 20,000 cells, to 1e-4. ``last_write``: whether the run stops with a checkpoint.

    *Exact* for blocking checkpoints. All in s. Errors: ``InputError``. *Source*: the renewal equation of the first
    failure (Cox, Renewal Theory, 1962, section 4.4), with the work of Daly 2006 between failures.

    >>> round(work_of_allocation(usable=86_100.0, interval=1_200.0, write=60.0, mtbf=10_800.0, restart=300.0))
    74965
    """
    tau, m, horizon = one("interval", interval), one("mtbf", mtbf), one("usable", usable)
    d, r, down = (
        float(non_negative(*pair)) for pair in (("write", write), ("restart", restart), ("downtime", downtime))
    )
    run = _Periods(interval=tau, write=d, mtbf=m, restart=r, last=last_write)
    until = np.array([horizon])
    if down == 0:
        return float(run.kept(until)[0] + run.total(until)[0] / m)
    if horizon <= down:
        return float(run.kept(until)[0])
    return float(run.kept(until)[0] + _after_failures(run, horizon - down, down))


def work_without_failures(
    *, usable: float, interval: float, write: float, restart: float = 0.0, last_write: bool = True
) -> float:
    """Work in s kept by an allocation without failures: whole intervals, and what the last checkpoint saves.

    A bound on ``work_of_allocation``. All in s.

    >>> work_without_failures(usable=4_000.0, interval=1_200.0, write=60.0, restart=300.0)
    3580.0
    """
    whole, left = divmod(max(usable - restart, 0.0), interval + write)
    return whole * interval + (min(left, interval) if last_write else 0.0)


def _after_failures(run: _Periods, time: float, downtime: float) -> float:
    """``J`` at this time, by the trapezoidal rule on cells of which a whole number fill the downtime."""
    cells = max(CELLS, 4 * math.ceil(time / downtime))
    delay = max(1, round(downtime * cells / time))
    cell = downtime / delay
    grid = np.arange(math.ceil(time / cell) + 1, dtype=np.float64) * cell
    gained = np.diff(run.total(grid)).tolist()
    found = [0.0]
    share = cell / (2 * run.mtbf)
    for place, gain in enumerate(gained):
        before = found[place - delay] if place >= delay else 0.0
        after = found[place + 1 - delay] if place + 1 >= delay else 0.0
        found.append((found[-1] * (1 - share) + gain / run.mtbf + share * (before + after)) / (1 + share))
    return float(np.interp(time, grid, found))


def first_order_goodput_of_allocations(
    *,
    length: float,
    grace: float,
    requeue: float,
    interval: float,
    write: float,
    mtbf: float,
    restart: float,
    downtime: float,
) -> float:
    """Young's goodput in the time between restart and notice, less half an interval at ends without a last checkpoint.

    ``((1 - w/tau - (tau/2 + R + D)/M) (A - R - G) - [G = 0] tau/2) / (A + Q)``. *First order*; not clamped. All in s.
    *Source*: Young 1974.

    >>> round(first_order_goodput_of_allocations(length=86_400.0, grace=300.0, requeue=1_800.0, interval=1_200.0,
    ...     write=60.0, mtbf=10_800.0, restart=300.0, downtime=0.0), 4)
    0.8431
    """  # fmt: skip
    share = 1 - write / interval - (interval / 2 + restart + downtime) / mtbf
    lost = 0.0 if grace > 0 else interval / 2
    return (share * (length - restart - grace) - lost) / (length + requeue)
