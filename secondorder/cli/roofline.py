"""``secondorder roofline``: one forward pass or several, and what binds them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Group, Parameter

from secondorder.cli.options import OUTPUT, PRINTED, Output, at_least, efficiency
from secondorder.cli.output import Record, check_output, emit, records
from secondorder.errors import InfeasibleError, InputError, SecondOrderError, UnknownName

if TYPE_CHECKING:
    from secondorder.analytic.roofline import RooflineAnswer
    from secondorder.answers.answer import Answer
    from secondorder.report.tables import Grid

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
    model: Annotated[str, Parameter(help="Network, of the zoo (resnet50) or a Hugging Face config.json.")],
    accelerator: Annotated[str, Parameter(help="Accelerator of the zoo (a100_80gb), or several: a100_80gb,h100_sxm.")],
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
    options = {
        "weight_precision": weight_precision,
        "kv_precision": kv_precision,
        "passes": passes,
        "compute_efficiency": compute_efficiency,
        "memory_efficiency": memory_efficiency,
        "kernel_overhead": kernel_overhead,
    }
    swept: dict[str, list[Any]] = {
        "accelerator": _names("accelerator", accelerator),
        "precision": _names("precision", precision),
        "batch_size": _wholes("batch_size", batch_size, 1),
        "input_tokens": [None] if input_tokens is None else _wholes("input_tokens", input_tokens, 1),
        "context_tokens": _wholes("context_tokens", context_tokens, 0),
    }
    points = [_point(network, place, options) for place in _places(swept)]
    found = [point for point in points if point.answer is not None]
    if not found:
        raise points[0].error or AssertionError
    if figure is not None:
        _draw(found, swept, figure)
    if len(points) == 1:
        answer = as_answer(found[0].found)
        emit(records(answer.frame), [_grid(answer, found[0].found)], out)
    else:
        varied = [name for name, values in swept.items() if len(values) > 1]
        emit([row for point in points for row in _records(point)], [_table(points, varied)], out)


# Points of a sweep


@dataclass(frozen=True)
class Point:
    """What was asked, and what was found or why it was not."""

    asked: dict[str, Any]
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
        return f"no {self.asked['precision']}" if isinstance(self.error, UnknownName) else "does not fit"


def _places(swept: dict[str, list[Any]]) -> Iterator[dict[str, Any]]:
    return (dict(zip(swept, values, strict=True)) for values in product(*swept.values()))


def _point(network: Any, place: dict[str, Any], options: dict[str, Any]) -> Point:
    """One point; a part that lacks the precision or the memory is a point with an error, another mistake is raised."""
    from secondorder.analytic.roofline import roofline
    from secondorder.fleets.accelerators import Accelerator, bytes_per_value
    from secondorder.plans.tables import Tables

    part = Tables().value("accelerator", Accelerator, place["accelerator"])
    assert isinstance(part, Accelerator)
    bytes_per_value(place["precision"])
    title = f"{network.name} on {part.name}"
    numbers = {name: value for name, value in place.items() if name != "accelerator"}
    try:
        part.peak_flops(place["precision"])
        return Point(place, title, roofline(network, part, **numbers, **options))
    except (InfeasibleError, UnknownName) as error:
        return Point(place, title, None, error)


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

    asked = {name: value for name, value in point.asked.items() if value is not None}
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
    rows = [[*(str(point.asked[name]) for name in varied), *_cells(point)] for point in points]
    one = next(point for point in points if point.answer is not None)
    fixed = [f"{name.replace('_', ' ')} {one.asked[name]}" for name in SHORT if name not in varied and one.asked[name]]
    first = len(varied)
    left = {place for place, name in enumerate(varied) if name in ("accelerator", "precision")} | {first + 2}
    asked = [point.asked[varied[0]] for point in points]
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
        where = point.asked["accelerator"], point.asked["precision"]
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


def _draw(found: Sequence[Point], swept: dict[str, list[Any]], path: str) -> None:
    import sys

    from secondorder.report.roofline import roofline_figure
    from secondorder.report.style import save

    varied = [name for name in ("batch_size", "input_tokens", "context_tokens") if len(swept[name]) > 1]
    labelled = [
        (", ".join(f"{SHORT[name]} {point.asked[name]}" for name in varied or ["batch_size"]), point.found)
        for point in found
    ]
    print(f"picture: {save(roofline_figure(labelled), path)}", file=sys.stderr)
