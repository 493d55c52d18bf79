"""Where a queue lies on the maps of queues."""

from collections.abc import Iterator, Mapping

from secondorder.answers.answer import Answer
from secondorder.breakdown.fields import Coordinates
from secondorder.laws import Erlang, Exponential, Gamma, LogNormal, Service
from secondorder.quantities import si
from secondorder.scenarios.queue import Closed, Queue, Renewal, Shared
from secondorder.workloads import arrivals


def places(queue: Queue, answer: Answer) -> Mapping[str, Coordinates]:
    """The fields that the queue is one of, and where it lies there.

    >>> queue = Queue(arrivals="poisson 8 request/s", service="lognormal 100 ms scv=4")
    >>> [(field, round(at["load"], 9)) for field, at in places(queue, Answer(scenario="", estimates=())).items()]
    [('single_line', 0.8)]
    """
    if isinstance(queue.arrival_law, Closed) or queue.service is None:
        return {}
    return dict(_places(queue))


def _places(queue: Queue) -> Iterator[tuple[str, Coordinates]]:
    law, load = queue.law("service"), {"load": queue.utilisation}
    shared = queue.plain and isinstance(queue.routing, Shared)
    one_line = shared and queue.servers == 1
    if one_line and isinstance(law, LogNormal) and (gaps := gamma_gaps(queue)):
        yield "single_line", {**load, **gaps, "service_scv": law.scv}
    if shared and queue.servers > 1 and is_exponential(law) and (gaps := gamma_gaps(queue)):
        yield "several_servers", {**load, **gaps, "servers": float(queue.servers)}
    if one_line and is_exponential(law) and (burst := bursts(queue)):
        yield "bursts", {**load, **burst}


def gamma_gaps(queue: Queue) -> dict[str, float]:
    """The scv of independent gamma gaps between arrivals; nothing where they are others."""
    match queue.arrival_law:
        case arrivals.Poisson():
            return {"arrival_scv": 1.0}
        case arrivals.Gamma(burstiness=shape):
            return {"arrival_scv": 1 / shape}
        case Renewal() as renewal if isinstance(renewal.law("gap"), Exponential | Gamma | Erlang):
            return {"arrival_scv": renewal.scv}
    return {}


def is_exponential(law: Service) -> bool:
    """Whether services are exponential."""
    return isinstance(law, Exponential) or (isinstance(law, Gamma | Erlang) and law.scv == 1)


def bursts(queue: Queue) -> dict[str, float]:
    """The swing of a rate that switches between equally long phases, and their length in mean services."""
    match queue.arrival_law:
        case arrivals.MarkovModulated(rate_1=one, rate_2=other, sojourn_1=first, sojourn_2=second):
            if abs(si(first) / si(second) - 1) < 1e-9:
                swing = abs(si(one) - si(other)) / (si(one) + si(other))
                return {"swing": swing, "sojourn": si(first) / queue.mean_service}
    return {}
