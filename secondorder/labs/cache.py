"""Lab 7: the cliff of the cache, and where the waiting goes."""

from functools import cache

import numpy as np

from secondorder.analytic.serving.saturation import demand
from secondorder.answers.estimate import Estimate
from secondorder.fleets.accelerators import accelerators
from secondorder.labs.dots import estimate, mean
from secondorder.labs.drawing import Line, picture
from secondorder.labs.lab import Condition, Exercise, Figured, Lab, Question, Slider, Values, plain
from secondorder.scenarios.serving import Serving
from secondorder.simulate.serving.single_run import ServingRun
from secondorder.workloads.arrivals import Poisson
from secondorder.workloads.lengths import Geometric, Lengths
from secondorder.workloads.models import models

BLOCK, REQUESTS = 16, 2_500
SIZES = (600, 1_000, 1_500, 2_500, 4_000)
"""Blocks of the cache."""


def service(rate: float, blocks: int | None = None) -> Serving:
    """A model of 8 billion parameters on one accelerator, with prompts of 512 and answers of 128 tokens on average."""
    return Serving(
        model=models.llama_3_1_8b,
        accelerator=accelerators.h100_sxm,
        arrivals=Poisson(f"{rate} request/s"),
        lengths=Lengths(input=512, output=Geometric(128)),
        max_num_seqs=256,
        max_num_batched_tokens=2048,
        num_gpu_blocks=blocks,
        enable_prefix_caching=False,
        async_scheduling=False,
    )


@cache
def needed(rate: float) -> tuple[float, float]:
    """With an ample cache: mean sequences running (Little), and tokens of cache that each holds."""
    from secondorder.analytic.serving.ladder import ladder

    scenario = service(rate)
    return ladder(scenario).best("running_mean").amount, demand(scenario).held


@cache
def first_token(rate: float) -> float:
    """The closed form's mean time to first token in s, with an ample cache."""
    from secondorder.analytic.serving.ladder import ladder

    return ladder(service(rate)).best("ttft_mean").amount


@cache
def served(rate: float, blocks: int) -> ServingRun:
    """One run by the compiled engine."""
    from secondorder.simulate.serving.asks import draw as drawn
    from secondorder.simulate.serving.source import serve

    scenario = service(rate, blocks)
    return serve(scenario, drawn(scenario, REQUESTS, 1))


def simulated(rate: float, blocks: int) -> Estimate:
    """The mean time to first token in s."""
    return estimate(served(rate, blocks).requests["ttft"].to_numpy(), mean)


def draw(values: Values) -> Figured:
    """The time to first token over the size of the cache."""
    rate, blocks = values["rate"], int(values["blocks"])
    running, held = needed(rate)
    cliff = running * held / BLOCK
    line = np.geomspace(SIZES[0], SIZES[-1], 40)
    lines: dict[str, Line] = {
        "closed form, ample cache": (line.tolist(), [first_token(rate) for _ in line]),
        "the cliff: mean running × tokens held": ((cliff, cliff), (first_token(rate) / 2, 20.0)),
    }
    sizes = sorted({*SIZES, blocks})
    frame = served(rate, blocks).requests
    wait, fill = ((frame[a] - frame[b]).mean() for a, b in (("scheduled", "arrival"), ("first_token", "scheduled")))
    figure = picture(
        lines,
        x=f"cache (blocks of {BLOCK} tokens)",
        y="mean time to first token (s)",
        here=blocks,
        places=sizes,
        truth=[simulated(rate, each) for each in sizes],
        log="xy",
        why={"waiting for the engine": 1e3 * float(wait), "reading the prompt": 1e3 * float(fill)},
        why_unit="ms",
    )
    again = frame["preemptions"].mean()
    return figure, (
        f"{blocks:,} blocks at {rate:g} request/s: **{plain(1e3 * float(frame['ttft'].mean()))} ms** to the first "
        f"token, {again:.2g} preemptions a request. On average {cliff:,.0f} blocks are needed."
    )


LAB = Lab(
    number=7,
    name="cache",
    title="The cliff of the cache",
    story=(
        "An engine for language models keeps a cache for each running sequence. If there is room for all, a request "
        "starts at once. If not, it waits for room, and running sequences may be evicted and computed again."
    ),
    question=Question(
        text="20 request/s, prompts of 512 and answers of 128 tokens on average. About how many sequences run at once, "
        "with an ample cache?",
        unit="sequences",
        answer=lambda: needed(20.0)[0],
        because="Little's law: the rate times the time that each stays. Each holds 600 to 700 tokens of cache.",
    ),
    sliders=(
        Slider(name="blocks", label="cache (blocks)", low=600, high=4_000, step=100, value=1_500),
        Slider(name="rate", label="arrivals (request/s)", low=5, high=30, step=5, value=20),
    ),
    draw=draw,
    conditions=(
        Condition(
            text="the closed form: the cache is ample (twice what is needed on average)",
            holds=lambda at: at["blocks"] > 2 * needed(at["rate"])[0] * needed(at["rate"])[1] / BLOCK,
        ),
    ),
    remember=(
        "Above the cliff the cache does not matter, below it nothing else does.",
        "Room for the mean is not enough: the running sequences fluctuate, and about twice the mean is needed here.",
        "Below the cliff requests wait in line for room, and hardly for the steps of the engine.",
    ),
    exercises=(
        Exercise(
            task="Halve the rate. Where is the cliff?",
            solution="At less than half: fewer run at once, and each of their steps is shorter too (Little).",
        ),
        Exercise(
            task="Why are there preemptions even where requests wait in line for room?",
            solution="A sequence grows while it runs: there may be room for its prompt and none for its answer.",
        ),
    ),
)
