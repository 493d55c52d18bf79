"""A training run without one of its effects. Failures act through restarts, lost work and missing spares."""

from dataclasses import replace

from secondorder.laws import Deterministic, time_law
from secondorder.quantities import registry, si
from secondorder.scenarios.training import Checkpoint, Recovery, Training
from secondorder.scenarios.training_step import TrainingStep

FINER = 32
"""Checkpoints in the place of one, each at this part of the cost, where almost no work is lost."""


def without_restart(scenario: Training) -> Training:
    """After a failure work goes on at once."""
    return replace(scenario, recovery=Recovery())


def without_rework(scenario: Training) -> Training:
    """Checkpoints 32 times as often, each at a 32nd of the cost: the same time for them, and almost nothing is lost."""
    policy = scenario.policy
    if not isinstance(policy, Checkpoint):
        return scenario
    interval, write = si(policy.interval) / FINER, scenario.write_seconds / FINER
    finer = Checkpoint(interval=registry.Quantity(interval, "s"), write=registry.Quantity(write, "s"))
    return replace(scenario, checkpoint=finer, storage=None)


def without_writes(scenario: Training) -> Training:
    """A checkpoint takes no time."""
    policy = scenario.policy
    if not isinstance(policy, Checkpoint):
        return scenario
    return replace(scenario, checkpoint=replace(policy, write="0 s"), storage=None)


def with_equal_steps(scenario: Training) -> Training:
    """Every step takes the mean time."""
    if scenario.step is None or isinstance(scenario.step, TrainingStep):
        return scenario
    law = time_law(scenario.step, "step")
    return scenario if isinstance(law, Deterministic) else replace(scenario, step=Deterministic(law.mean))


def with_spares_for_all(scenario: Training) -> Training:
    """A failed node is replaced at once."""
    return replace(scenario, spares=None)
