"""``secondorder layouts``: which layouts of a training job fit a cluster, the fastest first."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, cast

from cyclopts import Group, Parameter

from secondorder.cli.flags import Flag, Given, attach, by_flag, flags_of, given_in
from secondorder.cli.options import OUTPUT, PRINTED, Output, at_least
from secondorder.cli.output import check_output, emit, patience
from secondorder.cli.train import step_flags, step_table
from secondorder.errors import InputError
from secondorder.systems.registry import SYSTEMS

if TYPE_CHECKING:
    from secondorder.analytic.layout_search import Candidate, StepOptions
    from secondorder.fleets.clusters import Cluster
    from secondorder.report.tables import Grid
    from secondorder.workloads.training import TrainingJob

TITLE = """List the layouts of a training job that fit a cluster, fastest first.

Varies tensor, pipeline and data parallelism, microbatch, ZeRO stage and
recomputation; ranks layouts by the closed form of the mean step time.
"""
EXAMPLE = """\
Example:

  secondorder layouts --model llama_3_1_8b --cluster gb200_nvl72_rack
    --global-batch 576 --sequence-length 8192 --top 5
"""
JOB = Group("Step and cluster", sort_key=4)
_KEPT = "sequence_parallel"
"""The field of a layout that is stated, not searched."""


def flags() -> list[Flag]:
    """The flags of a training step; those of its layout, which is what is sought, are not shown."""
    from secondorder.scenarios.training_step import TrainingStep

    found = []
    for flag in flags_of(TrainingStep, JOB, ("step",)):
        sought = "layout" in flag.path and flag.name != _KEPT
        found.append(Flag(flag.field, flag.path, JOB, shown=not sought))
    return [*found, replace(step_flags()[-1], group=JOB)]


def read_job(given: Given) -> "tuple[TrainingJob, Cluster, StepOptions]":
    """The job and the cluster of the flags, and the other fields of the step."""
    from secondorder.plans.tables import Tables
    from secondorder.scenarios.training_step import TrainingStep

    every, tables = flags(), Tables()
    if stray := next((flag.name for flag in every if not flag.shown and flag.name in given), None):
        raise InputError(stray, given="a layout", expected="none: the search finds it")
    try:
        found = {name: tables.field(TrainingStep, name, value) for name, value in step_table(given).items()}
    except InputError as error:
        raise by_flag(error.within("step"), every) from None
    return cast("TrainingJob", found.pop("job")), cast("Cluster", found.pop("cluster")), cast("StepOptions", found)


def _command() -> Callable[..., None]:
    every = flags()

    def layouts(
        *,
        values: object,
        top: Annotated[int, Parameter(group=OUTPUT, converter=at_least(1), help="Layouts to show.")] = 10,
        out: Output = PRINTED,
    ) -> None:
        from secondorder.analytic.layout_search import layouts as search

        check_output(out)
        job, cluster, options = read_job(given_in(values, every))
        with patience("searching"):
            found = search(job, cluster, **options)
        emit([_record(each) for each in found[:top]], [_grid(found, top)], out)

    layouts.__doc__ = TITLE
    return attach(layouts, every, SYSTEMS["training_step"])


def __getattr__(name: str) -> Callable[..., None]:
    """The command, made when it is first asked for: until then no scenario is imported."""
    if name != "layouts":
        raise AttributeError(name)
    return _command()


def _record(each: "Candidate") -> dict[str, object]:
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
