"""``secondorder deploy``: several replicas behind a router, solved, simulated and compared, and drawn over time."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from secondorder.cli.drawing import NOTHING, Drawn, check_drawn, write_figure, write_report
from secondorder.cli.flags import attach, build, flags_of, given_in, nested
from secondorder.cli.options import PRINTED, USUAL, Margin, Output, Run, Simulated
from secondorder.cli.output import check_output, patience, show
from secondorder.cli.systems import example
from secondorder.errors import InputError
from secondorder.systems.registry import SYSTEMS

if TYPE_CHECKING:
    from secondorder.answers.answer import Answer
    from secondorder.scenarios.deployment import Deployment
    from secondorder.validation.comparison import Comparison

TITLE = SYSTEMS["deployment"].title
EXAMPLE = example("deployment")


def _command() -> Callable[..., None]:
    system = SYSTEMS["deployment"]
    every = [*flags_of(system.type)]

    def deploy(
        *,
        values: object,
        simulate: Simulated = True,
        margin: Margin = None,
        run: Run = USUAL,
        drawn: Drawn = NOTHING,
        out: Output = PRINTED,
    ) -> None:
        from secondorder.scenarios.deployment import Deployment
        from secondorder.validation.comparison import compare
        from secondorder.verbs import solve

        check_output(out)
        check_drawn(drawn)
        if drawn.figure is not None and not simulate:
            raise InputError("figure", given="a figure without a simulation", expected="one of the two")
        scenario = build(Deployment, nested(every, given_in(values, every)), every)
        if not simulate:
            solved = solve(scenario)
            show(solved, out)
            _report(scenario, solved, drawn)
            return
        with patience("simulating"):
            found = compare(scenario, margin=margin, **run.arguments)
        show(found, out)
        if drawn.figure is not None:
            from secondorder.report.deployment import story_figure

            write_figure(lambda: story_figure(scenario, found.simulated), drawn.figure)
        _report(scenario, found, drawn)

    deploy.__doc__ = TITLE
    return attach(deploy, every, system)


def _report(scenario: "Deployment", result: "Answer | Comparison", drawn: Drawn) -> None:
    """The page of the deployment, with the story of its first run where it was simulated."""
    if drawn.report is None:
        return
    from secondorder.report.deployment import story_figure
    from secondorder.report.page import section_of
    from secondorder.validation.comparison import Comparison

    section = section_of(scenario, result)
    if isinstance(result, Comparison):
        section = replace(section, figures=[*section.figures, story_figure(scenario, result.simulated)])
    write_report(scenario.name, [section], drawn.report)


def __getattr__(name: str) -> Callable[..., None]:
    """The command, made when it is first asked for: until then no scenario is imported."""
    if name != "deploy":
        raise AttributeError(name)
    return _command()
