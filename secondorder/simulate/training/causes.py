"""All that chance decides in one run, each cause from a stream of its own."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import singledispatch
from itertools import repeat

import numpy as np

from secondorder.arrays import Floats
from secondorder.laws import Deterministic, Service
from secondorder.quantities import si
from secondorder.scenarios.training import CheckpointPolicy, Spares, Training
from secondorder.scenarios.training_step import TrainingStep
from secondorder.simulate.streams import stream
from secondorder.simulate.training.failures import NEVER, draws, gaps

Chance = Callable[[str], np.random.Generator]
"""The stream of a cause by its name."""

SAMPLES = 1000
"""Steps that the law of a ``TrainingStep`` is measured on."""


@dataclass(kw_only=True)
class Causes:
    """What will happen; by default nothing does.

    - ``failures``: gaps between failures, on the running clock.
    - ``light``: for each failure, whether a light checkpoint is enough.
    - ``silent``: gaps between silent errors, on the clock of work.
    - ``repairs``: how long each repair takes.
    - ``misled``: for each diagnosis, whether it is false.
    - ``shared``: for each failure of an elastic run, whether it stops all replicas.
    - ``struck``: for each other failure, which replica it strikes, as a number from 0 to 1.
    - ``others``: gaps between the writes of other jobs.
    - ``steps``: this many step times; none where work is a fluid or steps are all alike.
    """

    failures: Iterator[float] = field(default_factory=lambda: repeat(NEVER))
    light: Iterator[bool] = field(default_factory=lambda: repeat(True))
    silent: Iterator[float] = field(default_factory=lambda: repeat(NEVER))
    repairs: Iterator[float] = field(default_factory=lambda: repeat(0.0))
    misled: Iterator[bool] = field(default_factory=lambda: repeat(False))
    shared: Iterator[bool] = field(default_factory=lambda: repeat(False))
    struck: Iterator[float] = field(default_factory=lambda: repeat(0.0))
    others: Iterator[float] = field(default_factory=lambda: iter(()))
    steps: Callable[[int], Floats] | None = None


def draw(scenario: Training, seed: int, replication: int, step: Service | None) -> Causes:
    """The causes of one replication; ``step`` is the law of a step."""

    def chance(cause: str) -> np.random.Generator:
        return stream(seed, replication, cause)

    causes = Causes(failures=gaps(scenario.process, chance("failures")))
    chance_of_checkpoints(scenario.policy, causes, chance)
    if scenario.spares is not None:
        causes.repairs = absences(scenario.spares, chance)
    if scenario.recovery.misdiagnosed > 0:
        causes.misled = coins(scenario.recovery.misdiagnosed, chance("diagnoses"))
    if scenario.elastic is not None:
        causes.shared = coins(scenario.elastic.shared, chance("shared failures"))
        causes.struck = iter(chance("replicas").random, -1.0)
    storage = scenario.storage
    if storage is not None and storage.other_write is not None:
        causes.others = waits(si(storage.other_write) / storage.busy, chance("other writes"))
    if step is not None and not isinstance(step, Deterministic):
        rng = chance("steps")
        causes.steps = lambda count: step.sample(count, rng)
    return causes


@singledispatch
def chance_of_checkpoints(policy: CheckpointPolicy, causes: Causes, chance: Chance) -> None:
    """Draw what a kind of checkpoint needs beyond the failures: nothing, unless the kind says so (``checkpoints``)."""


def absences(spares: Spares, chance: Chance) -> Iterator[float]:
    """How long each failed node is away: until a repair succeeds, or a new node takes its place."""
    repairs = draws(spares.law("repair"), chance("repairs"))
    if spares.failed_repairs > 0:
        repairs = _until_mended(repairs, coins(spares.failed_repairs, chance("failed repairs")))
    if spares.delivery is None:
        return repairs
    deliveries = draws(spares.law("delivery"), chance("deliveries"))
    return _repaired_or_new(repairs, deliveries, coins(spares.retired, chance("retirements")))


def _until_mended(repairs: Iterator[float], fails: Iterator[bool]) -> Iterator[float]:
    for seconds in repairs:
        total = seconds
        while next(fails):
            total += next(repairs)
        yield total


def _repaired_or_new(repairs: Iterator[float], deliveries: Iterator[float], retired: Iterator[bool]) -> Iterator[float]:
    for new in retired:
        yield next(deliveries if new else repairs)


def coins(share: float, rng: np.random.Generator) -> Iterator[bool]:
    """True with this probability, without end."""
    while True:
        yield rng.random() < share


def waits(mean: float, rng: np.random.Generator) -> Iterator[float]:
    """Gaps of a Poisson process, without end."""
    while True:
        yield from (mean * rng.standard_exponential(256)).tolist()


def step_of(scenario: Training, seed: int) -> Service | None:
    """The law of the time of a step; that of a ``TrainingStep`` is measured on its own simulation."""
    if not isinstance(scenario.step, TrainingStep):
        assert scenario.step is None or isinstance(scenario.step, Service)
        return scenario.step
    from secondorder.simulate.training_step import step_law

    return step_law(scenario.step, seed=seed, samples=SAMPLES)
