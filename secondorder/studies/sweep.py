"""A scenario over a grid of its fields."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import partial
from itertools import product
from os import PathLike
from typing import TYPE_CHECKING, TypedDict, TypeVar, Unpack

from secondorder.answers.answer import COLUMNS, Answer
from secondorder.errors import InfeasibleError, InputError, UnknownName
from secondorder.plans.write import write_plan
from secondorder.scenarios.scenario import Scenario
from secondorder.simulate.witness import Witness
from secondorder.studies.points import FAULT, HERE, Keeping, Point, work_out
from secondorder.studies.records import Record, record_of, result_of
from secondorder.studies.store import Found, Key
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
    store: str | PathLike[str] | None = None,
    resume: bool = False,
    cluster: str | None = None,
) -> "pd.DataFrame":
    """Compare at every point of a grid: ``{"arrivals.rate": ["2 request/s", "6 request/s"]}``.

    A tidy frame: a column for each swept field, then those of ``Comparison.frame``. Points
    run in ``jobs`` processes; all use the same seed, so that they differ by design and not
    by chance (common random numbers). A point past saturation is one row that says so, and so is one that fails. If
    not ``simulated``, or where nothing can be, the rows are those of the closed forms alone.

    Each point is written to ``store``, an SQLite file, as soon as it is finished; with ``resume`` the points that are
    there are taken over. ``cluster``: the address of a dask scheduler, whose workers then run the points.
    """
    import pandas as pd

    keeping = Keeping(store=store, resume=resume, jobs=jobs, cluster=cluster)
    points = sweep_points(
        scenario,
        grid,
        simulated=simulated,
        seed=seed,
        keeping=keeping,
        margin=margin,
        replications=replications,
        requests=requests,
    )
    return pd.concat([point.frame for point in points], ignore_index=True)


@dataclass(frozen=True, kw_only=True)
class SweepPoint:
    """One point of a sweep: the ``values`` of the swept fields, as text, and the ``result`` there.

    ``result`` is a comparison, or an answer where nothing was simulated; None where the point is ``refused`` or
    ``failed``, which say why.
    """

    values: Mapping[str, str]
    scenario: str
    result: Comparison | Answer | None
    refused: str = ""
    failed: str = ""

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that were solved or simulated."""
        if isinstance(self.result, Comparison):
            return tuple(dict.fromkeys([*self.result.solved, *self.result.simulated]))
        return tuple(self.result or ())

    @property
    def is_fault(self) -> bool:
        """Whether it failed by a bug in secondorder."""
        return self.failed.startswith(FAULT)

    @property
    def frame(self) -> "pd.DataFrame":
        """The rows of the result, or one that says why there is none, with the swept fields in front."""
        import pandas as pd

        if self.result is not None:
            frame = self.result.frame
        else:
            verdict, note = ("failed", self.failed) if self.failed else ("infeasible", self.refused)
            row = {"scenario": self.scenario, "metric": "", "unit": "", "source": "", "verdict": verdict, "note": note}
            frame = pd.DataFrame([{**dict.fromkeys(COLUMNS), **row}])
        for place, (name, value) in enumerate(self.values.items()):
            frame.insert(place, name, value)
        return frame


class CompareOptions(TypedDict, total=False):
    """What ``compare`` is given besides a scenario and a seed."""

    margin: float | None
    replications: int | None
    requests: int | None
    jobs: int
    precision: float
    budget: str
    witness: Witness


def sweep_points(
    scenario: Scenario,
    grid: Mapping[str, Sequence[object]],
    *,
    simulated: bool = True,
    seed: int = 0,
    keeping: Keeping = HERE,
    **options: Unpack[CompareOptions],
) -> list[SweepPoint]:
    """The points of ``sweep``, each with what was found there; ``options`` are those of ``compare``."""
    places = places_of(grid)
    return at_places(scenario, places, [options] * len(places), simulated=simulated, seed=seed, keeping=keeping)


def places_of(grid: Mapping[str, Sequence[object]]) -> list[dict[str, object]]:
    """The points of a grid: each a value for every field. Errors: ``InputError``."""
    if not grid or not all(isinstance(values, list | tuple) and values for values in grid.values()):
        raise InputError("grid", given=repr(dict(grid)), expected="fields, each with a list of values")
    return [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]


def at_places(
    scenario: Scenario,
    places: Sequence[Mapping[str, object]],
    options: Sequence[CompareOptions],
    *,
    simulated: bool = True,
    seed: int = 0,
    keeping: Keeping = HERE,
) -> list[SweepPoint]:
    """What is found at each place, each with ``options`` of its own."""
    scenarios = [_at(scenario, place) for place in places]  # a bad point is refused before any runs
    labels = [{name: str(value) for name, value in place.items()} for place in places]
    known = partial(Key, seed=seed, witness="compare" if simulated else "solve")
    plans = [
        _plan(scenario, each, label) if keeping.store else str(label)
        for each, label in zip(scenarios, labels, strict=True)
    ]
    points = [
        Point(
            item=(each, chosen),
            key=known(scenario=plan, options=json.dumps(chosen, sort_keys=True)),
            label=label,
        )
        for each, plan, label, chosen in zip(scenarios, plans, labels, options, strict=True)
    ]
    found = work_out(points, partial(_record, simulated=simulated, seed=seed), keeping)
    return [
        _point(getattr(each, "name", scenario.name), point.label, one)
        for each, point, one in zip(scenarios, points, found, strict=True)
    ]


def _point(name: str, values: Mapping[str, str], found: Found) -> SweepPoint:
    refused = found.record.get("refused", "")
    result = result_of(found.record) if found.record and not refused else None
    return SweepPoint(values=values, scenario=name, result=result, refused=refused, failed=found.error)


def _at(scenario: Scenario, point: Mapping[str, object]) -> Scenario | InfeasibleError:
    """The scenario at a point, or the reason why there is none."""
    try:
        return varied(scenario, point)
    except InfeasibleError as error:
        return error


def _plan(base: Scenario, scenario: Scenario | InfeasibleError, label: Mapping[str, str]) -> str:
    """The plan of a point; where there is no scenario, that which was varied and how."""
    if not isinstance(scenario, InfeasibleError):
        return write_plan(scenario)
    return write_plan(base) + "".join(f"# {name} = {value}\n" for name, value in label.items())


def _record(item: tuple[Scenario | InfeasibleError, CompareOptions], *, simulated: bool, seed: int) -> Record:
    """What is found at one point, or why there is nothing."""
    scenario, options = item
    try:
        if isinstance(scenario, InfeasibleError):
            raise scenario
        if not (simulated and can_simulate(scenario)):
            return record_of(solve(scenario))
        return record_of(compare(scenario, seed=seed, load_axis=False, **options))
    except InfeasibleError as error:
        return {"refused": str(error)}
