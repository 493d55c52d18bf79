"""The ladder of closed forms for a queue: what applies to it, rung by rung, and how far each may be trusted.

- Order 0: nobody waits; a service alone.
- Order 1: the mean formula of the first moments, as if arrivals were Poisson and services
  exponential (M/M/c; M/M/c/K with a finite room; mean value analysis of a closed population).
- Order 2: variability and the rules of the scenario: exact where theory is, else an approximation.

Each estimate's ``note`` begins with exact, approximation or bound. A quantile is there where the law
is known and its numerical inversion, if it takes one, is accurate; a metric without theory is absent.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np

from secondorder import laws
from secondorder.analytic.queues import (
    batch_service,
    closed_network,
    fork_join,
    join_shortest_queue,
    markov_modulated,
    multiserver,
    multiserver_deterministic,
    multiserver_finite,
    multiserver_general,
    multiserver_impatient,
    priority,
    processor_sharing,
    setup_time,
    single_server,
    single_server_general,
    single_server_hyperexponential,
    single_server_renewal,
)
from secondorder.analytic.queues.erlang import erlang_b, erlang_c
from secondorder.analytic.queues.transform_inversion import quantile
from secondorder.errors import InputError
from secondorder.laws import Service
from secondorder.quantities import si
from secondorder.scenarios.answers import Answer, Estimate
from secondorder.scenarios.queue import (
    BatchService,
    Closed,
    ForkJoin,
    JoinShortest,
    Patience,
    Priorities,
    ProcessorSharing,
    Queue,
    Random,
    Shared,
)
from secondorder.workloads import arrivals

LEVELS = {"p50": 0.5, "p90": 0.9, "p99": 0.99}

MANY = 20
"""Servers from which the supermarket model, a limit of many, is taken to be in its domain."""

EDGE = 0.05
"""Relative distance of the probability of waiting from ``1 - p`` within which a quantile is too unsteady to judge."""

ALONE = "service alone"
AS_MARKOV = "approximation: as if arrivals were Poisson and services exponential"

Amounts: TypeAlias = dict[str, float]


def solve_queue(queue: Queue) -> Answer:
    """The closed forms of a queue, every order.

    Errors: ``Unstable`` where the queue grows without limit, ``InputError``.

    >>> answer = solve_queue(Queue(arrivals="poisson 8 request/s", service="lognormal 100 ms scv=4"))
    >>> [str(rung) for rung in answer["wait_mean"]], answer.best("wait_mean").source
    (['0 s', '400 ms', '1 s'], 'Pollaczek-Khinchine (M/G/1)')
    """
    queue.check_stable()
    estimates = [*_alone(queue), *_first_moments(queue), *_variability(queue)]
    estimates = _marked(estimates)
    metrics = dict.fromkeys(e.metric for e in estimates)
    ranked = tuple(e for metric in metrics for e in estimates if e.metric == metric)
    population = isinstance(queue.comers, Closed)
    how = (
        "closed forms of a closed population" if population else f"closed forms at utilisation {queue.utilisation:.4g}"
    )
    return Answer(scenario=queue.name, estimates=ranked, how=how)


def _marked(estimates: list[Estimate]) -> list[Estimate]:
    """Quantiles of the wait that lie where it leaves 0, put outside of their domain.

    Where about ``1 - p`` of the customers wait, the quantile is 0 or just begins to rise: by chance
    a simulation falls on either side, and its interval means nothing.
    """
    met = next((e.amount for e in reversed(estimates) if e.metric == "prob_wait"), math.nan)
    edges = {f"wait_{label}" for label, level in LEVELS.items() if abs(met - (1 - level)) < EDGE * (1 - level)}
    note = f"exact, but at a jump: {met:.3g} of the customers wait, and the quantile leaves 0 there"
    at_edge = [e.order == 2 and e.metric in edges for e in estimates]
    return [replace(e, in_domain=False, note=note) if at else e for e, at in zip(estimates, at_edge, strict=True)]


def _rungs(order: int, source: str, note: str, amounts: Mapping[str, float]) -> Iterator[Estimate]:
    outside = note.startswith("outside: ")
    for metric, amount in amounts.items():
        yield Estimate(
            metric=metric,
            amount=float(amount),
            unit=_unit(metric),
            source=source,
            order=order,
            in_domain=not outside,
            note=note.removeprefix("outside: "),
        )


def _unit(metric: str) -> str:
    if metric in ("throughput", "goodput"):
        return "request/s"
    return "s" if metric.startswith(("wait_", "response_")) else ""


# What kind of queue it is


def _gap(queue: Queue) -> Service | None:
    """The law of independent gaps between arrivals; None where they depend on each other."""
    mean = f"{1 / queue.rate!r} s"
    match queue.comers:
        case arrivals.Poisson():
            return laws.Exponential(mean)
        case arrivals.Gamma(burstiness=shape):
            return laws.Gamma(mean, scv=1 / shape)
        case arrivals.Deterministic():
            return laws.Deterministic(mean)
        case arrivals.MarkovModulated() | arrivals.TraceArrivals() | Closed():
            return None
        case renewal:
            return renewal.law("gap")


def _is_exponential(law: Service | None) -> bool:
    match law:
        case laws.Exponential():
            return True
        case laws.Erlang(stages=1) | laws.Hyperexponential(scv=1.0) | laws.Gamma(scv=1.0) | laws.Weibull(shape=1.0):
            return True
    return False


def _is_poisson(queue: Queue) -> bool:
    return not isinstance(queue.comers, Closed) and _is_exponential(_gap(queue))


def _one_law(queue: Queue) -> Service | None:
    """The service law, where all customers have the same."""
    first = queue.services[0][1]
    return first if all(law == first for _, law in queue.services) else None


def _has_wait(queue: Queue) -> bool:
    """Whether services have a beginning of their own."""
    match queue.discipline, queue.routing:
        case (ProcessorSharing() | Priorities(preemptive=True), _) | (_, ForkJoin()):
            return False
    return True


# Order 0


def _alone(queue: Queue) -> Iterator[Estimate]:
    if isinstance(queue.discipline, BatchService) and queue.discipline.wait_to_fill > 1:
        yield from _alone_in_a_batch(queue.discipline)
        return
    amounts: Amounts = {}
    if _has_wait(queue):
        amounts = {"wait_mean": 0.0, **{f"wait_{label}": 0.0 for label in LEVELS}, "prob_wait": 0.0, "queue_mean": 0.0}
    law, tasks = _one_law(queue), queue.servers if isinstance(queue.routing, ForkJoin) else 1
    mean = _mean_of_longest(law, tasks) if tasks > 1 else queue.mean_service
    if mean is not None:
        amounts["response_mean"] = mean
    if law is not None:
        for label, level in LEVELS.items():
            amounts[f"response_{label}"] = _law_quantile(law, level ** (1 / tasks))
    note = "exact for a customer alone in the system"
    if not isinstance(queue.comers, Closed) and queue.utilisation >= 1:
        note = f"outside: {note}, who is not, at utilisation {queue.utilisation:.4g}"
    yield from _rungs(0, ALONE, note, amounts)
    if isinstance(queue.comers, Closed):
        think, most = si(queue.comers.law("think").mean), queue.comers.customers
        yield from _rungs(0, "nobody waits", "bound: from above", {"throughput": most / (think + queue.mean_service)})


def _alone_in_a_batch(server: BatchService) -> Iterator[Estimate]:
    """A batch that waits to fill serves one who is alone after its time-out; without one, never."""
    if server.timeout is None:
        return
    hold, batch = si(server.timeout), server.seconds(1)
    amounts = {"wait_mean": hold, "prob_wait": 1.0, "response_mean": hold + batch}
    amounts |= {f"wait_{label}": hold for label in LEVELS} | {f"response_{label}": hold + batch for label in LEVELS}
    yield from _rungs(0, ALONE, "exact for a customer alone in the system, after the time-out", amounts)


def _mean_of_longest(law: Service | None, count: int) -> float | None:
    """Mean of the longest of ``count`` services, for the laws where it is simple."""
    if _is_exponential(law):
        assert law is not None
        return law.moment(1) * sum(1 / k for k in range(1, count + 1))
    return law.moment(1) if isinstance(law, laws.Deterministic) else None


def _law_quantile(law: Service, p: float) -> float:
    """The service in s that a fraction ``p`` does not exceed."""
    from scipy.special import gammaincinv, ndtri

    mean = law.moment(1)
    match law:
        case laws.Exponential():
            return -mean * math.log1p(-p)
        case laws.Deterministic():
            return mean
        case laws.Erlang(stages=stages):
            return float(gammaincinv(stages, p)) * mean / stages
        case laws.Gamma(scv=scv):
            return float(gammaincinv(1 / scv, p)) * mean * scv
        case laws.LogNormal():
            return float(law.median * math.exp(law.sigma * ndtri(p)))
        case laws.Pareto(shape=shape):
            return float(law.least * (1 - p) ** (-1 / shape))
        case laws.Weibull(shape=shape):
            return float(law.scale * (-math.log1p(-p)) ** (1 / shape))
        case laws.Normal():
            return float(mean + law.sigma * ndtri(p))
        case laws.Hyperexponential() | laws.ExponentialMixture():
            return _mixture_quantile(law.weights[0], *law.means, p)
        case laws.EmpiricalLaw(values=values):
            return float(np.quantile(values, p, method="inverted_cdf"))


def _mixture_quantile(share: float, short: float, long: float, p: float) -> float:
    """The quantile of two exponential times of these means, the short one with probability ``share``."""

    def tail(t: Any) -> Any:
        return share * np.exp(-t / short) + (1 - share) * np.exp(-t / long)

    return float(quantile(tail, np.array(p), np.array(short)))


# Order 1


def _first_moments(queue: Queue) -> Iterator[Estimate]:
    if isinstance(queue.comers, Closed):
        yield from _population(queue, queue.comers)
        return
    if isinstance(queue.discipline, BatchService):
        yield from _rungs(1, "Little 1961", "exact", {"throughput": queue.rate})
        return
    if queue.room is not None:
        yield from _finite_first_moments(queue, queue.room)
        return
    if queue.utilisation >= 1:  # reneging keeps it stable; no first-moment formula does
        return
    yield from _rungs(
        1, "Little 1961", _balance_note(queue), {"utilisation": queue.utilisation, "throughput": queue.rate}
    )
    rate, servers, source = _markov_server(queue)
    given = _servers(queue, rate, servers)
    response = float(multiserver.mean_response(**given))
    amounts = {"response_mean": response, "number_mean": queue.rate * response}
    if _has_wait(queue):
        wait, met = float(multiserver.mean_wait(**given)), float(multiserver.prob_wait(**given))
        amounts |= {"wait_mean": wait, "prob_wait": met, "queue_mean": queue.rate * wait}
    yield from _rungs(1, source, _markov_note(queue), amounts)


def _balance_note(queue: Queue) -> str:
    if queue.patience is not None:
        return "outside: approximation: as if nobody gave up"
    return "exact" if not queue.transient else "outside: approximation: a finite run, taken for a steady state"


def _markov_server(queue: Queue) -> tuple[float, int, str]:
    """Arrival rate and servers of the M/M/c that stands for the queue."""
    match queue.routing:
        case Shared():
            return queue.rate, queue.servers, "M/M/c (Erlang)"
        case ForkJoin():
            return queue.rate, 1, "M/M/1 of one task"
    return queue.rate / queue.servers, 1, "M/M/1 of each server"


def _markov_note(queue: Queue) -> str:
    """How far M/M/c may be trusted for this queue."""
    reasons = []
    if queue.transient:
        reasons.append("a finite run, taken for a steady state")
    if queue.patience is not None:
        reasons.append("as if nobody gave up")
    if math.isinf(queue.service_scv) and not isinstance(queue.discipline, ProcessorSharing):
        reasons.append("the service has no variance, the true mean may be infinite")
    if reasons:
        return f"outside: approximation: {'; '.join(reasons)}"
    if isinstance(queue.routing, ForkJoin):
        return "bound: from below, a customer waits for the last of its tasks"
    if isinstance(queue.routing, JoinShortest):
        return "approximation: as if each server were picked blindly"
    if queue.setup is not None:
        return "approximation: as if there were no set-up"
    insensitive = isinstance(queue.discipline, ProcessorSharing)
    if _is_poisson(queue) and (insensitive or _is_exponential(_one_law(queue))):
        return "exact, for any service law" if insensitive else "exact"
    return AS_MARKOV


def _finite_first_moments(queue: Queue, room: int) -> Iterator[Estimate]:
    """M/M/c/K; insensitive to the service law in processor sharing, and where nobody can wait."""
    given = _servers(queue, queue.rate, queue.servers)
    law = multiserver_finite.law(**given, capacity=room)
    number = np.arange(room + 1)
    served = queue.rate * float(law[:-1].sum())
    amounts: Amounts = {
        "response_mean": float(number @ law) / served,
        "number_mean": float(number @ law),
        "utilisation": float(np.minimum(number, queue.servers) @ law) / queue.servers,
        "throughput": served,
        "blocking_prob": float(law[-1]),
    }
    if _has_wait(queue):
        waiting = float(np.maximum(number - queue.servers, 0) @ law)
        met = law[:-1] / law[:-1].sum()
        amounts |= {
            "wait_mean": waiting / served,
            "queue_mean": waiting,
            "prob_wait": float(met[queue.servers :].sum()),
        }
    insensitive = isinstance(queue.discipline, ProcessorSharing) or room == queue.servers
    exact = _is_poisson(queue) and (insensitive or _is_exponential(_one_law(queue)))
    note = AS_MARKOV if not exact else "exact, for any service law" if insensitive else "exact"
    yield from _rungs(1, "M/M/c/K (truncated birth-death)", _in_time(queue, note), amounts)


def _in_time(queue: Queue, note: str) -> str:
    return "outside: approximation: a finite run, taken for a steady state" if queue.transient else note


def _population(queue: Queue, population: Closed) -> Iterator[Estimate]:
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
    exact = _is_exponential(_one_law(queue))
    note = "exact, for any law of the thinking" if exact else "approximation: as if services were exponential"
    yield from _rungs(1, source, note, amounts)


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


# Order 2


def _variability(queue: Queue) -> Iterator[Estimate]:
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
            yield from _line(queue, queue.rate, queue.servers)


def _line(queue: Queue, rate: float, servers: int) -> Iterator[Estimate]:
    """One line, first come first served, at this rate of arrivals and with these servers."""
    gap, law = _gap(queue), queue.law("service")
    poisson, exponential = _is_exponential(gap), _is_exponential(law)
    if poisson and exponential:
        yield from _markov(queue, rate, servers)
    elif poisson and isinstance(law, laws.Deterministic):
        yield from _constant(queue, rate, servers)
    elif poisson and servers == 1:
        yield from _general(queue, rate, law)
    elif gap is not None and exponential and servers == 1:
        yield from _renewal(queue, gap, law)
    elif isinstance(queue.comers, arrivals.MarkovModulated) and exponential and servers == 1:
        yield from _modulated(queue, queue.comers)
    elif math.isfinite(queue.service_scv):
        yield from _two_moments(queue, rate, servers)


def _with_waits(queue: Queue, wait: float) -> Amounts:
    """Mean wait, and what follows from it by Little's law."""
    response = wait + queue.mean_service
    return {
        "wait_mean": wait,
        "response_mean": response,
        "number_mean": queue.rate * response,
        "queue_mean": queue.rate * wait,
    }


