"""``secondorder roofline``: one forward pass or several, and what binds them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from cyclopts import Group, Parameter

from secondorder.cli.options import OUTPUT, PRINTED, Output, at_least, efficiency
from secondorder.cli.output import Record, check_output, emit, records
from secondorder.errors import InfeasibleError, InputError, SecondOrderError, UnknownName

if TYPE_CHECKING:
    from secondorder.analytic.roofline import RooflineAnswer, RooflineOptions
    from secondorder.answers.answer import Answer
    from secondorder.report.tables import Grid
    from secondorder.workloads.network import Network
    from secondorder.workloads.transformer import Transformer

EXAMPLE = """\
Examples:

  secondorder roofline resnet50 a100_80gb --batch-size 32

  secondorder roofline resnet50 a100_80gb,h100_sxm,t4 --batch-size 1,8,64
    --figure roofline.png

  secondorder roofline llama_3_1_8b h100_sxm --precision bf16
    --input-tokens 1 --context-tokens 2000 --batch-size 64     (a decode step)
"""

PASS = Group("The pass", sort_key=1)
SOURCE = "roofline (Williams 2009)"


def _pass(text: str, metavar: str, **options: Any) -> Parameter:
    return Parameter(group=PASS, help=text, metavar=metavar, **options)


def roofline(
    model: Annotated[str, Parameter(help="Network, from the zoo (resnet50) or a Hugging Face config.json.")],
    accelerator: Annotated[
        str, Parameter(help="Accelerator from the zoo (a100_80gb), or several: a100_80gb,h100_sxm.")
    ],
    /,
    *,
    batch_size: Annotated[str, _pass("Inputs, or sequences; or several: 1,8,64.", "INT,...")] = "1",
    precision: Annotated[str, _pass("Number format of the arithmetic; or several: fp16,fp8.", "NAME,...")] = "fp16",
    weight_precision: Annotated[
        str | None, _pass("Number format of stored weights.", "NAME", show_default="as precision")
    ] = None,
    kv_precision: Annotated[
        str | None, _pass("Number format of a language model's cache.", "NAME", show_default="as precision")
    ] = None,
    input_tokens: Annotated[
        str | None,
        _pass("New tokens of each sequence, required for a language model; 1 is a decode step; or several.", "INT,..."),
    ] = None,
    context_tokens: Annotated[
        str, _pass("Tokens of each sequence that are cached already; or several.", "INT,...")
    ] = "0",
    passes: Annotated[
        int, _pass("Passes through the model, such as denoising steps.", "INT", converter=at_least(1))
    ] = 1,
    compute_efficiency: Annotated[
        float,
        _pass("Share of the datasheet's FLOP/s that is reached.", "SHARE", converter=efficiency, show_default="1"),
    ] = 1.0,
    memory_efficiency: Annotated[
        float,
        _pass(
            "Share of the datasheet's memory bandwidth that is reached.",
            "SHARE",
            converter=efficiency,
            show_default="1",
        ),
    ] = 1.0,
    kernel_overhead: Annotated[str, _pass("Time of each layer that nothing hides.", "TIME")] = "10 us",
    figure: Annotated[
        str | None,
        Parameter(group=OUTPUT, metavar="FILE", help="Picture of the roofline and the passes: .png, .svg or .pdf."),
    ] = None,
    out: Output = PRINTED,
) -> None:
    """Time one forward pass, or several, and say what binds them."""
    from secondorder.fleets.accelerators import bytes_per_value
    from secondorder.plans.tables import Tables
    from secondorder.workloads.network import Network
    from secondorder.workloads.transformer import Transformer

    check_output(out)
    if figure is not None:
        from secondorder.report.style import check_figure

        check_figure(figure)
    for name in (weight_precision, kv_precision):
        if name is not None:
            bytes_per_value(name)
    network = Tables().value("model", Transformer | Network, model)
    assert isinstance(network, Transformer | Network)
    options: RooflineOptions = {
        "weight_precision": weight_precision,
        "kv_precision": kv_precision,
        "passes": passes,
        "compute_efficiency": compute_efficiency,
        "memory_efficiency": memory_efficiency,
        "kernel_overhead": kernel_overhead,
    }
    parts, formats = _names("accelerator", accelerator), _names("precision", precision)
    batches, contexts = _wholes("batch_size", batch_size, 1), _wholes("context_tokens", context_tokens, 0)
    prompts = [None] if input_tokens is None else _wholes("input_tokens", input_tokens, 1)
    swept = (parts, formats, batches, prompts, contexts)
    points = [_point(network, Asked(*each), options) for each in product(parts, formats, batches, prompts, contexts)]
    varied = [name for name, values in zip(Asked._fields, swept, strict=True) if len(values) > 1]
    _show(points, varied, figure, out)


def _show(points: "Sequence[Point]", varied: Sequence[str], figure: str | None, out: Output) -> None:
    found = [point for point in points if point.answer is not None]
    if not found:
        raise points[0].error or AssertionError
    if figure is not None:
        _draw(found, varied, figure)
    if len(points) == 1:
        answer = as_answer(found[0].found)
        emit(records(answer.frame), [_grid(answer, found[0].found)], out)
    else:
        emit([row for point in points for row in _records(point)], [_table(points, varied)], out)


# Points of a sweep


class Asked(NamedTuple):
    """A part, a number format and the numbers of one pass."""

    accelerator: str
    precision: str
    batch_size: int
    input_tokens: int | None
    context_tokens: int


@dataclass(frozen=True)
class Point:
    """What was asked, and what was found or why it was not."""

    asked: Asked
    title: str
    answer: "RooflineAnswer | None"
    error: SecondOrderError | None = None

    @property
    def found(self) -> "RooflineAnswer":
        assert self.answer is not None
        return self.answer

    @property
    def why(self) -> str:
        """In a table's cell."""
        return f"no {self.asked.precision}" if isinstance(self.error, UnknownName) else "does not fit"


