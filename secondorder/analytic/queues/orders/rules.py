"""Order 2 of a queue by its rules: a finite room, a set-up, sharing, priorities, batches, several lines."""

import math
from collections.abc import Iterator

import numpy as np

from secondorder.analytic.arguments import Floats
from secondorder.analytic.queues import (
    batch_service,
    fork_join,
    join_shortest_queue,
    multiserver_finite,
    multiserver_impatient,
    priority,
    processor_sharing,
    setup_time,
    single_server_general,
)
from secondorder.analytic.queues.erlang import erlang_b, erlang_c
from secondorder.analytic.queues.orders.kind import (
    gap_law,
    is_exponential,
    is_markov,
    is_poisson,
    markov,
    one_law,
    quantiles,
    rungs_of,
    with_waits,
)
from secondorder.analytic.queues.orders.line import KLB, TWO_MOMENTS, of_line
from secondorder.analytic.queues.transform_inversion import quantile
from secondorder.answers.estimate import Rung, approximation, exact
from secondorder.answers.metric import QUANTILES
from secondorder.errors import InputError
from secondorder.quantities import si
from secondorder.scenarios.queue import (
    BatchService,
    ForkJoin,
    JoinShortest,
    Patience,
    Priorities,
    ProcessorSharing,
    Queue,
    Random,
)

MANY = 20
"""Servers from which the supermarket model, a limit of many, is taken to be in its domain."""


def order_2(queue: Queue) -> Iterator[Rung]:
    """Variability and the rules of the scenario: exact where there is a theory, else an approximation."""
    match queue.discipline, queue.routing:
        case ProcessorSharing(), _:
            yield from _sharing(queue)
        case Priorities() as classes, _:
            yield from _priorities(queue, classes)
        case BatchService() as server, _:
            yield from _batches(queue, server)
        case _, Random():
            yield from _random(queue)
        case _, JoinShortest(d=d):
            yield from _shortest(queue, d)
        case _, ForkJoin():
            yield from _forks(queue)
        case _ if queue.room is not None:
            yield from _finite(queue, queue.room)
        case _ if queue.setup is not None:
            yield from _setup(queue)
        case _ if queue.patience is not None:
            yield from _impatient(queue, queue.patience)
        case _ if queue.plain:
            yield from of_line(queue, queue.rate, queue.servers)


def _finite(queue: Queue, room: int) -> Iterator[Rung]:
    if not is_poisson(queue):
        return
    if room == queue.servers:
        lost = float(erlang_b(queue.rate * queue.mean_service, queue.servers))
        yield from rungs_of(2, "Erlang B", exact("for any service law"), {"blocking_prob": lost})
    elif is_exponential(queue.law("service")):
        given = markov(queue, queue.rate, queue.servers)
        waits = quantiles("wait", lambda p: multiserver_finite.wait_quantile(p, **given, capacity=room))
        yield from rungs_of(2, "M/M/c/K (truncated birth-death)", exact(), waits)


def _impatient(queue: Queue, patience: Patience) -> Iterator[Rung]:
    """Erlang-A; the waits and responses of a queue are those of the customers who are served."""
    limit = patience.law("limit")
    if not (is_markov(queue) and is_exponential(limit)) or queue.outage is not None:
        return
    if patience.retries or not patience.withdrawn:
        return
    given, mean = markov(queue, queue.rate, queue.servers), limit.moment(1)
    model = multiserver_impatient
    lost = float(model.abandonment_prob(**given, patience=mean))
    wait = float(model.mean_wait_served(**given, patience=mean))
    served, wait_of_all = queue.rate * (1 - lost), float(model.mean_wait(**given, patience=mean))
    amounts = {
        "wait_mean": wait,
        "response_mean": wait + queue.mean_service,
        "prob_wait": float(model.prob_wait_served(**given, patience=mean)),
        **quantiles("wait", lambda p: model.wait_quantile_served(p, **given, patience=mean)),
        **quantiles("response", lambda p: model.response_quantile_served(p, **given, patience=mean)),
    }
    source = "M/M/c+M (Erlang-A, Palm)"
    yield from rungs_of(2, source, exact("of the customers who are served"), amounts)
    of_all = {
        "wait_mean_all": wait_of_all,
        "abandonment_prob": lost,
        "number_mean": float(model.mean_number(**given, patience=mean)),
        "queue_mean": queue.rate * wait_of_all,
        "utilisation": served * queue.mean_service / queue.servers,
        "throughput": served,
        "goodput": served,
    }
    yield from rungs_of(2, source, exact("of all customers"), of_all)


def _setup(queue: Queue) -> Iterator[Rung]:
    if not is_poisson(queue) or math.isinf(queue.service_scv):
        return
    setup = queue.law("setup")
    wait = setup_time.mean_wait(
        arrival_rate=queue.rate,
        mean_service=queue.mean_service,
        service_scv=queue.service_scv,
        mean_setup=setup.moment(1),
        setup_scv=setup.scv,
    )
    yield from rungs_of(2, "Welch (M/G/1 with set-up)", exact(), {**with_waits(queue, float(wait)), "prob_wait": 1.0})


def _sharing(queue: Queue) -> Iterator[Rung]:
    if queue.room is None and queue.servers == 1 and is_markov(queue):
        rate, mu = queue.rate, 1 / queue.mean_service
        amounts = quantiles(
            "response", lambda p: processor_sharing.response_quantile(p, arrival_rate=rate, service_rate=mu)
        )
        yield from rungs_of(2, "M/M/1-PS (Coffman, Muntz, Trotter)", exact("by numerical inversion"), amounts)