def _servers(queue: Queue, rate: float, servers: int) -> dict[str, Any]:
    """What the M/M/c functions take."""
    return {"arrival_rate": rate, "service_rate": 1 / queue.mean_service, "servers": servers}


def _quantiles(name: str, function: Callable[..., Any], **given: Any) -> Amounts:
    """The quantiles; none where an inversion is refused for want of accuracy."""
    try:
        return {f"{name}_{label}": float(function(level, **given)) for label, level in LEVELS.items()}
    except InputError:
        return {}


def _markov(queue: Queue, rate: float, servers: int) -> Iterator[Estimate]:
    given = _servers(queue, rate, servers)
    amounts = _with_waits(queue, float(multiserver.mean_wait(**given))) | {
        "prob_wait": float(multiserver.prob_wait(**given))
    }
    amounts |= _quantiles("wait", multiserver.wait_quantile, **given) | _quantiles(
        "response", multiserver.response_quantile, **given
    )
    yield from _rungs(2, "M/M/c (Erlang)", "exact", amounts)


def _constant(queue: Queue, rate: float, servers: int) -> Iterator[Estimate]:
    given: dict[str, Any] = {"arrival_rate": rate, "mean_service": queue.mean_service, "servers": servers}
    amounts = _with_waits(queue, float(multiserver_deterministic.mean_wait(**given)))
    amounts["prob_wait"] = float(multiserver_deterministic.wait_tail(0.0, **given))
    amounts |= _quantiles("wait", multiserver_deterministic.wait_quantile, **given) | _quantiles(
        "response", multiserver_deterministic.response_quantile, **given
    )
    yield from _rungs(2, "M/D/c (Crommelin)", "exact", amounts)


