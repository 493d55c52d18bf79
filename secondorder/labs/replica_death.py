"""Lab 13: a replica dies, and the wave that follows."""

import numpy as np

from secondorder.analytic.queues.multiserver import mean_wait
from secondorder.answers.estimate import Estimate
from secondorder.arrays import Floats
from secondorder.labs.dots import of_runs
from secondorder.labs.drawing import Line, picture
from secondorder.labs.lab import Condition, Exercise, Figured, Lab, Question, Slider, Values, plain
from secondorder.simulate.streams import stream

SERVICE, DEATH, HORIZON, RUNS = 0.1, 60.0, 300.0, 30
"""Mean service, when a replica dies, the end of the figure (s), and runs of a dot."""
WINDOWS = tuple(float(t) for t in range(20, 300, 20))


def fluid(time: float, load: float, replicas: int, down: float) -> float:
    """The wait in s of who arrives at ``time``: the usual mean wait, and until the backlog before it is served.

    While a replica is down the backlog grows by ``rate - (replicas - 1) / service`` a second, then it drains by
    ``replicas / service - rate``.
    """
    rate = load * replicas / SERVICE
    usual = float(mean_wait(arrival_rate=rate, service_rate=1 / SERVICE, servers=replicas))
    growth, drain = rate - (replicas - 1) / SERVICE, replicas / SERVICE - rate
    backlog = max(0.0, growth * min(max(time - DEATH, 0.0), down))
    backlog = max(0.0, backlog - drain * max(0.0, time - DEATH - down))
    left = max(0.0, DEATH + down - time) if time >= DEATH else 0.0
    slow = min(left, backlog * SERVICE / max(replicas - 1, 1))
    return usual + slow + (backlog - slow * (replicas - 1) / SERVICE) * SERVICE / replicas


def simulated(load: float, replicas: int, down: float) -> list[Estimate]:
    """Mean waits of who arrives around each of the times; a death takes a replica as a long job would."""
    found = np.array([_run(load, replicas, down, k) for k in range(RUNS)])
    return [of_runs(column.tolist()) for column in found.T]


def _run(load: float, replicas: int, down: float, seed: int) -> Floats:
    from secondorder.simulate.kernels.queues import first_come

    rate = load * replicas / SERVICE
    count = int(rate * HORIZON * 1.2) + 100
    arrival = np.cumsum(stream(1, seed, "gaps").exponential(1 / rate, count))
    service = stream(1, seed, "services").exponential(SERVICE, count)
    place = int(np.searchsorted(arrival, DEATH))
    arrival, service = np.insert(arrival, place, DEATH), np.insert(service, place, down)
    wait = np.delete(first_come(arrival, service, replicas) - arrival, place)
    arrival = np.delete(arrival, place)
    near = [(arrival > time - 2) & (arrival < time + 2) for time in WINDOWS]
    return np.array([wait[each].mean() if each.any() else 0.0 for each in near])


def draw(values: Values) -> Figured:
    """The wait over time."""
    load, replicas, down = values["load"] / 100, int(values["replicas"]), values["down"]
    times = np.linspace(0, HORIZON, 150).tolist()
    lines: dict[str, Line] = {
        "fluid: backlog that grows and drains": (times, [fluid(t, load, replicas, down) for t in times]),
        "nobody dies": (times, [fluid(0.0, load, replicas, down) for _ in times]),
    }
    figure = picture(
        lines,
        x="time (s)",
        y="mean wait (s)",
        places=WINDOWS,
        truth=simulated(load, replicas, down),
    )
    peak = max(fluid(t, load, replicas, down) for t in times)
    return figure, (
        f"The replica dies at 60 s and is back at {DEATH + down:g} s. The wait rises to about **{plain(peak)} s**; the "
        f"backlog is gone **{plain(recovery(load, replicas, down))} s** after the return."
    )


def recovery(load: float, replicas: int, down: float) -> float:
    """How long in s the backlog stays after the return."""
    rate = load * replicas / SERVICE
    growth, drain = rate - (replicas - 1) / SERVICE, replicas / SERVICE - rate
    return max(0.0, growth) * down / drain


LAB = Lab(
    number=13,
    name="replica_death",
    title="A replica dies",
    story=(
        "Four replicas share the traffic of one line; a service takes 100 ms. At 60 s one of them dies, and comes back "
        "after a minute. The others take its requests."
    ),
    question=Question(
        text="At 90 % load, how long after the return of the replica (down for 60 s) is the backlog gone?",
        unit="s",
        answer=lambda: recovery(0.9, 4, 60.0),
        because="36 request/s against 30 grow the backlog by 6 a second; it drains by 40 - 36 = 4 a second.",
    ),
    sliders=(
        Slider(name="load", label="load before (%)", low=40, high=95, step=1, value=90),
        Slider(name="replicas", label="replicas", low=2, high=12, step=1, value=4),
        Slider(name="down", label="time down (s)", low=10, high=120, step=5, value=60),
    ),
    draw=draw,
    conditions=(
        Condition(
            text="the replicas that are left are overloaded: the backlog causes the wait, not chance",
            holds=lambda at: at["load"] / 100 * at["replicas"] > at["replicas"] - 1,
        ),
        Condition(text="nobody gives up or asks again", holds=lambda at: True),
    ),
    remember=(
        "With little spare capacity the recovery is longer than the failure: (overload / headroom) times as long.",
        "Below a load of (replicas - 1) / replicas a death is nearly invisible: that is what a spare buys.",
        "Users remember the peak and its tail, not the minute in which the replica was away.",
    ),
    exercises=(
        Exercise(
            task="How many replicas at the same total traffic (36 request/s) make the death invisible?",
            solution="Five: four remain, at 90 % load, and the backlog does not grow without limit.",
        ),
        Exercise(
            task="What do retries on time-outs add?",
            solution="Work while the service has none to spare: the recovery may never come. See the lab on retries.",
        ),
    ),
)
