"""Silent errors, found by a verification before each checkpoint is written.

Clocks: silent errors strike in work only; fail-stop failures in work, verification, write and restart, not in
the downtime that follows them. A silent error that is found costs a restart, without a downtime. Both are Poisson.
"""

import math

import numpy as np

from secondorder.analytic.arguments import Real, non_negative, one, plain, positive
from secondorder.analytic.training.cycle import Cycle
from secondorder.analytic.training.periodic import segments


def silent_optimum(*, write: Real, verify: Real, silent_rate: Real, failure_rate: Real = 0.0) -> Real:
    """The interval in s: ``sqrt((V + C) / (l_s + l_f / 2))``.

    ``V`` verification, ``C`` write, ``l_s`` and ``l_f`` the rates of silent errors and fail-stop failures. A
    silent error loses a whole interval, a failure half of one. *First order*. Times in s, rates in 1/s; broadcast.
    Errors: ``InputError``.

    *Source*: Benoit, Cavelan, Robert and Sun, Assessing general-purpose algorithms to cope with fail-stop
    and silent errors (2016).

    >>> silent_optimum(write=60.0, verify=30.0, silent_rate=1e-5)
    3000.0
    """
    cost = non_negative("write", write) + non_negative("verify", verify)
    rate = non_negative("silent_rate", silent_rate) + non_negative("failure_rate", failure_rate) / 2
    return plain(np.sqrt(positive("write + verify", cost) / positive("silent_rate + failure_rate/2", rate)))


def silent_segment_time(*, interval: Real, write: Real, verify: Real, silent_rate: Real, restart: Real = 0.0) -> Real:
    """Mean time in s of one interval until it is verified and written, silent errors alone.

    ``e^(l W) (W + V) + (e^(l W) - 1) R + C``. *Exact*. Times in s, rate in 1/s; broadcast. Errors:
    ``InputError``. *Source*: Aupy et al., On the combination of silent error detection and checkpointing (2013);
    Benoit et al. 2016.

    >>> round(silent_segment_time(interval=1000.0, write=60.0, verify=30.0, silent_rate=1e-4, restart=300.0), 3)
    1229.877
    """
    w, v, c = positive("interval", interval), non_negative("verify", verify), non_negative("write", write)
    rate, r = non_negative("silent_rate", silent_rate), non_negative("restart", restart)
    return plain(np.exp(rate * w) * (w + v) + np.expm1(rate * w) * r + c)


def silent_first_order(
    *,
    interval: Real,
    write: Real,
    verify: Real,
    silent_rate: Real,
    mtbf: Real,
    restart: Real = 0.0,
    downtime: Real = 0.0,
) -> Real:
    """``1 - (V + C)/W - (l_s + l_f/2) W - (l_s + l_f) R - l_f D``, ``l_f = 1/mtbf``; may be negative: not clamped.

    *First order*. *Valid when* all times are far below those between errors. Times in s, rate in 1/s;
    broadcast. Errors: ``InputError``. *Source*: as ``silent_optimum``.

    >>> round(silent_first_order(interval=1000.0, write=60.0, verify=30.0, silent_rate=1e-5, mtbf=1e4), 3)
    0.85
    """
    w, v, c = positive("interval", interval), non_negative("verify", verify), non_negative("write", write)
    rate, stop = non_negative("silent_rate", silent_rate), 1 / positive("mtbf", mtbf)
    r, down = non_negative("restart", restart), non_negative("downtime", downtime)
    return plain(1 - (v + c) / w - (rate + stop / 2) * w - (rate + stop) * r - stop * down)


def silent_cycle(
    *,
    interval: float,
    write: float,
    verify: float,
    silent_mtbf: float,
    mtbf: float,
    restart: float = 0.0,
    downtime: float = 0.0,
) -> Cycle:
    """From one checkpoint to the next, silent errors and fail-stop failures together.

    An attempt outlasts work and verification with ``a = e^(-(W+V)/M)``, is clean with ``s = e^(-W/M_s)`` and its write
    lasts with ``c = e^(-C/M)``; it succeeds with ``a s c``, and each that does not is followed by a restart,
    ``(M + D)(e^(R/M) - 1)`` with its own failures. *Exact*. All in s. *Source*: the mean of a geometric number
    of attempts; without fail-stop failures ``silent_segment_time``, without silent errors
    ``periodic.exact_goodput``.

    >>> times = {"interval": 1000.0, "write": 60.0, "verify": 30.0, "restart": 300.0, "downtime": 60.0}
    >>> round(silent_cycle(silent_mtbf=1e5, mtbf=8240.0, **times).goodput, 4)
    0.8116
    """
    m = one("mtbf", mtbf)
    through, clean = math.exp(-(interval + verify) / m), math.exp(-interval / one("silent_mtbf", silent_mtbf))
    written, outlast = math.exp(-write / m), math.exp(-restart / m)
    success = through * clean * written
    tried = m * (-math.expm1(-(interval + verify) / m) - through * clean * math.expm1(-write / m))
    # all of it times success * outlast: the means themselves may exceed what a float holds
    failed = -math.expm1(-(interval + verify + write) / m - interval / silent_mtbf)  # 1 - success, with all its digits
    back = failed * -m * math.expm1(-restart / m)
    running = outlast * tried + back
    down = running * downtime / m
    scale = success * outlast
    return Cycle(
        kept=interval * scale,
        checkpoint=(verify + write) * scale,
        restart=back,
        downtime=down,
        total=running + down,
    )


def silent_expected_time(
    *,
    work: float,
    interval: float,
    write: float,
    verify: float,
    silent_mtbf: float,
    mtbf: float,
    restart: float = 0.0,
    downtime: float = 0.0,
) -> float:
    """Mean wall time in s until ``work`` is verified and written; the last interval may be shorter. *Exact*.

    All in s. Infinite where it exceeds what a float holds. *Source*: as ``silent_cycle``.

    >>> times = {"interval": 1000.0, "write": 60.0, "verify": 30.0, "silent_mtbf": 1e4}
    >>> round(silent_expected_time(work=1000.0, mtbf=1e15, restart=300.0, **times), 3)
    1229.877
    """

    times = {"write": write, "verify": verify, "restart": restart, "downtime": downtime}

    def time(segment: float) -> float:
        cycle = silent_cycle(interval=segment, silent_mtbf=silent_mtbf, mtbf=mtbf, **times)
        return segment / cycle.goodput if cycle.goodput > 0 else math.inf

    whole, left = segments(work, interval)
    return (whole * time(interval) if whole else 0.0) + (time(left) if left else 0.0)
