"""``secondorder map``: where an approximation breaks, with your own point on it."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import field, make_dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Group, Parameter

from secondorder.breakdown.rows import ROWS
from secondorder.cli.options import NOT_STORED, OUTPUT, PRINTED, SIMULATION, Output, Seed, Stored
from secondorder.cli.output import check_output, emit, patience, write
from secondorder.cli.plans import CHOICE
from secondorder.errors import InputError

if TYPE_CHECKING:
    from secondorder.breakdown.breakdown_map import BreakdownMap

TITLE = """Show where an approximation breaks: its error over load and variability.

Without a name it lists the maps. A point comes from the flags of the map's
axes, or from a plan whose scenario lies on the map.
"""
EXAMPLE = """\
Examples:

  secondorder map                                      the maps and their axes
  secondorder map kingman --figure kingman.png
  secondorder map mm1 --load 0.8 --arrival-scv 1 --service-scv 4
  secondorder map mm1 plan.toml --figure here.png
  secondorder map mm1 --build --save mm1.json          makes it again
"""
POINT = Group("Your point, on the axes of the map", sort_key=2)


def _axes() -> dict[str, str]:
    """Every axis that a map has, with what it means."""
    return {axis.name: axis.meaning for row in ROWS for axis in row.field.axes}


def _points() -> type:
    """The flags of all axes."""
    members = [
        (
            name,
            Annotated[float | None, Parameter(group=POINT, help=f"{text[0].upper()}{text[1:]}.")],
            field(default=None),
        )
        for name, text in _axes().items()
    ]
    space = {"__module__": __name__}
    return make_dataclass("point", members, frozen=True, kw_only=True, namespace=space)


def _command() -> Callable[..., None]:
    points = _points()

    def map(
        name: Annotated[str, Parameter(help="The map to show, such as mm1.", show_default="a list of all")] = "",
        plan: Annotated[
            str | None, Parameter(help="Plan whose scenario is the point; - for standard input.", show_default="none")
        ] = None,
        /,
        *,
        values: Any = points(),  # noqa: B008
        which: Annotated[
            str | None, Parameter(name="--scenario", group=CHOICE, metavar="NAME", help="Scenario of the plan.")
        ] = None,
        build: Annotated[
            bool,
            Parameter(group=SIMULATION, help="Compute the map again, which takes up to a few minutes.", negative=""),
        ] = False,
        seed: Seed = 0,
        save: Annotated[
            str | None, Parameter(group=OUTPUT, metavar="FILE", help="Write the map itself, as JSON.")
        ] = None,
        figure: Annotated[
            str | None, Parameter(group=OUTPUT, metavar="FILE", help="Picture of the map: .png, .svg or .pdf.")
        ] = None,
        stored: Stored = NOT_STORED,
        out: Output = PRINTED,
    ) -> None:
        check_output(out)
        if stored != NOT_STORED and not build:
            raise InputError("store", given="--store or --resume alone", expected="--build too")
        given = {axis: value for axis in _axes() if (value := getattr(values, axis)) is not None}
        if not name:
            _list(out)
            return
        made = partial(_built, seed=seed, stored=stored) if build else None
        _show(name, plan, which, given, out, figure=figure, made=made, save=save)

    map.__doc__ = TITLE
    map.__annotations__["values"] = Annotated[points, Parameter(name="*")]
    return map


def __getattr__(name: str) -> Any:
    """The command, made when it is first asked for."""
    if name != "map":
        raise AttributeError(name)
    return _command()


def _list(out: Output) -> None:
    from secondorder.report.breakdown import list_grid

    rows = [
        {"map": row.name, "metric": row.metric, "axes": [axis.name for axis in row.field.axes], "title": row.title}
        for row in ROWS
    ]
    emit(rows, [list_grid()], out)


def _show(
    name: str,
    plan: str | None,
    which: str | None,
    given: Mapping[str, float],
    out: Output,
    *,
    figure: str | None,
    made: "Callable[[str], BreakdownMap] | None",
    save: str | None,
) -> None:
    from secondorder.breakdown.breakdown_map import breakdown_map, row_of
    from secondorder.breakdown.breakdown_map import write as as_json
    from secondorder.report.breakdown import map_figure, map_grids, records
    from secondorder.report.style import check_figure
    from secondorder.report.style import save as draw

    if figure is not None:
        check_figure(figure)
    row_of(name)
    found = (made or breakdown_map)(name)
    point = _of_plan(found, plan, which, given) if plan is not None else _of_flags(found, given)
    emit(records(found, point), map_grids(found, point), out)
    if save is not None:
        write(as_json(found), Output(output=save))
    if figure is not None:
        print(f"picture: {draw(map_figure(found, point), figure)}", file=sys.stderr)


def _built(name: str, seed: int, stored: Stored) -> "BreakdownMap":
    """The map made again."""
    from secondorder.breakdown.breakdown_map import row_of
    from secondorder.studies.maps.build import build

    with patience(f"making the map of {name}"):
        return build(row_of(name), seed=seed, keeping=stored.keeping(1))


def _of_flags(found: "BreakdownMap", given: Mapping[str, float]) -> dict[str, float] | None:
    """The point that the flags give; None where there are none. Errors: ``InputError`` off the map."""
    if not given:
        return None
    names = [axis.name for axis in found.axes]
    flags = " ".join(f"--{name.replace('_', '-')}" for name in names)
    if set(given) != set(names):
        told = " ".join(f"--{name.replace('_', '-')}" for name in given)
        raise InputError(f"point on {found.name}", given=told, expected=f"all of its axes: {flags}")
    found.error_at(**given)  # refuses what is off the map
    return {name: given[name] for name in names}


def _of_plan(found: "BreakdownMap", plan: str, which: str | None, given: Mapping[str, float]) -> dict[str, float]:
    """Where the scenario of a plan lies on the map."""
    from secondorder.plans.read import read_plan
    from secondorder.studies.maps.place import place_on

    if given:
        raise InputError("point", given="a plan and flags of axes", expected="one of the two")
    return place_on(found, read_plan(plan).one(which))
