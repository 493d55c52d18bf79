"""Asynchronous checkpoints: training pauses for a copy, and a drain writes it while training goes on.

Clocks: failures strike in work, in pauses and in restarts, not in a downtime. There is one buffer: a
pause waits until the drain before it is over. A failure goes back to the last checkpoint that is drained.
"""

import math

import numpy as np

from secondorder.analytic.arguments import Real, non_negative, one, plain, positive
from secondorder.analytic.training.cycle import Cycle
from secondorder.analytic.training.durable_series import durable_segments
from secondorder.analytic.training.gap_survival import Gap
from secondorder.analytic.training.periodic import segments


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


def async_run(
    *,
    work: float,
    interval: float,
    pause: float,
    drain: float,
    mtbf: float,
    restart: float = 0.0,
    downtime: float = 0.0,
) -> Cycle:
    """From the start until all ``work`` is durable, under Poisson failures; the last interval may be shorter.

    ``E[T] = (M + D) sum_k (1 - p_k) / a_k`` over the segments: ``p_k`` is the probability that segment ``k`` is durable
    without a failure since the one before it was, ``e^(-P_k/M)`` with ``P_k = max(W_k, L) + b``, of the first
    ``e^(-(W_1 + b + L)/M)``; ``a_k = e^(-(R + W_k + b + L)/M)`` that after a failure. A pause that is kept keeps the
    wait before it if no failure came between; the last drain is waited for. *Exact*. All in s; the cycle's
    amounts are to a scale at which none overflows. Errors: ``InputError``.

    *Source*: the time to go through a chain of states from each of which a failure leads to a restart.

    >>> times = {"interval": 600.0, "pause": 5.0, "drain": 300.0, "restart": 300.0, "mtbf": 8240.0}
    >>> round(1500.0 / async_run(work=1500.0, **times).goodput, 2)   # 600, 600 and 300 s of work
    2001.4
    """
    m, tau = one("mtbf", mtbf), one("interval", interval)
    b, wait, r, down = (
        float(non_negative(*pair))
        for pair in (("pause", pause), ("drain", drain), ("restart", restart), ("downtime", downtime))
    )
    whole, left = segments(one("work", work), tau)
    lengths = np.array([tau] * (whole > 1) + [left] * (whole > 0 and left > 0))  # after the first
    repeats = np.array([whole - 1.0] * (whole > 1) + [1.0] * (whole > 0 and left > 0))
    first = tau if whole else left
    stalls, periods = np.maximum(wait - lengths, 0.0), np.maximum(lengths, wait) + b
    # E[failures], times the chance to outlast a restart and the longest segment
    failures = -math.expm1(-(first + b + wait) / m)
    failures += float((repeats * -np.expm1(-periods / m) * np.exp((lengths - first) / m)).sum())
    scale = math.exp(-(r + first + b + wait) / m)
    kept_stalls = float((repeats * stalls * np.exp(-periods / m)).sum())
    pauses = b * (1 + float(repeats.sum()))
    return Cycle(
        kept=work * scale,
        checkpoint=(pauses + kept_stalls + wait) * scale,
        restart=-m * math.expm1(-r / m) * failures,
        downtime=down * failures,
        total=(m + down) * failures,
    )
