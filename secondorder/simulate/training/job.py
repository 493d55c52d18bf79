"""A training run of weeks on SimPy: the story of one replication, whatever its failures stop."""

from secondorder.laws import Service
from secondorder.quantities import si
from secondorder.scenarios.training import Training
from secondorder.simulate.training.allocations import AllocatedJob
from secondorder.simulate.training.causes import Causes, draw, step_of
from secondorder.simulate.training.elastic import ElasticJob
from secondorder.simulate.training.recorder import Story
from secondorder.simulate.training.whole_job import Job


def run(
    scenario: Training, *, seed: int = 0, replication: int = 0, log: bool = True, step: Service | None = None
) -> Story:
    """One replication: a run from its start to its end, as a story.

    The same scenario, seed and replication give the same story, bit for bit. ``log`` keeps its phases.
    ``step`` is the law of a step where it has been worked out before (``causes.step_of``).

    Clocks: failures strike in work, in blocking writes, pauses and verifications and in restarts, not in a
    downtime. End: at ``duration``, where work that is not yet in a checkpoint counts as kept, since nothing has
    lost it (but not work that a silent error has spoiled); or when ``work`` is done and its last checkpoint durable.
    Errors: ``InfeasibleError`` where it gets nowhere: failure upon failure without a new checkpoint.

    >>> from secondorder.scenarios.training import Checkpoint, Recovery
    >>> story = run(Training(failures="exponential 8240 s", checkpoint=Checkpoint(interval="994 s", write="60 s"),
    ...     recovery=Recovery(restart="300 s"), duration="30 day"))
    >>> len(story.failures), round(story.goodput, 3)
    (319, 0.856)
    """
    law = step_of(scenario, seed) if step is None else step
    return tell(scenario, draw(scenario, seed, replication, law), step=law, log=log)


def tell(scenario: Training, causes: Causes, *, step: Service | None = None, log: bool = True) -> Story:
    """The run with exactly these causes.

    >>> from secondorder.scenarios.training import Checkpoint, Recovery
    >>> short = Training(failures="exponential 1 h", checkpoint=Checkpoint(interval="100 s", write="10 s"),
    ...     recovery=Recovery(restart="20 s", detection="5 s"), duration="200 s")
    >>> tell(short, Causes(failures=iter([130.0, 10.0, 1e9]))).phases  # the second failure strikes in the restart
    (('work', 0.0, 100.0), ('write', 100.0, 110.0), ('work', 110.0, 130.0), ('detection', 130.0, 135.0),
    ('restart', 135.0, 145.0), ('detection', 145.0, 150.0), ('restart', 150.0, 170.0), ('work', 170.0, 200.0))
    """
    law = step_of(scenario, 0) if step is None else step
    job = _kind(scenario)(scenario, causes, law, log=log)
    job.env.run(until=job.training if scenario.duration is None else si(scenario.duration))
    return job.end()


def _kind(scenario: Training) -> type[Job] | type[ElasticJob]:
    if scenario.allocation is not None:
        return AllocatedJob
    return Job if scenario.elastic is None else ElasticJob
