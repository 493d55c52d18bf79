"""Two levels of checkpoints: a light one after each interval, and after every few intervals a durable one too.

A share of the failures is made good from the light checkpoint; the others go back to the durable one,
and until their restart is over there is no light one. Clocks: failures of either kind strike in work, in
both writes and in both restarts; not in the downtime that follows each failure. Failures are Poisson.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from secondorder.analytic.arguments import Real, non_negative, plain, positive
from secondorder.analytic.training.cycle import Cycle
from secondorder.analytic.training.periodic import segments


def levels_overhead(*, rates: Sequence[float], writes: Sequence[float], restarts: Sequence[float]) -> float:
    """Least share of extra time of any number of levels: ``sum sqrt(2 lambda_l C_l) + sum lambda_l R_l``.

    Level ``l`` makes good failures of rate ``lambda_l`` with a write ``C_l`` and a restart ``R_l``. *First order*.
    *Valid when* writes and restarts are far below the times between failures. Rates in 1/s, times in s;
    one entry a level. Errors: ``InputError``.

    *Source*: Benoit, Cavelan, Le Fèvre, Robert and Sun, Towards optimal multi-level checkpointing (2017).

    >>> round(levels_overhead(rates=[1e-4, 1e-5], writes=[10.0, 300.0], restarts=[60.0, 600.0]), 4)
    0.1342
    """
    rate, write = positive("rates", np.array(rates)), non_negative("writes", np.array(writes))
    return float(np.sqrt(2 * rate * write).sum() + (rate * non_negative("restarts", np.array(restarts))).sum())


def best_levels(*, light_rate: Real, hard_rate: Real, write: Real, durable_write: Real) -> tuple[Real, Real]:
    """Interval in s, and intervals for each durable checkpoint: ``sqrt(2 C1/l1)``, ``sqrt(l1/l2 C2/C1)``.

    ``l1`` the rate of the failures that the light checkpoint (write ``C1``) makes good, ``l2`` that of the others,
    ``C2`` the durable write. *First order*; the number is not rounded. Rates in 1/s, times in s; broadcast.
    Errors: ``InputError``. *Source*: as ``levels_overhead``.

    >>> best_levels(light_rate=1e-4, hard_rate=1e-5, write=20.0, durable_write=200.0)
    (632.4555320336759, 10.0)
    """
    light, hard = positive("light_rate", light_rate), positive("hard_rate", hard_rate)
    c1, c2 = positive("write", write), positive("durable_write", durable_write)
    return plain(np.sqrt(2 * c1 / light)), plain(np.sqrt(light / hard * c2 / c1))


HOPELESS = 200.0
"""A time of this many MTBF never passes without a failure."""


@dataclass(frozen=True, kw_only=True)
class TwoLevels:
    """Times in s of two levels of checkpoints under Poisson failures; ``light_share`` of them are light.

    >>> levels = TwoLevels(write=10.0, durable_write=120.0, light_share=0.8, light_restart=60.0, restart=600.0,
    ...     downtime=30.0, mtbf=8240.0)
    >>> round(levels.cycle(interval=600.0, every=5).goodput, 4), round(levels.first_order(interval=600.0, every=5), 4)
    (0.8621, 0.8538)
    """

    write: float
    durable_write: float
    light_share: float
    light_restart: float
    restart: float
    downtime: float
    mtbf: float

    def first_order(self, *, interval: float, every: int) -> float:
        """Goodput of first order; may be negative.

        ``1 - C1/tau - C2/(n tau) - (q tau/2 + (1 - q) n tau/2 + q R1 + (1 - q) R + D)/M``: ``q`` the light share, ``n``
        intervals for each durable checkpoint. *Source*: Benoit et al. 2017.
        """
        q = self.light_share
        lost = (q + (1 - q) * every) * interval / 2
        back = q * self.light_restart + (1 - q) * self.restart + self.downtime
        return 1 - self.write / interval - self.durable_write / (every * interval) - (lost + back) / self.mtbf

    def cycle(self, *, interval: float, every: int) -> Cycle:
        """From one durable checkpoint to the next. *Exact*: see ``expected_time``."""
        return self.cycle_of([interval] * every)

    def cycle_of(self, works: list[float]) -> Cycle:
        """The same with intervals of such lengths."""
        running, restart, scale = self._passage(works)
        return self._cycle(sum(works), len(works), running, restart, scale)

    def expected_time(self, *, work: float, interval: float, every: int) -> float:
        """Mean wall time in s until ``work`` is done and durable; the last interval may be shorter.

        ``V_i`` is the mean time to the next durable checkpoint from ``i`` intervals after the last one:
        ``V_i = M (1-p) + p V_{i+1} + (1-p)(D + q U_i + (1-q) H)`` with ``p = e^(-(tau + C1)/M)``, a last state for the
        durable write alone, ``U_i`` from the beginning of a light restart and ``H`` from that of a hard one:
        ``U_i = M (1-r1) + r1 V_i + (1-r1)(D + q U_i + (1-q) H)``, ``H = M (1-r2) + r2 V_0 + (1-r2)(D + H)``.
        *Exact*; eliminated so that nothing cancels. Infinite where it exceeds what a float holds.
        """
        whole, left = segments(work, interval)
        cycles, more = divmod(whole, every)
        rest = [interval] * more + ([left] if left else [])
        found = cycles * self._time([interval] * every) if cycles else 0.0
        return found + (self._time(rest) if rest else 0.0)

    def _time(self, works: list[float]) -> float:
        longest = max(self.restart, self.light_restart, self.durable_write, max(works) + self.write)
        running, _, scale = self._passage(works)
        total = running * (1 + self.downtime / self.mtbf)
        return total / scale if scale > 0 and longest < HOPELESS * self.mtbf else math.inf

    def _cycle(self, kept: float, writes: int, running: float, restart: float, scale: float) -> Cycle:
        downtime = running * self.downtime / self.mtbf  # as many failures as running time has means
        saved = writes * self.write + self.durable_write
        return Cycle(
            kept=kept * scale,
            checkpoint=saved * scale,
            restart=restart,
            downtime=downtime,
            total=running + downtime,
        )

    def _passage(self, works: list[float]) -> tuple[float, float, float]:
        """Mean running time and restart time to the next durable checkpoint, and the scale that both are multiplied by.

        The scale is the probability of no hard failure on the way times that of one hard restart without
        failure: the means themselves may exceed what a float holds.
        """
        m, q = self.mtbf, self.light_share
        r1, r2 = _outlast(self.light_restart / m), _outlast(self.restart / m)
        d = (1 - q) + q * r1
        pending = np.zeros(2)  # running and restart time from here to the durable checkpoint or a hard failure
        reach, missed = 1.0, 0.0
        for length in [self.durable_write, *(work + self.write for work in reversed(works))]:
            p, struck = _outlast(length / m), _struck(length / m)
            lost = struck * (1 - q) / d
            e = p + lost
            again = q * struck * m * _struck(self.light_restart / m) / d
            pending = (np.array([m * struck + again, again]) + p * pending) / e
            reach, missed = reach * p / e, missed + reach * lost / e
        hard = missed * m * _struck(self.restart / m)
        running, restart = r2 * pending + hard
        return float(running), float(restart), reach * r2


def _outlast(ratio: float) -> float:
    """``e^-ratio``; what is below ``e^-HOPELESS`` stands for nothing, so that no product underflows."""
    return math.exp(-min(ratio, HOPELESS))


def _struck(ratio: float) -> float:
    """``1 - e^-ratio`` likewise, with all its digits."""
    return -math.expm1(-min(ratio, HOPELESS))