def _point(network: "Transformer | Network", asked: Asked, options: "RooflineOptions") -> Point:
    """One point; a part that lacks the precision or the memory is a point with an error, another mistake is raised."""
    from secondorder.analytic.roofline import roofline
    from secondorder.fleets.accelerators import Accelerator, bytes_per_value
    from secondorder.plans.tables import Tables

    part = Tables().value("accelerator", Accelerator, asked.accelerator)
    assert isinstance(part, Accelerator)
    bytes_per_value(asked.precision)
    title = f"{network.name} on {part.name}"
    given: RooflineOptions = {
        **options,
        "precision": asked.precision,
        "input_tokens": asked.input_tokens,
        "context_tokens": asked.context_tokens,
    }
    try:
        part.peak_flops(asked.precision)
        answer = roofline(network, part, batch_size=asked.batch_size, **given)
    except (InfeasibleError, UnknownName) as error:
        return Point(asked, title, None, error)
    return Point(asked, title, answer)


def _names(what: str, text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise InputError(what, given=repr(text), expected="a name, or several with a comma between")
    return names


def _wholes(what: str, text: str, least: int) -> list[int]:
    numbers = []
    for part in text.split(","):
        digits = part.strip().replace("_", "")
        if not digits.isascii() or not digits.isdigit() or int(digits) < least:
            expected = f"an integer of at least {least}, or several with a comma between"
            raise InputError(what, given=part.strip() or "nothing", expected=expected)
        numbers.append(int(digits))
    return numbers


def _records(point: Point) -> list[Record]:
    from secondorder.answers.answer import COLUMNS

    asked = {name: value for name, value in point.asked._asdict().items() if value is not None}
    if point.answer is None:
        blank = dict.fromkeys(COLUMNS, None)
        why = {"metric": "latency", "unit": "s", "source": SOURCE, "verdict": "infeasible", "note": str(point.error)}
        return [{**asked, **blank, "scenario": point.title, **why}]
    return [{**asked, **row} for row in records(as_answer(point.answer).frame)]


# One answer


def as_answer(found: "RooflineAnswer") -> "Answer":
    """The pass as estimates of order 0; a note marks what binds."""
    from secondorder.answers.answer import Answer
    from secondorder.answers.declared import ROOFLINE
    from secondorder.answers.estimate import Claim, Rung
    from secondorder.answers.metric import units_of

    units = units_of(ROOFLINE)
    known = [metric for metric in units if found.power is not None or not metric.startswith("energy")]
    estimates = [
        Rung(
            metric=metric,
            amount=float(getattr(found, metric)),
            unit=units[metric],
            source=SOURCE,
            order=0,
            claim=Claim.APPROXIMATION,
            note="the bottleneck" if metric == found.bottleneck else "",
        )
        for metric in known
    ]
    title = f"{found.model} on {found.accelerator}"
    return Answer(scenario=title, estimates=tuple(estimates), how=f"{found.precision}, batch {found.batch_size}")


def _grid(answer: "Answer", found: "RooflineAnswer") -> "Grid":
    from secondorder.report.tables import Grid

    rows = [[e.metric, str(e), _meaning(e.metric, found)] for e in answer.estimates]
    above = [f"{answer.scenario}: {answer.how}, bound by {found.bottleneck}"]
    below = [] if found.power is not None else ["no energy: no source gives the part's power"]
    return Grid(header=["figure", "value", ""], rows=rows, above=above, below=below, numbers=frozenset({1}))


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
        "energy": f"full power in kernels, {100 * found.idle_power:g} % of it in overhead",
        "energy_per_input": "of the pass, over its batch",
    }
    text = meanings.get(metric, "")
    return f"{text}  <- binds" if metric == found.bottleneck else text


