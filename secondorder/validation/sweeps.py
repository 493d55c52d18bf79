"""A scenario over a grid of its fields."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from itertools import product
from typing import TYPE_CHECKING, Any, TypeVar

from secondorder.errors import InfeasibleError, InputError, UnknownName
from secondorder.scenarios.answers import COLUMNS
from secondorder.scenarios.scenario import Scenario
from secondorder.simulate.replicate import run_each
from secondorder.validation.comparison import compare
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

    if not grid or not all(isinstance(values, list | tuple) and values for values in grid.values()):
        raise InputError("grid", given=repr(dict(grid)), expected="fields, each with a list of values")
    points = [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]
    scenarios = [_at(scenario, point) for point in points]  # a bad point is refused before any runs
    options: dict[str, Any] = {"seed": seed, "margin": margin, "replications": replications, "requests": requests}
    found = list(run_each(lambda each: _frame(each, simulated, options), scenarios, jobs))
    for frame, point in zip(found, points, strict=True):
        for place, (name, value) in enumerate(point.items()):
            frame.insert(place, name, str(value))
    return pd.concat(found, ignore_index=True)


def _at(scenario: Scenario, point: Mapping[str, object]) -> Scenario | InfeasibleError:
    """The scenario at a point, or the reason why there is none."""
    try:
        return varied(scenario, point)
    except InfeasibleError as error:
        return error


def _frame(scenario: Scenario | InfeasibleError, simulated: bool, options: dict[str, Any]) -> "pd.DataFrame":
    """What is found at one point, or one row that says why there is nothing."""
    import pandas as pd

    try:
        if isinstance(scenario, InfeasibleError):
            raise scenario
        if not (simulated and can_simulate(scenario)):
            return solve(scenario).frame
        return compare(scenario, **options).frame
    except InfeasibleError as error:
        row = (getattr(scenario, "name", ""), "", "", "", None, None, None, None, "infeasible", str(error))
        return pd.DataFrame([row], columns=list(COLUMNS))
