"""Blocking periodic checkpoints: work for an interval, stop for a write, and again.

Clocks: failures strike in work, in writes and in restarts; not in a ``downtime``. A restart that
fails begins again. ``goodput`` is the share of wall time that becomes work kept.
"""

import math

import numpy as np

from secondorder.analytic.arguments import Floats, Real, non_negative, one, plain, positive
from secondorder.analytic.training.cycle import Cycle
from secondorder.analytic.training.durable_series import durable_segments
from secondorder.analytic.training.gap_survival import Gap


def goodput_without_rework(*, interval: Real, write: Real, mtbf: Real, restart: Real = 0.0) -> Real:
    """Share of the time left by writes and restarts: ``1 - write/interval - restart/mtbf``.

    *First order, and too high*: the work that a failure destroys is left out. May be negative: not
    clamped. All in s; broadcast. Errors: ``InputError``. *Source*: common practice; see
    ``first_order_goodput``.

    >>> round(goodput_without_rework(interval=994.4, write=60.0, restart=300.0, mtbf=8240.0), 4)
    0.9033
    """
    tau, d, m, r = _arguments(interval, write, mtbf, restart)
    return plain(1 - d / tau - r / m)


def first_order_goodput(*, interval: Real, write: Real, mtbf: Real, restart: Real = 0.0, downtime: Real = 0.0) -> Real:
    """``1 - write/interval - interval/(2 mtbf) - (restart + downtime)/mtbf``: half an interval is lost at a failure.

    *First order*. *Valid when* all times are far below ``mtbf``; beyond, it is too low and becomes
    negative: not clamped. All in s; broadcast. Errors: ``InputError``.

    *Source*: Young 1974; Daly 2006.

    >>> round(first_order_goodput(interval=994.4, write=60.0, restart=300.0, mtbf=8240.0), 4)
    0.8429
    """
    tau, d, m, r = _arguments(interval, write, mtbf, restart)
    return plain(1 - d / tau - tau / (2 * m) - (r + non_negative("downtime", downtime)) / m)


def effective_training_time_ratio(*, interval: Real, write: Real, mtbf: Real, startup: Real = 0.0) -> Real:
    """Share of the run time that is productive: ``(1 - (startup + interval/2)/mtbf) / (1 + write/interval)``.

    ``mtbf = 1 / (N r_f)`` for ``N`` nodes of failure rate ``r_f``; time in a scheduler's queue is left out.
    *First order*; negative where ``mtbf`` is below ``startup + interval/2``: not clamped. All in s;
    broadcast. Errors: ``InputError``.

    *Source*: Kokolis et al., Revisiting reliability in large-scale machine learning research clusters
    (arXiv 2410.21680), on the effective training time ratio.

    >>> round(effective_training_time_ratio(interval=994.4, write=60.0, startup=300.0, mtbf=8240.0), 4)
    0.8519
    """
    tau, d, m, u0 = _arguments(interval, write, mtbf, startup)
    return plain((1 - (u0 + tau / 2) / m) / (1 + d / tau))


def exact_goodput(*, interval: Real, write: Real, mtbf: Real, restart: Real = 0.0, downtime: Real = 0.0) -> Real:
    """Goodput under Poisson failures: ``tau / ((M + D) e^(R/M) (e^((tau + d)/M) - 1))``.

    ``tau`` interval, ``d`` write, ``R`` restart in which failures strike, ``D`` downtime in which none do,
    ``M`` MTBF. A restart without failures is a downtime: give it as such, with ``restart=0``, for the
    form whose clock stops. *Exact* in the long run. All in s; broadcast. Errors: ``InputError``.

    *Source*: Daly, A higher order estimate (2006), for ``D = 0``; Bougeret et al., Checkpointing strategies for
    parallel jobs (2011).

    >>> round(exact_goodput(interval=994.4, write=60.0, restart=300.0, mtbf=8240.0), 4)
    0.8524
    """
    tau, d, m, r = _arguments(interval, write, mtbf, restart)
    down = non_negative("downtime", downtime)
    spent = np.exp(-(r + tau + d) / m) / -np.expm1(-(tau + d) / m)
    return plain(tau / (m + down) * spent)


