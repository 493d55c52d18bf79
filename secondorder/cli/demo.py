"""``secondorder demo``: an LLM service under real traffic, from a quarter load to saturation."""

import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Group, Parameter

from secondorder.cli.options import OUTPUT, PRINTED, Jobs, Margin, Output, Seed, truth
from secondorder.cli.output import check_output, emit, records

if TYPE_CHECKING:
    from secondorder.scenarios.serving import Serving

LOAD = Group("Load", sort_key=1)
METRICS = ("ttft_mean", "ttft_p99", "tpot_mean", "tpot_p99", "e2el_p99")
PRECISION = 0.03  # relative half-width of the intervals
EXPLAINED, REQUESTS = 0.8, 20_000
"""The load whose gap is explained, and requests of each of its runs."""

EXAMPLE = """\
Examples:

  secondorder demo
  secondorder demo --tables
  secondorder demo --trace AzureLLMInferenceTrace_conv.csv --figure knee.svg
"""


def demo(
    *,
    trace: Annotated[
        str | None,
        Parameter(group=LOAD, metavar="FILE", help="Recorded trace whose own arrivals are replayed at the same rates."),
    ] = None,
    objective: Annotated[
        str, Parameter(group=LOAD, metavar="TIME", help="The p99 of the time to first token that users accept.")
    ] = "500 ms",
    tables: Annotated[
        bool, Parameter(group=OUTPUT, help="Print the tables of all latencies.", negative="", show_default=truth)
    ] = False,
    seed: Seed = 1,
    margin: Margin = None,
    jobs: Jobs = 2,
    figure: Annotated[
        str, Parameter(group=OUTPUT, metavar="FILE", help="Picture of the knee and its causes: .png, .svg or .pdf.")
    ] = "out/demo.png",
    out: Output = PRINTED,
) -> None:
    """Show where queueing breaks the first-order answer.

    Llama 3.1 8B on one H100, lengths as in Azure's conversations, Poisson arrivals
    at 25 % to 97 % of saturation: closed forms of every order, the simulation with
    its intervals, verdicts, what the gap is made of, and a picture of both.
    """
    from secondorder.quantities import quantity
    from secondorder.report.loads import story_grid, study_frame, study_grids
    from secondorder.report.plots import knee_figure
    from secondorder.report.style import check_figure, save
    from secondorder.validation.explanation.explain import explain
    from secondorder.validation.loads import load_study
    from secondorder.workloads.traces import read_trace

    check_output(out)
    check_figure(figure)
    wanted = quantity(objective, "s", "objective")
    recorded = read_trace(trace) if trace is not None else None
    options: dict[str, Any] = {"seed": seed, "margin": margin, "jobs": jobs, "precision": PRECISION}
    study = load_study(_service(), trace=recorded, progress=_progress, **options)
    why = explain(study.at(EXPLAINED), "ttft_p99", seed=seed, requests=REQUESTS, jobs=jobs)
    written = save(knee_figure(study, why, explained=EXPLAINED, objective=wanted), figure)
    if tables or recorded is not None:
        grids = study_grids(study, METRICS, objective=wanted)
    else:
        grids = [story_grid(study, why, explained=EXPLAINED, objective=wanted)]
    emit(records(study_frame(study)), grids, out)
    print(f"picture: {written}", file=sys.stderr)


def _service() -> "Serving":
    from secondorder.fleets.accelerators import accelerators
    from secondorder.scenarios.serving import Serving
    from secondorder.workloads.arrivals import Poisson
    from secondorder.workloads.lengths import lengths
    from secondorder.workloads.models import models

    return Serving(
        name="demo",
        model=models.llama_3_1_8b,
        accelerator=accelerators.h100_sxm,
        arrivals=Poisson("8 request/s"),
        lengths=lengths.azure_conv_2023,
        max_num_seqs=256,  # so that slots bind before the cache, as closed forms of order 2 have it
    )


def _progress(results: Iterable[Any], total: int) -> Iterator[Any]:
    """A bar on standard error, if that is a terminal."""
    if not sys.stderr.isatty():
        yield from results
        return
    from rich.console import Console
    from rich.progress import track

    yield from track(
        results, description="solving and simulating", total=total, console=Console(stderr=True), transient=True
    )
