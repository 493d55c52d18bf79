"""Faults as processes: what each kind does to a replica."""

from collections.abc import Iterator, Sequence
from functools import singledispatch

import numpy as np
import simpy

from secondorder.quantities import Duration, si
from secondorder.scenarios.replica_faults import Fault, Kill, RandomFailures, RollingRestart, Slow, ZoneFailure
from secondorder.simulate.deployment.clients import Clients, picoseconds
from secondorder.simulate.deployment.replica import Replica
from secondorder.simulate.serving.engine import Process
from secondorder.simulate.streams import stream

PlaceInRun = tuple[int, int]
"""Seed and replication."""


@singledispatch
def processes(
    fault: Fault, env: simpy.Environment, replicas: Sequence[Replica], clients: Clients, run: PlaceInRun
) -> Iterator[Process]:
    """The processes of a fault."""
    raise NotImplementedError(type(fault).__name__)


@processes.register
def _(
    fault: RandomFailures, env: simpy.Environment, replicas: Sequence[Replica], clients: Clients, run: PlaceInRun
) -> Iterator[Process]:
    for replica in replicas:
        chance = stream(*run, f"failures of replica {replica.number}")
        yield fail_at_random(fault, env, replica, clients, chance)


def fail_at_random(
    fault: RandomFailures, env: simpy.Environment, replica: Replica, clients: Clients, chance: np.random.Generator
) -> Process:
    """In service, down, in service again."""
    while not clients.over:
        yield env.timeout(picoseconds(chance.exponential(si(fault.mtbf))))
        restart = si(fault.restart) * (chance.standard_exponential() if fault.exponential else 1.0)
        if not clients.over:
            yield from fail_and_restart(env, replica, clients, restart)


def fail_and_restart(env: simpy.Environment, replica: Replica, clients: Clients, restart: float) -> Process:
    """A replica that is up fails, and is back after this many seconds."""
    if not replica.up:
        return
    replica.fail()
    yield env.timeout(picoseconds(restart))
    replica.restart()
    clients.release()


@processes.register
def _(
    fault: Kill, env: simpy.Environment, replicas: Sequence[Replica], clients: Clients, run: PlaceInRun
) -> Iterator[Process]:
    yield fail_at(fault.at, env, replicas[fault.replica], clients, fault.restart)


@processes.register
def _(
    fault: ZoneFailure, env: simpy.Environment, replicas: Sequence[Replica], clients: Clients, run: PlaceInRun
) -> Iterator[Process]:
    for number in fault.replicas:
        yield fail_at(fault.at, env, replicas[number], clients, fault.restart)


def fail_at(at: Duration, env: simpy.Environment, replica: Replica, clients: Clients, restart: Duration) -> Process:
    """A replica fails at a stated time, and is back later."""
    yield env.timeout(picoseconds(si(at)))
    yield from fail_and_restart(env, replica, clients, si(restart))


@processes.register
def _(
    fault: Slow, env: simpy.Environment, replicas: Sequence[Replica], clients: Clients, run: PlaceInRun
) -> Iterator[Process]:
    def slow() -> Process:
        replica = replicas[fault.replica]
        yield env.timeout(picoseconds(si(fault.at)))
        replica.engine.slow(fault.factor)
        yield env.timeout(picoseconds(si(fault.lasts)))
        replica.engine.slow(1)

    yield slow()


@processes.register
def _(
    fault: RollingRestart, env: simpy.Environment, replicas: Sequence[Replica], clients: Clients, run: PlaceInRun
) -> Iterator[Process]:
    def roll() -> Process:
        yield env.timeout(picoseconds(si(fault.at)))
        for replica in replicas:
            if not replica.up:
                continue
            yield replica.drain()
            replica.close()
            yield env.timeout(picoseconds(si(fault.restart)))
            replica.restart()
            clients.release()

    yield roll()
