"""Lab 5: a batch that waits for company."""

import numpy as np

from secondorder.analytic.queues.batch_service import mean_response
from secondorder.answers.estimate import Estimate
from secondorder.labs.dots import estimate, mean, with_here
from secondorder.labs.drawing import Line, picture
from secondorder.labs.lab import Condition, Exercise, Figured, Lab, Question, Slider, Values, plain

ITEM = 0.002
CUSTOMERS = 12_000
SHARES = (0.1, 0.3, 0.5, 0.7, 0.85)
LINE = tuple(k / 100 for k in range(2, 95, 2))


def response(rate: float, batch: float) -> float:
    """Mean response in s where a free server takes all who wait: ``batch`` s and 2 ms for each."""
    return float(mean_response(arrival_rate=rate, item_time=ITEM, batch_time=batch))


def alone(rate: float, batch: float) -> float:
    """Mean response in s one by one, of a constant service (infinite past saturation)."""
    service = batch + ITEM
    load = rate * service
    return service * (1 + load / (2 * (1 - load))) if load < 1 else float("inf")


def simulated(rate: float, batch: float) -> Estimate:
    """The mean response of a run."""
    from secondorder.scenarios.queue import BatchService
    from secondorder.simulate.queues.batching import run_batches
    from secondorder.simulate.streams import stream

    arrival = np.cumsum(stream(1, 0, "gaps").exponential(1 / rate, CUSTOMERS))
    run = run_batches(arrival, BatchService(per_batch=f"{batch} s", per_item=f"{ITEM} s"))
    kept = ~np.isnan(run.finish)
    return estimate((run.finish - run.arrival)[kept], mean)


def draw(values: Values) -> Figured:
    """The response over the rate, in batches and one by one."""
    rate, batch = values["rate"], values["batch"] / 1e3
    rates = [at / ITEM for at in LINE]
    singly = [at for at in np.linspace(5, 1 / ITEM, 200).tolist() if alone(at, batch) < response(0.9 / ITEM, batch)]
    places = with_here([at / ITEM for at in SHARES], rate)
    lines: dict[str, Line] = {
        "in batches": (rates, [response(at, batch) for at in rates]),
        "one by one": (singly, [alone(at, batch) for at in singly]),
    }
    figure = picture(
        lines,
        x="arrivals (request/s)",
        y="mean response (ms)",
        scale=1e3,
        here=rate,
        places=places,
        truth=[simulated(at, batch) for at in places],
        top=1e3 * response(0.9 / ITEM, batch),
    )
    single = alone(rate, batch)
    told = f"it takes {plain(1e3 * single)} ms" if single < float("inf") else "the queue grows without limit"
    return (
        figure,
        f"At {rate:g} request/s a response takes **{plain(1e3 * response(rate, batch))} ms** in batches; one by one "
        f"{told}.",
    )


LAB = Lab(
    number=5,
    name="batching",
    title="The batch that waits",
    story=(
        "A step of an accelerator takes a fixed time (reading the weights) and 2 ms for each request in it. A "
        "server that is free takes all waiting requests into its next batch; a request that comes during a step waits "
        "for the next one."
    ),
    question=Question(
        text="A batch takes 20 ms + 2 ms for each request. One by one, the server could do 45 request/s. How many can "
        "it do in batches of any size?",
        unit="request/s",
        answer=lambda: 1 / ITEM,
        because="The fixed time is shared by all in a batch: only 2 ms for each request remain.",
    ),
    sliders=(
        Slider(name="rate", label="arrivals (request/s)", low=5, high=470, step=5, value=150),
        Slider(name="batch", label="fixed time of a batch (ms)", low=2, high=60, step=1, value=20),
    ),
    draw=draw,
    conditions=(
        Condition(text="the rate is below 1 / (2 ms) = 500 request/s", holds=lambda at: at["rate"] < 500),
        Condition(text="runs are long enough for the dots (at most 430 request/s)", holds=lambda at: at["rate"] <= 430),
    ),
    remember=(
        "Batches raise the highest rate; the price is that each answer waits for its whole batch.",
        "A request that finds a step under way waits for its end, half a step on average, before its own step.",
        "Load makes batches larger, and larger batches make each request cheaper: the curve bends late.",
    ),
    exercises=(
        Exercise(
            task="Is there a rate at which requests are answered sooner one by one (20 ms)?",
            solution=(
                "At none: batches are never slower here. Up to 5 request/s the two are alike within 1 %; at 20 "
                "request/s one by one takes 14 % longer."
            ),
        ),
        Exercise(
            task="About how many requests are in a batch at 400 request/s, if its fixed time is 20 ms?",
            solution="40: as many come during a batch as are served in it, n = 400/s × (20 ms + 2 ms n).",
        ),
    ),
)
