"""Order 2 of one line, first come first served: the spread of gaps and of services."""

import math
from collections.abc import Iterator

from secondorder import laws
from secondorder.analytic.queues import (
    bulk_arrivals,
    markov_modulated,
    multiserver,
    multiserver_deterministic,
    multiserver_general,
    single_server,
    single_server_general,
    single_server_hyperexponential,
    single_server_renewal,
)
from secondorder.analytic.queues.orders.kind import (
    Servers,
    gap_law,
    is_exponential,
    is_poisson,
    markov,
    quantiles,
    rungs_of,
    with_waits,
)
from secondorder.answers.estimate import Rung, Standing, approximation, exact
from secondorder.errors import InputError
from secondorder.laws import Service
from secondorder.quantities import si
from secondorder.scenarios.queue import Bulk, Queue
from secondorder.workloads import arrivals

TWO_MOMENTS = approximation("two moments; good at high utilisation")
KLB = "Kraemer and Langenbach-Belz (G/G/1)"


def of_line(queue: Queue, rate: float, servers: int) -> Iterator[Rung]:
    """One line, first come first served, at this rate of arrivals and with these servers."""
    gap, law = gap_law(queue), queue.law("service")
    poisson, exponential = is_exponential(gap), is_exponential(law)
    if poisson and exponential:
        yield from _exponential(queue, rate, servers)
    elif poisson and isinstance(law, laws.Deterministic):
        yield from _constant(queue, rate, servers)
    elif poisson and servers == 1:
        yield from _general(queue, rate, law)
    elif gap is not None and exponential and servers == 1:
        yield from _renewal(queue, gap, law)
    elif isinstance(queue.arrival_law, arrivals.MarkovModulated) and exponential and servers == 1:
        yield from _modulated(queue, queue.arrival_law)
    elif isinstance(queue.arrival_law, Bulk) and servers == 1 and math.isfinite(queue.service_scv):
        yield from _bulks(queue, queue.arrival_law)
    elif math.isfinite(queue.service_scv):
        yield from _two_moments(queue, rate, servers)


def _exponential(queue: Queue, rate: float, servers: int) -> Iterator[Rung]:
    given = markov(queue, rate, servers)
    amounts = {
        **with_waits(queue, float(multiserver.mean_wait(**given))),
        "prob_wait": float(multiserver.prob_wait(**given)),
        **quantiles("wait", lambda p: multiserver.wait_quantile(p, **given)),
        **quantiles("response", lambda p: multiserver.response_quantile(p, **given)),
    }
    yield from rungs_of(2, "M/M/c (Erlang)", exact(), amounts)


def _constant(queue: Queue, rate: float, servers: int) -> Iterator[Rung]:
    given: Servers = {"arrival_rate": rate, "mean_service": queue.mean_service, "servers": servers}
    amounts = {
        **with_waits(queue, float(multiserver_deterministic.mean_wait(**given))),
        "prob_wait": float(multiserver_deterministic.wait_tail(0.0, **given)),
        **quantiles("wait", lambda p: multiserver_deterministic.wait_quantile(p, **given)),
        **quantiles("response", lambda p: multiserver_deterministic.response_quantile(p, **given)),
    }
    yield from rungs_of(2, "M/D/c (Crommelin)", exact(), amounts)


def _general(queue: Queue, rate: float, law: Service) -> Iterator[Rung]:
    mean, scv = law.moment(1), queue.service_scv
    amounts = {"prob_wait": rate * mean}
    if math.isfinite(scv):
        wait = single_server.mean_wait(arrival_rate=rate, mean_service=mean, service_scv=scv)
        amounts |= with_waits(queue, float(wait))
    yield from rungs_of(2, "Pollaczek-Khinchine (M/G/1)", exact(), amounts)
    standing, amounts = _general_quantiles(rate, law)
    yield from rungs_of(2, "law of the wait (M/G/1)", standing, amounts)


