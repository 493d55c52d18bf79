"""What a lab is: a question to answer first, sliders, a figure that follows them, assumptions, and what to keep."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Values: TypeAlias = Mapping[str, float]
"""Where the sliders stand, by name."""
Figured: TypeAlias = "tuple[Figure, str]"
"""A figure, and a sentence about what it shows."""


@dataclass(frozen=True, kw_only=True)
class Slider:
    """A quantity that the reader moves."""

    name: str
    label: str
    low: float
    high: float
    step: float
    value: float


@dataclass(frozen=True, kw_only=True)
class Question:
    """What the reader predicts before seeing anything; ``answer`` computes what is right, in ``unit``."""

    text: str
    unit: str
    answer: Callable[[], float]
    because: str


@dataclass(frozen=True, kw_only=True)
class Condition:
    """An assumption of the closed form, and whether it holds where the sliders stand."""

    text: str
    holds: Callable[[Values], bool]


@dataclass(frozen=True, kw_only=True)
class Exercise:
    """A task and its solution."""

    task: str
    solution: str


@dataclass(frozen=True, kw_only=True)
class Lab:
    """One lab. ``draw`` makes the figure for the sliders' values, and a sentence about what it shows."""

    number: int
    name: str
    title: str
    story: str
    question: Question
    sliders: Sequence[Slider]
    draw: Callable[[Values], Figured]
    conditions: Sequence[Condition]
    remember: Sequence[str]
    exercises: Sequence[Exercise]

    @property
    def start(self) -> dict[str, float]:
        """Where the sliders stand at first."""
        return {slider.name: slider.value for slider in self.sliders}


def plain(value: float) -> str:
    """Three digits without an exponent.

    >>> plain(2191.0), plain(0.01234), plain(95.0)
    ('2,190', '0.0123', '95')
    """
    rounded = float(f"{value:.3g}")
    return f"{rounded:,.0f}" if abs(rounded) >= 1000 else f"{rounded:g}"


def score(guess: float, right: float) -> int:
    """Points for a prediction, by the factor it is off: 10 within a tenth, 6 within a half, 3 within a factor of 3.

    >>> score(100, 105), score(100, 140), score(100, 250), score(100, 900), score(0, 900)
    (10, 6, 3, 0, 0)
    """
    if guess <= 0 or right <= 0:
        return 10 if guess == right else 0
    factor = max(guess / right, right / guess)
    return next((points for most, points in ((1.1, 10), (1.5, 6), (3.0, 3)) if factor <= most), 0)


def judged(question: Question, guess: float) -> str:
    """What is said to a prediction."""
    right = question.answer()
    points = score(guess, right)
    told = f"You said {guess:g} {question.unit}; it is {plain(right)} {question.unit}".replace("  ", " ").strip()
    return f"{told}: {points} of 10 points. {question.because}"
