"""Lab 6: one long prompt in front of many short ones."""

import numpy as np

from secondorder.analytic.queues.single_server import mean_wait
from secondorder.answers.estimate import Estimate
from secondorder.arrays import Floats
from secondorder.labs.dots import estimate, mean, with_here
from secondorder.labs.drawing import Line, picture
from secondorder.labs.lab import Condition, Exercise, Figured, Lab, Question, Slider, Values, plain
from secondorder.simulate.streams import stream

SHORT = 0.05
CUSTOMERS = 100_000
LENGTHS = (0.1, 0.5, 1.0, 2.0, 3.0, 4.0)
LINE = tuple(0.05 + k / 20 for k in range(80))


def fields(share: float, long: float) -> tuple[float, float]:
    """Mean service in s and its scv."""
    average = (1 - share) * SHORT + share * long
    second = (1 - share) * SHORT**2 + share * long**2
    return average, second / average**2 - 1


def in_order(load: float, share: float, long: float) -> float:
    """Mean response in s of a short request, first come first served."""
    average, scv = fields(share, long)
    return SHORT + float(mean_wait(arrival_rate=load / average, mean_service=average, service_scv=max(scv, 0.0)))


def shared(load: float) -> float:
    """Mean response in s of a short request where all are served at once, each at its share of the speed."""
    return SHORT / (1 - load)


def simulated(load: float, share: float, long: float) -> tuple[Estimate, Estimate]:
    """Mean responses of the short requests, in order and shared."""
    from secondorder.simulate.kernels.queues import first_come, sharing

    average, _ = fields(share, long)
    arrival = np.cumsum(stream(1, 0, "gaps").exponential(average / load, CUSTOMERS))
    is_long = stream(1, 0, "kinds").random(CUSTOMERS) < share
    service = np.where(is_long, long, SHORT)
    ends: tuple[Floats, Floats] = first_come(arrival, service, 1) + service, sharing(arrival, service, 1, None)
    one, other = (estimate((end - arrival)[~is_long], mean) for end in ends)
    return one, other


def draw(values: Values) -> Figured:
    """The response of short requests over the length of the long ones."""
    load, share, long = values["load"] / 100, values["share"] / 100, values["long"]
    lengths = with_here(LENGTHS, long)
    pairs = [simulated(load, share, at) for at in lengths]
    lines: dict[str, Line] = {
        "first come, first served": (LINE, [in_order(load, share, at) for at in LINE]),
        "in chunks (processor sharing)": (LINE, [shared(load) for _ in LINE]),
        "alone": (LINE, [SHORT for _ in LINE]),
    }
    figure = picture(
        lines,
        x="time of a long prompt (s)",
        y="mean response of a short prompt (ms)",
        scale=1e3,
        here=long,
        places=lengths * 2,
        truth=[one for one, _ in pairs] + [other for _, other in pairs],
        why={
            "itself": SHORT,
            "short ones before": in_order(load, 0.0, SHORT) - SHORT,
            "long ones before": in_order(load, share, long) - in_order(load, 0.0, SHORT),
        },
        why_unit="ms",
    )
    return figure, (
        f"A short prompt takes **{plain(1e3 * in_order(load, share, long))} ms** in order and "
        f"**{plain(1e3 * shared(load))} ms** in chunks; alone it takes 50 ms."
    )


LAB = Lab(
    number=6,
    name="long_prompt",
    title="One long prompt",
    story=(
        "Short prompts take 50 ms. A few are long. In order of arrival, a short prompt may wait behind a long one. "
        "Chunked prefill cuts long prompts into pieces, so that all prompts in the engine advance together."
    ),
    question=Question(
        text="Half of the capacity is used, and 2 % of the prompts take 2 s. What is the mean response of a short one "
        "(50 ms alone), first come first served?",
        unit="ms",
        answer=lambda: 1e3 * in_order(0.5, 0.02, 2.0),
        because="The wait is proportional to the second moment of the service, which the few long ones dominate.",
    ),
    sliders=(
        Slider(name="long", label="time of a long prompt (s)", low=0.1, high=4, step=0.1, value=2),
        Slider(name="share", label="share of long prompts (%)", low=1, high=20, step=1, value=2),
        Slider(name="load", label="load (%)", low=10, high=80, step=5, value=50),
    ),
    draw=draw,
    conditions=(
        Condition(text="arrivals are Poisson, as drawn here", holds=lambda at: True),
        Condition(text="runs are long enough for the dots (load at most 70 %)", holds=lambda at: at["load"] <= 70),
    ),
    remember=(
        "The wait in line grows with the second moment of the service: with the square of the long prompt's length.",
        "Shared service is insensitive: a short request's response depends on the load alone.",
        "Chunks do not make long prompts faster: long ones pay for the time that short ones gain.",
    ),
    exercises=(
        Exercise(
            task="For which long prompts is order of arrival as good as chunks?",
            solution="When all prompts are nearly alike (long near 0.1 s): order of arrival then even wins a little.",
        ),
        Exercise(
            task="About how long is the p99 of a short prompt in order of arrival?",
            solution="Nearly a whole long prompt: one in some dozens of short prompts arrives just after a long one.",
        ),
    ),
)
