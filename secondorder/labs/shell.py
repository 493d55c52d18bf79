"""The parts of a lab as marimo shows them: question and prediction, score, sliders, figure, what to keep."""

import marimo as mo

from secondorder.labs.lab import Lab, Values, judged
from secondorder.labs.pictures import shown

ON_ONE_SCREEN = "min(100%, max(600px, (100vh - 390px) * 2.47))"
"""Width of a figure: that of the page, or less where the figure would end below the screen of a laptop."""


def opening(lab: Lab) -> mo.Html:
    """Title, story and question."""
    return mo.md(
        f"# {lab.number}. {lab.title}\n\n{lab.story}\n\n**Predict first, then see the answer.** {lab.question.text}"
    )


def prediction(lab: Lab) -> mo.ui.number:
    """Where the prediction is typed; it counts at Enter."""
    unit = f" in {lab.question.unit}" if lab.question.unit else ""
    return mo.ui.number(value=None, debounce=True, label=f"My prediction{unit}, then Enter:")


def told(lab: Lab, guess: float | None) -> mo.Html | None:
    """The score, once there is a prediction."""
    if guess is None:
        return None
    return mo.callout(mo.md(judged(lab.question, guess)), kind="info")


def sliders(lab: Lab) -> mo.ui.dictionary:
    """The sliders, in a dictionary by name."""
    made = {
        each.name: mo.ui.slider(
            each.low,
            each.high,
            each.step,
            value=each.value,
            label=each.label,
            show_value=True,
            debounce=True,
            full_width=True,
        )
        for each in lab.sliders
    }
    return mo.ui.dictionary(made)


def shown_sliders(given: mo.ui.dictionary) -> mo.Html:
    """The sliders, one beside the other, so that the figure below them is on the same screen."""
    return mo.hstack(list(given.values()), widths="equal", gap=2)


def view(lab: Lab, values: Values) -> mo.Html:
    """The figure, what it shows, and the assumptions: red where one does not hold."""
    picture, sentence = shown(lab.name, tuple(values.items()))
    conditions = [_condition(each.text, each.holds(values)) for each in lab.conditions]
    image = mo.image(picture, alt=sentence, style={"width": ON_ONE_SCREEN})
    return mo.vstack([image, mo.md(sentence), mo.md("\n".join(conditions))])


def _condition(text: str, holds: bool) -> str:
    colour, word = ("#00664a", "holds") if holds else ("#a3200b", "FAILS")
    return f'- <span style="color:{colour}; font-weight:600">{word}</span>: {text}'


def closing(lab: Lab) -> mo.Html:
    """Three things to remember, and exercises with solutions."""
    keep = "\n".join(f"{place}. {text}" for place, text in enumerate(lab.remember, 1))
    tasks = {f"Exercise {place}. {each.task}": mo.md(each.solution) for place, each in enumerate(lab.exercises, 1)}
    return mo.vstack([mo.md(f"## Three things to remember\n\n{keep}\n\n## Exercises"), mo.accordion(tasks)])
