"""Lab 11: how often to save, Young's and Daly's bowl."""

import numpy as np

from secondorder.analytic.training.interval import optimum, young
from secondorder.analytic.training.periodic import exact_goodput, first_order_goodput
from secondorder.answers.estimate import Estimate
from secondorder.labs.dots import of_runs, with_here
from secondorder.labs.drawing import Line, picture
from secondorder.labs.lab import Condition, Exercise, Figured, Lab, Question, Slider, Values
from secondorder.scenarios.training import Checkpoint, Recovery, Training

HOUR, RESTART = 3600.0, 300.0
INTERVALS = (0.1, 0.2, 0.4, 0.8, 1.6)
RUNS, FAILURES = 8, 150
"""Runs of a dot, and mean failures in each."""


def goodput(interval: float, write: float, mtbf: float) -> float:
    """Share of the time that is kept, exact for Poisson failures."""
    return float(exact_goodput(interval=interval, write=write, mtbf=mtbf, restart=RESTART))


def simulated(interval: float, write: float, mtbf: float) -> Estimate:
    """The goodput of some runs, by the compiled kernel."""
    from secondorder.simulate.kernels.training import tell
    from secondorder.simulate.training.causes import draw as drawn
    from secondorder.simulate.training.work import work_of

    scenario = Training(
        failures=f"exponential {mtbf} s",
        checkpoint=Checkpoint(interval=f"{interval} s", write=f"{write} s"),
        recovery=Recovery(restart=f"{RESTART} s"),
        duration=f"{FAILURES * mtbf} s",
    )
    stories = [tell(scenario, drawn(scenario, 1, k, None), work_of(scenario, None, None)) for k in range(RUNS)]
    return of_runs([story.work / story.wall for story in stories], unit="")


def draw(values: Values) -> Figured:
    """Goodput over the interval."""
    interval, write, mtbf = values["interval"] * 60, values["write"], values["mtbf"] * HOUR
    line = np.geomspace(0.03, 4, 60)
    best = float(optimum(write=write, mtbf=mtbf))
    first = [float(first_order_goodput(interval=t * HOUR, write=write, mtbf=mtbf, restart=RESTART)) for t in line]
    lines: dict[str, Line] = {
        "exact": (line.tolist(), [goodput(t * HOUR, write, mtbf) for t in line]),
        "first order": (line.tolist(), [max(value, 0.0) for value in first]),
    }
    marks = {
        name: (at / HOUR, goodput(at, write, mtbf))
        for name, at in (("Young", float(young(write=write, mtbf=mtbf))), ("best", best))
    }
    parts = losses(interval, write, mtbf)
    places = with_here(INTERVALS, interval / HOUR)
    figure = picture(
        lines,
        x="work between checkpoints (h)",
        y="goodput (share of the time)",
        here=interval / HOUR,
        places=places,
        truth=[simulated(t * HOUR, write, mtbf) for t in places],
        marks=marks,
        why=parts,
        why_unit="share of the time",
        top=1.0,
        log="x",
    )
    told = f"Every {interval / 60:g} min: goodput **{goodput(interval, write, mtbf):.3f}**. "
    return figure, told + f"The best interval is {best / 60:.3g} min, with {goodput(best, write, mtbf):.3f}."


def losses(interval: float, write: float, mtbf: float) -> dict[str, float]:
    """Where the time goes: kept work, writing, and what failures cost (lost work and restarts)."""
    kept = goodput(interval, write, mtbf)
    writing = kept * write / interval
    return {"kept work": kept, "writing": writing, "failures": 1 - kept - writing}


LAB = Lab(
    number=11,
    name="checkpoints",
    title="Young and Daly's bowl",
    story=(
        "A training run fails now and then and falls back to its last checkpoint. Saving often wastes time on writing, "
        "saving rarely wastes the work since the last save. A restart takes 5 min."
    ),
    question=Question(
        text="A write takes 60 s and a failure comes every 2 h. What is the best time between checkpoints?",
        unit="min",
        answer=lambda: float(optimum(write=60.0, mtbf=2 * HOUR)) / 60,
        because="Young: sqrt(2 × write × MTBF) = 15.5 min; the exact optimum is a little less.",
    ),
    sliders=(
        Slider(name="interval", label="work between checkpoints (min)", low=2, high=200, step=1, value=30),
        Slider(name="write", label="write (s)", low=5, high=600, step=5, value=60),
        Slider(name="mtbf", label="time between failures (h)", low=0.5, high=24, step=0.5, value=2),
    ),
    draw=draw,
    conditions=(
        Condition(text="failures are Poisson, as drawn here", holds=lambda at: True),
        Condition(
            text="for the first order: interval and write are far below the time between failures (a fifth)",
            holds=lambda at: at["interval"] * 60 + at["write"] < at["mtbf"] * HOUR / 5,
        ),
    ),
    remember=(
        "The best interval grows with the square root of write × time between failures: four times as many machines "
        "save twice as often.",
        "The bowl is flat: twice or half the best interval loses little, so that Young's formula is nearly always "
        "good enough.",
        "The best goodput depends on the write: halving the write is worth more than finding the optimum.",
    ),
    exercises=(
        Exercise(
            task="By how much does goodput fall if you save half as often as is best (60 s, 2 h)?",
            solution="From 0.841 to 0.814, as the exact line shows: about 3 %, for an interval that is 100 % off.",
        ),
        Exercise(
            task="The cluster grows fourfold. What becomes of interval and goodput?",
            solution=(
                "The time between failures is a quarter, 30 min: the best interval about halves, and the share that "
                "is lost rises from 16 % to 35 %, more than twofold, as each failure also costs a restart."
            ),
        ),
    ),
)
