"""``secondorder deploy``: several replicas behind a router, solved, simulated and compared, and drawn over time."""

from collections.abc import Callable
from typing import Annotated

from cyclopts import Parameter

from secondorder.cli.flags import attach, build, flags_of, given_in, nested
from secondorder.cli.options import OUTPUT, PRINTED, USUAL, Margin, Output, Run, Simulated
from secondorder.cli.output import check_output, patience, show
from secondorder.cli.systems import example
from secondorder.errors import InputError
from secondorder.systems.registry import SYSTEMS

TITLE = SYSTEMS["deployment"].title
EXAMPLE = example("deployment")

Picture = Annotated[
    str | None,
    Parameter(group=OUTPUT, metavar="FILE", help="Also draw the first simulated run over time, as png, svg or pdf."),
]


def _command() -> Callable[..., None]:
    system = SYSTEMS["deployment"]
    every = [*flags_of(system.type)]

    def deploy(
        *,
        values: object,
        simulate: Simulated = True,
        margin: Margin = None,
        run: Run = USUAL,
        figure: Picture = None,
        out: Output = PRINTED,
    ) -> None:
        from secondorder.report.style import check_figure, save
        from secondorder.scenarios.deployment import Deployment
        from secondorder.validation.comparison import compare
        from secondorder.verbs import solve

        check_output(out)
        if figure is not None and not simulate:
            raise InputError("figure", given="a figure without a simulation", expected="one of the two")
        path = None if figure is None else check_figure(figure)
        scenario = build(Deployment, nested(every, given_in(values, every)), every)
        if not simulate:
            show(solve(scenario), out)
            return
        with patience("simulating"):
            found = compare(scenario, margin=margin, **run.arguments)
        if path is not None:
            from secondorder.report.deployment import story_figure

            save(story_figure(scenario, found.simulated), path)
        show(found, out)

    deploy.__doc__ = TITLE
    return attach(deploy, every, system)


def __getattr__(name: str) -> Callable[..., None]:
    """The command, made when it is first asked for: until then no scenario is imported."""
    if name != "deploy":
        raise AttributeError(name)
    return _command()