def _general_quantiles(rate: float, law: Service) -> tuple[Standing, dict[str, float]]:
    if isinstance(law, laws.Hyperexponential):
        two = single_server_hyperexponential
        given = {"arrival_rate": rate, "mean_service": law.moment(1), "service_scv": law.scv}
        waits = quantiles("wait", lambda p: two.wait_quantile(p, **given))
        return exact(), waits | quantiles("response", lambda p: two.response_quantile(p, **given))
    waits = quantiles("wait", lambda p: single_server.wait_quantile(p, arrival_rate=rate, service=law))
    responses = quantiles("response", lambda p: single_server.response_quantile(p, arrival_rate=rate, service=law))
    return exact("by numerical inversion"), waits | responses


def _renewal(queue: Queue, gap: Service, law: Service) -> Iterator[Rung]:
    mu = 1 / law.moment(1)
    amounts = {
        **with_waits(queue, single_server_renewal.mean_wait(gap=gap, service_rate=mu)),
        "prob_wait": single_server_renewal.prob_wait(gap=gap, service_rate=mu),
        **quantiles("wait", lambda p: single_server_renewal.wait_quantile(p, gap=gap, service_rate=mu)),
        **quantiles("response", lambda p: single_server_renewal.response_quantile(p, gap=gap, service_rate=mu)),
    }
    yield from rungs_of(2, "GI/M/1", exact(), amounts)


def _modulated(queue: Queue, process: arrivals.MarkovModulated) -> Iterator[Rung]:
    given = {
        "rate_1": si(process.rate_1),
        "rate_2": si(process.rate_2),
        "sojourn_1": si(process.sojourn_1),
        "sojourn_2": si(process.sojourn_2),
        "service_rate": 1 / queue.mean_service,
    }
    amounts = {
        **with_waits(queue, float(markov_modulated.mean_response(**given)) - queue.mean_service),
        "prob_wait": float(markov_modulated.prob_wait(**given)),
        **quantiles("response", lambda p: markov_modulated.response_quantile(p, **given)),
    }
    yield from rungs_of(2, "MMPP/M/1 (matrix-geometric)", exact(), amounts)


def _bulks(queue: Queue, process: Bulk) -> Iterator[Rung]:
    mean, rate = queue.mean_service, queue.rate
    wait = bulk_arrivals.mean_wait(
        arrival_rate=rate, mean_service=mean, service_scv=queue.service_scv, ahead=process.ahead
    )
    met = bulk_arrivals.prob_wait(arrival_rate=rate, mean_service=mean, mean_size=process.size)
    yield from rungs_of(2, "M^X/G/1", exact(), {**with_waits(queue, float(wait)), "prob_wait": float(met)})


def _two_moments(queue: Queue, rate: float, servers: int) -> Iterator[Rung]:
    """The spread of gaps and services alone: approximations, good where the queue is loaded."""
    given: Servers = {"arrival_rate": rate, "mean_service": queue.mean_service, "servers": servers}
    cs2, process = queue.service_scv, queue.open_arrivals
    if is_poisson(queue):
        wait = float(multiserver_general.kimura(**given, service_scv=cs2))
        yield from rungs_of(2, "Kimura (M/G/c)", TWO_MOMENTS, with_waits(queue, wait))
        return
    try:
        ca2 = process.idc if isinstance(process, arrivals.MarkovModulated | Bulk) else process.scv
    except InputError:  # Pareto gaps without variance
        return
    standing = TWO_MOMENTS
    if isinstance(process, arrivals.MarkovModulated | Bulk):
        wait = float(multiserver_general.allen_cunneen(**given, arrival_scv=ca2, service_scv=cs2))
        inside = "waits within a bulk at several servers are left out" if isinstance(process, Bulk) else ""
        standing = approximation("heavy traffic, bursts short against the time to drain", outside=inside)
        source = "Allen-Cunneen with the index of dispersion"
    elif servers == 1:
        klb = single_server_general.klb
        wait = float(klb(arrival_rate=rate, mean_service=queue.mean_service, arrival_scv=ca2, service_scv=cs2))
        source = KLB
    else:
        wait, source = float(multiserver_general.whitt(**given, arrival_scv=ca2, service_scv=cs2)), "Whitt (G/G/c)"
    if queue.transient:
        standing = approximation(outside="a finite trace, taken for independent gaps in a steady state")
    yield from rungs_of(2, source, standing, with_waits(queue, wait))
