"""What a user may ask of a search for the steady state of requests: how it is checked, and what it may cost."""

import numpy as np

from secondorder.answers.metric import REQUEST_LATENCIES
from secondorder.errors import InputError
from secondorder.quantities import Quantity, Unit
from secondorder.simulate.statistics.procedure import PRECISION, Budget

MOST_REQUESTS = 10_000_000
"""Requests of a replication, at most."""
UNLIMITED = 10**11
"""Requests that a search may cost where its time is limited."""
WATCHED = tuple(f"{name}_{statistic}" for name in REQUEST_LATENCIES for statistic in ("mean", "p50", "p99"))
"""The metrics that must reach the precision."""


def check_options(
    seed: int, replications: int | None, requests: int | None, jobs: int, precision: float | None
) -> None:
    """Refuse options that no search can use."""
    for name, value, least in (
        ("seed", seed, 0),
        ("replications", replications, 2),
        ("requests", requests, 1),
        ("jobs", jobs, 1),
    ):
        if value is not None and (not isinstance(value, int | np.integer) or value < least):
            raise InputError(name, given=repr(value), expected=f"an integer of at least {least}")
    if requests is not None and requests > MOST_REQUESTS:
        raise InputError("requests", given=f"{requests:,}", expected=f"at most {MOST_REQUESTS:,} of a replication")
    if precision is not None and not 0 < precision < 1:
        raise InputError("precision", given=precision, expected="a share between 0 and 1, such as 0.02")


def budget_of(usual: int, precision: float, given: Quantity | str | None = None) -> Budget:
    """The one given, in time; else the ``usual`` requests, and more as the intervals need them for a precision.

    >>> budget_of(1_000_000, 0.025).requests
    4000000
    """
    if given is not None:
        seconds = float(Unit("s", positive=True).read(given, "budget").magnitude)
        return Budget(requests=UNLIMITED, seconds=seconds)
    return Budget(requests=int(usual * max(1.0, (PRECISION / precision) ** 2)))
