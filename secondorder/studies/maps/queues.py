"""Queues at the points of a map, with a mean service of 1 s, and their waits.

The mean wait of one line at one server follows from its idle periods ``I`` and what each customer adds to the work,
``u = service - gap``: ``E[W] = E[u^2] / (2 E[-u]) - E[I^2] / (2 E[I])``. Only the second term is simulated, and it is
small where the queue is long: a hundredth of the customers does. *Exact* for independent gaps and services.
*Source*: Marshall, Some inequalities in queueing (1968).
"""

import math
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


SAME = 1e-6
"""Distance below which two places of a transform are taken for the same."""
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


# Several servers: known exactly


def several_servers(point: Coordinates) -> Queue:
    servers = round(point["servers"])
    arrivals = f"gamma {point['load'] * servers!r} request/s {_gamma(point['arrival_scv'])}"
    return Queue(arrivals=arrivals, service="exponential 1 s", servers=servers)


def wait_in_one_line(point: Coordinates) -> Amounts:
    """The mean wait of GI/M/c with gamma gaps, ``D/(c mu (1 - s)^2)``; all terms of ``1/D`` are positive.

    ``b(x)`` is the transform of the gaps at ``x mu``, ``s = b(c (1 - s))``, ``C_j = prod_1^j b(k)/(1 - b(k))``, ``1/D =
    1/(1 - s) + sum_1^c binomial(c, j)/(C_j (1 - b(j))) (c (1 - b(j)) - j)/(c (1 - s) - j)``. *Exact*. *Source*: Takacs,
    Introduction to the Theory of Queues (1962), chapter 2; Gross and Harris (1998), section 5.3.
    """
    from scipy.optimize import brentq

    servers, scv = round(point["servers"]), point["arrival_scv"]
    rate = point["load"] * servers

    def transform(x: float) -> float:
        return float((1 + x * scv / rate) ** (-1 / scv))

    root = float(brentq(lambda s: transform(servers * (1 - s)) - s, 0.0, 1 - 1e-9, xtol=1e-15))
    total, product = 1 / (1 - root), 1.0
    for j in range(1, servers + 1):
        below = transform(j)
        product *= below / (1 - below)
        x = j if abs(servers * (1 - root) - j) > SAME else j + SAME  # both ends of the ratio are 0 there
        ratio = (servers * (1 - transform(x)) - x) / (servers * (1 - root) - x)
        total += math.comb(servers, j) / (product * (1 - below)) * ratio
    return {"wait_mean": 1 / (total * servers * (1 - root) ** 2)}


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
    "several_servers": Ground(scenario=several_servers, truth=Exact(amounts=wait_in_one_line)),
    "bursts": Ground(scenario=bursts, truth=Exact(amounts=wait_in_bursts)),
}
