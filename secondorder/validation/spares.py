"""Spares: how much of the time the run is able to work, and how much work it keeps, by the number of spare nodes."""

from dataclasses import dataclass, replace

from secondorder.answers.answer import Answer
from secondorder.errors import InputError
from secondorder.quantities import Quantity, quantity, si
from secondorder.scenarios.training import Training
from secondorder.scenarios.training_step import TrainingStep
from secondorder.validation.intervals import length
from secondorder.verbs import simulate, solve

ENOUGH, MOST = 0.9999, 64
"""Spares are added until the run is able to work this share of the time, or there are so many."""
FEWEST = 4


@dataclass(frozen=True, kw_only=True)
class SparesStudy:
    """``solved`` and ``simulated`` (none if only closed forms were asked for) at each of the ``counts`` of spares.

    ``price``: USD for an accelerator and hour, None where it is not known.
    """

    scenario: Training
    counts: tuple[int, ...]
    solved: tuple[Answer, ...]
    simulated: tuple[Answer, ...]
    how: str
    price: float | None = None

    def paid(self, count: int) -> float | None:
        """Accelerators paid for with so many spares, over those that work; None where no cluster says how many."""
        return paid(_with(self.scenario, count))

    def enough(self, share: float) -> int | None:
        """The fewest of the counts with which the run is able to work that share of the time, by closed form."""
        able = zip(self.counts, self.solved, strict=True)
        return next((count for count, answer in able if answer.best("availability").amount >= share), None)


def paid(scenario: Training) -> float | None:
    """Accelerators paid for over those that work: ``1 + spares / nodes``; None where no cluster says how many nodes."""
    if scenario.spares is None:
        return 1.0
    if not isinstance(scenario.step, TrainingStep):
        return None
    return 1 + scenario.spares.count / scenario.step.cluster.nodes


def hourly_price(scenario: Training, price: Quantity | str | None) -> float | None:
    """USD for an accelerator and hour: as given, else the cluster's; None where there is none. ``InputError``."""
    if price is None and isinstance(scenario.step, TrainingStep):
        price = scenario.step.cluster.price
    return None if price is None else si(quantity(price, "USD/hour", "price"))


def spares_study(
    scenario: Training,
    *,
    price: Quantity | str | None = None,
    seed: int = 0,
    replications: int | None = None,
    jobs: int = 1,
    simulated: bool = True,
) -> SparesStudy:
    """From no spare to as many as make no more difference; the scenario says how long a repair takes.

    ``price``: of an accelerator and hour, the cluster's if none is given. Errors: ``InputError`` for a scenario
    without spares.
    """
    if scenario.spares is None:
        raise InputError("spares", given="none", expected="spares with the law of their repair")
    counts, solved = [], []
    for count in range(MOST + 1):
        counts.append(count)
        solved.append(solve(_with(scenario, count)))
        if count >= FEWEST and solved[-1].best("availability").amount >= ENOUGH:
            break
    shown = [count for count in counts if count <= 16 or count % 4 == 0]
    found: tuple[Answer, ...] = ()
    how = "closed forms only"
    if simulated:
        runs = replications or 100
        found = tuple(simulate(_with(scenario, count), seed=seed, replications=runs, jobs=jobs) for count in shown)
        how = f"{runs} runs of {length(scenario)} at each number of spares"
    return SparesStudy(
        scenario=scenario,
        counts=tuple(shown),
        solved=tuple(solved[count] for count in shown),
        simulated=found,
        how=how,
        price=hourly_price(scenario, price),
    )


def _with(scenario: Training, count: int) -> Training:
    assert scenario.spares is not None
    return replace(scenario, spares=replace(scenario.spares, count=count))
