"""Alpha-beta times of collectives: this many hops, each ``latency + bytes / bandwidth``.

Everywhere ``n`` ranks, ``S`` bytes, ``alpha`` = ``latency`` in s a hop and ``B`` = ``bandwidth`` in byte/s of one
rank in one direction. ``S`` is what NCCL calls the size: the vector of each rank for all-reduce, reduce-scatter,
all-to-all and broadcast, the gathered whole for all-gather. One rank alone takes no time.

*Valid when* hops do not jitter, no two share a link, sums cost nothing and all ranks start together.
Measured tables differ from it by 10 to 35 % (worst at 1 to 32 MB, where the protocol switches).

*Source*: Thakur, Rabenseifner and Gropp, Optimization of collective communication operations in MPICH
(2005), sections 3 and 4; Hockney, The communication challenge for MPP (1994), for the hop.
"""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from secondorder.analytic.arguments import Floats, Real, Whole, non_negative, plain, positive, whole
from secondorder.errors import InputError

Counts: TypeAlias = npt.NDArray[np.int64]


def ring_all_reduce(*, ranks: Whole, size: Real, bandwidth: Real, latency: Real = 0.0) -> Real:
    """Time in s of an all-reduce round a ring: ``2(n-1) (alpha + S/(n B))``.

    ``size`` in byte, ``bandwidth`` in byte/s, ``latency`` in s a hop; all broadcast. Errors: ``InputError``.

    >>> round(ring_all_reduce(ranks=64, size=1e9, bandwidth=50e9, latency=5e-6), 9)
    0.040005
    """
    return _times(lambda n, hop: 2 * (n - 1) * hop(1 / n), ranks, size, bandwidth, latency)


def tree_all_reduce(*, ranks: Whole, size: Real, bandwidth: Real, latency: Real = 0.0) -> Real:
    """Time in s of a reduction up a binomial tree and a broadcast down it: ``2 ceil(log2 n) (alpha + S/B)``.

    ``size`` in byte, ``bandwidth`` in byte/s, ``latency`` in s a hop; all broadcast. Errors: ``InputError``.

    >>> tree_all_reduce(ranks=5, size=1e9, bandwidth=50e9)
    0.12
    """
    return _times(lambda n, hop: 2 * _levels(n) * hop(1), ranks, size, bandwidth, latency)


def recursive_doubling_all_reduce(*, ranks: Whole, size: Real, bandwidth: Real, latency: Real = 0.0) -> Real:
    """Time in s of an all-reduce by exchanges of the whole vector: ``log2 n (alpha + S/B)``.

    *Valid when* ``ranks`` is a power of two. ``size`` in byte, ``bandwidth`` in byte/s, ``latency`` in s a hop;
    all broadcast. Errors: ``InputError``.

    >>> recursive_doubling_all_reduce(ranks=8, size=1e9, bandwidth=50e9)
    0.06
    """
    return _times(lambda n, hop: _levels(_doubled(n)) * hop(1), ranks, size, bandwidth, latency)


def halving_doubling_all_reduce(*, ranks: Whole, size: Real, bandwidth: Real, latency: Real = 0.0) -> Real:
    """Time in s of recursive halving and then doubling: ``2 log2 n alpha + 2 (n-1)/n S/B``.

    *Valid when* ``ranks`` is a power of two. ``size`` in byte, ``bandwidth`` in byte/s, ``latency`` in s a hop;
    all broadcast. Errors: ``InputError``.

    >>> halving_doubling_all_reduce(ranks=8, size=1e9, bandwidth=50e9, latency=1e-3)
    0.041
    """
    return _times(
        lambda n, hop: 2 * (_levels(_doubled(n)) * hop(0) + (n - 1) / n * (hop(1) - hop(0))),
        ranks,
        size,
        bandwidth,
        latency,
    )


