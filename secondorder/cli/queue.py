"""``secondorder queue``: one-line questions to a queue, and its answer over the load."""

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Group, Parameter

from secondorder.cli.options import OUTPUT, PRINTED, REQUIRED, USUAL, Margin, Output, Run, Simulated, plain
from secondorder.cli.output import check_output, patience, show

if TYPE_CHECKING:
    from secondorder.scenarios.queue import Queue

EXAMPLE = """\
Examples:

  secondorder queue --arrivals "poisson 8 request/s"
    --service "lognormal mean=100ms scv=4" --metric wait_p99

  secondorder queue --arrivals "poisson 3 request/s"
    --service "exponential 1 s" --servers 4 --plot queue.png

  secondorder queue --arrivals "gamma 8 request/s burstiness=0.5"
    --service "erlang 100ms stages=4" --no-simulate

Disciplines: fcfs, ps, "priorities 0.2,0.8", "batch per_batch=5ms per_item=1ms
most=32". Routing: shared, random, "jsq d=2", fork-join. Service laws:
exponential, deterministic, erlang, hyperexponential, exponential-mixture, lognormal,
pareto, gamma, weibull. Arrivals: poisson, gamma, deterministic, markov, "renewal LAW",
"closed 20 exponential 10s".
"""

QUEUE = Group("Queue", sort_key=2)


def _field(text: str, metavar: str, default: str = "", **options: Any) -> Parameter:
    return Parameter(group=QUEUE, help=text, metavar=metavar, show_default=default or None, **options)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Rules:
    """Fields of the scenario by their own names. What is not given has the scenario's default."""

    service: Annotated[
        str | None,
        _field('Time of a service, or its law, "exponential 100 ms"; none with the discipline batch.', "LAW"),
    ] = None
    servers: Annotated[int | None, _field("Servers, all alike.", "INT", "1", converter=plain)] = None
    room: Annotated[int | None, _field("Customers in the system, at most.", "INT", "no limit", converter=plain)] = None
    discipline: Annotated[str | None, _field("Order in which work is done, see below.", "LINE", "fcfs")] = None
    routing: Annotated[str | None, _field("Who serves whom, see below.", "LINE", "shared")] = None
    setup: Annotated[str | None, _field('Time that an idle server needs to start again, "1 s".', "LAW", "none")] = None
    patience: Annotated[str | None, _field('When customers give up, "5 s retries=3".', "LINE", "never")] = None

    @property
    def table(self) -> dict[str, Any]:
        """As a plan spells it."""
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in given.items() if value is not None}


def queue(
    *,
    arrivals: Annotated[
        str, Parameter(group=REQUIRED, metavar="LAW", help='Law of the arrivals, "poisson 8 request/s".')
    ],
    rules: Rules = Rules(),
    metric: Annotated[
        list[str] | None,
        Parameter(group=OUTPUT, metavar="NAME", help="Only this metric, wait_p99; may be repeated.", negative=""),
    ] = None,
    plot: Annotated[
        str | None,
        Parameter(
            group=OUTPUT, metavar="FILE", help="Picture of the metric against the utilisation: .png, .svg or .pdf."
        ),
    ] = None,
    simulate: Simulated = True,
    margin: Margin = None,
    run: Run = USUAL,
    out: Output = PRINTED,
) -> None:
    """Ask a queue: closed forms beside its simulation."""
    from secondorder.validation.comparison import compare
    from secondorder.verbs import solve

    check_output(out)
    scenario = read_queue({"arrivals": arrivals, **rules.table})
    if plot is not None:
        _plot(scenario, metric, plot, run, simulate)
    if not simulate:
        show(_only(solve(scenario), metric), out)
        return
    with patience("simulating"):
        comparison = compare(scenario, margin=margin, **run.arguments)
    show(_only_compared(comparison, metric), out)


def read_queue(table: dict[str, Any]) -> "Queue":
    """The scenario of a table that flags gave."""
    from secondorder.cli.doors import Door
    from secondorder.scenarios.queue import Queue

    return Door().build(Queue, table)


def _only(answer: Any, metrics: list[str] | None) -> Any:
    """The answer with only these metrics; an unknown one is refused with the near ones."""
    from dataclasses import replace

    if not metrics:
        return answer
    return replace(answer, estimates=tuple(e for metric in metrics for e in answer[metric]))


def _only_compared(comparison: Any, metrics: list[str] | None) -> Any:
    from dataclasses import replace

    if not metrics:
        return comparison
    simulated = _only(comparison.simulated, metrics)
    solved = _only(comparison.solved, [metric for metric in metrics if metric in comparison.solved])
    return replace(comparison, solved=solved, simulated=simulated)


def _plot(scenario: "Queue", metrics: list[str] | None, path: str, run: Run, simulate: bool) -> None:
    import sys

    from secondorder.report.plots import check_figure, save, utilisation_figure
    from secondorder.validation.utilisation import utilisation_study

    check_figure(path)
    wanted = metrics or ["wait_mean", "wait_p99"]
    with patience("simulating over the utilisation"):
        study = utilisation_study(scenario, wanted, simulated=simulate, **run.arguments)
    print(f"picture: {save(utilisation_figure(study), path)}", file=sys.stderr)