def _general(queue: Queue, rate: float, law: Service) -> Iterator[Estimate]:
    given: dict[str, Any] = {"arrival_rate": rate, "mean_service": law.moment(1)}
    amounts: Amounts = {"prob_wait": rate * law.moment(1)}
    if math.isfinite(queue.service_scv):
        amounts |= _with_waits(queue, float(single_server.mean_wait(**given, service_scv=queue.service_scv)))
    yield from _rungs(2, "Pollaczek-Khinchine (M/G/1)", "exact", amounts)
    if isinstance(law, laws.Hyperexponential):
        module: Any = single_server_hyperexponential
        note, given = "exact", {**given, "service_scv": law.scv}
    else:
        module, note, given = single_server, "exact, by numerical inversion", {"arrival_rate": rate, "service": law}
    amounts = _quantiles("wait", module.wait_quantile, **given)
    amounts |= _quantiles("response", module.response_quantile, **given)
    yield from _rungs(2, "law of the wait (M/G/1)", note, amounts)


def _renewal(queue: Queue, gap: Service, law: Service) -> Iterator[Estimate]:
    given: dict[str, Any] = {"gap": gap, "service_rate": 1 / law.moment(1)}
    amounts = _with_waits(queue, single_server_renewal.mean_wait(**given)) | {
        "prob_wait": single_server_renewal.prob_wait(**given)
    }
    amounts |= _quantiles("wait", single_server_renewal.wait_quantile, **given) | _quantiles(
        "response", single_server_renewal.response_quantile, **given
    )
    yield from _rungs(2, "GI/M/1", "exact", amounts)