def hierarchical_all_reduce(
    *,
    ranks: Whole,
    ranks_per_node: Whole,
    size: Real,
    bandwidth: Real,
    latency: Real = 0.0,
    node_bandwidth: Real,
    node_latency: Real = 0.0,
) -> Real:
    """Time in s of a reduce-scatter in the node, a ring of ``S/g`` between nodes, and an all-gather in the node.

    ``2(g-1) (alpha_node + S/(g B_node)) + 2(n/g - 1) (alpha + S/(n B))``, ``g`` = ``ranks_per_node``.
    *Valid when* each rank has its own way out of the node: ``bandwidth`` is that of one rank. ``size`` in
    byte, bandwidths in byte/s, latencies in s a hop; all broadcast. Errors: ``InputError`` where ``g`` does
    not divide ``n``.

    >>> hierarchical_all_reduce(ranks=64, ranks_per_node=8, size=1e9, bandwidth=50e9, node_bandwidth=400e9)
    0.00875
    """
    n, g = np.broadcast_arrays(whole("ranks", ranks), whole("ranks_per_node", ranks_per_node))
    if (n % g != 0).any():
        given = f"{n[n % g != 0].flat[0]} ranks in nodes of {g[n % g != 0].flat[0]}"
        raise InputError("ranks", given=given, expected="a multiple of ranks_per_node")
    within = ring_all_reduce(ranks=g, size=size, bandwidth=node_bandwidth, latency=node_latency)
    share = non_negative("size", size) / g
    return plain(within + ring_all_reduce(ranks=n // g, size=share, bandwidth=bandwidth, latency=latency))


def all_gather(*, ranks: Whole, size: Real, bandwidth: Real, latency: Real = 0.0) -> Real:
    """Time in s of an all-gather round a ring: ``(n-1) (alpha + S/(n B))``; ``S`` is the gathered whole.

    ``size`` in byte, ``bandwidth`` in byte/s, ``latency`` in s a hop; all broadcast. Errors: ``InputError``.

    >>> all_gather(ranks=8, size=1e9, bandwidth=50e9)
    0.0175
    """
    return _times(lambda n, hop: (n - 1) * hop(1 / n), ranks, size, bandwidth, latency)


def reduce_scatter(*, ranks: Whole, size: Real, bandwidth: Real, latency: Real = 0.0) -> Real:
    """Time in s of a reduce-scatter round a ring: ``(n-1) (alpha + S/(n B))``; ``S`` is what each rank begins with.

    ``size`` in byte, ``bandwidth`` in byte/s, ``latency`` in s a hop; all broadcast. Errors: ``InputError``.

    >>> reduce_scatter(ranks=8, size=1e9, bandwidth=50e9, latency=1e-3)
    0.0245
    """
    return all_gather(ranks=ranks, size=size, bandwidth=bandwidth, latency=latency)


def halving(*, ranks: Whole, size: Real, bandwidth: Real, latency: Real = 0.0) -> Real:
    """Time in s of a reduce-scatter by recursive halving, or an all-gather by doubling.

    ``log2 n alpha + (n-1)/n S/B``. *Valid when* ``ranks`` is a power of two. ``size`` in byte, ``bandwidth`` in
    byte/s, ``latency`` in s a hop; all broadcast. Errors: ``InputError``.

    >>> halving(ranks=8, size=1e9, bandwidth=50e9)
    0.0175
    """
    found = halving_doubling_all_reduce(ranks=ranks, size=size, bandwidth=bandwidth, latency=latency)
    return plain(np.asarray(found) / 2)


def all_to_all(*, ranks: Whole, size: Real, bandwidth: Real, latency: Real = 0.0) -> Real:
    """Time in s of an all-to-all by pairs, each rank to one other in turn: ``(n-1) (alpha + S/(n B))``.

    ``size`` in byte is what each rank sends in all, its own share counted; ``bandwidth`` in byte/s, ``latency``
    in s a hop; all broadcast. Errors: ``InputError``.

    >>> all_to_all(ranks=8, size=1e9, bandwidth=50e9)
    0.0175
    """
    return all_gather(ranks=ranks, size=size, bandwidth=bandwidth, latency=latency)


def broadcast(*, ranks: Whole, size: Real, bandwidth: Real, latency: Real = 0.0) -> Real:
    """Time in s of a broadcast down a binomial tree: ``ceil(log2 n) (alpha + S/B)``.

    ``size`` in byte, ``bandwidth`` in byte/s, ``latency`` in s a hop; all broadcast. Errors: ``InputError``.

    >>> broadcast(ranks=8, size=1e9, bandwidth=50e9)
    0.06
    """
    return _times(lambda n, hop: _levels(n) * hop(1), ranks, size, bandwidth, latency)


BUS_FACTORS: dict[str, Callable[[Counts], Floats]] = {
    "all_reduce": lambda n: np.asarray(2 * (n - 1) / n),
    "all_gather": lambda n: np.asarray((n - 1) / n),
    "reduce_scatter": lambda n: np.asarray((n - 1) / n),
    "all_to_all": lambda n: np.asarray((n - 1) / n),
    "broadcast": lambda n: np.ones(n.shape),
}
"""Bytes that a rank must send for each byte of the operation's size, at the least."""


def bus_bandwidth(*, operation: str, ranks: Whole, size: Real, time: Real) -> Real:
    """What NCCL calls the bus bandwidth, in byte/s: ``S/time`` times the ``operation``'s factor.

    ``2(n-1)/n`` for all_reduce, ``(n-1)/n`` for all_gather, reduce_scatter and all_to_all, 1 for broadcast: with
    it the speed of the hardware can be compared whatever ``n``. ``size`` in byte, ``time`` in s; all but
    ``operation`` broadcast. Errors: ``InputError``. *Source*: NVIDIA, nccl-tests, doc/PERFORMANCE.md.

    >>> bus_bandwidth(operation="all_reduce", ranks=2, size=1e9, time=0.02)
    50000000000.0
    """
    if operation not in BUS_FACTORS:
        raise InputError("operation", given=repr(operation), expected=", ".join(BUS_FACTORS))
    factor = BUS_FACTORS[operation](whole("ranks", ranks))
    return plain(factor * non_negative("size", size) / positive("time", time))


def _times(
    formula: Callable[[Counts, Callable[[Real], Floats]], Floats],
    ranks: Whole,
    size: Real,
    bandwidth: Real,
    latency: Real,
) -> Real:
    """The formula of n and of the hop's time for a share of the size."""
    seconds = non_negative("size", size) / positive("bandwidth", bandwidth)
    alpha = non_negative("latency", latency)
    return plain(formula(whole("ranks", ranks), lambda share: np.asarray(alpha + share * seconds)))


def _levels(n: Counts) -> Counts:
    """``ceil(log2 n)``, exactly."""
    return np.frexp(np.asarray(n - 1, np.float64))[1].astype(np.int64)


def _doubled(n: Counts) -> Counts:
    if (n & (n - 1)).any():
        given = n[(n & (n - 1)) != 0].flat[0]
        raise InputError("ranks", given=given, expected="a power of two: ranks are paired at each stage")
    return n
