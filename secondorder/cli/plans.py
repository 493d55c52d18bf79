"""Commands over a plan file: ``solve``, ``simulate``, ``compare``, ``sweep`` and ``check``."""

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import is_dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, TypeVar

from cyclopts import Group, Parameter

from secondorder.cli.drawing import NOTHING, Drawn, check_drawn, draw, write_figure, write_report
from secondorder.cli.options import (
    NOT_KEPT,
    OUTPUT,
    PRINTED,
    REQUIRED,
    SIMULATION,
    Kept,
    MarginOfPlan,
    Output,
    RunOfPlan,
    TimesOfService,
    truth,
)
from secondorder.cli.output import check_output, emit, patience, records, show_all
from secondorder.cli.progress import Counted
from secondorder.errors import ConstraintNotMet, InfeasibleError, InputError, SecondOrderError, UnknownName, naming
from secondorder.plans.text import plain_value

T = TypeVar("T")

if TYPE_CHECKING:
    import pandas as pd

    from secondorder.answers.answer import Answer
    from secondorder.plans.constraints import Checked
    from secondorder.plans.read import Planned
    from secondorder.report.tables import Grid
    from secondorder.scenarios.scenario import Scenario
    from secondorder.studies.points import Keeping
    from secondorder.studies.sweep import SweepPoint
    from secondorder.validation.comparison import Comparison


def example(command: str) -> str:
    """What the help of a command shows."""
    verb, _, options = command.partition(" ")
    return f"""\
Example:

  secondorder {verb} {" ".join(["plan.toml", options]).strip()}

where plan.toml contains

  [serving]
  model = "llama_3_1_8b"
  accelerator = "h100_sxm"
  arrivals = "poisson 8 request/s"
  lengths = "azure_conv_2023"
  assert = ["ttft_p99 < 500 ms"]

Every scenario has its table: [queue], [training]... ("secondorder schema");
several of a kind are [[serving]] tables, each with a name.
"""


CHOICE = Group("Choice", sort_key=2)
OF_PLAN = RunOfPlan()
Plan = Annotated[str, Parameter(metavar="PLAN", help="TOML file; its tables have the fields of scenarios.")]
Which = Annotated[
    str | None, Parameter(name="--scenario", group=CHOICE, metavar="NAME", help="Only the scenario of this name.")
]


def solve(plan: Plan, /, *, which: Which = None, out: Output = PRINTED) -> None:
    """Answer a plan by closed forms, every order."""
    from secondorder.plans.read import read_plan
    from secondorder.verbs import solve

    check_output(out)
    found, failed = _finished(read_plan(plan).chosen(which), lambda each: _named(plan, each, solve))
    _show(found, failed, out)


def simulate(plan: Plan, /, *, which: Which = None, run: RunOfPlan = OF_PLAN, out: Output = PRINTED) -> None:
    """Simulate a plan event by event, with 95 % intervals."""
    from secondorder.plans.read import read_plan
    from secondorder.verbs import simulate

    check_output(out)
    planned = read_plan(plan).chosen(which)
    with patience("simulating"):
        found, failed = _finished(
            planned, lambda each: _named(plan, each, partial(simulate, **_arguments(each.scenario, run)))
        )
    _show(found, failed, out)


def compare(
    plan: Plan,
    /,
    *,
    which: Which = None,
    margin: MarginOfPlan = None,
    run: RunOfPlan = OF_PLAN,
    drawn: Drawn = NOTHING,
    out: Output = PRINTED,
) -> None:
    """Solve and simulate a plan, and judge each closed form."""
    from secondorder.plans.read import read_plan
    from secondorder.validation.comparison import compare

    check_output(out)
    check_drawn(drawn)
    planned = read_plan(plan).chosen(which)
    with patience("simulating"):
        found, failed = _finished(
            planned, lambda each: _named(plan, each, partial(compare, margin=margin, **_arguments(each.scenario, run)))
        )
    if found:
        show_all([answer for _, answer in found], out)
        draw([(each.scenario, answer) for each, answer in found], drawn, run.seed)
    _refuse(failed)


