"""A lab as a static page: question, answer, the figure where the sliders stand, what to keep, exercises."""

from secondorder.labs.lab import Lab, plain
from secondorder.report.page import Page, Section
from secondorder.report.tables import Grid


def page_of(lab: Lab, command: str) -> Page:
    """The page, for paper and for rooms without a network."""
    figure, told = lab.draw(lab.start)
    at = ", ".join(f"{slider.label} {slider.value:g}" for slider in lab.sliders)
    right = f"{plain(lab.question.answer())} {lab.question.unit}".strip()
    conditions = [["holds" if each.holds(lab.start) else "fails", each.text] for each in lab.conditions]
    sections = [
        Section(title="Predict first", grids=[_lines(["question"], [[lab.story], [lab.question.text]])]),
        Section(title="What happens", grids=[_lines(["shown at", at], [["", _plain(told)]])], figures=[figure]),
        Section(title="Assumptions", grids=[_lines(["", "of the closed form"], conditions)]),
        Section(title="Three things to remember", grids=[_lines([""], [[text] for text in lab.remember])]),
        Section(title="Exercises", grids=[_lines(["task"], [[each.task] for each in lab.exercises])]),
        Section(
            title="Solutions, for the teacher",
            grids=[
                _lines(
                    ["task", "solution"],
                    [
                        ["the prediction", f"{right}. {lab.question.because}"],
                        *([str(place), each.solution] for place, each in enumerate(lab.exercises, 1)),
                    ],
                )
            ],
        ),
    ]
    return Page(title=f"{lab.number}. {lab.title}", subtitle="A lab of secondorder", sections=sections, command=command)


def _plain(text: str) -> str:
    return text.replace("**", "")


def _lines(header: list[str], rows: list[list[str]]) -> Grid:
    return Grid(header=header, rows=rows)
