"""A queue without one of its effects."""

from dataclasses import replace

from secondorder.laws import Deterministic as DeterministicTime
from secondorder.scenarios.queue import BatchService, Bulk, Closed, FirstCome, Queue, Renewal, Shared
from secondorder.workloads.arrivals import Deterministic, Gamma, MarkovModulated, Poisson, TraceArrivals


def without_bursts(queue: Queue) -> Queue:
    """Poisson arrivals of the same rate, where they come in bursts."""
    law = queue.arrival_law
    return replace(queue, arrivals=Poisson(law.rate)) if _bursty(queue) and not isinstance(law, Closed) else queue


def _bursty(queue: Queue) -> bool:
    law = queue.arrival_law
    return isinstance(law, MarkovModulated | TraceArrivals | Bulk) or (isinstance(law, Gamma | Renewal) and law.scv > 1)


def with_even_arrivals(queue: Queue) -> Queue:
    """Arrivals at equal intervals, at the same rate; those in bursts and a closed population stay as they are."""
    law = queue.arrival_law
    return (
        queue
        if isinstance(law, Closed | Deterministic) or _bursty(queue)
        else replace(queue, arrivals=Deterministic(law.rate))
    )


def with_equal_services(queue: Queue) -> Queue:
    """Every service lasts the mean time."""
    if queue.service is None:
        return queue
    law = queue.law("service")
    return queue if isinstance(law, DeterministicTime) else replace(queue, service=DeterministicTime(law.mean))


def with_one_fast_server(queue: Queue) -> Queue:
    """One server as fast as all of them together, where they share one line, first come first served."""
    plain = isinstance(queue.routing, Shared) and isinstance(queue.discipline, FirstCome) and queue.service is not None
    if queue.servers == 1 or not plain or queue.room is not None or queue.setup is not None:
        return queue
    law = queue.law("service")
    return replace(queue, servers=1, service=law.at(f"{law.moment(1) / queue.servers!r} s"))


def with_one_line(queue: Queue) -> Queue:
    """One queue for all servers."""
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