def _finished(
    planned: Sequence["Planned"], answer: Callable[["Planned"], T]
) -> tuple[list[tuple["Planned", T]], list[InfeasibleError]]:
    """The scenarios with their answers, and why some have none: what is infeasible does not lose the others."""
    found, failed = [], []
    for each in planned:
        try:
            found.append((each, answer(each)))
        except InfeasibleError as error:
            failed.append(error)
    return found, failed


def _show(
    found: Sequence[tuple["Planned", "Answer | Comparison"]], failed: Sequence[InfeasibleError], out: Output
) -> None:
    """What is found, and then the error of what is not."""
    if found:
        show_all([answer for _, answer in found], out)
    _refuse(failed)


def _refuse(failed: Sequence[InfeasibleError]) -> None:
    if len(failed) == 1:
        raise failed[0]
    if failed:
        raise InfeasibleError("; ".join(map(str, failed)))


def _named(plan: str, planned: "Planned", verb: Callable[["Scenario"], T]) -> T:
    """What the verb says of a scenario; errors name the plan and the scenario."""
    with naming(f"{plan}: {planned.scenario.name}"):
        return verb(planned.scenario)


def check(
    plan: Plan,
    /,
    *,
    which: Which = None,
    simulate: Annotated[
        bool,
        Parameter(
            group=SIMULATION,
            help="Judge by simulation where there is one, otherwise by closed forms.",
            show_default=truth,
        ),
    ] = True,
    run: RunOfPlan = OF_PLAN,
    out: Output = PRINTED,
) -> None:
    """Check what a plan asserts: exit code 4 unless all of it is met.

    A simulated value meets a constraint if all of its interval does; what is
    undecided counts as not met.
    """
    from secondorder.plans.constraints import check, check_sum
    from secondorder.plans.read import read_plan

    check_output(out)
    file = read_plan(plan)
    planned = file.chosen(which)
    overall = file.constraints if which is None else ()
    if not overall and not any(each.constraints for each in planned):
        raise InputError(plan, given="nothing asserted", expected='assert = ["ttft_p99 < 500 ms"] in a table')
    with patience("checking"):
        answers, failed = _finished(planned, lambda each: _judge(each.scenario, simulate, run))
    found = []
    for each, answer in answers:
        with naming(f"{plan}: {each.scenario.name}"):
            found += [check(constraint, answer) for constraint in each.constraints]
    if not failed:  # else a sum would lack a part
        with naming(plan):
            found += [check_sum(constraint, [answer for _, answer in answers]) for constraint in overall]
    if found:
        emit([_record(each) for each in found], [_checked_grid(found)], out)
    _refuse(failed)
    if broken := [str(each) for each in found if each.outcome != "met"]:
        raise ConstraintNotMet(f"{len(broken)} of {len(found)} not met: {'; '.join(broken)}")


def _judge(scenario: "Scenario", simulated: bool, run: RunOfPlan) -> "Answer":
    """Simulated where it can be and is wanted; closed forms for what the simulation does not have."""
    from secondorder.verbs import can_simulate, simulate, solve

    if not (simulated and can_simulate(scenario)):
        return solve(scenario)
    answer = simulate(scenario, **_arguments(scenario, run))
    solved = solve(scenario)
    rest = tuple(e for metric in solved if metric not in answer for e in solved[metric])
    return replace(answer, estimates=(*answer.estimates, *rest))


def _record(each: "Checked") -> dict[str, object]:
    e = each.estimate
    low, high = e.band if e.band is not None and e.band.known else (None, None)
    return {
        "scenario": each.scenario, "constraint": str(each.constraint), "metric": e.metric, "unit": e.unit,
        "value": e.amount, "ci_low": e.low, "ci_high": e.high, "outcome": str(each.outcome),
        "step_time_low": low, "step_time_high": high,
    }  # fmt: skip


def _checked_grid(found: "list[Checked]") -> "Grid":
    from secondorder.answers.answer import band_lines
    from secondorder.report.tables import Grid

    rows = [[each.scenario, str(each.constraint), str(each.estimate), str(each.outcome)] for each in found]
    below = [f"undecided: {each.scenario}: {each.constraint}: {each.doubt}" for each in found if each.doubt]
    below += band_lines(each.estimate for each in found)
    return Grid(header=["scenario", "asserted", "found", "outcome"], rows=rows, below=below)