# Many answers

SHORT = {"accelerator": "accelerator", "precision": "prec", "batch_size": "batch", "input_tokens": "input"}
SHORT["context_tokens"] = "context"


def _table(points: Sequence[Point], varied: Sequence[str]) -> "Grid":
    """A row a point: what varies, and what came of it."""
    from secondorder.report.tables import Grid

    header = [*(SHORT[name] for name in varied), "latency", "inputs/s", "bound by", "MFU", "FLOP/B", "J/input"]
    rows = [[*(str(getattr(point.asked, name)) for name in varied), *_cells(point)] for point in points]
    one = next(point for point in points if point.answer is not None)
    same = {name: getattr(one.asked, name) for name in SHORT if name not in varied}
    fixed = [f"{name.replace('_', ' ')} {value}" for name, value in same.items() if value]
    first = len(varied)
    left = {place for place, name in enumerate(varied) if name in ("accelerator", "precision")} | {first + 2}
    asked = [getattr(point.asked, varied[0]) for point in points]
    groups = [place for place, (this, following) in enumerate(pairwise(asked)) if this != following]
    return Grid(
        header=header,
        rows=rows,
        above=[f"{one.found.model}: {', '.join(fixed)}" if fixed else one.found.model],
        below=list(_reasons(points)),
        numbers=frozenset(range(len(header))) - frozenset(left),
        breaks=frozenset(groups) if len(varied) > 1 else frozenset(),
    )


def _reasons(points: Sequence[Point]) -> Iterator[str]:
    """Why points are not feasible: the first of each part and precision."""
    told = set()
    for point in points:
        where = point.asked.accelerator, point.asked.precision
        if point.error is not None and where not in told:
            told.add(where)
            yield str(point.error)


def _cells(point: Point) -> list[str]:
    from secondorder.quantities import pretty

    if point.answer is None:
        return ["", "", point.why, "", "", ""]
    found = point.answer
    energy = "" if found.power is None else pretty(float(found.energy_per_input), "")
    return [
        pretty(float(found.latency), "s"),
        pretty(float(found.throughput), ""),
        str(found.bottleneck),
        f"{100 * float(found.mfu):.3g} %",
        pretty(float(found.intensity), ""),
        energy,
    ]


def _draw(found: Sequence[Point], varied: Sequence[str], path: str) -> None:
    import sys

    from secondorder.report.roofline import roofline_figure
    from secondorder.report.style import save

    numbers = [name for name in varied if name not in ("accelerator", "precision")]
    labelled = [
        (", ".join(f"{SHORT[name]} {getattr(point.asked, name)}" for name in numbers or ["batch_size"]), point.found)
        for point in found
    ]
    print(f"picture: {save(roofline_figure(labelled), path)}", file=sys.stderr)