def _modulated(queue: Queue, comers: arrivals.MarkovModulated) -> Iterator[Estimate]:
    names = ("rate_1", "rate_2", "sojourn_1", "sojourn_2")
    given: dict[str, Any] = {name: si(getattr(comers, name)) for name in names}
    given["service_rate"] = 1 / queue.mean_service
    amounts = _with_waits(queue, float(markov_modulated.mean_response(**given)) - queue.mean_service)
    amounts["prob_wait"] = float(markov_modulated.prob_wait(**given))
    amounts |= _quantiles("response", markov_modulated.response_quantile, **given)
    yield from _rungs(2, "MMPP/M/1 (matrix-geometric)", "exact", amounts)


def _two_moments(queue: Queue, rate: float, servers: int) -> Iterator[Estimate]:
    """The spread of gaps and services alone: approximations, good where the queue is loaded."""
    given: dict[str, Any] = {"arrival_rate": rate, "mean_service": queue.mean_service, "servers": servers}
    cs2, comers = queue.service_scv, queue.open_arrivals
    note = "approximation: two moments; good at high utilisation"
    if _is_poisson(queue):
        yield from _rungs(
            2, "Kimura (M/G/c)", note, _with_waits(queue, float(multiserver_general.kimura(**given, service_scv=cs2)))
        )
        return
    try:
        ca2 = comers.idc if isinstance(comers, arrivals.MarkovModulated) else comers.scv
    except InputError:  # Pareto gaps without variance
        return
    if isinstance(comers, arrivals.MarkovModulated):
        wait = float(multiserver_general.allen_cunneen(**given, arrival_scv=ca2, service_scv=cs2))
        note = "approximation: heavy traffic, bursts short against the time to drain"
        source = "Allen-Cunneen with the index of dispersion"
    elif servers == 1:
        del given["servers"]
        wait, source = (
            float(single_server_general.klb(**given, arrival_scv=ca2, service_scv=cs2)),
            "Kraemer and Langenbach-Belz (G/G/1)",
        )
    else:
        wait, source = float(multiserver_general.whitt(**given, arrival_scv=ca2, service_scv=cs2)), "Whitt (G/G/c)"
    if queue.transient:
        note = "outside: approximation: a finite trace, taken for independent gaps in a steady state"
    yield from _rungs(2, source, note, _with_waits(queue, wait))


