"""The metrics of one training run, for comparisons on the same random numbers."""

from secondorder.scenarios.training import Training
from secondorder.simulate.training.answer import measure
from secondorder.simulate.training.causes import step_of
from secondorder.simulate.training.job import run


def metrics(scenario: Training, *, seed: int, replication: int, requests: int | None) -> dict[str, float]:
    """What ``measure`` finds of the run."""
    step = step_of(scenario, seed)
    return measure(scenario, run(scenario, seed=seed, replication=replication, log=False, step=step))
