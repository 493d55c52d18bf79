"""Queues at the points of a map, with a mean service of 1 s, and their waits.

The mean wait of one line at one server follows from its idle periods ``I`` and what each customer adds to the work,
``u = service - gap``: ``E[W] = E[u^2] / (2 E[-u]) - E[I^2] / (2 E[I])``. Only the second term is simulated, and it is
small where the queue is long: a hundredth of the customers does. *Exact* for independent gaps and services.
*Source*: Marshall, Some inequalities in queueing (1968).
"""

from collections.abc import Mapping

import numpy as np

from secondorder.analytic.queues.ladder import solve_queue
from secondorder.arrays import Floats
from secondorder.breakdown.fields import Coordinates
from secondorder.laws import LogNormal
from secondorder.scenarios.queue import Queue
from secondorder.simulate.kernels.queues import first_come
from secondorder.simulate.streams import stream
from secondorder.studies.maps.draws import lognormal
from secondorder.studies.maps.points import Amounts, Exact, Ground, Simulated
from secondorder.workloads.arrivals import MarkovModulated


def _gamma(scv: float) -> str:
    return f"burstiness={1 / scv!r}"


def single_line(point: Coordinates) -> Queue:
    arrivals = f"gamma {point['load']!r} request/s {_gamma(point['arrival_scv'])}"
    return Queue(arrivals=arrivals, service=LogNormal("1 s", scv=point["service_scv"]))


def gaps(point: Coordinates, count: int, rng: np.random.Generator) -> Floats:
    """Gamma gaps of mean 1 s."""
    scv = point["arrival_scv"]
    return rng.standard_exponential(count) if scv == 1 else scv * rng.standard_gamma(1 / scv, count)


def _streams(seed: int, replication: int) -> tuple[np.random.Generator, np.random.Generator]:
    return stream(seed, replication, "gaps"), stream(seed, replication, "services")


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
    "bursts": Ground(scenario=bursts, truth=Exact(amounts=wait_in_bursts)),
}
