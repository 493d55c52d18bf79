"""Asynchronous checkpoints: training pauses for a copy, and a drain writes it while training goes on.

Clocks: failures strike in work, in pauses and in restarts, not in a downtime. There is one buffer: a
pause waits until the drain before it is over. A failure goes back to the last checkpoint that is drained.
"""

import numpy as np

from secondorder.analytic.arguments import Real, non_negative, plain, positive
from secondorder.analytic.training.cycle import Cycle
from secondorder.analytic.training.durable_series import durable_segments
from secondorder.analytic.training.gap_survival import Gap


def async_goodput(
    *, interval: Real, pause: Real, drain: Real, mtbf: Real, restart: Real = 0.0, downtime: Real = 0.0
) -> Real:
    """Goodput under Poisson failures: ``tau/(M + D) e^(-(R + tau + b + L)/M) / (1 - e^(-P/M))``.

    The j-th checkpoint after a failure is durable at ``R + tau + b + (j - 1) P + L`` with the period
    ``P = max(tau, L) + b``: ``tau`` interval, ``b`` pause, ``L`` drain. With ``L <= tau`` it is ``tau + b``; a
    longer drain holds training up. *Exact* in the long run. All in s; broadcast. Errors: ``InputError``.

    *Source*: renewal reward over the gaps, as ``periodic.series_goodput``.

    >>> round(async_goodput(interval=600.0, pause=5.0, drain=300.0, restart=300.0, mtbf=8240.0), 4)
    0.8887
    """
    tau, b, wait = positive("interval", interval), non_negative("pause", pause), non_negative("drain", drain)
    m, r, down = positive("mtbf", mtbf), non_negative("restart", restart), non_negative("downtime", downtime)
    period = np.maximum(tau, wait) + b
    return plain(tau / (m + down) * np.exp(-(r + tau + b + wait) / m) / -np.expm1(-period / m))


def async_first_order(
    *, interval: Real, pause: Real, drain: Real, mtbf: Real, restart: Real = 0.0, downtime: Real = 0.0
) -> Real:
    """``1 - (P - tau)/tau - (tau/2 + L + R + D)/M``: a failure loses half an interval and a drain.

    Symbols as in ``async_goodput``. *First order*. *Valid when* all times are far below ``mtbf``; may be negative:
    not clamped. All in s; broadcast. Errors: ``InputError``. *Source*: as Young 1974, with a drain.

    >>> round(async_first_order(interval=600.0, pause=5.0, drain=300.0, restart=300.0, mtbf=8240.0), 4)
    0.8824
    """
    tau, b, wait = positive("interval", interval), non_negative("pause", pause), non_negative("drain", drain)
    m, r, down = positive("mtbf", mtbf), non_negative("restart", restart), non_negative("downtime", downtime)
    return plain(1 - (np.maximum(tau, wait) + b - tau) / tau - (tau / 2 + wait + r + down) / m)


def async_cycle(*, gap: Gap, interval: float, pause: float, drain: float, restart: float, downtime: float) -> Cycle:
    """From one failure to the next, for gaps of any law. *Exact* for any stationary process. All in s.

    A checkpoint that is kept keeps its pause and, from the second on, the wait for the drain before.

    >>> from secondorder.analytic.training.gap_survival import exponential_gap
    >>> gap, times = exponential_gap(8240.0), {"interval": 600.0, "pause": 5.0, "drain": 300.0, "restart": 300.0}
    >>> round(async_cycle(gap=gap, downtime=0.0, **times).goodput, 4)
    0.8887
    """
    stall = max(drain - interval, 0.0)
    first, period = restart + interval + pause + drain, interval + pause + stall
    count = durable_segments(gap, first=first, period=period)
    return Cycle(
        kept=interval * count,
        checkpoint=(pause + stall) * count - stall * float(gap.survival(first)),
        restart=gap.mean - float(gap.excess(restart)),
        downtime=downtime,
        total=gap.mean + downtime,
    )