def _finite(queue: Queue, room: int) -> Iterator[Estimate]:
    if not _is_poisson(queue):
        return
    if room == queue.servers:
        lost = float(erlang_b(queue.rate * queue.mean_service, queue.servers))
        yield from _rungs(2, "Erlang B", "exact, for any service law", {"blocking_prob": lost})
    elif _is_exponential(queue.law("service")):
        amounts = _quantiles(
            "wait", multiserver_finite.wait_quantile, **_servers(queue, queue.rate, queue.servers), capacity=room
        )
        yield from _rungs(2, "M/M/c/K (truncated birth-death)", "exact", amounts)


def _impatient(queue: Queue, patience: Patience) -> Iterator[Estimate]:
    """Erlang-A; the waits and responses of a queue are those of the customers who are served."""
    limit = patience.law("limit")
    markov = _is_poisson(queue) and _is_exponential(queue.law("service")) and _is_exponential(limit)
    if not markov or queue.outage is not None or patience.retries or not patience.withdrawn:
        return
    given: dict[str, Any] = {**_servers(queue, queue.rate, queue.servers), "patience": limit.moment(1)}
    lost, wait = (
        float(f(**given)) for f in (multiserver_impatient.abandonment_prob, multiserver_impatient.mean_wait_served)
    )
    served = queue.rate * (1 - lost)
    amounts = {
        "wait_mean": wait,
        "response_mean": wait + queue.mean_service,
        "prob_wait": float(multiserver_impatient.prob_wait_served(**given)),
    }
    amounts |= _quantiles("wait", multiserver_impatient.wait_quantile_served, **given)
    amounts |= _quantiles("response", multiserver_impatient.response_quantile_served, **given)
    source = "M/M/c+M (Erlang-A, Palm)"
    yield from _rungs(2, source, "exact, of the customers who are served", amounts)
    of_all = {
        "wait_mean_all": float(multiserver_impatient.mean_wait(**given)),
        "abandonment_prob": lost,
        "number_mean": float(multiserver_impatient.mean_number(**given)),
        "queue_mean": queue.rate * float(multiserver_impatient.mean_wait(**given)),
        "utilisation": served * queue.mean_service / queue.servers,
        "throughput": served,
        "goodput": served,
    }
    yield from _rungs(2, source, "exact, of all customers", of_all)


