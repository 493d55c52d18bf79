"""``secondorder layouts``: which layouts of a training job fit a cluster, the fastest first."""

from typing import TYPE_CHECKING, Annotated, Any, cast

from cyclopts import Parameter

from secondorder.cli.options import OUTPUT, PRINTED, Output, at_least, listed
from secondorder.cli.output import check_output, emit, patience
from secondorder.cli.train import Jobs, Layouts
from secondorder.errors import InputError

if TYPE_CHECKING:
    from secondorder.analytic.layout_search import Candidate
    from secondorder.fleets.clusters import Cluster
    from secondorder.report.tables import Grid
    from secondorder.workloads.training import TrainingJob

EXAMPLE = """\
Example:

  secondorder layouts --model llama_3_1_8b --cluster gb200_nvl72_rack
    --global-batch 576 --sequence-length 8192 --top 5

--model, --cluster, --global-batch and --sequence-length are due.
"""
DUE = ("model", "cluster", "global_batch", "sequence_length")
NONE, ANY = Jobs(), Layouts()


def layouts(
    *,
    step: Jobs = NONE,
    sought: Annotated[Layouts, Parameter(name="*", show=False)] = ANY,
    top: Annotated[int, Parameter(group=OUTPUT, converter=at_least(1), help="Layouts to show.")] = 10,
    out: Output = PRINTED,
) -> None:
    """Find the layouts of a training job that fit a cluster, the fastest first.

    By the closed form of a step's mean time, over tensor, pipeline and data
    parallel, microbatch, ZeRO stage and recomputation.
    """
    from secondorder.analytic.layout_search import layouts as search

    check_output(out)
    if stray := next(iter(sought.given()), None):
        raise InputError(stray, given="a layout", expected="none: it is what is sought")
    job, cluster, options = read_job(step)
    with patience("searching"):
        found = search(job, cluster, **options)
    emit([_record(each) for each in found[:top]], [_grid(found, top)], out)


def read_job(step: Jobs) -> "tuple[TrainingJob, Cluster, dict[str, Any]]":
    """The job and the cluster of the flags, and the other fields of the step."""
    from secondorder.cli.train import renamed
    from secondorder.plans.tables import Tables
    from secondorder.scenarios.training_step import TrainingStep

    if due := [name for name in DUE if getattr(step, name) is None]:
        what = f"layouts: {listed(['--' + name.replace('_', '-') for name in due])}"
        remedy = 'see "secondorder layouts --help"'
        raise InputError(what, given="nothing", expected="the job and its cluster", remedy=remedy)
    table, read = step.table["step"], Tables()
    try:
        found = {name: read.field(TrainingStep, name, value) for name, value in table.items()}
    except InputError as error:
        raise renamed(error) from None
    return cast("TrainingJob", found.pop("job")), cast("Cluster", found.pop("cluster")), found


def _record(each: "Candidate") -> dict[str, Any]:
    layout = each.layout
    return {
        "data_parallel": layout.data_parallel, "tensor_parallel": layout.tensor_parallel,
        "pipeline_parallel": layout.pipeline_parallel, "micro_batch_size": layout.micro_batch_size,
        "zero_stage": layout.zero_stage, "recomputation": layout.recomputation, "step_time": each.seconds,
        "mfu": each.mfu, "memory": each.memory,
    }  # fmt: skip


def _grid(found: "list[Candidate]", top: int) -> "Grid":
    from secondorder.quantities import pretty
    from secondorder.report.tables import Grid

    rows = [
        [
            str(each.layout.data_parallel),
            str(each.layout.tensor_parallel),
            str(each.layout.pipeline_parallel),
            str(each.layout.micro_batch_size),
            str(each.layout.zero_stage),
            each.layout.recomputation,
            pretty(each.seconds, "s"),
            f"{each.mfu:.1%}",
            pretty(each.memory, "byte"),
        ]
        for each in found[:top]
    ]
    step = found[0].step
    what = f"{step.job.model.name} on {step.cluster.name}, {step.cluster.accelerators:,} accelerators"
    above = [f"{what}: {len(found)} layouts fit"]
    below = ["a step's mean time by closed form; memory of the fullest accelerator"]
    header = ["data", "tensor", "pipeline", "micro", "ZeRO", "recomputation", "step", "MFU", "memory"]
    return Grid(header=header, rows=rows, above=above, below=below, numbers=frozenset({0, 1, 2, 3, 4, 6, 7, 8}))
