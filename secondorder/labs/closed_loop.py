"""Lab 9: an open stream of requests against a fixed number of users."""

import numpy as np

from secondorder.analytic.queues.closed_network import mean_value_analysis
from secondorder.answers.estimate import Estimate
from secondorder.labs.dots import of_runs
from secondorder.labs.drawing import Line, picture
from secondorder.labs.lab import Condition, Exercise, Figured, Lab, Question, Slider, Values, plain

SERVICE = 0.1
ROUNDS, RUNS = 400, 6
"""Visits of a user in a run, about, and runs of a dot."""
SHARES = (0.3, 0.6, 0.9, 1.2, 1.6)


def closed(users: int, think: float) -> float:
    """Mean response in s of this many users who think between requests."""
    return mean_value_analysis(customers=users, demand=[SERVICE], think=think).mean_response


def opened(rate: float) -> float:
    """Mean response in s of an open stream (M/M/1; infinite from saturation on)."""
    return SERVICE / (1 - rate * SERVICE) if rate * SERVICE < 1 else float("inf")


def simulated(users: int, think: float) -> Estimate:
    """The mean response of users who think and ask, by a heap of their next requests."""
    return of_runs([_run(users, think, seed) for seed in range(RUNS)])


def _run(users: int, think: float, seed: int) -> float:
    from heapq import heapify, heapreplace

    from secondorder.simulate.streams import stream

    visits = max(2_000, 20 * users)
    thoughts = stream(1, seed, "think").exponential(think, users + visits).tolist()
    services = stream(1, seed, "services").exponential(SERVICE, visits).tolist()
    asks, free = thoughts[:users], 0.0
    heapify(asks)
    responses = []
    for thought, service in zip(thoughts[users:], services, strict=True):
        asked = asks[0]
        free = max(free, asked) + service
        responses.append(free - asked)
        heapreplace(asks, free + thought)
    return float(np.mean(responses[visits // 5 :]))


def draw(values: Values) -> Figured:
    """The response over the number of users."""
    think, users = values["think"], int(values["users"])
    most = max(int(1.8 * (think + SERVICE) / SERVICE), 4)
    line = sorted({max(1, round(most * k / 60)) for k in range(1, 61)})
    spread = {max(1, round(share * (think + SERVICE) / SERVICE)) for share in SHARES}
    places = sorted({*spread, users} if users <= most else spread)
    stable = [n for n in line if opened(n / (think + SERVICE)) < 12 * SERVICE]
    lines: dict[str, Line] = {
        "closed: users wait for answers": (line, [closed(n, think) for n in line]),
        "open, at the same rate": (
            stable,
            [opened(n / (think + SERVICE)) for n in stable],
        ),
    }
    figure = picture(
        lines,
        x="users",
        y="mean response (ms)",
        scale=1e3,
        here=users if users <= most else None,
        places=places,
        truth=[simulated(n, think) for n in places],
        top=1e3 * closed(most, think) * 1.05,
    )
    other = opened(users / (think + SERVICE))
    told = f"{plain(1e3 * other)} ms" if other < float("inf") else "a queue without limit"
    return (
        figure,
        f"{users} users: **{plain(1e3 * closed(users, think))} ms** closed; an open stream of their rate: {told}.",
    )


LAB = Lab(
    number=9,
    name="closed_loop",
    title="Open against closed loop",
    story=(
        "A load test with a fixed number of users is a closed loop: a user who waits sends nothing. Real traffic is "
        "mostly open: the next user comes however long the last one waits. Service takes 100 ms (exponential)."
    ),
    question=Question(
        text=(
            "100 users think 10 s between requests: at most 9.9 request/s for a server that does 10. An open stream "
            "of that rate waits 9.9 s on average. What is the mean response of the 100 users?"
        ),
        unit="s",
        answer=lambda: closed(100, 10.0),
        because="Users who wait do not ask: the loop slows down by itself, and hides the queue.",
    ),
    sliders=(
        Slider(name="users", label="users", low=1, high=180, step=1, value=100),
        Slider(name="think", label="time to think (s)", low=1, high=10, step=0.5, value=10),
    ),
    draw=draw,
    conditions=(
        Condition(
            text="for the open line: the stream of that rate is stable",
            holds=lambda at: at["users"] * SERVICE < at["think"] + SERVICE,
        ),
        Condition(text="for the closed line: services are exponential, as drawn here", holds=lambda at: True),
    ),
    remember=(
        "A closed loop cannot overload a server: its response grows in a straight line with the users.",
        "A load test with few users understates the latency of open traffic at the same throughput.",
        "Say which one you measured: the rate that was sent, or the users that waited.",
    ),
    exercises=(
        Exercise(
            task="Where does the closed line bend? Compute it.",
            solution="At (think + service) / service users: 101 of them keep the server just busy.",
        ),
        Exercise(
            task="Your load generator has 8 connections. Which latency does it never see?",
            solution="More than 8 services: nobody can find more than 7 others in line.",
        ),
    ),
)