def _setup(queue: Queue) -> Iterator[Estimate]:
    if not _is_poisson(queue) or math.isinf(queue.service_scv):
        return
    setup = queue.law("setup")
    wait = setup_time.mean_wait(
        arrival_rate=queue.rate,
        mean_service=queue.mean_service,
        service_scv=queue.service_scv,
        mean_setup=setup.moment(1),
        setup_scv=setup.scv,
    )
    yield from _rungs(2, "Welch (M/G/1 with set-up)", "exact", _with_waits(queue, float(wait)) | {"prob_wait": 1.0})


def _sharing(queue: Queue) -> Iterator[Estimate]:
    alone = queue.room is None and queue.servers == 1
    if alone and _is_poisson(queue) and _is_exponential(queue.law("service")):
        given: dict[str, Any] = {"arrival_rate": queue.rate, "service_rate": 1 / queue.mean_service}
        amounts = _quantiles("response", processor_sharing.response_quantile, **given)
        yield from _rungs(2, "M/M/1-PS (Coffman, Muntz, Trotter)", "exact, by numerical inversion", amounts)


def _priorities(queue: Queue, classes: Priorities) -> Iterator[Estimate]:
    if not _is_poisson(queue) or math.isinf(queue.service_scv):
        return
    rate, shares = queue.rate * np.array(classes.shares), np.array(classes.shares)
    service = np.array([law.moment(1) for _, law in queue.services])
    scv = np.array([law.scv for _, law in queue.services])
    given: dict[str, Any] = {"arrival_rate": rate, "mean_service": service, "service_scv": scv}
    if classes.preemptive:
        response = priority.preemptive_mean_response(**given)
        amounts = {"response_mean": float(shares @ response), "number_mean": float(rate @ response)}
        yield from _rungs(2, "preemptive priorities (M/G/1)", "exact", amounts | _by_class("response_mean", response))
        return
    if queue.servers == 1:
        wait, source, met = priority.non_preemptive_mean_wait(**given), "Cobham (M/G/1)", queue.utilisation
    elif _is_exponential(_one_law(queue)):
        mu = 1 / queue.mean_service
        wait = priority.non_preemptive_mean_wait_servers(arrival_rate=rate, service_rate=mu, servers=queue.servers)
        source, met = "Cobham (M/M/c)", float(erlang_c(queue.rate / mu, queue.servers))
    else:
        return
    amounts = _with_waits(queue, float(shares @ wait)) | {"prob_wait": met}
    amounts |= _by_class("wait_mean", wait) | _by_class("response_mean", wait + service)
    yield from _rungs(2, source, "exact", amounts)


