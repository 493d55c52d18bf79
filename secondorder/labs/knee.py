"""Lab 1: the mean wait over the load, and why it has a knee."""

from secondorder.analytic.queues.single_server import mean_wait
from secondorder.labs.dots import estimate, mean, waits, with_here
from secondorder.labs.drawing import Line, picture
from secondorder.labs.lab import Condition, Exercise, Figured, Lab, Question, Slider, Values, plain
from secondorder.laws import LogNormal

SERVICE = 0.1
LOADS = (0.2, 0.4, 0.6, 0.7, 0.8, 0.9)
LINE = tuple(k / 100 for k in range(2, 96))


def wait(load: float, scv: float) -> float:
    """Mean wait in s at a load, of services of 100 ms."""
    return float(mean_wait(arrival_rate=load / SERVICE, mean_service=SERVICE, service_scv=scv))


def draw(values: Values) -> Figured:
    """The wait over the load: Pollaczek and Khinchine's line, and dots."""
    load, scv = values["load"] / 100, values["scv"]
    law = LogNormal(f"{SERVICE} s", scv=scv)
    loads = with_here(LOADS, load)
    truth = [estimate(waits(rate=at / SERVICE, law=law)[0], mean) for at in loads]
    lines: dict[str, Line] = {
        "closed form: services vary": ([100 * at for at in LINE], [wait(at, scv) for at in LINE]),
        "if each service took exactly 100 ms": ([100 * at for at in LINE], [wait(at, 0) for at in LINE]),
    }
    constant, here = wait(load, 0), wait(load, scv)
    figure = picture(
        lines,
        x="load (% of what the server can do)",
        y="mean wait (ms)",
        scale=1e3,
        here=100 * load,
        places=[100 * at for at in loads],
        truth=truth,
        top=1e3 * max(wait(0.95, scv), 1.0),
        why_unit="ms",
        why={"random arrivals": constant, "varying services": here - constant},
    )
    return figure, f"At {100 * load:g} % load the mean wait is **{plain(1e3 * here)} ms**; a service takes 100 ms."


LAB = Lab(
    number=1,
    name="knee",
    title="The knee",
    story=(
        "Requests come at random to one server. Each takes 100 ms on average, and they are served in order of "
        "arrival. A server that is busy half of the time seems to have room for twice as many."
    ),
    question=Question(
        text="With exponential services the mean wait is 100 ms at 50 % load. What is it at 90 %?",
        unit="ms",
        answer=lambda: 1e3 * wait(0.9, 1.0),
        because="The wait grows as load / (1 - load): 1 service at 50 %, 9 services at 90 %.",
    ),
    sliders=(
        Slider(name="load", label="load (%)", low=5, high=94, step=1, value=70),
        Slider(name="scv", label="variability of services (their scv)", low=0.1, high=8, step=0.1, value=1),
    ),
    draw=draw,
    conditions=(
        Condition(text="the load is below 100 %", holds=lambda at: at["load"] < 100),
        Condition(
            text="runs of 200,000 customers are long enough for the dots (the load is at most 90 %, scv at most 4)",
            holds=lambda at: at["load"] <= 90 and at["scv"] <= 4,
        ),
    ),
    remember=(
        "The wait grows as load / (1 - load): going from 90 % to 95 % load doubles it.",
        "Variability is a factor: (1 + scv) / 2. Twice the scv is not twice the wait, but nearly so when it is large.",
        "The mean service says nothing about the wait: two systems with equal means may differ tenfold.",
    ),
    exercises=(
        Exercise(
            task="At which load is the mean wait equal to one mean service, if scv = 1? And if scv = 4?",
            solution="load / (1 - load) × (1 + scv) / 2 = 1 gives load = 2 / (3 + scv): 50 % and 29 %.",
        ),
        Exercise(
            task="You may halve the service's mean or its scv of 4, at 10 request/s. Which shortens the wait more?",
            solution=(
                "At 80 % load (80 ms): halving the mean gives 40 % load: the factor load / (1 - load) falls from 4 to "
                "0.67, and the service halves: a twelfth. Halving the scv takes (1 + scv) / 2 from 2.5 to 1.5."
            ),
        ),
    ),
)
