"""Lab 14: the theorem and its assumption, eviction that loses its output."""

import math

from secondorder.answers.estimate import Estimate
from secondorder.labs.dots import of_runs, with_here
from secondorder.labs.drawing import Line, picture
from secondorder.labs.lab import Condition, Exercise, Figured, Lab, Question, Slider, Values, plain

SERVICE, CUSTOMERS, RUNS = 0.1, 2_500, 6
LOADS = (0.1, 0.25, 0.4, 0.5, 0.6)


def kept(load: float) -> float:
    """Mean response in s where the newest is served first and work is kept: ``service / (1 - load)``, for any law.

    *Source*: Baskett, Chandy, Muntz and Palacios, Open, closed and mixed networks of queues (1975).
    """
    return SERVICE / (1 - load)


def lost(load: float) -> float:
    """The same where eviction loses the work, for constant services; infinite from a load of ln 2 on.

    Who is evicted begins again when the others are gone. A try lasts until a gap of a service comes, ``(e^load - 1) /
    rate`` in all, and each of the ``e^load - 1`` evictions adds the stay of the newcomer, as long as one's own.
    """
    evictions = math.exp(load) - 1
    return SERVICE / load * evictions / (1 - evictions) if evictions < 1 else math.inf


def simulated(load: float, losing: bool) -> Estimate:
    """The mean response of some runs."""
    return of_runs([_run(load, losing, k) for k in range(RUNS)])


def _run(load: float, losing: bool, seed: int) -> float:
    from secondorder.simulate.streams import stream

    gaps = stream(1, seed, "gaps").exponential(SERVICE / load, CUSTOMERS).tolist()
    stack: list[tuple[float, float]] = []
    now = total = 0.0
    for gap in gaps:
        left = gap
        while stack and stack[-1][1] <= left:
            came, work = stack.pop()
            left -= work
            total += now + gap - left - came
            if stack and losing:
                stack[-1] = stack[-1][0], SERVICE
        now += gap
        if stack:
            stack[-1] = stack[-1][0], SERVICE if losing else stack[-1][1] - left
        stack.append((now, SERVICE))
    for came, work in reversed(stack):
        now += work
        total += now - came
    return total / CUSTOMERS


def draw(values: Values) -> Figured:
    """The response over the load."""
    load = values["load"] / 100
    line = [k / 100 for k in range(2, 91, 2)]
    short = [at for at in line if lost(at) < 15 * SERVICE]
    lines: dict[str, Line] = {
        "theorem: work is kept": ([100 * at for at in line], [kept(at) for at in line]),
        "evicted work is lost": ([100 * at for at in short], [lost(at) for at in short]),
    }
    loads = with_here(LOADS, load)
    truth = [simulated(at, losing) for losing in (False, True) for at in loads]
    figure = picture(
        lines,
        x="load (%)",
        y="mean response (ms)",
        scale=1e3,
        here=100 * load,
        places=[100 * at for at in loads] * 2,
        truth=truth,
        top=1e3 * 15 * SERVICE,
    )
    told = f"{plain(1e3 * lost(load))} ms" if lost(load) < math.inf else "a queue without limit"
    return figure, f"At {100 * load:g} % load: **{plain(1e3 * kept(load))} ms** if work is kept, **{told}** if not."


LAB = Lab(
    number=14,
    name="eviction",
    title="The theorem and its assumption",
    story=(
        "A famous theorem: if the newest request always goes first and the others continue where they were, the mean "
        "response is service / (1 - load), whatever the law of the service. An engine that evicts a request's cache "
        "computes it again: the theorem's assumption fails."
    ),
    question=Question(
        text=(
            "Services are constant, and each eviction loses their work. From which load on does the queue grow without "
            "limit?"
        ),
        unit="%",
        answer=lambda: 100 * math.log(2),
        because="A service ends only if no request comes during it. At ln 2 each service is evicted once on average.",
    ),
    sliders=(Slider(name="load", label="load (%)", low=2, high=90, step=2, value=50),),
    draw=draw,
    conditions=(
        Condition(text="if work is kept: the load is below 100 %", holds=lambda at: at["load"] < 100),
        Condition(
            text="if work is lost: the load is below ln 2 = 69 %", holds=lambda at: at["load"] / 100 < math.log(2)
        ),
    ),
    remember=(
        "A theorem is as good as its assumptions: here the server is unstable at a load of 70 %.",
        "Work that is lost is offered load: count it before you compute a utilisation.",
        "At low load the two agree: that a formula was right in a test does not say that it is right at the limit.",
    ),
    exercises=(
        Exercise(
            task="Up to which load is the theorem within 10 % although work is lost?",
            solution="Up to about 15 %: the two lines part with load², since each eviction costs work and a stay.",
        ),
        Exercise(
            task="Which rule of a serving engine makes its lost work smaller?",
            solution="Evict the newest rather than the oldest, keep the cache in another memory, or admit fewer.",
        ),
    ),
)