def _by_class(metric: str, values: Any) -> Amounts:
    return {f"{metric}_class_{k}": float(value) for k, value in enumerate(values, 1)}


def _batches(queue: Queue, server: BatchService) -> Iterator[Estimate]:
    if not _is_poisson(queue) or server.wait_to_fill > 1:
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
        yield from _rungs(2, "bulk queue (Neuts)", "exact", amounts)
    elif item > 0:
        given: dict[str, Any] = {"arrival_rate": queue.rate, "item_time": item, "batch_time": fixed}
        response = float(batch_service.mean_response(**given))
        amounts = {
            "response_mean": response,
            "number_mean": queue.rate * response,
            "utilisation": float(batch_service.utilisation(**given)),
            "batch_mean": float(batch_service.mean_batch(**given)),
        }
        yield from _rungs(2, "dynamic batching (Inoue)", "exact", amounts)


def _random(queue: Queue) -> Iterator[Estimate]:
    """Each server sees a share of the arrivals, picked blindly: again Poisson, or with a spread nearer to it."""
    if _is_poisson(queue):
        yield from _line(queue, queue.rate / queue.servers, 1)
    elif (gap := _gap(queue)) is not None and math.isfinite(queue.service_scv):
        try:
            ca2 = 1 + (gap.scv - 1) / queue.servers
        except InputError:
            return
        each = {"arrival_rate": queue.rate / queue.servers, "mean_service": queue.mean_service}
        wait = float(single_server_general.klb(**each, arrival_scv=ca2, service_scv=queue.service_scv))
        note = "approximation: two moments; good at high utilisation"
        yield from _rungs(2, "Kraemer and Langenbach-Belz (G/G/1)", note, _with_waits(queue, wait))


def _shortest(queue: Queue, d: int) -> Iterator[Estimate]:
    if not (_is_poisson(queue) and _is_exponential(queue.law("service"))):
        return
    given: dict[str, Any] = {
        "arrival_rate": queue.rate / queue.servers,
        "service_rate": 1 / queue.mean_service,
        "choices": d,
    }
    amounts = _with_waits(queue, float(join_shortest_queue.mean_response(**given)) - queue.mean_service)

    def tail(t: Any) -> Any:
        return join_shortest_queue.wait_tail(t, **given)

    amounts["prob_wait"] = float(tail(0.0))
    levels, scale = np.array(list(LEVELS.values())), np.full(len(LEVELS), queue.mean_service)
    amounts |= dict(zip((f"wait_{label}" for label in LEVELS), quantile(tail, levels, scale).tolist(), strict=True))
    note = f"approximation: as if the {queue.servers} servers were very many"
    if queue.servers < MANY:
        note = f"outside: {note}, at least {MANY}"
    yield from _rungs(2, "supermarket model (Mitzenmacher)", note, amounts)


def _forks(queue: Queue) -> Iterator[Estimate]:
    if not (_is_poisson(queue) and _is_exponential(queue.law("service"))):
        return
    given: dict[str, Any] = {"arrival_rate": queue.rate, "service_rate": 1 / queue.mean_service}
    if queue.servers <= 2:
        source, note = "fork-join of two (Flatto and Hahn)", "exact"
    else:
        source, note = "fork-join (Nelson and Tantawi)", "approximation: within 5 % up to 32 queues"
    response = float(fork_join.mean_response(**given, queues=queue.servers))
    yield from _rungs(2, source, note, {"response_mean": response, "number_mean": queue.rate * response})
