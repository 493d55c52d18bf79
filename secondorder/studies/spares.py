"""Spares: how much of the time the run is able to work, and how much work it keeps, by the number of spare nodes."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from secondorder.answers.answer import Answer
from secondorder.errors import InfeasibleError, InputError
from secondorder.quantities import Quantity, quantity, si
from secondorder.scenarios.training import Training
from secondorder.scenarios.training_step import TrainingStep
from secondorder.studies.interval import length
from secondorder.studies.points import Keeping, answers
from secondorder.verbs import simulate, solve

ENOUGH, MOST = 0.9999, 64
"""Spares are added until the run is able to work this share of the time, or this number is reached."""
FEWEST, ROWS = 4, 16
"""The last number of spares is at least this, and this many numbers are shown at most."""
SETTLED = 2e-4
"""Share of the time that all further spares together would gain, below which they do not matter."""


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
        """Accelerators paid for with this many spares, over those that work; None where no cluster says how many."""
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
    keeping: Keeping | None = None,
) -> SparesStudy:
    """From no spare to as many as make no more difference; the scenario says how long a repair takes.

    ``keeping`` says where the runs are kept and worked out, and takes the place of ``jobs``.

    ``price``: of an accelerator and hour, the cluster's if none is given. Errors: ``InputError`` for a scenario
    without spares.
    """
    if scenario.spares is None:
        raise InputError("spares", given="none", expected="spares with the law of their repair")
    solved: dict[int, Answer] = {}
    for count in range(MOST + 1):
        solved[count] = solve(_with(scenario, count))
        if count >= FEWEST and solved[count].best("availability").amount >= ENOUGH:
            break
    shown = _shown([answer.best("availability").amount for answer in solved.values()])
    found: tuple[Answer, ...] = ()
    how = "closed forms only"
    if simulated:
        count = replications or 100
        asked = answers(
            [_with(scenario, spares) for spares in shown],
            [{"spares": str(spares)} for spares in shown],
            partial(simulate, seed=seed, replications=count),
            keeping or Keeping(jobs=jobs),
            seed=seed,
            options=json.dumps({"replications": count}),
        )
        if error := next((each for each in asked if isinstance(each, str)), ""):
            raise InfeasibleError(error)
        found = tuple(each for each in asked if not isinstance(each, str))
        how = f"{count} runs of {length(scenario)} at each number of spares"
    return SparesStudy(
        scenario=scenario,
        counts=shown,
        solved=tuple(solved[spares] for spares in shown),
        simulated=found,
        how=how,
        price=hourly_price(scenario, price),
    )


def _shown(able: Sequence[float]) -> tuple[int, ...]:
    """Numbers of spares from 0 to where more do not matter, by the availability with each.

    >>> _shown([0.5, 0.8, 0.95, 0.99, 0.999, 0.9999, 0.99999])
    (0, 1, 2, 3, 4, 5)
    >>> _shown([0.5, 0.7, 0.8, 0.8, 0.8, 0.8, 0.8])
    (0, 1, 2, 3, 4)
    """
    enough = ENOUGH if able[-1] >= ENOUGH else able[-1] - SETTLED
    last = max(FEWEST, next(count for count, share in enumerate(able) if share >= enough))
    step = -(-last // (ROWS - 1))
    return tuple(sorted({*range(0, last, step), last}))


def _with(scenario: Training, count: int) -> Training:
    assert scenario.spares is not None
    return replace(scenario, spares=replace(scenario.spares, count=count))
