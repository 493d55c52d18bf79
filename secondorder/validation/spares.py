"""Spares: how much of the time the run is able to work, and how much work it keeps, by the number of spare nodes."""

from dataclasses import dataclass, replace

from secondorder.analytic import solve
from secondorder.errors import InputError
from secondorder.scenarios.answers import Answer
from secondorder.scenarios.training import Training
from secondorder.simulate import simulate
from secondorder.validation.intervals import length

ENOUGH, MOST = 0.9999, 64
"""Spares are added until the run is able to work this share of the time, or there are so many."""
FEWEST = 4


@dataclass(frozen=True, kw_only=True)
class SparesStudy:
    """``solved`` and ``simulated`` (none if only closed forms were asked for) at each of the ``counts`` of spares."""

    scenario: Training
    counts: tuple[int, ...]
    solved: tuple[Answer, ...]
    simulated: tuple[Answer, ...]
    how: str

    def enough(self, share: float) -> int | None:
        """The fewest of the counts with which the run is able to work that share of the time, by closed form."""
        able = zip(self.counts, self.solved, strict=True)
        return next((count for count, answer in able if answer.best("availability").amount >= share), None)


def spares_study(
    scenario: Training, *, seed: int = 0, replications: int | None = None, jobs: int = 1, simulated: bool = True
) -> SparesStudy:
    """From no spare to as many as make no more difference; the scenario says how long a repair takes.

    Errors: ``InputError`` for a scenario without spares.
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
        options = {"seed": seed, "replications": replications or 100, "jobs": jobs}
        found = tuple(simulate(_with(scenario, count), **options) for count in shown)
        how = f"{options['replications']} runs of {length(scenario)} at each dot"
    return SparesStudy(
        scenario=scenario,
        counts=tuple(shown),
        solved=tuple(solved[count] for count in shown),
        simulated=found,
        how=how,
    )


def _with(scenario: Training, count: int) -> Training:
    assert scenario.spares is not None
    return replace(scenario, spares=replace(scenario.spares, count=count))