def _priorities(queue: Queue, classes: Priorities) -> Iterator[Rung]:
    if not is_poisson(queue) or math.isinf(queue.service_scv):
        return
    rate, shares = queue.rate * np.array(classes.shares), np.array(classes.shares)
    service = np.array([law.moment(1) for _, law in queue.services])
    scv = np.array([law.scv for _, law in queue.services])
    if classes.preemptive:
        response = priority.preemptive_mean_response(arrival_rate=rate, mean_service=service, service_scv=scv)
        amounts = {"response_mean": float(shares @ response), "number_mean": float(rate @ response)}
        amounts |= _by_class("response_mean", response)
        yield from rungs_of(2, "preemptive priorities (M/G/1)", exact(), amounts)
        return
    if queue.servers == 1:
        wait = priority.non_preemptive_mean_wait(arrival_rate=rate, mean_service=service, service_scv=scv)
        source, met = "Cobham (M/G/1)", queue.utilisation
    elif is_exponential(one_law(queue)):
        mu = 1 / queue.mean_service
        wait = priority.non_preemptive_mean_wait_servers(arrival_rate=rate, service_rate=mu, servers=queue.servers)
        source, met = "Cobham (M/M/c)", float(erlang_c(queue.rate / mu, queue.servers))
    else:
        return
    amounts = {**with_waits(queue, float(shares @ wait)), "prob_wait": met}
    amounts |= _by_class("wait_mean", wait) | _by_class("response_mean", wait + service)
    yield from rungs_of(2, source, exact(), amounts)


def _by_class(metric: str, values: Floats) -> dict[str, float]:
    return {f"{metric}_class_{k}": float(value) for k, value in enumerate(values, 1)}


def _batches(queue: Queue, server: BatchService) -> Iterator[Rung]:
    if not is_poisson(queue) or server.wait_to_fill > 1:
        return
    item, fixed = si(server.per_item), si(server.per_batch)
    if server.most is not None:
        times = [server.seconds(size) for size in range(1, server.most + 1)]
        found = batch_service.limited(arrival_rate=queue.rate, batch_times=times)
        amounts = {
            "response_mean": found.mean_response,
            "wait_mean": found.mean_wait,
            "number_mean": found.mean_in_system,
            "queue_mean": queue.rate * found.mean_wait,
            "utilisation": found.utilisation,
            "batch_mean": found.mean_batch,
        }
        yield from rungs_of(2, "bulk queue (Neuts)", exact(), amounts)
    elif item > 0:
        given = {"arrival_rate": queue.rate, "item_time": item, "batch_time": fixed}
        response = float(batch_service.mean_response(**given))
        amounts = {
            "response_mean": response,
            "number_mean": queue.rate * response,
            "utilisation": float(batch_service.utilisation(**given)),
            "batch_mean": float(batch_service.mean_batch(**given)),
        }
        yield from rungs_of(2, "dynamic batching (Inoue)", exact(), amounts)


def _random(queue: Queue) -> Iterator[Rung]:
    """Each server sees a share of the arrivals, picked blindly: again Poisson, or with a spread nearer to it."""
    if is_poisson(queue):
        yield from of_line(queue, queue.rate / queue.servers, 1)
    elif (gap := gap_law(queue)) is not None and math.isfinite(queue.service_scv):
        try:
            ca2 = 1 + (gap.scv - 1) / queue.servers
        except InputError:
            return
        each = {"arrival_rate": queue.rate / queue.servers, "mean_service": queue.mean_service}
        wait = float(single_server_general.klb(**each, arrival_scv=ca2, service_scv=queue.service_scv))
        yield from rungs_of(2, KLB, TWO_MOMENTS, with_waits(queue, wait))


def _shortest(queue: Queue, d: int) -> Iterator[Rung]:
    if not is_markov(queue):
        return
    rate, mu = queue.rate / queue.servers, 1 / queue.mean_service
    response = float(join_shortest_queue.mean_response(arrival_rate=rate, service_rate=mu, choices=d))
    amounts = with_waits(queue, response - queue.mean_service)

    def tail(t: Floats) -> Floats:
        return np.asarray(join_shortest_queue.wait_tail(t, arrival_rate=rate, service_rate=mu, choices=d))

    amounts["prob_wait"] = float(tail(np.array(0.0)))
    levels, scale = np.array(list(QUANTILES.values())), np.full(len(QUANTILES), queue.mean_service)
    amounts |= dict(zip((f"wait_{label}" for label in QUANTILES), quantile(tail, levels, scale).tolist(), strict=True))
    few = f"{queue.servers} servers are not very many, at least {MANY}" if queue.servers < MANY else ""
    standing = approximation(f"as if the {queue.servers} servers were very many", outside=few)
    yield from rungs_of(2, "supermarket model (Mitzenmacher)", standing, amounts)


def _forks(queue: Queue) -> Iterator[Rung]:
    if not is_markov(queue):
        return
    mu = 1 / queue.mean_service
    source, standing = "fork-join of two (Flatto and Hahn)", exact()
    if queue.servers > 2:
        source, standing = "fork-join (Nelson and Tantawi)", approximation("within 5 % up to 32 queues")
    response = float(fork_join.mean_response(arrival_rate=queue.rate, service_rate=mu, queues=queue.servers))
    yield from rungs_of(2, source, standing, {"response_mean": response, "number_mean": queue.rate * response})
