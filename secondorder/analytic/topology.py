"""What a topology allows: the least time of a collective by what endpoints can send and what can cross the bisection.

Half of the endpoints can send the other half no more than the bisection carries. Traffic is counted on average and
without contention on the way: a bound from below on every algorithm, which a real one reaches only where its routes
fill all the links.
"""

from collections.abc import Iterator

from secondorder.analytic.arguments import Real, Whole, non_negative, plain, positive, whole
from secondorder.answers.answer import Answer
from secondorder.answers.estimate import Claim, Rung, rung
from secondorder.quantities import si
from secondorder.scenarios.topology import LeafSpine, Shape, Topology


def solve_topology(scenario: Topology) -> Answer:
    """Counts of a fabric, its bisection, and the least times of an all-to-all and an all-reduce over it.

    ``endpoints``, ``switches``, ``links``, ``diameter`` (in links) and ``oversubscription`` without unit;
    ``bisection_bandwidth`` in byte/s, one way; ``all_to_all_time`` and ``all_reduce_time`` in s: order 0 by what an
    endpoint can send, order 1 also by the bisection and by what leaves a leaf.

    >>> answer = solve_topology(Topology(
    ...     shape="leaf-spine leaves=8 hosts=16 spines=4", link_bandwidth="50 GB/s", size="1 GB"))
    >>> [str(rung) for rung in answer["all_to_all_time"]]
    ['19.8 ms', '70 ms']
    """
    rows = [*_counts(scenario.wires), *_bandwidths(scenario), *_least_times(scenario)]
    return Answer(scenario=scenario.name, estimates=tuple(rows), how=f"{scenario.wires}")


def _counts(wires: Shape) -> Iterator[Rung]:
    for metric, count in (
        ("endpoints", wires.endpoints),
        ("switches", wires.switches),
        ("links", wires.links),
        ("diameter", wires.diameter),
    ):
        yield _exact(wires, metric, float(count), "")


def _bandwidths(scenario: Topology) -> Iterator[Rung]:
    wires = scenario.wires
    across = wires.bisection * si(scenario.link_bandwidth)
    yield _exact(wires, "oversubscription", wires.oversubscription, "", wires.doubt)
    yield _exact(wires, "bisection_bandwidth", across, "byte/s", wires.doubt)


def _exact(wires: Shape, metric: str, amount: float, unit: str, outside: str = "") -> Rung:
    source, claim = type(wires).__name__, Claim.EXACT
    return Rung(metric=metric, amount=amount, unit=unit, source=source, order=1, claim=claim, outside=outside)


def _least_times(scenario: Topology) -> Iterator[Rung]:
    """Order 0 by what an endpoint can send, order 1 also by the bisection and by what leaves a leaf."""
    wires, link, size = scenario.wires, si(scenario.link_bandwidth), si(scenario.size)
    ends, injection, across = wires.endpoints, wires.injection * link, wires.bisection * link
    alone = all_to_all_injection(size=size, endpoints=ends, injection=injection)
    crossing = all_to_all_crossing(size=size, endpoints=ends, bisection=across)
    yield _bound("all_to_all_time", 0, float(alone), "endpoint's links")
    slowest = float(max(alone, crossing, _out_of_a_leaf(scenario)))
    yield _bound("all_to_all_time", 1, slowest, "links and cuts", wires.doubt)
    alone = all_reduce_injection(size=size, endpoints=ends, injection=injection)
    crossing = all_reduce_crossing(size=size, bisection=across)
    yield _bound("all_reduce_time", 0, float(alone), "endpoint's links")
    yield _bound("all_reduce_time", 1, float(max(alone, crossing)), "links and cuts", wires.doubt)


def _bound(metric: str, order: int, seconds: float, source: str, outside: str = "") -> Rung:
    return rung(metric, seconds, "s", source, order, "from below", outside, Claim.BOUND)


def _out_of_a_leaf(scenario: Topology) -> float:
    """Least time in s of an all-to-all by what leaves one leaf, where that is a cut of its own."""
    wires = scenario.wires
    if not isinstance(wires, LeafSpine) or wires.leaves == 1:
        return 0.0
    beyond = 1 - wires.hosts / wires.endpoints
    return wires.hosts * si(scenario.size) * beyond / (wires.spines * wires.uplink * si(scenario.link_bandwidth))


def all_to_all_injection(*, size: Real, endpoints: Whole, injection: Real) -> Real:
    """Least time in s to send ``size`` bytes, an equal part to each other endpoint: ``size (1 - 1/n) / injection``.

    *Bound* from below. ``size`` in byte, of one of the ``n`` ``endpoints``, its own part included; ``injection`` the
    bandwidth of its links in byte/s, one way; all broadcast. Errors: ``InputError``. *Source*: counting bytes.

    >>> all_to_all_injection(size=1e9, endpoints=2, injection=50e9)
    0.01
    """
    return plain(non_negative("size", size) * _others(endpoints) / positive("injection", injection))


def all_to_all_crossing(*, size: Real, endpoints: Whole, bisection: Real) -> Real:
    """Least time in s for what has to cross the bisection one way: ``n size / (4 bisection)``.

    Each of ``n/2`` endpoints has ``n/2`` beyond the middle, and ``size / n`` for each. *Bound* from below.
    ``bisection`` in byte/s, one way; all broadcast. Errors: ``InputError``. *Source*: Dally and Towles, Principles and
    Practices of Interconnection Networks (2004), section 3.3.

    >>> all_to_all_crossing(size=1e9, endpoints=128, bisection=800e9)
    0.04
    """
    count = whole("endpoints", endpoints, 2)
    return plain(non_negative("size", size) * count / (4 * positive("bisection", bisection)))


def all_reduce_injection(*, size: Real, endpoints: Whole, injection: Real) -> Real:
    """Least time in s of an all-reduce by what an endpoint sends: ``2 size (1 - 1/n) / injection``.

    *Bound* from below where endpoints add up; switches that do (in-network reduction) halve it. ``size`` in byte, of
    the vector of each; ``injection`` in byte/s, one way; all broadcast. Errors: ``InputError``. *Source*: Patarasuk
    and Yuan, Bandwidth optimal all-reduce algorithms for clusters of workstations (2009), theorem 1.

    >>> all_reduce_injection(size=1e9, endpoints=2, injection=50e9)
    0.02
    """
    return plain(2 * non_negative("size", size) * _others(endpoints) / positive("injection", injection))


def all_reduce_crossing(*, size: Real, bisection: Real) -> Real:
    """Least time in s for what has to cross the bisection one way: ``size / bisection``.

    Each half has to learn the other half's sum, ``size`` bytes. *Bound* from below. ``size`` in byte, ``bisection`` in
    byte/s, one way; both broadcast. Errors: ``InputError``. *Source*: counting bytes.

    >>> all_reduce_crossing(size=1e9, bisection=100e9)
    0.01
    """
    return plain(non_negative("size", size) / positive("bisection", bisection))


def _others(endpoints: Whole) -> Real:
    return plain(1 - 1 / whole("endpoints", endpoints, 2))
