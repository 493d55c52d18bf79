"""The same systems, event by event, on SimPy.

The package is callable: ``so.simulate(scenario, seed=1)``.
"""

import sys
from types import ModuleType
from typing import Any

from secondorder.errors import InputError
from secondorder.scenarios.answers import Answer
from secondorder.scenarios.capacity import Capacity
from secondorder.scenarios.chunked_prefill import ChunkedPrefill
from secondorder.scenarios.collective import Collective
from secondorder.scenarios.compression import Compression
from secondorder.scenarios.data_loading import DataLoading
from secondorder.scenarios.disaggregated import Disaggregated
from secondorder.scenarios.expert_routing import ExpertRouting
from secondorder.scenarios.footprint import Footprint
from secondorder.scenarios.inference import Inference
from secondorder.scenarios.inverse_roofline import InverseRoofline
from secondorder.scenarios.ownership import Ownership
from secondorder.scenarios.pipeline import Pipeline
from secondorder.scenarios.prefix_caching import PrefixCaching
from secondorder.scenarios.private_training import PrivateTraining
from secondorder.scenarios.quantisation import Quantisation
from secondorder.scenarios.queue import Queue
from secondorder.scenarios.reasoning import Reasoning
from secondorder.scenarios.scaling_law import ScalingLaw
from secondorder.scenarios.scenario import Scenario, no_scenario
from secondorder.scenarios.serving import Serving
from secondorder.scenarios.shared_cluster import SharedCluster
from secondorder.scenarios.speculative import Speculative
from secondorder.scenarios.topology import Topology
from secondorder.scenarios.training import Training
from secondorder.scenarios.training_step import TrainingStep

CLOSED_FORMS_ONLY = (
    Compression,
    InverseRoofline,
    PrivateTraining,
    Speculative,
    Disaggregated,
    PrefixCaching,
    ChunkedPrefill,
    Quantisation,
    Topology,
)
"""Scenarios in which nothing is random, or whose simulation is yet to come."""


def can_simulate(scenario: Scenario) -> bool:
    """Whether there is a simulation of such a scenario, and anything for it to find."""
    match scenario:
        case Ownership():
            return scenario.rate is not None  # a stated utilisation leaves nothing to chance
        case ScalingLaw():
            return scenario.fitted.alpha_error > 0  # without published errors there is nothing to draw
    return not isinstance(scenario, CLOSED_FORMS_ONLY)


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
        raise InputError("requests", given=given, expected="none: its runs have a length of their own")
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
        case Inference():
            from secondorder.simulate.inference import simulate_inference

            return simulate_inference(scenario, seed=seed, replications=replications, jobs=jobs)
        case Capacity():
            from secondorder.simulate.capacity import simulate_capacity

            return simulate_capacity(scenario, seed=seed, replications=replications, jobs=jobs)
        case ExpertRouting():
            from secondorder.simulate.expert_routing import simulate_expert_routing

            return simulate_expert_routing(scenario, seed=seed, replications=replications, jobs=jobs)
        case DataLoading():
            from secondorder.simulate.data_loading import simulate_data_loading

            return simulate_data_loading(scenario, seed=seed, replications=replications, jobs=jobs)
        case SharedCluster():
            from secondorder.simulate.shared_cluster import simulate_shared_cluster

            return simulate_shared_cluster(scenario, seed=seed, replications=replications, jobs=jobs)
        case Ownership():
            from secondorder.simulate.ownership import simulate_ownership

            return simulate_ownership(scenario, seed=seed, replications=replications, jobs=jobs)
        case Footprint():
            from secondorder.simulate.footprint import simulate_footprint

            return simulate_footprint(scenario, seed=seed, replications=replications, jobs=jobs)
        case ScalingLaw():
            from secondorder.simulate.scaling_law import simulate_scaling_law

            return simulate_scaling_law(scenario, seed=seed, replications=replications, jobs=jobs)
        case Reasoning():
            from secondorder.simulate.reasoning import simulate_reasoning

            return simulate_reasoning(scenario, seed=seed, replications=replications, jobs=jobs)
    if isinstance(scenario, CLOSED_FORMS_ONLY):
        raise InputError(
            "scenario", given=type(scenario).__name__, expected="one that can be simulated", remedy="solve answers it"
        )
    raise no_scenario(scenario)


class _Callable(ModuleType):
    """``secondorder.simulate`` is both the package and the verb."""

    def __call__(self, *args: Any, **options: Any) -> Answer:
        return simulate(*args, **options)


sys.modules[__name__].__class__ = _Callable