def sweep(
    plan: Plan,
    /,
    *,
    vary: Annotated[
        list[str],
        Parameter(
            group=REQUIRED,
            metavar="FIELD=VALUE,...",
            help='Values of a field, "arrivals.rate=2 request/s,8 request/s"; may be repeated for a grid.',
            negative="",
        ),
    ],
    which: Which = None,
    metric: Annotated[
        list[str] | None,
        Parameter(
            group=OUTPUT, metavar="NAME", help="Only this metric, such as ttft_p99; may be repeated.", negative=""
        ),
    ] = None,
    simulate: Annotated[
        bool,
        Parameter(group=SIMULATION, help="Also simulate, where there is a simulation, and judge.", show_default=truth),
    ] = True,
    margin: MarginOfPlan = None,
    run: RunOfPlan = OF_PLAN,
    kept: Kept = NOT_KEPT,
    drawn: Drawn = NOTHING,
    out: Output = PRINTED,
) -> None:
    """Compare at every point of a grid of a plan's fields.

    A dot reaches into a field: arrivals.rate, lengths.output,
    step_time.host_overhead.
    """
    import pandas as pd

    from secondorder.plans.read import read_plan
    from secondorder.report.tables import sweep_grids
    from secondorder.studies.sweep import sweep_points

    check_output(out)
    check_drawn(drawn)
    scenario = read_plan(plan).one(which)
    spelt = dict(_varied(text) for text in vary)
    if len(spelt) < len(vary):
        raise InputError("vary", given="a field twice", expected="all its values in one: FIELD=VALUE,VALUE")
    grid = {path: [read_value(scenario, path, text) for text in texts] for path, texts in spelt.items()}
    with patience("simulating" if simulate else "solving"):
        keeping = kept.keeping(run.jobs, Counted(), default=_own_store(scenario))
        arguments = _arguments(scenario, run)
        arguments.pop("jobs", None)
        if simulate and _refines(scenario, run):
            found = _refined(scenario, grid, run, metric, margin, keeping)
        else:
            found = sweep_points(scenario, grid, simulated=simulate, margin=margin, keeping=keeping, **arguments)
    points = _as_spelt(found, grid, spelt)
    frame = _only(pd.concat([point.frame for point in points], ignore_index=True), metric)
    grids = sweep_grids(points, metric)
    emit(records(frame), grids, out)
    _draw_sweep(scenario, points, metric, grids, drawn)
    _refuse_failed(points)


def _as_spelt(
    points: "Sequence[SweepPoint]", grid: Mapping[str, Sequence[object]], spelt: Mapping[str, Sequence[str]]
) -> "list[SweepPoint]":
    """The points with the values of their fields as the user wrote them."""
    words = {path: dict(zip(map(str, grid[path]), texts, strict=True)) for path, texts in spelt.items()}
    return [
        replace(point, values={path: words[path][value] for path, value in point.values.items()}) for point in points
    ]


def _own_store(scenario: "Scenario") -> str | None:
    """The file of the user's that points go to where no other is given; None, and a line, where that cannot be."""
    from secondorder.files import user_cache
    from secondorder.plans.write import write_plan
    from secondorder.studies.store import Store

    place = user_cache() / "sweeps.db"
    try:
        write_plan(scenario)
        place.parent.mkdir(parents=True, exist_ok=True)
        with Store(place):
            return str(place)
    except (SecondOrderError, OSError) as error:
        print(f"finished points are not kept: {error}", file=sys.stderr)
        return None


def _refines(scenario: "Scenario", run: RunOfPlan) -> bool:
    """Whether the sweep itself has to see to its intervals: a service sees to its own."""
    from secondorder.systems.registry import system_of

    return (run.half_width is not None or run.budget is not None) and not system_of(scenario).has_precision


