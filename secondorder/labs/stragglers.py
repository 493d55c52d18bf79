"""Lab 12: stragglers in a ring."""

from secondorder.analytic.collectives.ring import approximate_stage_cost, stage_cost_bounds
from secondorder.answers.estimate import Estimate
from secondorder.labs.dots import of_runs
from secondorder.labs.drawing import Line, picture
from secondorder.labs.lab import Condition, Exercise, Figured, Lab, Question, Slider, Values
from secondorder.laws import LogNormal

RANKS = (4, 8, 16, 32, 64)
LINE = (2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
STAGES, RUNS = 400, 8


def cost(ranks: int, scv: float, slow: float = 1.0) -> float:
    """Mean time of a stage in hops, by two moments; of a ring with a slow link, at least that link's hop."""
    return max(float(approximate_stage_cost(scv=scv, ranks=ranks)), slow)


def simulated(ranks: int, scv: float, slow: float) -> Estimate:
    """The steady time of a stage: the second half of a long ring."""
    import numpy as np

    from secondorder.simulate.kernels.ring import finish
    from secondorder.simulate.streams import stream

    size = RUNS * STAGES * ranks
    hops = LogNormal("1 s", scv=max(scv, 1e-6)).sample(size, stream(1, 0, "hops")).reshape(RUNS, STAGES, ranks)
    hops[:, :, 0] *= slow
    half = finish(np.zeros(ranks), hops[:, : STAGES // 2])
    spent = (finish(half, hops[:, STAGES // 2 :]).max(axis=1) - half.max(axis=1)) / (STAGES / 2)
    return of_runs(spent.tolist(), unit="")


def draw(values: Values) -> Figured:
    """The time of a stage over the ranks."""
    ranks, scv, slow = int(values["ranks"]), values["scv"], values["slow"]
    law = LogNormal("1 s", scv=scv)
    lines: dict[str, Line] = {
        "ring, by two moments": (LINE, [cost(n, scv, slow) for n in LINE]),
        "with a barrier after each stage": (LINE, [float(stage_cost_bounds(law=law, ranks=n)[1]) for n in LINE]),
        "alpha-beta: nothing varies": (LINE, [1.0 for _ in LINE]),
    }
    why = {
        "the hop itself": 1.0,
        "jitter": cost(ranks, scv) - 1.0,
        "slow link": cost(ranks, scv, slow) - cost(ranks, scv),
    }
    places = sorted({*RANKS, ranks})
    figure = picture(
        lines,
        x="ranks",
        y="mean time of a stage (mean hops)",
        here=ranks,
        places=places,
        truth=[simulated(n, scv, slow) for n in places],
        why=why,
        why_unit="hops",
    )
    return figure, f"{ranks} ranks: a stage takes about **{cost(ranks, scv, slow):.3g} hops** instead of 1."


LAB = Lab(
    number=12,
    name="stragglers",
    title="Stragglers in a ring",
    story=(
        "In a ring all-reduce each rank passes a part on to the next, stage by stage. A late hop delays its "
        "neighbour, which delays the next. The textbook's time counts the mean hop."
    ),
    question=Question(
        text=(
            "Hops of 64 ranks vary by 30 % (standard deviation over mean). By how many per cent is the all-reduce "
            "slower than the mean hop says?"
        ),
        unit="%",
        answer=lambda: 100 * (cost(64, 0.09) - 1),
        because="A ring loses about one standard deviation a stage; a barrier after each stage would lose far more.",
    ),
    sliders=(
        Slider(name="scv", label="variability of hops (their scv)", low=0.01, high=1, step=0.01, value=0.09),
        Slider(name="ranks", label="ranks", low=2, high=64, step=1, value=64),
        Slider(name="slow", label="slowdown of one link (times)", low=1, high=3, step=0.1, value=1),
    ),
    draw=draw,
    conditions=(
        Condition(text="the coefficient of variation is at most 0.5 (scv 0.25)", holds=lambda at: at["scv"] <= 0.25),
        Condition(
            text="for a slow link: jitter is small compared with it, or no rank is slow",
            holds=lambda at: at["slow"] == 1 or at["slow"] >= 1 + 2 * at["scv"] ** 0.5,
        ),
    ),
    remember=(
        "A ring does not wait for the slowest rank in each stage: delays are absorbed while neighbours have work.",
        "A link that is always slow is never absorbed: it sets the pace of all.",
        "A barrier turns the mean of the maximum into the time of every stage, and that grows with the ranks.",
    ),
    exercises=(
        Exercise(
            task="From which slowdown of a link on does jitter of scv 0.09 no longer matter (64 ranks)?",
            solution=(
                "Near 1.3 both matter, and the dots lie above both lines; from 1.6 on the slow link alone sets the "
                "pace."
            ),
        ),
        Exercise(
            task="How much does a barrier cost at 64 ranks and scv 0.09?",
            solution="Its line is near 1.9 hops where the ring takes 1.3: compare the two.",
        ),
    ),
)
