"""Twins of what follows a failure or the end of an allocation: replicas that go on, false diagnoses, failed repairs."""

from dataclasses import replace

from secondorder.scenarios.allocation import Allocation
from secondorder.scenarios.elastic import Elastic
from secondorder.scenarios.training import AsyncCheckpoint, Recovery, Spares
from secondorder.validation.catalogue.training import blocking, run_twin_of
from secondorder.validation.catalogue.twin import Twin


def twins() -> tuple[Twin, ...]:
    """All of them."""
    base = blocking(5_400.0, 60.0, 300.0)
    slow = replace(base, recovery=Recovery(restart="300 s", detection="30 s", replacement="300 s"))
    elastic = replace(slow, elastic=Elastic(replicas=16, shared=0.2, regroup="20 s", reload="2 min"))
    few = replace(slow, elastic=Elastic(replicas=8, shared=0.1, regroup="20 s", reload="10 min", fewest=7))
    shelf = Spares(count=3, repair="exponential 6 h", failed_repairs=0.2, retired=0.1, delivery="1 day")
    ending = replace(slow, allocation=Allocation(ends_after="12 h", grace="5 min", requeue="30 min"))
    return (
        run_twin_of(
            "planned ends of allocations",
            "the renewal equation of what an allocation keeps",
            ending,
        ),
        run_twin_of(
            "elastic replicas",
            "replicas that are up are binomial; failures of all send the run back",
            elastic,
            kind="approximation",
        ),
        run_twin_of(
            "elastic, at least 7 of 8",
            "the run waits while fewer replicas are up",
            few,
            kind="approximation",
        ),
        run_twin_of(
            "elastic, asynchronous",
            "a drain goes on while the replicas regroup",
            replace(elastic, checkpoint=AsyncCheckpoint(interval="10 min", pause="5 s", drain="120 s")),
            kind="approximation",
        ),
        run_twin_of(
            "false diagnoses",
            "a geometric number of vain attempts, in which nothing else fails",
            replace(slow, recovery=replace(slow.recovery, misdiagnosed=0.25)),
        ),
        run_twin_of(
            "repairs fail, nodes retired",
            "Erlang's formula with the mean time that a node is away",
            replace(blocking(14_400.0, 60.0, 300.0, duration="200 day"), spares=shelf),
            {"availability": 0.01},
        ),
    )
