"""How often many parts fail together: rates that add, pairs that stand in for one another."""

from secondorder.analytic.arguments import Real, Whole, each, plain, positive, whole
from secondorder.fleets.failures import ReplicatedPairs
from secondorder.quantities import registry


def fleet_mtbf(*, count: Real, mttf: Real) -> Real:
    """Mean time between failures in s of ``count`` parts that each fail after ``mttf`` on average: ``mttf / count``.

    Rates add; parts of several kinds: ``1 / (1/M1 + 1/M2)`` (``together``). *Exact* in the long run for any law of
    lifetimes. Broadcast. Errors: ``InputError``. *Source*: superposition of renewal processes, Cox 1962.

    >>> round(together(fleet_mtbf(count=16_384, mttf=50_000.0), fleet_mtbf(count=16_384, mttf=150_000.0)), 3)
    2.289
    """
    return plain(positive("mttf", mttf) / positive("count", count))


def together(*mtbf: Real) -> Real:
    """Mean time between failures of several kinds together: ``1 / sum 1/M_k``. All in s; broadcast. *Exact*.

    *Source*: as ``fleet_mtbf``.

    >>> together(2.0, 2.0, 1.0)
    0.5
    """
    return plain(1 / sum(1 / positive("mtbf", each) for each in mtbf))


def mean_time_to_interruption(*, pairs: Whole, lifetime: Real) -> Real:
    """Mean time in s until both of one of ``b`` pairs have failed: ``(1 + 4^b / C(2b, b)) mu / (2b)``.

    To a relative 1e-12 also for very many pairs. *Exact*. *Valid when* lifetimes are exponential and
    the failed one of a pair is not replaced before the interruption. ``lifetime`` ``mu`` in s; broadcast.
    Errors: ``InputError``.

    *Source*: Casanova et al., Combining process replication and checkpointing (2012), theorem 1.

    >>> mean_time_to_interruption(pairs=1, lifetime=100.0)
    150.0
    """
    return each(_interruption, whole("pairs", pairs), positive("lifetime", lifetime))


def _interruption(pairs: int, lifetime: float) -> float:
    return ReplicatedPairs(pairs=pairs, lifetime=registry.Quantity(lifetime, "s")).mtbf
