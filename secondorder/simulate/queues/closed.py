"""A closed population on SimPy: customers think, come, are served, and think again."""

from collections.abc import Iterator

import numpy as np
import simpy

from secondorder.scenarios.queue import Closed, Queue
from secondorder.simulate.queues.draws import Source, services
from secondorder.simulate.queues.records import Run
from secondorder.simulate.queues.station import NEVER, Process, Station


def live(
    env: simpy.Environment,
    thoughts: Iterator[float],
    visits: Iterator[int],
    station: Station,
    arrival: list[float],
    served: dict[int, simpy.Event],
) -> Process:
    """One customer: think, visit the station, until all visits of the run are made."""
    for thought in thoughts:
        yield env.timeout(thought)
        visit = next(visits)
        arrival[visit] = env.now
        served[visit] = env.event()
        station.join(visit)
        yield served[visit]


def run_closed(queue: Queue, visits: int, chance: Source) -> Run:
    """A number of visits by the population; at time 0 all think."""
    arrival_law = queue.arrival_law
    assert isinstance(arrival_law, Closed)
    env = simpy.Environment()
    work, _ = services(queue, visits, chance)
    arrival, served = [NEVER] * visits, dict[int, simpy.Event]()
    station = Station(env, work.tolist(), servers=queue.servers, left=lambda visit: served.pop(visit).succeed())
    thoughts, numbers = iter(arrival_law.law("think").sample(visits, chance("think")).tolist()), iter(range(visits))
    for _ in range(arrival_law.customers):
        env.process(live(env, thoughts, numbers, station, arrival, served))
    env.run()
    return Run(np.array(arrival), work, np.array(station.start), np.array(station.finish))
