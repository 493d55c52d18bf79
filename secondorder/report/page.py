"""A report: one page of HTML that holds everything it shows and needs no network.

What comes from a scenario is escaped; figures are drawn by the package itself.
"""

import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pint

from secondorder.answers.answer import Answer
from secondorder.answers.estimate import Estimate
from secondorder.errors import FileError, InputError
from secondorder.families import fields_of
from secondorder.report.style import inline_svg
from secondorder.report.tables import Grid, answer_grid, comparison_grid, priority_grids
from secondorder.scenarios.scenario import Scenario
from secondorder.spelling import is_default
from secondorder.validation.comparison import Comparison

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAME = "index.html"
"""Name of the page in the folder of a report."""
UNSPELT = "(no plan file: it cannot hold recorded times; these are the fields that differ from their defaults)"


@dataclass(frozen=True, kw_only=True)
class Assumption:
    """What one formula claims of some metrics, and why its conditions do not hold (empty: they do)."""

    order: int
    source: str
    metrics: str
    claim: str
    outside: str


@dataclass(frozen=True, kw_only=True)
class Section:
    """What a page shows of one scenario."""

    title: str
    grids: Sequence[Grid]
    plan: str = ""
    figures: Sequence["Figure"] = ()
    assumptions: Sequence[Assumption] = ()
    sources: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Page:
    """A report; ``command`` makes it again."""

    title: str
    subtitle: str
    sections: Sequence[Section]
    command: str


def section_of(scenario: Scenario, result: Answer | Comparison) -> Section:
    """The section of a scenario and of its answer: ladder, verdicts, figure, assumptions and sources."""
    from secondorder.report.figures import figure_of

    solved = result.solved if isinstance(result, Comparison) else result
    grid = comparison_grid(result) if isinstance(result, Comparison) else answer_grid(result)
    try:
        figures = [figure_of(scenario, result)]
    except InputError:  # too many rows to draw, or nothing to compare: there is only the table
        figures = []
    return Section(
        title=scenario.name,
        plan=plan_of(scenario),
        grids=[grid, *priority_grids(result.simulated if isinstance(result, Comparison) else result)],
        figures=figures,
        assumptions=assumptions_of(solved),
        sources=list(dict.fromkeys(sources_of(scenario))),
    )


def plan_of(scenario: Scenario) -> str:
    """The plan file of a scenario; if no plan can express it, a line for each field that differs from its default."""
    from secondorder.plans.write import write_plan

    try:
        return write_plan(scenario)
    except InputError:
        return "\n".join([UNSPELT, *(f"{name}: {value}" for name, value in _given(scenario))])


def _given(owner: object) -> list[tuple[str, str]]:
    """The fields that differ from their defaults, and their values in short."""
    given = [(field, getattr(owner, field.name)) for field in fields_of(owner) if field.init]
    return [(field.name, _in_short(value)) for field, value in given if not is_default(field, value)]


def _in_short(value: object) -> str:
    """A value by its name, if it has one; of a dataclass what differs from its defaults."""
    if name := getattr(value, "name", ""):
        return str(name)
    if is_dataclass(value):
        inner = ", ".join(f"{name}={text}" for name, text in _given(value))
        return f"{type(value).__name__}({inner})"
    return f"{value:~}" if isinstance(value, pint.Quantity) else str(value)


def assumptions_of(solved: Answer) -> list[Assumption]:
    """The claims of an answer's formulas, with one entry for all metrics that share a claim."""
    groups: dict[tuple[int, str, str, str], list[str]] = {}
    for each in solved.estimates:
        if each.order is not None:
            key = each.order, each.source, str(each.claim or "") + _noted(each), each.outside
            groups.setdefault(key, []).append(each.metric)
    return [
        Assumption(order=order, source=source, claim=claim, outside=outside, metrics=", ".join(metrics))
        for (order, source, claim, outside), metrics in sorted(groups.items(), key=lambda one: one[0][0])
    ]


def _noted(estimate: Estimate) -> str:
    return f": {estimate.note}" if estimate.note else ""


def sources_of(part: object) -> Iterator[str]:
    """The sources of the zoo's figures that a scenario uses."""
    if not is_dataclass(part) or isinstance(part, type):
        return
    name = str(getattr(part, "name", ""))
    source, several = getattr(part, "source", None), getattr(part, "sources", None)
    known = list(several.values()) if isinstance(several, Mapping) else []
    for each in [*known, *([source] if source is not None else [])]:
        url = getattr(each, "url", "")
        yield f"{name}: {each}" + (f", {url}" if url else "")
    for field in fields(part):
        if field.name not in ("sources", "source"):
            yield from sources_of(getattr(part, field.name, None))


# Writing


def html(page: Page) -> str:
    """The page, everything in it escaped but its figures."""
    from importlib.metadata import version
    from importlib.resources import files

    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(files("secondorder.report").joinpath("page.html").read_text(encoding="utf-8"))
    sections = [
        {
            **{field.name: getattr(section, field.name) for field in fields(section)},
            "figures": [Markup(inline_svg(figure)) for figure in section.figures],
        }
        for section in page.sections
    ]
    shown = {
        "title": page.title, "subtitle": page.subtitle, "command": page.command, "sections": sections,
        "version": version("secondorder"),
        "software": f"Python {platform.python_version()}, numpy {version('numpy')}, simpy {version('simpy')}",
    }  # fmt: skip
    return template.render(page=shown, style_of=_style_of)


def _style_of(cell: str) -> str:
    judged = cell.partition(": ")[2] or cell
    known = {"agrees": "agrees", "exact": "agrees", "breaks": "breaks", "not enough data": "open"}
    return next((style for word, style in known.items() if judged.startswith(word)), "")


def check_report(folder: str | Path) -> Path:
    """Refuse a folder that no report can be written to, before the work is done."""
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / NAME).open("ab").close()
    except OSError as error:
        raise FileError(str(folder), given=str(error.strerror), expected="a folder that can be written") from None
    return folder


def write_page(page: Page, folder: str | Path) -> Path:
    """Write the page into a folder, which is made where there is none."""
    place = check_report(folder) / NAME
    try:
        place.write_text(html(page), encoding="utf-8")
    except OSError as error:
        raise FileError(str(place), given=str(error.strerror), expected="a file that can be written") from None
    return place
