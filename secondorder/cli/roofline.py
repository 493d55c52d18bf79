"""``secondorder roofline``: one forward pass, and what binds it."""

from typing import TYPE_CHECKING, Annotated

from cyclopts import Group, Parameter

from secondorder.cli.options import PRINTED, Output, at_least, efficiency
from secondorder.cli.output import check_output, emit, records

if TYPE_CHECKING:
    from secondorder.analytic.roofline import RooflineAnswer
    from secondorder.report.tables import Grid
    from secondorder.scenarios.answers import Answer

EXAMPLE = """\
Examples:

  secondorder roofline resnet50 a100_80gb --batch-size 32

  secondorder roofline llama_3_1_8b h100_sxm --precision bf16
    --input-tokens 1 --context-tokens 2000 --batch-size 64     (a decode step)
"""

PASS = Group("The pass", sort_key=1)
SOURCE = "roofline (Williams 2009)"
UNITS = {
    "latency": "s",
    "compute": "s",
    "memory": "s",
    "overhead": "s",
    "throughput": "1/s",
    "flops": "FLOP",
    "bytes": "byte",
    "intensity": "FLOP/byte",
    "ridge_point": "FLOP/byte",
    "mfu": "",
    "footprint": "byte",
    "energy": "J",
}


def roofline(
    model: Annotated[str, Parameter(help="A name of the zoo, or a Hugging Face config.json.")],
    accelerator: Annotated[str, Parameter(help="A name of the zoo.")],
    /,
    *,
    batch_size: Annotated[int, Parameter(group=PASS, converter=at_least(1), help="Inputs, or sequences.")] = 1,
    precision: Annotated[str, Parameter(group=PASS, help="Of weights, cache and arithmetic.")] = "fp16",
    input_tokens: Annotated[
        int | None,
        Parameter(group=PASS, converter=at_least(1), help="New tokens of each sequence of a language model."),
    ] = None,
    context_tokens: Annotated[
        int, Parameter(group=PASS, converter=at_least(0), help="Tokens of each that are cached already.")
    ] = 0,
    compute_efficiency: Annotated[
        float, Parameter(group=PASS, converter=efficiency, help="Share of the datasheet's FLOP/s.")
    ] = 1.0,
    memory_efficiency: Annotated[
        float, Parameter(group=PASS, converter=efficiency, help="Share of the datasheet's byte/s.")
    ] = 1.0,
    kernel_overhead: Annotated[str, Parameter(group=PASS, help="Time of each layer that nothing hides.")] = "10 us",
    out: Output = PRINTED,
) -> None:
    """Time one forward pass, and say what binds it."""
    from secondorder.analytic.roofline import roofline
    from secondorder.cli.doors import Door

    check_output(out)
    found = roofline(
        Door().network("model", model),
        Door().accelerator("accelerator", accelerator),
        batch_size=batch_size,
        precision=precision,
        input_tokens=input_tokens,
        context_tokens=context_tokens,
        compute_efficiency=compute_efficiency,
        memory_efficiency=memory_efficiency,
        kernel_overhead=kernel_overhead,
    )
    answer = as_answer(found)
    emit(records(answer.frame), [_grid(answer, found)], out)


def as_answer(found: "RooflineAnswer") -> "Answer":
    """The pass as estimates of order 0; a note marks what binds."""
    from secondorder.scenarios.answers import Answer, Estimate

    estimates = [
        Estimate(
            metric=metric,
            amount=float(getattr(found, metric)),
            unit=unit,
            source=SOURCE,
            order=0,
            note="the bottleneck" if metric == found.bottleneck else "",
        )
        for metric, unit in UNITS.items()
    ]
    title = f"{found.model} on {found.accelerator}"
    return Answer(scenario=title, estimates=tuple(estimates), how=f"{found.precision}, batch {found.batch_size}")


def _grid(answer: "Answer", found: "RooflineAnswer") -> "Grid":
    from secondorder.report.tables import Grid

    rows = [[e.metric, str(e), _meaning(e.metric, found)] for e in answer.estimates]
    above = [f"{answer.scenario}: {answer.how}, bound by {found.bottleneck}"]
    return Grid(header=["figure", "value", ""], rows=rows, above=above, numbers=frozenset({1}))


def _meaning(metric: str, found: "RooflineAnswer") -> str:
    meanings = {
        "latency": "max(compute, memory) + overhead",
        "compute": "FLOPs over the peak",
        "memory": "bytes over the bandwidth",
        "overhead": "layers times kernel_overhead",
        "throughput": "inputs per second",
        "intensity": "FLOPs per byte of the pass",
        "ridge_point": "where arithmetic and memory take equally long",
        "mfu": "share of the datasheet's peak",
        "footprint": "memory held",
        "energy": "at full power, an upper bound",
    }
    text = meanings.get(metric, "")
    return f"{text}  <- binds" if metric == found.bottleneck else text
