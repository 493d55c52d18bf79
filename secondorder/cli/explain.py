"""``secondorder explain``: why a closed form and the simulation of a plan differ."""

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from secondorder.cli.drawing import NOTHING, Drawn, check_drawn, write_figure, write_report
from secondorder.cli.options import OF_REQUESTS, PRINTED, REQUIRED, Output, RunOfRequests, at_least
from secondorder.cli.output import check_output, emit, patience, records
from secondorder.cli.plans import CHOICE, Plan, Which
from secondorder.errors import naming

if TYPE_CHECKING:
    from secondorder.report.tables import Grid
    from secondorder.validation.explanation.explain import Explanation

EXAMPLE = """\
Examples:

  secondorder explain plan.toml --metric ttft_p99 --figure why.png

  secondorder explain plan.toml --metric tpot_mean --order 1

  secondorder explain plan.toml --metric ttft_p99 --request 17

  secondorder explain plan.toml --metric ttft_p99 --formula "200 ms"
"""


def explain(
    plan: Plan,
    /,
    *,
    metric: Annotated[str, Parameter(group=REQUIRED, metavar="NAME", help="Metric to explain, such as ttft_p99.")],
    which: Which = None,
    order: Annotated[
        int | None,
        Parameter(
            group=CHOICE,
            converter=at_least(0),
            help="Order of the closed form.",
            show_default="the lowest of the metric",
        ),
    ] = None,
    formula: Annotated[
        str | None,
        Parameter(group=CHOICE, metavar="VALUE", help="Your own value, such as 200 ms, instead of an order's."),
    ] = None,
    given: Annotated[
        tuple[str, ...],
        Parameter(
            group=CHOICE,
            metavar="EFFECT",
            negative="",
            show_default=False,
            help="Effect that stays on, because the formula includes it; may be repeated.",
        ),
    ] = (),
    longest_prompt: Annotated[
        int | None,
        Parameter(
            group=CHOICE,
            converter=at_least(1),
            metavar="TOKENS",
            help="Count only the requests of a service with prompts up to this length; needs --formula.",
        ),
    ] = None,
    request: Annotated[
        int | None,
        Parameter(
            group=CHOICE, converter=at_least(0), help="Also show where the time of this request of a service went."
        ),
    ] = None,
    drawn: Drawn = NOTHING,
    run: RunOfRequests = OF_REQUESTS,
    out: Output = PRINTED,
) -> None:
    """Split the gap between a closed form and the simulation into effects.

    For a service, a second table shows where the time of its requests went.
    """
    from secondorder.plans.read import read_plan
    from secondorder.report.explanation import waterfall
    from secondorder.report.page import Section, plan_of
    from secondorder.validation.explanation.explain import REPLICATIONS, explain

    check_output(out)
    check_drawn(drawn)
    scenario = read_plan(plan).one(which)
    times = run.replications or REPLICATIONS
    with patience("turning effects on and off"), naming(f"{plan}: {scenario.name}"):
        found = explain(
            scenario,
            metric,
            order=order,
            formula=formula,
            given=given,
            longest_prompt=longest_prompt,
            seed=run.seed,
            replications=times,
            requests=run.num_prompts,
            jobs=run.jobs,
        )
        grids = _grids(found, metric, request)
    emit(records(found.frame), grids, out)
    if drawn.figure is not None:
        write_figure(lambda: waterfall(found), drawn.figure)
    if drawn.report is not None:
        section = Section(
            title=f"{scenario.name}: {metric}", plan=plan_of(scenario), grids=grids, figures=[waterfall(found)]
        )
        write_report(scenario.name, [section], drawn.report)


def _grids(found: "Explanation", metric: str, request: int | None) -> "list[Grid]":
    """The effects; and where the time of a service's requests went, for a latency or where one request is asked for."""
    from secondorder.report.explanation import explanation_grid, partition_grid

    grids = [explanation_grid(found)]
    latency = metric.partition("_")[0]
    if found.partition is not None and (latency in ("ttft", "e2el") or request is not None):
        of = latency if latency in ("ttft", "e2el") else "e2el"
        grids.append(partition_grid(found.partition, of, request))
    return grids
