"""The options of what a command draws, figures and reports, and where they are written."""

import shlex
import sys
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from secondorder.cli.options import OUTPUT
from secondorder.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from secondorder.answers.answer import Answer
    from secondorder.report.page import Section
    from secondorder.scenarios.scenario import Scenario
    from secondorder.validation.comparison import Comparison

TYPED: ContextVar[Sequence[str]] = ContextVar("TYPED", default=())
"""The words of the command line that is being run."""

Report = Annotated[
    str | None,
    Parameter(group=OUTPUT, metavar="DIR", help="Folder for a report: one page of HTML, which needs no network."),
]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Drawn:
    """What is drawn in addition to the tables."""

    figure: Annotated[
        str | None,
        Parameter(
            name=("--figure", "--plot"), group=OUTPUT, metavar="FILE", help="Picture of the result: .png, .svg or .pdf."
        ),
    ] = None
    report: Report = None


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class DrawnOfService(Drawn):
    """What is drawn of a service."""

    timeline: Annotated[
        str | None,
        Parameter(
            group=OUTPUT, metavar="FILE", help="One simulated run, request by request, as JSON for ui.perfetto.dev."
        ),
    ] = None


NOTHING, NOTHING_OF_SERVICE = Drawn(), DrawnOfService()


def check_drawn(drawn: Drawn, *, simulated: bool = True) -> None:
    """Refuse what could not be written, before the work is done."""
    timeline = getattr(drawn, "timeline", None)
    if timeline is not None and not simulated:
        raise InputError("timeline", given="--timeline with --no-simulate", expected="a simulation")
    if drawn.figure is not None:
        from secondorder.report.style import check_figure

        check_figure(drawn.figure)
    check_folder(drawn.report)


def check_folder(report: str | None) -> None:
    """Refuse a folder of a report that could not be written."""
    if report is not None:
        from secondorder.report.page import check_report

        check_report(report)


def draw(results: "Sequence[tuple[Scenario, Answer | Comparison]]", drawn: Drawn, seed: int = 0) -> None:
    """Write the figure, the report and the timeline that were asked for, and say on standard error where they are."""
    if drawn.figure is not None:
        _figure(results, drawn.figure, seed)
    if drawn.report is not None:
        from secondorder.report.page import section_of

        names = ", ".join(scenario.name for scenario, _ in results)
        write_report(names, [section_of(scenario, result) for scenario, result in results], drawn.report)
    if (timeline := getattr(drawn, "timeline", None)) is not None:
        _timeline(results[0][1], timeline)


def _figure(results: "Sequence[tuple[Scenario, Answer | Comparison]]", path: str, seed: int) -> None:
    from secondorder.report.figures import figure_of

    if len(results) > 1:
        expected = "one scenario, chosen by --scenario; a --report holds the figures of all"
        raise InputError("figure", given=f"{len(results)} scenarios", expected=expected)
    ((scenario, result),) = results
    write_figure(lambda: figure_of(scenario, result, seed), path)


def write_figure(figure: "Callable[[], Figure]", path: str) -> None:
    """Write a figure and say where it is."""
    from secondorder.report.style import save

    print(f"picture: {save(figure(), path)}", file=sys.stderr)


def write_report(title: str, sections: "Sequence[Section]", folder: str) -> None:
    """Write a page and say where it is."""
    from secondorder.report.page import Page, write_page

    command = shlex.join(["secondorder", *TYPED.get()])
    subtitle = "Closed forms of order 0 (alone), 1 (means) and 2 (variability); what is random is simulated too"
    page = Page(title=title, subtitle=subtitle, sections=sections, command=command)
    print(f"report: {write_page(page, folder)}", file=sys.stderr)


def _timeline(result: "Answer | Comparison", path: str) -> None:
    from secondorder.report.timeline import write_trace
    from secondorder.validation.comparison import Comparison

    answer = result.simulated if isinstance(result, Comparison) else result
    if answer.requests is None or answer.series is None:
        raise InputError("timeline", given="no run to show", expected="a service that is simulated")
    print(f"timeline: {write_trace(answer.requests, answer.series, path)}", file=sys.stderr)
