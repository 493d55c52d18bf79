"""Lab 4: the same mean rate in bursts."""

from secondorder.analytic.queues.single_server_general import kingman, klb
from secondorder.analytic.queues.single_server_renewal import mean_wait
from secondorder.labs.dots import estimate, mean, waits, with_here
from secondorder.labs.drawing import Line, picture
from secondorder.labs.lab import Condition, Exercise, Figured, Lab, Question, Slider, Values, plain
from secondorder.laws import Exponential, Gamma

SERVICE = 0.1
SPREADS = (0.25, 1.0, 2.0, 4.0, 6.0, 8.0)
LINE = tuple(k / 10 for k in range(1, 81))


def wait(load: float, scv: float) -> float:
    """Mean wait in s, exact for gamma gaps of this scv and exponential services."""
    return float(mean_wait(gap=Gamma(f"{SERVICE / load} s", scv=scv), service_rate=1 / SERVICE))


def two_moments(load: float, scv: float) -> float:
    """The same by Kraemer and Langenbach-Belz, who know only the moments."""
    return float(klb(arrival_rate=load / SERVICE, mean_service=SERVICE, arrival_scv=scv, service_scv=1.0))


def heavy(load: float, scv: float) -> float:
    """Kingman's mean wait in s."""
    return float(kingman(arrival_rate=load / SERVICE, mean_service=SERVICE, arrival_scv=scv, service_scv=1.0))


def draw(values: Values) -> Figured:
    """The wait over the variability of the gaps."""
    load, scv = values["load"] / 100, values["scv"]
    law = Exponential(f"{SERVICE} s")
    spreads = with_here(SPREADS, scv)
    truth = [estimate(waits(rate=load / SERVICE, law=law, gap_scv=at)[0], mean) for at in spreads]
    lines: dict[str, Line] = {
        "exact for gamma gaps": (LINE, [wait(load, at) for at in LINE]),
        "Kraemer and Langenbach-Belz": (LINE, [two_moments(load, at) for at in LINE]),
        "Kingman": (LINE, [heavy(load, at) for at in LINE]),
        "if arrivals were Poisson": (LINE, [wait(load, 1.0) for _ in LINE]),
    }
    why = {"services vary": heavy(load, 0.0), "gaps vary": wait(load, scv) - heavy(load, 0.0)}
    figure = picture(
        lines,
        x="variability of the gaps between arrivals (their scv)",
        y="mean wait (ms)",
        scale=1e3,
        here=scv,
        places=spreads,
        truth=truth,
        why=why,
        why_unit="ms",
    )
    return figure, f"With gaps of scv {scv:g} the mean wait is **{plain(1e3 * wait(load, scv))} ms**."


LAB = Lab(
    number=4,
    name="bursts",
    title="Bursts",
    story=(
        "Traffic of the same mean rate may come evenly, at random or in bursts. The squared coefficient of variation "
        "(scv) of the gaps says which: 0 is a metronome, 1 is Poisson, more is bursty. One server, exponential "
        "services of 100 ms."
    ),
    question=Question(
        text="At 80 % load Poisson arrivals wait 400 ms on average. How long do they wait with gaps of scv 4?",
        unit="ms",
        answer=lambda: 1e3 * wait(0.8, 4.0),
        because=(
            "The wait grows roughly with the mean of the two scv, from (1 + 1)/2 to (4 + 1)/2. With gamma gaps it is "
            "a little longer than that."
        ),
    ),
    sliders=(
        Slider(name="load", label="load (%)", low=10, high=90, step=1, value=80),
        Slider(name="scv", label="scv of the gaps", low=0.1, high=8, step=0.1, value=4),
    ),
    draw=draw,
    conditions=(
        Condition(text="Kingman: the load is high (at least 70 %)", holds=lambda at: at["load"] >= 70),
        Condition(
            text="for two moments: the gaps are not far from Poisson (scv at most 2)",
            holds=lambda at: at["scv"] <= 2,
        ),
        Condition(text="gaps are independent of each other, as drawn here", holds=lambda at: True),
    ),
    remember=(
        "The spread of arrivals counts as much as the spread of services.",
        "Smoother arrivals shorten the wait without another server.",
        "Two moments do not describe long bursts: the rate of real traffic drifts for minutes.",
    ),
    exercises=(
        Exercise(
            task="At 30 % load and scv 8, how far are the lines from the dots? Why?",
            solution="Kingman is meant for busy servers; at low load a burst meets an idle server, and the law of the "
            "gaps matters, not only its scv.",
        ),
        Exercise(
            task="What wait is left if gaps are perfectly even (scv near 0)?",
            solution="About half of that of Poisson arrivals, because services still vary.",
        ),
    ),
)
