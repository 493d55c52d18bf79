"""What kind of queue a scenario is, and what the formulas of every order take and give."""

from collections.abc import Callable, Iterator, Mapping
from typing import TypedDict

from secondorder import laws
from secondorder.analytic.arguments import Real
from secondorder.answers.declared import QUEUE
from secondorder.answers.estimate import Rung, Standing, rungs
from secondorder.answers.metric import QUANTILES
from secondorder.errors import InputError
from secondorder.laws import Service
from secondorder.scenarios.queue import Bulk, Closed, ForkJoin, Priorities, ProcessorSharing, Queue
from secondorder.workloads import arrivals

STEADY_STATE = "a finite run, taken for a steady state"


class Markov(TypedDict):
    """Arguments of the formulas of M/M/c: rates in 1/s."""

    arrival_rate: float
    service_rate: float
    servers: int


class Servers(TypedDict):
    """Arguments of the formulas of M/D/c and M/G/c: a rate in 1/s, a mean in s."""

    arrival_rate: float
    mean_service: float
    servers: int


def markov(queue: Queue, rate: float, servers: int) -> Markov:
    """The M/M/c of this rate and these servers with the queue's mean service."""
    return {"arrival_rate": rate, "service_rate": 1 / queue.mean_service, "servers": servers}


# Questions


def gap_law(queue: Queue) -> Service | None:
    """The law of independent gaps between arrivals; None where they depend on each other."""
    mean = f"{1 / queue.rate!r} s"
    match queue.arrival_law:
        case arrivals.Poisson():
            return laws.Exponential(mean)
        case arrivals.Gamma(burstiness=shape):
            return laws.Gamma(mean, scv=1 / shape)
        case arrivals.Deterministic():
            return laws.Deterministic(mean)
        case arrivals.MarkovModulated() | arrivals.TraceArrivals() | Bulk() | Closed():
            return None
        case renewal:
            return renewal.law("gap")


def is_exponential(law: Service | None) -> bool:
    """Whether a law is exponential, under whatever name."""
    match law:
        case laws.Exponential():
            return True
        case laws.Erlang(stages=1) | laws.Hyperexponential(scv=1.0) | laws.Gamma(scv=1.0) | laws.Weibull(shape=1.0):
            return True
    return False


def is_poisson(queue: Queue) -> bool:
    """Whether arrivals are Poisson."""
    return not isinstance(queue.arrival_law, Closed) and is_exponential(gap_law(queue))


def one_law(queue: Queue) -> Service | None:
    """The service law, where all customers have the same."""
    first = queue.services[0][1]
    return first if all(law == first for _, law in queue.services) else None


def is_markov(queue: Queue) -> bool:
    """Whether arrivals are Poisson and all services exponential with one mean."""
    return is_poisson(queue) and is_exponential(one_law(queue))


def has_wait(queue: Queue) -> bool:
    """Whether a customer waits until a service begins and then runs without interruption."""
    match queue.discipline, queue.routing:
        case (ProcessorSharing() | Priorities(preemptive=True), _) | (_, ForkJoin()):
            return False
    return True


# Amounts


def rungs_of(order: int, source: str, standing: Standing, amounts: Mapping[str, float]) -> Iterator[Rung]:
    """The values that one formula gives the metrics of a queue."""
    return rungs(QUEUE, order, source, standing, amounts)


def with_waits(queue: Queue, wait: float) -> dict[str, float]:
    """The mean wait, and what follows from it by Little's law."""
    response = wait + queue.mean_service
    return {
        "wait_mean": wait,
        "response_mean": response,
        "number_mean": queue.rate * response,
        "queue_mean": queue.rate * wait,
    }


def quantiles(name: str, function: Callable[[float], Real]) -> dict[str, float]:
    """The quantiles of a time; none where the inversion is not accurate enough."""
    try:
        return {f"{name}_{label}": float(function(level)) for label, level in QUANTILES.items()}
    except InputError:
        return {}
