"""Lab 8: retries, and the state that one does not come back from."""

import math

import numpy as np

from secondorder.answers.estimate import Estimate
from secondorder.labs.dots import of_runs, with_here
from secondorder.labs.drawing import Line, picture
from secondorder.labs.lab import Condition, Exercise, Figured, Lab, Question, Slider, Values, plain

SERVICE, ATTEMPTS, RUNS, FLOOD = 0.1, 3_000, 6, 300
"""Mean service in s; attempts of a run, runs of a dot, and attempts that an outage leaves in line."""
LOADS = (0.2, 0.4, 0.6, 0.7, 0.8)


def failing(rate: float, limit: float) -> float:
    """Share of the attempts that take longer than ``limit`` s: ``exp(-(1/service - rate) limit)``, or all."""
    return math.exp(-max(1 / SERVICE - rate, 0.0) * limit)


def attempts(load: float, limit: float, again: float, *, high: bool) -> float:
    """Attempts over what the server can do: the lowest or highest root of ``x = load + again x failing(x)``."""
    from scipy.optimize import brentq

    def gap(x: float) -> float:
        return load + again * x * failing(x / SERVICE, limit) - x

    grid = np.linspace(load, max(load / (1 - again), load) + 1e-9, 400)
    signs = [gap(x) for x in grid]
    roots = [
        float(brentq(gap, a, b))
        for a, b, one, other in zip(grid, grid[1:], signs, signs[1:], strict=False)
        if one * other < 0
    ]
    found = roots or [load / (1 - again)]
    return max(found) if high else min(found)


def simulated(load: float, limit: float, again: float, flood: int) -> Estimate:
    """Attempts per service time in the second half of some runs, from an empty start or after an outage."""
    return of_runs([_run(load, limit, again, flood, k) for k in range(RUNS)], unit="")


def _run(load: float, limit: float, again: float, flood: int, seed: int) -> float:
    from heapq import heappop, heappush

    from secondorder.simulate.streams import stream

    services = stream(1, seed, "services").exponential(SERVICE, ATTEMPTS + flood).tolist()
    coins = (stream(1, seed, "retries").random(ATTEMPTS + flood) < again).tolist()
    gaps = iter(stream(1, seed, "gaps").exponential(SERVICE / load, ATTEMPTS + flood).tolist())
    pauses = stream(1, seed, "backoff").exponential(limit, ATTEMPTS + flood).tolist()
    coming, fresh, free, times = [0.0] * flood, next(gaps), 0.0, []
    for place, service in enumerate(services):
        if coming and coming[0] <= fresh:
            now = heappop(coming)
        else:
            now, fresh = fresh, fresh + next(gaps, math.inf)
        free = max(free, now) + service
        if free - now > limit and coins[place]:
            heappush(coming, now + limit + pauses[place])
        times.append(now)
    half = len(times) // 2
    return (len(times) - half) * SERVICE / (times[-1] - times[half - 1])


def draw(values: Values) -> Figured:
    """Attempts over the load, on both branches."""
    load, limit, again = values["load"] / 100, values["limit"], values["again"] / 100
    line = [k / 100 for k in range(5, 96, 2)]
    places = [100 * at for at in line]
    lines: dict[str, Line] = {
        "from an empty start": (places, [100 * attempts(at, limit, again, high=False) for at in line]),
        "after an outage": (places, [100 * attempts(at, limit, again, high=True) for at in line]),
        "without retries": (places, places),
    }
    loads = with_here(LOADS, load)
    truth = [simulated(at, limit, again, flood) for flood in (0, FLOOD) for at in loads]
    truth = [_percent(each) for each in truth]
    figure = picture(
        lines,
        x="load of new requests (%)",
        y="load of all attempts (%)",
        here=100 * load,
        places=[100 * at for at in loads] * 2,
        truth=truth,
    )
    low, high = (attempts(load, limit, again, high=which) for which in (False, True))
    told = (
        "one state only" if math.isclose(low, high, rel_tol=1e-3) else "**two states**: an outage moves it to the other"
    )
    return (
        figure,
        f"At {100 * load:g} % load: attempts {plain(100 * low)} %, after an outage {plain(100 * high)} %: {told}.",
    )


def _percent(each: Estimate) -> Estimate:
    from dataclasses import replace

    assert each.low is not None
    assert each.high is not None
    return replace(each, amount=100 * each.amount, low=100 * each.low, high=100 * each.high)


LAB = Lab(
    number=8,
    name="retries",
    title="Retries and the state one does not come back from",
    story=(
        "Clients give up after a time-out, and most of them ask again. The server does not know that they left, and "
        "completes their requests all the same. A service takes 100 ms. One outage leaves 300 requests in line."
    ),
    question=Question(
        text="New requests are 70 % of what the server can do, the time-out is 3 s, and 80 % ask again. What is the "
        "load of all attempts after the outage?",
        unit="%",
        answer=lambda: 100 * attempts(0.7, 3.0, 0.8, high=True),
        because=(
            "Every attempt times out, so each request is tried 1 / (1 - 0.8) = 5 times: far more than can be served."
        ),
    ),
    sliders=(
        Slider(name="load", label="load of new requests (%)", low=5, high=95, step=1, value=70),
        Slider(name="limit", label="time-out (s)", low=0.5, high=5, step=0.1, value=3),
        Slider(name="again", label="share that asks again (%)", low=0, high=90, step=5, value=80),
    ),
    draw=draw,
    conditions=(
        Condition(
            text="retries come like new arrivals: back-off is long compared with a service (time-out at least 1 s)",
            holds=lambda at: at["limit"] >= 1,
        ),
        Condition(
            text="the server is not full even if every attempt fails: load / (1 - share) is below 100 %",
            holds=lambda at: at["load"] / 100 < 1 - at["again"] / 100,
        ),
    ),
    remember=(
        "With retries a system has two states under one load. An outage or chance moves it, and it stays there.",
        "Waiting does not help: new requests must fall below a load of 1 - (share that asks again), or be refused.",
        "Limit the retries, not the time-out: a share of 20 % leaves one state up to 80 % load.",
    ),
    exercises=(
        Exercise(
            task="Find the lowest load with two states if 80 % ask again.",
            solution="20 %: from there on five attempts for each request keep the server full.",
        ),
        Exercise(
            task="Does a longer time-out help after the outage?",
            solution="It makes the good state safer, and leaves the bad one as it is: there every attempt times out.",
        ),
    ),
)
