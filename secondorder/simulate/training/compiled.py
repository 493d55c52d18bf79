"""One training run by the kernel, where it knows all that the scenario uses; by events on SimPy elsewhere."""

from secondorder.laws import Service
from secondorder.scenarios.training import Training
from secondorder.simulate.training.causes import draw
from secondorder.simulate.training.job import run
from secondorder.simulate.training.recorder import Story
from secondorder.simulate.training.work import work_of
from secondorder.simulate.witness import Witness, chosen


def witness_of(scenario: Training, step: Service | None, asked: Witness | None = None) -> Witness:
    """The witness that simulates a run: the one asked for, else the kernel where it can. Errors: ``InputError``."""
    return chosen(asked, lambda: is_compiled(scenario, step), scenario.name)


def is_compiled(scenario: Training, step: object) -> bool:
    """Whether the kernel is there and knows all that the scenario uses; ``step`` is the law of a step, or None."""
    try:
        from secondorder.simulate.kernels.training import supports
    except ImportError:  # numba has no wheel for this machine
        return False
    return supports(scenario, step)


def story_of(scenario: Training, witness: Witness, *, seed: int, replication: int, step: Service | None) -> Story:
    """One replication without its phases: the same story by either witness."""
    if witness == "events":
        return run(scenario, seed=seed, replication=replication, step=step, log=False)
    from secondorder.simulate.kernels.training import tell

    return tell(scenario, draw(scenario, seed, replication, step), work_of(scenario, step, None))
