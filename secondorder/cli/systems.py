"""A command for each scenario that has none of its own: its flags are the fields of the dataclass."""

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from secondorder.cli.drawing import NOTHING, Drawn, Report, check_drawn, draw
from secondorder.cli.flags import Flag, attach, build, flags_of, given_in, nested
from secondorder.cli.options import PRINTED, Margin, Output, Replications, Simulated
from secondorder.cli.output import check_output, patience, show
from secondorder.systems.registry import SYSTEMS
from secondorder.systems.system import System

if TYPE_CHECKING:
    from secondorder.scenarios.scenario import Scenario

TIMES = Replications()


def command(system: System) -> Callable[..., None]:
    """The command of a kind of scenario."""
    flags = [*flags_of(system.type)]

    def scenario_of(values: object) -> "Scenario":
        return read(system, given_in(values, flags))

    def closed(*, values: object, report: Report = None, out: Output = PRINTED) -> None:
        check_output(out)
        answer(scenario_of(values), False, None, TIMES, out, Drawn(report=report))

    def run(
        *,
        values: object,
        simulate: Simulated = True,
        margin: Margin = None,
        run: Replications = TIMES,
        drawn: Drawn = NOTHING,
        out: Output = PRINTED,
    ) -> None:
        check_output(out)
        answer(scenario_of(values), simulate, margin, run, out, drawn)

    made = closed if system.simulator is None else run
    made.__doc__ = system.title
    return attach(made, flags, system)


def read(system: System, given: Mapping[str, str | bool]) -> "Scenario":
    """The scenario whose fields are spelt by these flags."""
    flags: list[Flag] = [*flags_of(system.type)]
    return build(system.type, nested(flags, given), flags)


def answer(
    scenario: "Scenario",
    simulated: bool,
    margin: float | None,
    run: Replications,
    out: Output,
    drawn: Drawn = NOTHING,
) -> None:
    """Print the closed forms, and the simulation where there is one and it is wanted; draw what is asked for."""
    from secondorder.answers.answer import Answer
    from secondorder.validation.comparison import Comparison, compare
    from secondorder.verbs import can_simulate, solve

    simulated = simulated and can_simulate(scenario)
    if drawn.figure is not None:
        from secondorder.report.figures import check_drawable

        check_drawable(scenario, simulated)
    check_drawn(drawn, simulated=simulated)
    found: Answer | Comparison
    if simulated:
        with patience("simulating"):
            found = compare(scenario, margin=margin, **run.arguments)
    else:
        found = solve(scenario)
    show(found, out)
    draw([(scenario, found)], drawn, run.seed)


def __getattr__(name: str) -> Callable[..., None]:
    """The command of a kind of scenario, made when it is first asked for."""
    if name not in SYSTEMS or SYSTEMS[name].own_command:
        raise AttributeError(name)
    return command(SYSTEMS[name])


def example(word: str) -> str:
    """What the help of a command shows at its end."""
    words = re.findall(r'--[\w-]+(?: (?:"[^"]*"|[^-\s]\S*))?', SYSTEMS[word].example)
    lines = [f"  secondorder {SYSTEMS[word].command_name}"]
    for each in words:
        if len(lines[-1]) + len(each) > 70:
            lines.append("   ")
        lines[-1] += f" {each}"
    return "Example:\n\n" + " \\\n".join(lines) + "\n"
