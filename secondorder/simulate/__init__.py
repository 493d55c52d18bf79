"""The same systems, event by event, on SimPy.

The package is callable: ``so.simulate(scenario, seed=1)``.
"""

import sys
from types import ModuleType
from typing import Any

from secondorder.errors import InputError
from secondorder.scenarios.answers import Answer
from secondorder.scenarios.collective import Collective
from secondorder.scenarios.pipeline import Pipeline
from secondorder.scenarios.queue import Queue
from secondorder.scenarios.scenario import Scenario, no_scenario
from secondorder.scenarios.serving import Serving
from secondorder.scenarios.training import Training
from secondorder.scenarios.training_step import TrainingStep


def simulate(
    scenario: Scenario, *, seed: int = 0, replications: int | None = None, requests: int | None = None, jobs: int = 1
) -> Answer:
    """Simulate a scenario: estimates with 95 % confidence intervals.

    The same scenario and seed give the same result. There are 10 ``replications`` if no other number is
    given, and 100 of a training run. ``requests`` is the length of a run of a ``Serving`` or ``Queue`` scenario,
    chosen when it is not given; the others have a length of their own. ``jobs`` processes share the
    replications.
    """
    if replications is None:
        replications = 100 if isinstance(scenario, Training) else 10
    match scenario:
        case Serving():
            from secondorder.simulate.serving import simulate_serving

            return simulate_serving(scenario, seed=seed, replications=replications, requests=requests, jobs=jobs)
        case Queue():
            from secondorder.simulate.queues import simulate_queue

            return simulate_queue(scenario, seed=seed, replications=replications, requests=requests, jobs=jobs)
    if requests is not None:
        given = f"{requests} for a {type(scenario).__name__}"
        raise InputError("requests", given=given, expected="none: nobody asks for anything there")
    match scenario:
        case Training():
            from secondorder.simulate.training import simulate_training

            return simulate_training(scenario, seed=seed, replications=replications, jobs=jobs)
        case TrainingStep():
            from secondorder.simulate.training_step import simulate_step

            return simulate_step(scenario, seed=seed, replications=replications, jobs=jobs)
        case Collective():
            from secondorder.simulate.collectives import simulate_collective

            return simulate_collective(scenario, seed=seed, replications=replications, jobs=jobs)
        case Pipeline():
            from secondorder.simulate.collectives import simulate_pipeline

            return simulate_pipeline(scenario, seed=seed, replications=replications, jobs=jobs)
    raise no_scenario(scenario)


class _Callable(ModuleType):
    """``secondorder.simulate`` is both the package and the verb."""

    def __call__(self, *args: Any, **options: Any) -> Answer:
        return simulate(*args, **options)


sys.modules[__name__].__class__ = _Callable
