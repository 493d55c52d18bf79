"""Order 1 of a queue: the mean formula of the first moments, as if it were Markovian."""

import math
from collections.abc import Iterator

import numpy as np

from secondorder.analytic.queues import closed_network, multiserver, multiserver_finite
from secondorder.analytic.queues.orders.kind import (
    STEADY_STATE,
    has_wait,
    is_exponential,
    is_markov,
    is_poisson,
    markov,
    one_law,
    rungs_of,
)
from secondorder.answers.estimate import Rung, Standing, approximation, bound, exact
from secondorder.quantities import si
from secondorder.scenarios.queue import BatchService, Closed, ForkJoin, JoinShortest, ProcessorSharing, Queue, Shared

AS_MARKOV = "as if arrivals were Poisson and services exponential"
INSENSITIVE = exact("for any service law")


def order_1(queue: Queue) -> Iterator[Rung]:
    """M/M/c; M/M/c/K with a finite room; mean value analysis of a closed population."""
    if isinstance(queue.arrival_law, Closed):
        yield from _population(queue, queue.arrival_law)
    elif isinstance(queue.discipline, BatchService):
        yield from rungs_of(1, "Little 1961", exact(), {"throughput": queue.rate})
    elif queue.room is not None:
        yield from _finite(queue, queue.room)
    elif queue.utilisation < 1:  # reneging keeps a queue stable at any load; no first-moment formula does
        yield from _endless(queue)


def _endless(queue: Queue) -> Iterator[Rung]:
    balance = {"utilisation": queue.utilisation, "throughput": queue.rate}
    yield from rungs_of(1, "Little 1961", _balance_standing(queue), balance)
    rate, servers, source = _markov_server(queue)
    given = markov(queue, rate, servers)
    response = float(multiserver.mean_response(**given))
    amounts = {"response_mean": response, "number_mean": queue.rate * response}
    if has_wait(queue):
        wait, met = float(multiserver.mean_wait(**given)), float(multiserver.prob_wait(**given))
        amounts |= {"wait_mean": wait, "prob_wait": met, "queue_mean": queue.rate * wait}
    yield from rungs_of(1, source, _markov_standing(queue), amounts)


def _balance_standing(queue: Queue) -> Standing:
    if queue.patience is not None:
        return approximation(outside="as if nobody gave up")
    return approximation(outside=STEADY_STATE) if queue.transient else exact()


def _markov_server(queue: Queue) -> tuple[float, int, str]:
    """Arrival rate and servers of the M/M/c that stands for the queue."""
    match queue.routing:
        case Shared():
            return queue.rate, queue.servers, "M/M/c (Erlang)"
        case ForkJoin():
            return queue.rate, 1, "M/M/1 of one task"
    return queue.rate / queue.servers, 1, "M/M/1 of each server"


def _markov_standing(queue: Queue) -> Standing:
    """How far M/M/c may be trusted for this queue."""
    reasons = []
    if queue.transient:
        reasons.append(STEADY_STATE)
    if queue.patience is not None:
        reasons.append("as if nobody gave up")
    if math.isinf(queue.service_scv) and not isinstance(queue.discipline, ProcessorSharing):
        reasons.append("the service has no variance, the true mean may be infinite")
    if reasons:
        return approximation(outside="; ".join(reasons))
    match queue.routing:
        case ForkJoin():
            last = "a customer waits for the last of its tasks"
            return bound(f"from below, {last}") if is_markov(queue) else approximation(AS_MARKOV, outside=last)
        case JoinShortest():
            blind = "as if each server were picked blindly"
            return bound(f"from above, {blind}") if is_markov(queue) else approximation(blind)
    if queue.setup is not None:
        return approximation("as if there were no set-up")
    if is_poisson(queue) and isinstance(queue.discipline, ProcessorSharing):
        return INSENSITIVE
    return exact() if is_markov(queue) else approximation(AS_MARKOV)


def _finite(queue: Queue, room: int) -> Iterator[Rung]:
    """M/M/c/K; insensitive to the service law in processor sharing, and where nobody can wait."""
    law = multiserver_finite.law(**markov(queue, queue.rate, queue.servers), capacity=room)
    number = np.arange(room + 1)
    served = queue.rate * float(law[:-1].sum())
    amounts = {
        "response_mean": float(number @ law) / served,
        "number_mean": float(number @ law),
        "utilisation": float(np.minimum(number, queue.servers) @ law) / queue.servers,
        "throughput": served,
        "blocking_prob": float(law[-1]),
    }
    if has_wait(queue):
        waiting = float(np.maximum(number - queue.servers, 0) @ law)
        met = law[:-1] / law[:-1].sum()
        amounts |= {
            "wait_mean": waiting / served,
            "queue_mean": waiting,
            "prob_wait": float(met[queue.servers :].sum()),
        }
    yield from rungs_of(1, "M/M/c/K (truncated birth-death)", _finite_standing(queue, room), amounts)


def _finite_standing(queue: Queue, room: int) -> Standing:
    if queue.transient:
        return approximation(outside=STEADY_STATE)
    if is_poisson(queue) and (isinstance(queue.discipline, ProcessorSharing) or room == queue.servers):
        return INSENSITIVE
    return exact() if is_markov(queue) else approximation(AS_MARKOV)


def _population(queue: Queue, population: Closed) -> Iterator[Rung]:
    """Customers that think and come back: mean value analysis, with several servers the birth-death chain."""
    think, service, count = si(population.law("think").mean), queue.mean_service, population.customers
    if queue.servers == 1:
        found = closed_network.mean_value_analysis(customers=count, demand=[service], think=think)
        throughput, response, source = found.throughput, found.mean_response, "mean value analysis"
    else:
        throughput, response = _repair(count, think, service, queue.servers)
        source = "finite-source M/M/c (birth-death)"
    amounts = {
        "throughput": throughput,
        "response_mean": response,
        "wait_mean": response - service,
        "number_mean": throughput * response,
        "queue_mean": throughput * (response - service),
        "utilisation": throughput * service / queue.servers,
    }
    known = is_exponential(one_law(queue))
    standing = exact("for any law of the thinking") if known else approximation("as if services were exponential")
    yield from rungs_of(1, source, standing, amounts)


def _repair(customers: int, think: float, service: float, servers: int) -> tuple[float, float]:
    """Throughput in 1/s and mean response in s of ``customers`` that think and visit ``servers``.

    ``pi(n) ~ pi(n-1) ((N - n + 1)/Z) / (min(n, c)/S)``. *Exact* for exponential services and any law
    of thinking. *Source*: the machine repair model, Kleinrock, Queueing Systems I (1975), section 3.8.

    >>> throughput, response = _repair(20, 10.0, 1.0, 1)
    >>> round(throughput, 9), round(response, 8)
    (0.99813095, 10.03745099)
    """
    n = np.arange(1, customers + 1)
    steps = np.log((customers - n + 1) / think) - np.log(np.minimum(n, servers) / service)
    logs = np.concatenate([[0.0], np.cumsum(steps)])
    law = np.exp(logs - logs.max())
    law /= law.sum()
    throughput = float(np.minimum(np.arange(customers + 1), servers) @ law) / service
    return throughput, float(np.arange(customers + 1) @ law) / throughput
