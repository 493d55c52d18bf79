"""Lab 2: the p99 of a latency is not its mean plus something."""

import numpy as np

from secondorder.analytic.queues.multiserver import mean_wait, wait_quantile
from secondorder.labs.dots import estimate, waits, with_here
from secondorder.labs.drawing import Line, picture
from secondorder.labs.lab import Condition, Exercise, Figured, Lab, Question, Slider, Values, plain
from secondorder.laws import Exponential

SERVICE = 0.1
LOADS = (0.2, 0.4, 0.6, 0.7, 0.8, 0.9)
LINE = tuple(k / 100 for k in range(2, 95))


def tail(load: float, share: float = 0.99) -> float:
    """The wait in s that a share of the customers does not exceed, in M/M/1."""
    return float(wait_quantile(share, arrival_rate=load / SERVICE, service_rate=1 / SERVICE))


def average(load: float) -> float:
    """Mean wait in s in M/M/1."""
    return float(mean_wait(arrival_rate=load / SERVICE, service_rate=1 / SERVICE))


def draw(values: Values) -> Figured:
    """The quantile and the mean of the wait over the load."""
    load, share = values["load"] / 100, values["share"] / 100
    loads = with_here(LOADS, load)
    runs = [waits(rate=at / SERVICE, law=Exponential(f"{SERVICE} s"))[0] for at in loads]
    truth = [estimate(run, lambda part: float(np.quantile(part, share))) for run in runs]
    places = [100 * at for at in LINE]
    lines: dict[str, Line] = {
        f"closed form: p{values['share']:g} of the wait": (places, [tail(at, share) for at in LINE]),
        "mean wait": (places, [average(at) for at in LINE]),
        "mean wait + 3 services, a rule of thumb": (places, [average(at) + 3 * SERVICE for at in LINE]),
    }
    middle, here = average(load), tail(load, share)
    figure = picture(
        lines,
        x="load (%)",
        y="wait (ms)",
        scale=1e3,
        here=100 * load,
        places=[100 * at for at in loads],
        truth=truth,
        why={"mean": middle, "from mean to tail": here - middle},
        why_unit="ms",
        top=1e3 * tail(0.93),
    )
    return figure, (
        f"At {100 * load:g} % load the mean is **{plain(1e3 * middle)} ms** and the p{values['share']:g} "
        f"**{plain(1e3 * here)} ms**: {here / middle:.2g} times as long."
    )


LAB = Lab(
    number=2,
    name="tail",
    title="p99 is not mean plus wait",
    story=(
        "Users judge a service by its slow answers. Many dashboards show means, and many plans add a margin to them. "
        "One server, random arrivals, exponential services of 100 ms."
    ),
    question=Question(
        text="At 80 % load the mean wait is 400 ms. What is the p99 of the wait?",
        unit="ms",
        answer=lambda: 1e3 * tail(0.8),
        because="Waits have an exponential tail: the p99 is ln(80) = 4.4 busy-time constants of 500 ms.",
    ),
    sliders=(
        Slider(name="load", label="load (%)", low=5, high=93, step=1, value=80),
        Slider(name="share", label="quantile (%)", low=90, high=99, step=1, value=99),
    ),
    draw=draw,
    conditions=(
        Condition(
            text="the customer at the quantile waits at all (load above 100 % - quantile)",
            holds=lambda at: at["load"] > 100 - at["share"],
        ),
        Condition(text="runs are long enough for the dots (load at most 90 %)", holds=lambda at: at["load"] <= 90),
    ),
    remember=(
        "A tail is a factor times the mean, and the factor itself depends on the load: no fixed margin is right.",
        "Where the wait is exponential, each further nine of a quantile costs the same time: p99.9 is half as far "
        "again as p99.",
        "At low load nobody waits and the p99 of the wait is near 0: then the tail of the service is the tail.",
    ),
    exercises=(
        Exercise(
            task="Which load keeps the p99 of the wait below 1 s?",
            solution="ln(100 load) × 100 ms / (1 - load) = 1 s holds at about 59 % load; the slider shows it.",
        ),
        Exercise(
            task="A user needs ten answers, each from such a server at 80 % load. How likely is one wait above p99?",
            solution="1 - 0.99^10 = 9.6 %, if the waits are independent: the tail of one is the common case of many.",
        ),
    ),
)
