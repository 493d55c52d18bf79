"""Queues at the points of a map, in units of a mean service of 1 s, and what they do.

The mean wait of one line at one server follows from its idle periods ``I`` and what each customer adds to the work,
``u = service - gap``: ``E[W] = E[u^2] / (2 E[-u]) - E[I^2] / (2 E[I])``. Only the second term is simulated, and it is
small where the queue is long: a hundredth of the customers does. *Exact* for independent gaps and services.
*Source*: Marshall, Some inequalities in queueing (1968).

The wait at several servers is compared with that of one server as fast as all of them, on the same customers: the
ratio of the two is known far better than either.
"""

from collections.abc import Mapping

import numpy as np

from secondorder.analytic.queues.ladder import solve_queue
from secondorder.arrays import Floats
from secondorder.breakdown.fields import Coordinates
from secondorder.laws import Gamma, LogNormal
from secondorder.scenarios.queue import ForkJoin, ProcessorSharing, Queue, Random
from secondorder.simulate.kernels.queues import first_come, sharing
from secondorder.simulate.streams import stream
from secondorder.studies.maps.draws import lognormal
from secondorder.studies.maps.points import Amounts, Exact, Ground, Simulated
from secondorder.workloads.arrivals import MarkovModulated

BEGINNING = 0.1
"""Share of the customers of a run that come before its empty start is forgotten."""


def _gamma(scv: float) -> str:
    return f"burstiness={1 / scv!r}"


def single_line(point: Coordinates) -> Queue:
    arrivals = f"gamma {point['load']!r} request/s {_gamma(point['arrival_scv'])}"
    return Queue(arrivals=arrivals, service=LogNormal("1 s", scv=point["service_scv"]))


def services_of_many(point: Coordinates) -> Queue:
    servers = int(point["servers"])
    arrivals = f"poisson {point['load'] * servers!r} request/s"
    return Queue(arrivals=arrivals, service=LogNormal("1 s", scv=point["service_scv"]), servers=servers)


def arrivals_of_many(point: Coordinates) -> Queue:
    servers = int(point["servers"])
    arrivals = f"gamma {point['load'] * servers!r} request/s {_gamma(point['arrival_scv'])}"
    return Queue(arrivals=arrivals, service="exponential 1 s", servers=servers)


def shared(point: Coordinates) -> Queue:
    arrivals = f"gamma {point['load']!r} request/s {_gamma(point['arrival_scv'])}"
    service = LogNormal("1 s", scv=point["service_scv"])
    return Queue(arrivals=arrivals, service=service, discipline=ProcessorSharing())


def forks(point: Coordinates) -> Queue:
    service = Gamma("1 s", scv=point["service_scv"])
    tasks = int(point["servers"])
    return Queue(arrivals=f"poisson {point['load']!r} request/s", service=service, servers=tasks, routing=ForkJoin())


def split(point: Coordinates) -> Queue:
    servers = int(point["servers"])
    arrivals = f"gamma {point['load'] * servers!r} request/s {_gamma(point['arrival_scv'])}"
    return Queue(arrivals=arrivals, service="exponential 1 s", servers=servers, routing=Random())


# Draws


def gaps(point: Coordinates, count: int, rng: np.random.Generator) -> Floats:
    """Gaps of mean 1 s: gamma, or exponential where the point says nothing of them."""
    scv = point.get("arrival_scv", 1.0)
    return rng.standard_exponential(count) if scv == 1 else scv * rng.standard_gamma(1 / scv, count)


def _streams(seed: int, replication: int) -> tuple[np.random.Generator, np.random.Generator]:
    return stream(seed, replication, "gaps"), stream(seed, replication, "services")


# Truths


LIGHT = 0.4
"""Load below which idle periods say less of the wait than the waits themselves."""


def _wait(start: Floats, arrival: Floats, service: Floats, variance: float, load: float) -> float:
    """The mean wait at one server of mean service 1 s; ``variance`` is that of gap minus service."""
    if load < LIGHT:
        return float((start - arrival).mean())
    return marshall(start, arrival, service, variance, 1 / load - 1)


def marshall(start: Floats, arrival: Floats, service: Floats, variance: float, drift: float) -> float:
    """The mean wait at one server from its idle periods; ``drift`` is ``E[gap - service]`` and ``variance`` its own."""
    idle = np.maximum(arrival[1:] - (start[:-1] + service[:-1]), 0.0)
    return (variance + drift**2) / (2 * drift) - float(idle @ idle) / (2 * float(idle.sum()))


def wait_of_one(point: Coordinates, seed: int, replication: int, length: int) -> Amounts:
    """The mean wait of the single line."""
    come, work = _streams(seed, replication)
    load, scv = point["load"], point["service_scv"]
    arrival = np.cumsum(gaps(point, length, come)) / load
    service = lognormal(scv, length, work)
    start = first_come(arrival, service, 1)
    variance = point["arrival_scv"] / load**2 + scv
    return {"wait_mean": _wait(start, arrival, service, variance, load)}