def expected_time(
    *, work: float, interval: float, write: float, mtbf: float, restart: float = 0.0, downtime: float = 0.0
) -> float:
    """Mean wall time in s until ``work`` is done and written, under Poisson failures.

    ``sum (M + D) e^(R/M) (e^((W + d)/M) - 1)`` over segments of work ``W``: whole intervals, and a shorter
    last one for what is left. No restart at the start. *Exact*. All in s. Infinite where it exceeds
    what a float holds. Errors: ``InputError``. *Source*: as ``exact_goodput``.

    >>> round(expected_time(work=10_000.0, interval=1000.0, write=60.0, restart=300.0, mtbf=8240.0))
    11731
    """
    m, tau = one("mtbf", mtbf), one("interval", interval)
    d, r, down = (
        float(non_negative(*pair)) for pair in (("write", write), ("restart", restart), ("downtime", downtime))
    )
    whole, left = segments(one("work", work), tau)
    parts = [(count, length + d) for count, length in ((whole, tau), (1, left)) if count and length]
    lengths = np.array([length for _, length in parts])
    with np.errstate(over="ignore"):
        each = (m + down) * np.exp((r + lengths) / m) * -np.expm1(-lengths / m)
    return float(sum(count * time for (count, _), time in zip(parts, each.tolist(), strict=True)))


def segments(work: float, interval: float) -> tuple[int, float]:
    """Whole intervals in ``work``, and the remainder; one below a billionth of an interval counts as none.

    >>> segments(10.0, 3.0), segments(0.3, 0.1)
    ((3, 1.0), (3, 0.0))
    """
    count = math.floor(work / interval * (1 + 1e-15) + 1e-9)
    left = work - count * interval
    return count, left if left > 1e-9 * interval else 0.0


def series_goodput(*, gap: Gap, interval: float, write: float, restart: float = 0.0, downtime: float = 0.0) -> float:
    """Goodput with gaps of any law: ``tau sum_{j >= 1} S(R + j (tau + d)) / (M + D)``.

    ``S`` is the survival of the gap that follows a failure (``palm_gap``), ``M`` its mean. *Exact* in the
    long run for any stationary process. All in s. Errors: ``InputError``.

    *Source*: renewal reward over the gaps; for renewal failures Bougeret et al. 2011.

    >>> from secondorder.analytic.training.gap_survival import palm_gap
    >>> from secondorder.fleets.failures import read_failures
    >>> gap = palm_gap(read_failures("renewal weibull 8240 s shape=0.7"))
    >>> round(series_goodput(gap=gap, interval=994.4, write=60.0, restart=300.0), 4)
    0.8597
    """
    tau, d, _, r = _arguments(interval, write, gap.mean, restart)
    down = float(non_negative("downtime", downtime))
    period = float(tau + d)
    return float(tau) * durable_segments(gap, first=float(r) + period, period=period) / (gap.mean + down)


def blocking_cycle(*, gap: Gap, interval: float, write: float, restart: float, downtime: float) -> Cycle:
    """From one failure to the next, by ``durable_segments``. *Exact* for any stationary process. All in s.

    >>> from secondorder.analytic.training.gap_survival import exponential_gap
    >>> gap = exponential_gap(8240.0)
    >>> round(blocking_cycle(gap=gap, interval=994.4, write=60.0, restart=300.0, downtime=0.0).goodput, 4)
    0.8524
    """
    period = interval + write
    count = durable_segments(gap, first=restart + period, period=period)
    return Cycle(
        kept=interval * count,
        checkpoint=write * count,
        restart=gap.mean - float(gap.excess(restart)),
        downtime=downtime,
        total=gap.mean + downtime,
    )


def _arguments(interval: Real, write: Real, mtbf: Real, restart: Real) -> tuple[Floats, Floats, Floats, Floats]:
    return (
        positive("interval", interval),
        non_negative("write", write),
        positive("mtbf", mtbf),
        non_negative("restart", restart),
    )
