"""``secondorder sensitivity``: which field of a plan is worth improving."""

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from secondorder.cli.options import OUTPUT, PRINTED, REQUIRED, SIMULATION, Output, Replications, at_least, share, truth
from secondorder.cli.output import check_output, emit, patience, records
from secondorder.cli.plans import CHOICE, Plan, Which, read_value
from secondorder.errors import InputError

if TYPE_CHECKING:
    from secondorder.scenarios.scenario import Scenario
    from secondorder.studies.sensitivity import Witness

EXAMPLE = """\
Examples:

  secondorder sensitivity plan.toml --metric goodput

  secondorder sensitivity plan.toml --metric ttft_p99 --field arrivals.rate
    --field max_num_seqs --figure tornado.png

  secondorder sensitivity plan.toml --metric wait_mean
    --sobol "arrivals.rate=2 request/s,8 request/s"
    --sobol "service.mean=50 ms,110 ms"
"""
TIMES = Replications()


def sensitivity(
    plan: Plan,
    /,
    *,
    metric: Annotated[str, Parameter(group=REQUIRED, metavar="NAME", help="Metric to watch, such as ttft_p99.")],
    which: Which = None,
    field: Annotated[
        list[str] | None,
        Parameter(
            group=CHOICE, metavar="FIELD", help="Only this field, such as arrivals.rate; may be repeated.", negative=""
        ),
    ] = None,
    by: Annotated[
        float,
        Parameter(
            group=CHOICE,
            metavar="SHARE",
            converter=share,
            help="How far each field is moved up and down, as a share of its value.",
        ),
    ] = 0.1,
    sobol: Annotated[
        list[str] | None,
        Parameter(
            group=CHOICE,
            metavar="FIELD=LOW,HIGH",
            help='Range of a field, "arrivals.rate=2 request/s,8 request/s". All fields given like this vary at '
            "once, and the variance is split among them; may be repeated.",
            negative="",
        ),
    ] = None,
    samples: Annotated[
        int, Parameter(group=CHOICE, converter=at_least(8), help="Samples for --sobol: a power of 2.")
    ] = 256,
    simulate: Annotated[
        bool,
        Parameter(
            group=SIMULATION,
            help="Use the simulation, on common random numbers, instead of the closed forms.",
            negative="",
            show_default=truth,
        ),
    ] = False,
    figure: Annotated[
        str | None,
        Parameter(group=OUTPUT, metavar="FILE", help="Picture of what each field does alone: .png, .svg or .pdf."),
    ] = None,
    run: Replications = TIMES,
    out: Output = PRINTED,
) -> None:
    """Show which field of a plan moves a metric, alone and together with others."""
    from secondorder.plans.read import read_plan

    check_output(out)
    scenario = read_plan(plan).one(which)
    witness: Witness = "simulate" if simulate else "solve"
    if sobol:
        for name, value in (("figure", figure), ("field", field)):
            if value is not None:
                raise InputError(name, given=f"--{name} with --sobol", expected=f"--{name} for each field alone")
        _together(scenario, metric, sobol, samples, witness, run, out)
        return
    _alone(scenario, metric, field, by, witness, figure, run, out)


def _alone(
    scenario: "Scenario",
    metric: str,
    fields: list[str] | None,
    by: float,
    witness: "Witness",
    figure: str | None,
    run: Replications,
    out: Output,
) -> None:
    import sys

    from secondorder.report.sensitivity import sensitivity_grid, tornado_figure
    from secondorder.report.style import check_figure, save
    from secondorder.studies.sensitivity import sensitivity

    if figure is not None:
        check_figure(figure)
    times = {"replications": run.replications or 10, "seed": run.seed, "jobs": run.jobs}
    with patience("varying"):
        study = sensitivity(scenario, metric, fields, by=by, witness=witness, **times)
    emit(records(study.frame), [sensitivity_grid(study)], out)
    if figure is not None:
        print(f"picture: {save(tornado_figure(study), figure)}", file=sys.stderr)


def _together(
    scenario: "Scenario",
    metric: str,
    texts: list[str],
    samples: int,
    witness: "Witness",
    run: Replications,
    out: Output,
) -> None:
    from secondorder.report.sensitivity import sobol_grid
    from secondorder.studies.sobol import sobol

    ranges = dict(_range(scenario, text) for text in texts)
    with patience("varying"):
        study = sobol(scenario, metric, ranges, samples=samples, witness=witness, seed=run.seed, jobs=run.jobs)
    emit(records(study.frame), [sobol_grid(study)], out)


def _range(scenario: "Scenario", text: str) -> tuple[str, tuple[object, object]]:
    path, _, ends = text.partition("=")
    values = [end.strip() for end in ends.split(",") if end.strip()]
    if len(values) != 2:
        raise InputError("sobol", given=repr(text), expected="FIELD=LOW,HIGH such as max_num_seqs=64,128")
    low, high = (read_value(scenario, path.strip(), end) for end in values)
    return path.strip(), (low, high)
