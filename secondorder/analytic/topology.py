"""What a wiring allows: the least time of a collective by what endpoints can send and what can cross the middle.

Half of the endpoints can send the other half no more than the bisection carries. Means of traffic, no contention on
the way: a bound from below on every algorithm, which a real one reaches only where its routes fill all the links.
"""

from secondorder.analytic.arguments import Real, Whole, non_negative, plain, positive, whole
from secondorder.answers.answer import Answer
from secondorder.answers.estimate import Claim, Rung
from secondorder.quantities import si
from secondorder.scenarios.topology import LeafSpine, Topology


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
    wires, link = scenario.wires, si(scenario.link_bandwidth)
    across = wires.bisection * link
    counts = [
        ("endpoints", wires.endpoints),
        ("switches", wires.switches),
        ("links", wires.links),
        ("diameter", wires.diameter),
    ]
    source = type(wires).__name__
    rows = [
        Rung(metric=metric, amount=float(count), unit="", source=source, order=1, claim=Claim.EXACT)
        for metric, count in counts
    ]
    for metric, amount, unit in (
        ("oversubscription", wires.oversubscription, ""),
        ("bisection_bandwidth", across, "byte/s"),
    ):
        rows.append(
            Rung(
                metric=metric,
                amount=amount,
                unit=unit,
                source=source,
                order=1,
                claim=Claim.EXACT,
                outside=wires.doubt,
            )
        )
    size, ends, injection = si(scenario.size), wires.endpoints, wires.injection * link
    for metric, alone, crossing, leaf in (
        (
            "all_to_all_time",
            all_to_all_injection(size=size, endpoints=ends, injection=injection),
            all_to_all_crossing(size=size, endpoints=ends, bisection=across),
            _out_of_a_leaf(scenario),
        ),
        (
            "all_reduce_time",
            all_reduce_injection(size=size, endpoints=ends, injection=injection),
            all_reduce_crossing(size=size, bisection=across),
            0.0,
        ),
    ):
        rows.append(
            Rung(
                metric=metric,
                amount=float(alone),
                unit="s",
                source="endpoint's links",
                order=0,
                claim=Claim.BOUND,
                note="from below",
            )
        )
        rows.append(
            Rung(
                metric=metric,
                amount=float(max(alone, crossing, leaf)),
                unit="s",
                source="links and cuts",
                order=1,
                claim=Claim.BOUND,
                outside=wires.doubt,
                note="from below",
            )
        )
    return Answer(scenario=scenario.name, estimates=tuple(rows), how=f"{scenario.wires}")


def _out_of_a_leaf(scenario: Topology) -> float:
    """Least time in s of an all-to-all by what leaves one leaf, where that is a cut of its own."""
    wires = scenario.wires
    if not isinstance(wires, LeafSpine) or wires.leaves == 1:
        return 0.0
    beyond = 1 - wires.hosts / wires.endpoints
    return wires.hosts * si(scenario.size) * beyond / (wires.spines * wires.uplink * si(scenario.link_bandwidth))


def all_to_all_injection(*, size: Real, endpoints: Whole, injection: Real) -> Real:
    """Least time in s to send ``size`` bytes, an equal part to each other: ``size (1 - 1/n) / injection``.

    *Bound* from below. ``size`` in byte, of one of the ``n`` ``endpoints``, its own part included; ``injection`` the
    bandwidth of its links in byte/s, one way; all broadcast. Errors: ``InputError``. *Source*: counting bytes.

    >>> all_to_all_injection(size=1e9, endpoints=2, injection=50e9)
    0.01
    """
    return plain(non_negative("size", size) * _others(endpoints) / positive("injection", injection))


def all_to_all_crossing(*, size: Real, endpoints: Whole, bisection: Real) -> Real:
    """Least time in s for what has to cross the middle one way: ``n size / (4 bisection)``.

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
    """Least time in s for what has to cross the middle one way: ``size / bisection``.

    Each half has to learn the other half's sum, ``size`` bytes. *Bound* from below. ``size`` in byte, ``bisection`` in
    byte/s, one way; both broadcast. Errors: ``InputError``. *Source*: counting bytes.

    >>> all_reduce_crossing(size=1e9, bisection=100e9)
    0.01
    """
    return plain(non_negative("size", size) / positive("bisection", bisection))


def _others(endpoints: Whole) -> Real:
    return plain(1 - 1 / whole("endpoints", endpoints, 2))
