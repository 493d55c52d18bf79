"""A checkpoint that queues for the path to storage, behind the writes of other jobs.

The others are Poisson, each writes for ``other_write`` s, and they keep the path busy a share ``busy`` of the
time. A checkpoint meets the work in that queue as any moment does: the wait of M/D/1.
"""

import math

from secondorder.analytic.arguments import fraction, one, positive
from secondorder.analytic.queues import single_server
from secondorder.analytic.training.cycle import Cycle


def mean_storage_wait(*, busy: float, other_write: float) -> float:
    """Mean wait in s of a checkpoint for the path: ``busy w / (2 (1 - busy))``.

    *Exact* where the path has forgotten the checkpoint before. ``other_write`` ``w`` in s, ``0 < busy < 1``.
    Errors: ``InputError``. *Source*: Pollaczek-Khinchine with constant service; Kleinrock I (1975), 5.6.

    >>> mean_storage_wait(busy=0.5, other_write=60.0)
    30.0
    """
    share, write = float(fraction("busy", busy)), one("other_write", other_write)
    return float(single_server.mean_wait(arrival_rate=share / write, mean_service=write, service_scv=0.0))


def storage_wait_transform(s: float, *, busy: float, other_write: float) -> float:
    """``E[e^(-s W)]`` of that wait: ``(1 - busy) s / (s - l + l e^(-s w))`` with ``l = busy / w``.

    *Exact*. ``s > 0`` in 1/s. Errors: ``InputError``. *Source*: Pollaczek-Khinchine transform, Kleinrock I (1975), 5.7.

    >>> round(storage_wait_transform(1e-6, busy=0.5, other_write=60.0), 9)
    0.999970001
    """
    share, write = float(fraction("busy", busy)), one("other_write", other_write)
    x = float(positive("s", s)) * write
    # (1 - e^-x)/x is the transform of what is left of a write that is found under way
    return (1 - share) / (1 - share * -math.expm1(-x) / x)


def forgets_within(*, busy: float, other_write: float, write: float = 0.0) -> float:
    """Time in s after which the queue has forgotten a checkpoint: ``busy d / (1 - busy) + 10 w / (1 - busy)^2``.

    What came during its own ``write`` ``d`` is served, and some relaxation times of the queue are over.
    *Rule of thumb*. All in s. *Source*: heavy traffic; see ``run_length.relaxation_time``.

    >>> forgets_within(busy=0.5, other_write=60.0)
    2400.0
    """
    share = float(fraction("busy", busy))
    return share * write / (1 - share) + 10 * one("other_write", other_write) / (1 - share) ** 2


def queueing_cycle(
    *, mtbf: float, interval: float, write: float, restart: float, downtime: float, busy: float, other_write: float
) -> Cycle:
    """From one failure to the next, under Poisson failures and with a wait before each blocking write.

    A segment lasts ``tau + W + d``, and ``phi = e^(-(tau + d)/M) E[e^(-W/M)]`` is the probability that it outlasts the
    failures: ``g = tau / ((M + D) e^(R/M) (1/phi - 1))``. *Exact* where the waits are independent. *Valid when* the
    interval is longer than ``forgets_within``. All in s.

    *Source*: renewal reward, with the transform of M/D/1.

    >>> path = {"busy": 0.5, "other_write": 60.0}
    >>> cycle = queueing_cycle(mtbf=8240.0, interval=994.4, write=60.0, restart=300.0, downtime=0.0, **path)
    >>> round(cycle.goodput, 4)
    0.8274
    """
    m = one("mtbf", mtbf)
    alone, meets = math.exp(-(interval + write) / m), storage_wait_transform(1 / m, busy=busy, other_write=other_write)
    x = other_write / m
    # 1 - phi: struck in what it takes itself, or else in the wait
    struck = -math.expm1(-(interval + write) / m) + alone * busy * _residual_gap(x) / (
        1 - busy * (1 - _residual_gap(x))
    )
    count = math.exp(-restart / m) * alone * meets / struck
    # E[W e^(-W/M)] / E[e^(-W/M)]: the wait of a segment that is kept
    waited = _wait_when_kept(1 / m, busy, other_write)
    return Cycle(
        kept=interval * count,
        checkpoint=(write + waited) * count,
        restart=-m * math.expm1(-restart / m),
        downtime=downtime,
        total=m + downtime,
    )


def _wait_when_kept(s: float, busy: float, other_write: float) -> float:
    """``-d/ds ln E[e^(-s W)]`` by ``busy f'(x) w / (1 - busy f(x))``, ``f(x) = (1 - e^-x)/x``, ``x = s w``."""
    x = s * other_write
    residual = -math.expm1(-x) / x
    slope = (residual - math.exp(-x)) / x if x > 1e-4 else 0.5 - x / 3 + x**2 / 8  # -f'(x)
    return busy * slope * other_write / (1 - busy * residual)


def _residual_gap(x: float) -> float:
    """``1 - (1 - e^-x)/x``, by its series where that loses digits."""
    if x > 1e-2:
        return (x + math.expm1(-x)) / x
    return x / 2 * (1 - x / 3 * (1 - x / 4 * (1 - x / 5 * (1 - x / 6))))
