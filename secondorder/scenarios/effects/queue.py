"""A queue without one of its effects."""

from dataclasses import replace

from secondorder.laws import Deterministic as DeterministicTime
from secondorder.scenarios.queue import BatchService, Closed, Priorities, Queue, Renewal, Shared
from secondorder.workloads.arrivals import Deterministic, Gamma, MarkovModulated, Poisson, TraceArrivals

MANY_SERVERS = 10_000
"""Servers of which one is always free."""


def without_bursts(queue: Queue) -> Queue:
    """Poisson arrivals of the same rate, where they come in bursts."""
    law = queue.arrival_law
    bursty = isinstance(law, MarkovModulated | TraceArrivals) or (isinstance(law, Gamma | Renewal) and law.scv > 1)
    return replace(queue, arrivals=Poisson(law.rate)) if bursty and not isinstance(law, Closed) else queue


def with_even_arrivals(queue: Queue) -> Queue:
    """Arrivals at equal intervals, at the same rate; a closed population keeps its own."""
    law = queue.arrival_law
    return queue if isinstance(law, Closed | Deterministic) else replace(queue, arrivals=Deterministic(law.rate))


def with_equal_services(queue: Queue) -> Queue:
    """Every service lasts the mean time."""
    if queue.service is None:
        return queue
    law = queue.law("service")
    return queue if isinstance(law, DeterministicTime) else replace(queue, service=DeterministicTime(law.mean))


def without_server_limit(queue: Queue) -> Queue:
    """A server for each customer; rules under which there is one server only stay as they are."""
    single = isinstance(queue.discipline, BatchService | Priorities) or not isinstance(queue.routing, Shared)
    many = single or queue.setup is not None or isinstance(queue.arrivals, Closed)
    return queue if many else replace(queue, servers=MANY_SERVERS, room=None)


def with_one_line(queue: Queue) -> Queue:
    """One line before all servers."""
    return queue if isinstance(queue.routing, Shared) else replace(queue, routing=Shared())


def without_waiting_to_fill(queue: Queue) -> Queue:
    """A batch begins as soon as the server is free and anybody waits."""
    rule = queue.discipline
    if not isinstance(rule, BatchService) or rule.wait_to_fill == 1:
        return queue
    return replace(queue, discipline=replace(rule, wait_to_fill=1, timeout=None))


def without_retries(queue: Queue) -> Queue:
    """Who gives up does not come again."""
    patience = queue.patience
    if patience is None or not patience.retries:
        return queue
    return replace(queue, patience=replace(patience, retries=0, backoff=None))


def without_outage(queue: Queue) -> Queue:
    """Service begins at any time."""
    return replace(queue, outage=None)


def without_setup(queue: Queue) -> Queue:
    """A server that idled serves at once."""
    return replace(queue, setup=None)
