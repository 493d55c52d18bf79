"""Lab 10: the same p99 twice, why a run is not a measurement."""

import math

import numpy as np

from secondorder.analytic.queues.multiserver import wait_quantile
from secondorder.labs.dots import of_runs, p99, waits
from secondorder.labs.drawing import Line, picture
from secondorder.labs.lab import Condition, Exercise, Figured, Lab, Question, Slider, Values
from secondorder.laws import Exponential

SERVICE, RUNS, TIMES = 0.1, 20, 5
"""Mean service in s; experiments of the figure, and runs of each."""


def exact(load: float) -> float:
    """The p99 of the wait in s, in M/M/1."""
    return float(wait_quantile(0.99, arrival_rate=load / SERVICE, service_rate=1 / SERVICE))


def relaxation(load: float) -> float:
    """Customers for which the queue remembers: ``load / (1 - sqrt(load))^2``."""
    return load / (1 - math.sqrt(load)) ** 2


def draw(values: Values) -> Figured:
    """Experiments of five runs from an empty start, with the intervals that they state."""
    load, customers = values["load"] / 100, int(values["customers"])
    law = Exponential(f"{SERVICE} s")
    found = [
        [p99(waits(rate=load / SERVICE, law=law, customers=customers, seed=TIMES * k + j)[0]) for j in range(TIMES)]
        for k in range(RUNS)
    ]
    truth = [of_runs(each) for each in found]
    right = exact(load)
    held = sum(e.low is not None and e.high is not None and e.low <= right <= e.high for e in truth)
    lines: dict[str, Line] = {"exact p99": ((0.5, RUNS + 0.5), (right, right))}
    figure = picture(
        lines,
        x="experiment (each of 5 runs, with other random numbers)",
        y="p99 of the wait (s)",
        places=range(1, RUNS + 1),
        truth=truth,
        top=2.2 * right,
    )
    spread = float(np.ptp([e.amount for e in truth]))
    return figure, (
        f"**{held} of {RUNS}** intervals that claim 95 % hold the exact p99 of {right:.3g} s. The p99s differ by up to "
        f"{spread:.2g} s. A run is {customers / relaxation(load):.3g} times as long as the queue remembers."
    )


LAB = Lab(
    number=10,
    name="intervals",
    title="The same p99 twice",
    story=(
        "A benchmark of a few hundred requests prints one p99. Run it again and it prints another. An interval says "
        "how far to trust it, but only if the runs are long enough: a queue starts empty and forgets slowly."
    ),
    question=Question(
        text="Intervals claim to hold the truth 95 times in 100. How many of 100 do, if each comes from 5 runs of 300 "
        "requests from an empty start, at 90 % load?",
        unit="of 100",
        answer=lambda: 100 * coverage(0.9, 300),
        because="The queue remembers its empty start for about 340 requests, longer than a run: waits are too short.",
    ),
    sliders=(
        Slider(name="load", label="load (%)", low=30, high=95, step=5, value=90),
        Slider(name="customers", label="requests of a run", low=100, high=20_000, step=100, value=300),
    ),
    draw=draw,
    conditions=(
        Condition(
            text="a run is far longer than what the queue remembers (100 times)",
            holds=lambda at: at["customers"] >= 100 * relaxation(at["load"] / 100),
        ),
        Condition(
            text="a p99 has many values beyond it (at least 20 in a run)", holds=lambda at: at["customers"] >= 2000
        ),
    ),
    remember=(
        "One run is one number. Only several independent runs tell how far it is to be trusted.",
        "Runs that start empty are biased alike: more of them make an interval narrow around a wrong value.",
        "The necessary length grows as 1 / (1 - load)²: at 95 % load it is four times that at 90 %.",
    ),
    exercises=(
        Exercise(
            task="At 90 % load, how long must runs be until nearly all intervals hold the truth?",
            solution="About 20,000 requests, 50 to 100 times the memory; at 50 % load some thousands do.",
        ),
        Exercise(
            task="A colleague runs 300 requests a hundred times instead. What do they get?",
            solution=(
                "A narrow interval around the p99 of the first 300 requests after a start, which is another quantity."
            ),
        ),
    ),
)


def coverage(load: float, customers: int, experiments: int = 200) -> float:
    """Share of the intervals of 5 runs that hold the exact p99."""
    law, right, held = Exponential(f"{SERVICE} s"), exact(load), 0
    for k in range(experiments):
        runs = [
            p99(waits(rate=load / SERVICE, law=law, customers=customers, seed=TIMES * k + j)[0]) for j in range(TIMES)
        ]
        each = of_runs(runs)
        assert each.low is not None
        assert each.high is not None
        held += each.low <= right <= each.high
    return held / experiments
