"""``secondorder queue``: one-line questions to a queue, and its answer over the load."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

from cyclopts import Group, Parameter

from secondorder.cli.drawing import NOTHING, Drawn, check_drawn, draw, write_figure
from secondorder.cli.flags import Flag, Given, attach, build, flags_of, given_in, nested
from secondorder.cli.options import OUTPUT, PRINTED, USUAL, Margin, Output, Run, Simulated
from secondorder.cli.output import check_output, patience, show
from secondorder.systems.registry import SYSTEMS

if TYPE_CHECKING:
    from secondorder.answers.answer import Answer
    from secondorder.scenarios.queue import Queue
    from secondorder.validation.comparison import Comparison

TITLE = "A queue: closed forms and simulation."
EXAMPLE = """\
Examples:

  secondorder queue --arrivals "poisson 8 request/s"
    --service "lognormal mean=100ms scv=4" --metric wait_p99

  secondorder queue --arrivals "poisson 3 request/s"
    --service "exponential 1 s" --servers 4 --figure queue.png

  secondorder queue --arrivals "gamma 8 request/s burstiness=0.5"
    --service "erlang 100ms stages=4" --no-simulate

Disciplines: fcfs, ps, "priorities 0.2,0.8", "batch per_batch=5ms per_item=1ms
most=32". Routing: shared, random, "jsq d=2", fork-join. Service laws:
exponential, deterministic, erlang, hyperexponential, exponential-mixture,
lognormal, pareto, gamma, weibull. Arrivals: poisson, gamma, deterministic,
markov, "renewal LAW", "closed 20 exponential 10s".
"""

QUEUE = Group("Queue", sort_key=2)
Metrics = Annotated[
    list[str] | None,
    Parameter(group=OUTPUT, metavar="NAME", help="Only this metric, such as wait_p99; may be repeated.", negative=""),
]


def flags() -> list[Flag]:
    """A flag for each field of the queue."""
    from secondorder.scenarios.queue import Queue

    return [flag for flag in flags_of(Queue, QUEUE) if flag.name != "name"]


def read_queue(given: Given) -> "Queue":
    """The scenario of the flags that were given, by their names."""
    from secondorder.scenarios.queue import Queue

    every = flags()
    return build(Queue, nested(every, given), every)


def _command() -> Callable[..., None]:
    every = flags()

    def queue(
        *,
        values: object,
        metric: Metrics = None,
        simulate: Simulated = True,
        margin: Margin = None,
        run: Run = USUAL,
        drawn: Drawn = NOTHING,
        out: Output = PRINTED,
    ) -> None:
        from secondorder.answers.answer import Answer
        from secondorder.validation.comparison import Comparison, compare
        from secondorder.verbs import solve

        check_output(out)
        scenario = read_queue(given_in(values, every))
        check_drawn(drawn)
        if drawn.figure is not None:
            _draw(scenario, metric, drawn.figure, run, simulate)
        found: Answer | Comparison
        if simulate:
            with patience("simulating"):
                comparison = compare(scenario, margin=margin, **run.arguments)
            found = _only_compared(comparison, metric)
        else:
            found = _only(solve(scenario), metric)
        show(found, out)
        draw([(scenario, found)], Drawn(report=drawn.report))

    queue.__doc__ = TITLE
    return attach(queue, every, SYSTEMS["queue"])


def __getattr__(name: str) -> Callable[..., None]:
    """The command, made when it is first asked for: until then no scenario is imported."""
    if name != "queue":
        raise AttributeError(name)
    return _command()


def _only(answer: "Answer", metrics: list[str] | None) -> "Answer":
    """The answer with only these metrics; an unknown one is refused with the near ones."""
    from dataclasses import replace

    if not metrics:
        return answer
    return replace(answer, estimates=tuple(e for metric in metrics for e in answer[metric]))


def _only_compared(comparison: "Comparison", metrics: list[str] | None) -> "Comparison":
    from dataclasses import replace

    if not metrics:
        return comparison
    simulated = _only(comparison.simulated, metrics)
    solved = _only(comparison.solved, [metric for metric in metrics if metric in comparison.solved])
    return replace(comparison, solved=solved, simulated=simulated)


def _draw(scenario: "Queue", metrics: list[str] | None, path: str, run: Run, simulate: bool) -> None:
    from secondorder.report.plots import utilisation_figure
    from secondorder.validation.utilisation import utilisation_study

    wanted = metrics or ["wait_mean", "wait_p99"]
    with patience("simulating over the utilisation"):
        study = utilisation_study(scenario, wanted, simulated=simulate, **run.arguments)
    write_figure(lambda: utilisation_figure(study), path)
