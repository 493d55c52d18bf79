"""Lab 3: one line for all servers, a line for each, and the shorter of two lines."""

from secondorder.analytic.queues.join_shortest_queue import mean_response
from secondorder.analytic.queues.multiserver import mean_wait
from secondorder.labs.dots import estimate, mean, waits, with_here
from secondorder.labs.drawing import Line, picture
from secondorder.labs.lab import Condition, Exercise, Figured, Lab, Question, Slider, Values, plain
from secondorder.laws import Exponential

SERVICE = 0.1
LOADS = (0.5, 0.7, 0.8, 0.9)
LINE = tuple(k / 100 for k in range(10, 96))


def pooled(load: float, servers: int) -> float:
    """Mean wait in s in one line for all servers."""
    return float(mean_wait(arrival_rate=load * servers / SERVICE, service_rate=1 / SERVICE, servers=servers))


def two_choices(load: float) -> float:
    """Mean wait in s in the shorter of two lines picked at random, of very many servers."""
    return float(mean_response(arrival_rate=load / SERVICE, service_rate=1 / SERVICE, choices=2)) - SERVICE


def draw(values: Values) -> Figured:
    """The three waits over the load."""
    load, servers = values["load"] / 100, int(values["servers"])
    law, places = Exponential(f"{SERVICE} s"), [100 * at for at in LINE]
    lines: dict[str, Line] = {
        f"one line for {servers} servers": (places, [pooled(at, servers) for at in LINE]),
        "a line for each": (places, [pooled(at, 1) for at in LINE]),
        "the shorter of two lines": (places, [two_choices(at) for at in LINE]),
    }
    loads = with_here(LOADS, load)
    truth = [estimate(waits(rate=at * servers / SERVICE, law=law, servers=servers)[0], mean) for at in loads]
    figure = picture(
        lines,
        x="load of each server (%)",
        y="mean wait (ms)",
        scale=1e3,
        here=100 * load,
        places=[100 * at for at in loads],
        truth=truth,
        top=1e3 * pooled(0.93, 1),
    )
    return figure, (
        f"At {100 * load:g} % load: {plain(1e3 * pooled(load, 1))} ms in a line for each, "
        f"{plain(1e3 * two_choices(load))} "
        f"ms in the shorter of two, **{plain(1e3 * pooled(load, servers))} ms** in one line. Dots: one line."
    )


LAB = Lab(
    number=3,
    name="pooling",
    title="Pooling and two choices",
    story=(
        "Eight replicas share the traffic. A router may send requests anywhere at random, may look at two replicas and "
        "take the shorter line, or all replicas may take from one line. Services take 100 ms (exponential)."
    ),
    question=Question(
        text="At 80 % load the mean wait is 400 ms with a random router. What is it with one line for all eight?",
        unit="ms",
        answer=lambda: 1e3 * pooled(0.8, 8),
        because="Somebody waits only when all eight are busy, and then eight servers empty the line.",
    ),
    sliders=(
        Slider(name="load", label="load (%)", low=10, high=94, step=1, value=80),
        Slider(name="servers", label="servers", low=1, high=32, step=1, value=8),
    ),
    draw=draw,
    conditions=(
        Condition(text="for two choices: the servers are many (at least 8)", holds=lambda at: at["servers"] >= 8),
        Condition(text="runs are long enough for the dots (load at most 90 %)", holds=lambda at: at["load"] <= 90),
    ),
    remember=(
        "One line for all is best: no server idles while somebody waits.",
        "A look at two lines takes most of the wait away: at 90 % load from 9 services to less than 2.",
        "A larger pool may run at a higher load for the same wait.",
    ),
    exercises=(
        Exercise(
            task="At which load does a pool of 32 wait as long as a single server does at 50 %?",
            solution=(
                "A wait of 100 ms: between 97 % and 98 % load, beyond the slider; at 94 % a pool of 32 waits 33 ms."
            ),
        ),
        Exercise(
            task="Why do routers of language models not always take the shortest line?",
            solution=(
                "A cache of prefixes: the replica that knows the prompt's beginning answers sooner, even if busier."
            ),
        ),
    ),
)