def _refined(
    scenario: "Scenario",
    grid: Mapping[str, Sequence[object]],
    run: RunOfPlan,
    metrics: list[str] | None,
    margin: float | None,
    keeping: "Keeping",
) -> "list[SweepPoint]":
    """The points of a sweep with more replications where its intervals are widest."""
    from secondorder.quantities import quantity, si
    from secondorder.studies.refine import refined_points

    if metrics is None:
        expected = "--metric beside a precision, the one whose intervals are to be narrow"
        raise InputError("precision", given="one without a metric", expected=expected)
    budget = math.inf if run.budget is None else si(quantity(run.budget, "s", "budget"))
    target = 0.05 if run.half_width is None else run.half_width
    given = _arguments(scenario, run)
    found = refined_points(
        scenario,
        grid,
        target=target,
        metrics=metrics,
        budget=budget,
        replications=given.get("replications"),
        seed=run.seed,
        margin=margin,
        requests=given.get("requests"),
        keeping=keeping,
    )
    print(found.how, file=sys.stderr)
    return list(found.points)


def _draw_sweep(
    scenario: "Scenario", points: "Sequence[SweepPoint]", metrics: list[str] | None, grids: "list[Grid]", drawn: Drawn
) -> None:
    """Write the figure and the report of a sweep that were asked for."""
    from secondorder.report.page import Section, plan_of, sources_of
    from secondorder.report.sweep_figure import sweep_figure

    if drawn.figure is not None:
        write_figure(lambda: sweep_figure(points, metrics), drawn.figure)
    if drawn.report is not None:
        section = Section(
            title=f"{scenario.name} over {', '.join(points[0].values)}",
            plan=plan_of(scenario),
            grids=grids,
            figures=[sweep_figure(points, metrics)] if len(points[0].values) <= 2 else [],
            sources=list(dict.fromkeys(sources_of(scenario))),
        )
        write_report(section.title, [section], drawn.report)


def _refuse_failed(points: Sequence["SweepPoint"]) -> None:
    """The error of a sweep with points that failed, or without an answer at any, once all is shown."""
    failed = [point for point in points if point.failed]
    if not failed:
        if all(point.refused for point in points):
            place = ", ".join(f"{path}={value}" for path, value in points[0].values.items())
            raise InfeasibleError(f"sweep: none of {len(points)} points has an answer; {place}: {points[0].refused}")
        return
    first = next((point for point in failed if point.is_fault), failed[0])
    place = ", ".join(f"{path}={value}" for path, value in first.values.items())
    given, remedy = f"{len(failed)} of {len(points)} points that failed", f"{place}: {first.failed}"
    if first.is_fault:
        raise SecondOrderError(f"sweep: {given}; {remedy}")
    raise InputError("sweep", given=given, expected="none", remedy=remedy)


def _only(frame: "pd.DataFrame", metrics: list[str] | None) -> "pd.DataFrame":
    """The rows of these metrics, and of points without any; an unknown one is refused with the near ones."""
    known = [str(metric) for metric in frame["metric"].unique() if metric]
    if metrics and (unknown := [metric for metric in metrics if metric not in known]) and known:
        raise UnknownName.among("metric", unknown[0], known)
    return frame[frame["metric"].isin([*metrics, ""])] if metrics else frame


def _arguments(scenario: "Scenario", run: RunOfPlan) -> TimesOfService:
    """As ``simulate`` takes them; a number of requests goes to the scenarios that have some."""
    from secondorder.systems.registry import system_of

    given, system = run.arguments, system_of(scenario)
    if not system.has_precision:
        given.pop("precision", None)
        given.pop("budget", None)
    if not system.has_requests:
        given["requests"] = None
    return given


def _varied(text: str) -> tuple[str, list[str]]:
    path, equals, values = text.partition("=")
    texts = [value.strip() for value in values.split(",") if value.strip()]
    if not equals or not texts:
        raise InputError("vary", given=repr(text), expected="FIELD=VALUE,VALUE such as max_num_seqs=64,128")
    return path.strip(), texts


def read_value(scenario: "Scenario", path: str, text: str) -> object:
    """The value that a text gives to the field at ``path``: as in a plan, quotes left out."""
    from secondorder.plans.tables import Tables, check_field

    *outer, last = path.split(".")
    owner: object = scenario
    for place, name in enumerate(outer):
        check_field(owner, name, ".".join(outer[:place]))
        owner = getattr(owner, name)
    check_field(owner, last, ".".join(outer))
    assert is_dataclass(owner)
    assert not isinstance(owner, type)
    with naming(".".join(outer)) if outer else nullcontext():
        value = Tables().field(type(owner), last, plain_value(text))
        replace(owner, **{last: value})  # refused here, by the name it has in the plan
    return value
