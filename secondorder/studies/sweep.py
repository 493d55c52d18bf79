"""A scenario over a grid of its fields."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from itertools import product
from typing import TYPE_CHECKING, Any, TypeVar

from secondorder.answers.answer import COLUMNS, Answer
from secondorder.errors import InfeasibleError, InputError, UnknownName
from secondorder.scenarios.scenario import Scenario
from secondorder.executor import run_each
from secondorder.validation.comparison import Comparison, compare
from secondorder.verbs import can_simulate, solve

if TYPE_CHECKING:
    import pandas as pd


S = TypeVar("S")


def varied(scenario: S, changes: Mapping[str, object]) -> S:
    """The scenario with other values in some fields; a dot reaches into a field's own fields.

    >>> from secondorder.workloads.arrivals import Poisson
    >>> varied(Poisson("8 request/s"), {"rate": "2 request/s"})
    Poisson(rate=<Quantity(2.0, 'request / second')>)
    """
    for path, value in changes.items():
        scenario = _replaced(scenario, path.split("."), value, path)
    return scenario


def _replaced(value: S, path: list[str], new: object, whole: str) -> S:
    if not is_dataclass(value) or isinstance(value, type):
        raise InputError(
            f"field {whole}", given=f"a {type(value).__name__} in its place", expected="a value with fields"
        )
    names = [field.name for field in fields(value)]
    if path[0] not in names:
        raise UnknownName.among(f"field of {type(value).__name__}", path[0], names)
    inner = new if len(path) == 1 else _replaced(getattr(value, path[0]), path[1:], new, whole)
    return replace(value, **{path[0]: inner})


def sweep(
    scenario: Scenario,
    grid: Mapping[str, Sequence[object]],
    *,
    simulated: bool = True,
    seed: int = 0,
    margin: float | None = None,
    replications: int | None = None,
    requests: int | None = None,
    jobs: int = 1,
) -> "pd.DataFrame":
    """Compare at every point of a grid: ``{"arrivals.rate": ["2 request/s", "6 request/s"]}``.

    A tidy frame: a column for each swept field, then those of ``Comparison.frame``. Points
    run in ``jobs`` processes; all use the same seed, so that they differ by design and not
    by chance (common random numbers). A point past saturation is one row that says so. If not
    ``simulated``, or where nothing can be, the rows are those of the closed forms alone.
    """
    import pandas as pd

    options: dict[str, Any] = {"seed": seed, "margin": margin, "replications": replications, "requests": requests}
    points = sweep_points(scenario, grid, simulated=simulated, jobs=jobs, **options)
    return pd.concat([point.frame for point in points], ignore_index=True)


@dataclass(frozen=True, kw_only=True)
class SweepPoint:
    """One point of a sweep: the ``values`` of the swept fields, as text, and the ``result`` there.

    ``result`` is a comparison, or an answer where nothing was simulated; None where the point is ``refused``.
    """

    values: Mapping[str, str]
    scenario: str
    result: Comparison | Answer | None
    refused: str = ""

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that were solved or simulated."""
        if isinstance(self.result, Comparison):
            return tuple(dict.fromkeys([*self.result.solved, *self.result.simulated]))
        return tuple(self.result or ())

    @property
    def frame(self) -> "pd.DataFrame":
        """The rows of the result, or one that says why there is none, with the swept fields in front."""
        import pandas as pd

        if self.result is not None:
            frame = self.result.frame
        else:
            row = (self.scenario, "", "", "", None, None, None, None, "infeasible", self.refused)
            frame = pd.DataFrame([row], columns=list(COLUMNS))
        for place, (name, value) in enumerate(self.values.items()):
            frame.insert(place, name, value)
        return frame


def sweep_points(
    scenario: Scenario,
    grid: Mapping[str, Sequence[Any]],
    *,
    simulated: bool = True,
    seed: int = 0,
    margin: float | None = None,
    replications: int | None = None,
    requests: int | None = None,
    jobs: int = 1,
) -> list[SweepPoint]:
    """The points of ``sweep``, each with what was found there."""
    if not grid or not all(isinstance(values, list | tuple) and values for values in grid.values()):
        raise InputError("grid", given=repr(dict(grid)), expected="fields, each with a list of values")
    points = [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]
    scenarios = [_at(scenario, point) for point in points]  # a bad point is refused before any runs
    options: dict[str, Any] = {"seed": seed, "margin": margin, "replications": replications, "requests": requests}
    found = run_each(lambda each: _result(each, simulated, options), scenarios, jobs)
    return [
        SweepPoint(
            values={name: str(value) for name, value in point.items()},
            scenario=getattr(at, "name", ""),
            result=None if isinstance(result, str) else result,
            refused=result if isinstance(result, str) else "",
        )
        for point, at, result in zip(points, scenarios, found, strict=True)
    ]


def _at(scenario: Scenario, point: Mapping[str, object]) -> Scenario | InfeasibleError:
    """The scenario at a point, or the reason why there is none."""
    try:
        return varied(scenario, point)
    except InfeasibleError as error:
        return error


def _result(
    scenario: Scenario | InfeasibleError, simulated: bool, options: dict[str, Any]
) -> Comparison | Answer | str:
    """What is found at one point, without records, or why there is nothing."""
    try:
        if isinstance(scenario, InfeasibleError):
            raise scenario
        if not (simulated and can_simulate(scenario)):
            return solve(scenario)
        found = compare(scenario, **options)
        return replace(found, simulated=replace(found.simulated, requests=None, series=None))
    except InfeasibleError as error:
        return str(error)
