"""The same systems, event by event, on SimPy.

The package is callable: ``so.simulate(scenario, seed=1)``.
"""

import sys
from types import ModuleType
from typing import Any

from secondorder.errors import InputError
from secondorder.scenarios.answers import Answer
from secondorder.scenarios.queue import Queue
from secondorder.scenarios.serving import Serving


def simulate(
    scenario: Serving | Queue, *, seed: int = 0, replications: int = 10, requests: int | None = None, jobs: int = 1
) -> Answer:
    """Simulate a scenario: estimates with 95 % confidence intervals.

    The same scenario and seed give the same result. The run length is chosen when
    ``requests`` is not given. ``jobs`` processes share the replications.
    """
    match scenario:
        case Serving():
            from secondorder.simulate.serving import simulate_serving

            return simulate_serving(scenario, seed=seed, replications=replications, requests=requests, jobs=jobs)
        case Queue():
            from secondorder.simulate.queues import simulate_queue

            return simulate_queue(scenario, seed=seed, replications=replications, requests=requests, jobs=jobs)
    raise InputError("scenario", given=type(scenario).__name__, expected="a Serving or a Queue scenario")


class _Callable(ModuleType):
    """``secondorder.simulate`` is both the package and the verb."""

    def __call__(self, *args: Any, **options: Any) -> Answer:
        return simulate(*args, **options)


sys.modules[__name__].__class__ = _Callable