def wait_of_split(point: Coordinates, seed: int, replication: int, length: int) -> Amounts:
    """The mean wait at one of the lines: every so many gaps of the whole add up to one of its own."""
    come, work = _streams(seed, replication)
    load, scv, servers = point["load"], point["arrival_scv"], int(point["servers"])
    skipped = come.geometric(1 / servers, length)
    arrival = np.cumsum(scv * come.standard_gamma(skipped / scv)) / (load * servers)
    service = work.standard_exponential(length)
    start = first_come(arrival, service, 1)
    variance = (1 + (scv - 1) / servers) / load**2 + 1
    return {"wait_mean": _wait(start, arrival, service, variance, load)}


def wait_of_many(point: Coordinates, seed: int, replication: int, length: int) -> Amounts:
    """The mean wait at several servers: its ratio to that of one server as fast as all, times the latter's own."""
    come, work = _streams(seed, replication)
    load, servers = point["load"], int(point["servers"])
    arrival = np.cumsum(gaps(point, length, come)) / (load * servers)
    service, service_scv = _services_of(point, length, work)
    many = float((first_come(arrival, service, servers) - arrival).mean())
    fast = service / servers
    start = first_come(arrival, fast, 1)
    variance = (point.get("arrival_scv", 1.0) / load**2 + service_scv) / servers**2
    known = marshall(start, arrival, fast, variance, (1 / load - 1) / servers)
    return {"wait_mean": many * known / float((start - arrival).mean())}


def _services_of(point: Coordinates, length: int, rng: np.random.Generator) -> tuple[Floats, float]:
    if "service_scv" not in point:
        return rng.standard_exponential(length), 1.0
    return lognormal(point["service_scv"], length, rng), point["service_scv"]


def p99_of_many(point: Coordinates, seed: int, replication: int, length: int) -> Amounts:
    """The p99 of the wait, after the beginning of the run."""
    come, work = _streams(seed, replication)
    servers = int(point.get("servers", 1))
    arrival = np.cumsum(gaps(point, length, come)) / (point["load"] * servers)
    service, _ = _services_of(point, length, work)
    wait = (first_come(arrival, service, servers) - arrival)[int(BEGINNING * length) :]
    return {"wait_p99": float(np.quantile(wait, 0.99))}


def response_of_shared(point: Coordinates, seed: int, replication: int, length: int) -> Amounts:
    """The mean response of processor sharing."""
    come, work = _streams(seed, replication)
    arrival = np.cumsum(gaps(point, length, come)) / point["load"]
    finish = sharing(arrival, lognormal(point["service_scv"], length, work), 1, None)
    return {"response_mean": float((finish - arrival)[int(BEGINNING * length) :].mean())}


def response_of_forks(point: Coordinates, seed: int, replication: int, length: int) -> Amounts:
    """The mean time until the last task of a customer is done."""
    come, work = _streams(seed, replication)
    scv, latest = point["service_scv"], np.zeros(length)
    arrival = np.cumsum(come.standard_exponential(length)) / point["load"]
    for _ in range(int(point["servers"])):
        service = scv * work.standard_gamma(1 / scv, length)
        np.maximum(latest, first_come(arrival, service, 1) + service, out=latest)
    return {"response_mean": float((latest - arrival)[int(BEGINNING * length) :].mean())}


# Bursts: known exactly


def bursts(point: Coordinates) -> Queue:
    high, low = point["load"] * (1 + point["swing"]), point["load"] * (1 - point["swing"])
    sojourn = f"{point['sojourn']!r} s"
    arrivals = MarkovModulated(
        rate_1=f"{high!r} request/s", rate_2=f"{low!r} request/s", sojourn_1=sojourn, sojourn_2=sojourn
    )
    return Queue(arrivals=arrivals, service="exponential 1 s")


def wait_in_bursts(point: Coordinates) -> Amounts:
    """The mean wait of MMPP/M/1, of the ladder of order 2."""
    return {"wait_mean": solve_queue(bursts(point)).best("wait_mean").amount}


GROUNDS: Mapping[str, Ground] = {
    "single_line": Ground(scenario=single_line, truth=Simulated(once=wait_of_one, length=20_000, budget=3_000_000)),
    "single_line_tail": Ground(
        scenario=single_line, truth=Simulated(once=p99_of_many, length=50_000, budget=3_000_000)
    ),
    "services_of_many": Ground(
        scenario=services_of_many, truth=Simulated(once=wait_of_many, length=20_000, budget=4_000_000)
    ),
    "tail_of_many": Ground(
        scenario=services_of_many, truth=Simulated(once=p99_of_many, length=50_000, budget=3_000_000)
    ),
    "arrivals_of_many": Ground(
        scenario=arrivals_of_many, truth=Simulated(once=wait_of_many, length=20_000, budget=4_000_000)
    ),
    "sharing": Ground(scenario=shared, truth=Simulated(once=response_of_shared, length=20_000, budget=2_000_000)),
    "forks": Ground(scenario=forks, truth=Simulated(once=response_of_forks, length=20_000, budget=600_000)),
    "split": Ground(scenario=split, truth=Simulated(once=wait_of_split, length=20_000, budget=3_000_000)),
    "bursts": Ground(scenario=bursts, truth=Exact(amounts=wait_in_bursts)),
}
