"""``secondorder search``: the cheapest layout of a service that meets objectives at a rate."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Group, Parameter

from secondorder.cli.drawing import NOTHING, Drawn, check_drawn, write_figure, write_report
from secondorder.cli.flags import Flag, attach, build, flags_of, given_in, nested
from secondorder.cli.options import (
    NOT_STORED,
    OUTPUT,
    PRINTED,
    REQUIRED,
    SIMULATION,
    Jobs,
    Output,
    Seed,
    Stored,
    at_least,
)
from secondorder.cli.output import check_output, emit, patience
from secondorder.systems.registry import SYSTEMS

if TYPE_CHECKING:
    from secondorder.report.tables import Grid
    from secondorder.scenarios.serving import Serving
    from secondorder.studies.candidates import Found

TITLE = """Find the cheapest layout of a service that meets objectives at a rate.

Varies accelerator, tensor-parallel size, precision, the token budget of a
step, replicas, prefill apart from decode, and region. Closed forms size every
candidate; the cheapest ones are simulated.
"""
EXAMPLE = """\
Example:

  secondorder search --model llama_3_1_8b --lengths azure_conv_2023
    --rate "60 request/s" --ttft-p99 "500 ms" --tpot-p99 "50 ms"
    --accelerators h100_sxm,a100_80gb --precisions bf16,fp8
"""
CANDIDATES = Group("Candidates", sort_key=2)
OBJECTIVES = Group("Objectives (at least one)", sort_key=1)
SOUGHT = ("accelerator", "tensor_parallel_size", "precision", "name", "goodput")
"""Fields of the service that are sought, or play no part."""


def _flags() -> list[Flag]:
    from secondorder.scenarios.serving import Serving

    own = [flag for flag in flags_of(Serving, Group("Service (as in vLLM)", sort_key=3)) if flag.name not in SOUGHT]
    return [flag.optional() if flag.name == "arrivals" else flag for flag in own]


def _candidates(help: str, metavar: str) -> Parameter:
    return Parameter(group=CANDIDATES, help=help, metavar=metavar)


def _objective(help: str) -> Parameter:
    return Parameter(group=OBJECTIVES, help=help, metavar="TIME")


def _command() -> Callable[..., None]:
    every = _flags()

    def search(
        *,
        values: object,
        rate: Annotated[str, Parameter(group=REQUIRED, help="Rate of all requests together.", metavar="RATE")],
        ttft_p99: Annotated[str | None, _objective("Limit on the p99 of the time to first token.")] = None,
        tpot_p99: Annotated[str | None, _objective("Limit on the p99 of the time per output token.")] = None,
        e2el_p99: Annotated[str | None, _objective("Limit on the p99 of the time to the last token.")] = None,
        accelerators: Annotated[
            str, _candidates("Accelerators with commas between them; all with a known rental if not given.", "NAMES")
        ] = "",
        tensor_parallel_sizes: Annotated[
            str, _candidates("Accelerators that share each layer, with commas.", "NUMBERS")
        ] = "1,2,4,8",
        precisions: Annotated[str, _candidates("Number formats, with commas.", "NAMES")] = "bf16",
        token_budgets: Annotated[
            str, _candidates("Tokens of a step at most, with commas; the service's own if not given.", "NUMBERS")
        ] = "",
        price: Annotated[
            str | None, _candidates("Price of every accelerator; the lowest quote on file if not given.", "PRICE")
        ] = None,
        splits: Annotated[
            str | None,
            _candidates(
                'Try prefill and decode apart too, with caches sent over this link ("50 GB/s latency=10 us").', "LINK"
            ),
        ] = None,
        regions: Annotated[
            str,
            _candidates(
                'Regions with commas, each perhaps with a factor on prices ("poland,quebec=1.1"): gives carbon.',
                "NAMES",
            ),
        ] = "",
        facility: Annotated[str, _candidates("Site whose PUE is used in all regions.", "NAME")] = "survey_average",
        power_overhead: Annotated[
            float, _candidates("Rated power of a server over that of its accelerators, in the regions.", "NUMBER")
        ] = 1.8,
        budget: Annotated[str | None, _candidates("Limit on the cost of all replicas together.", "PRICE")] = None,
        contenders: Annotated[
            int, Parameter(group=SIMULATION, converter=at_least(0), help="Candidates to simulate.")
        ] = 3,
        num_prompts: Annotated[
            int,
            Parameter(
                group=SIMULATION,
                converter=at_least(400),
                help="Requests of the first runs; more if these do not decide.",
            ),
        ] = 4_000,
        replications: Annotated[
            int, Parameter(group=SIMULATION, converter=at_least(2), help="Independent runs of each.")
        ] = 5,
        seed: Seed = 0,
        jobs: Jobs = 1,
        top: Annotated[int, Parameter(group=OUTPUT, converter=at_least(1), help="Layouts to show.")] = 10,
        stored: Stored = NOT_STORED,
        drawn: Drawn = NOTHING,
        out: Output = PRINTED,
    ) -> None:
        from secondorder.studies.candidates import record
        from secondorder.studies.search import search as found_by

        check_output(out)
        check_drawn(drawn)
        names = _listed(accelerators)
        serving = _service(nested(every, given_in(values, every)), rate, names, every)
        with patience("searching"):
            found = found_by(
                serving,
                rate=rate, ttft_p99=ttft_p99, tpot_p99=tpot_p99, e2el_p99=e2el_p99, accelerators=names,
                tensor_parallel_sizes=_numbers("tensor_parallel_sizes", tensor_parallel_sizes, "1,2,4"),
                precisions=_listed(precisions), token_budgets=_numbers("token_budgets", token_budgets, "2048,8192"),
                rentals=None if price is None else dict.fromkeys(names or _rented(), price),
                splits=splits, regions=_factors(regions), facility=facility, power_overhead=power_overhead,
                budget=budget, contenders=contenders, requests=num_prompts, replications=replications,
                seed=seed, jobs=jobs, keeping=stored.keeping(1),
            )  # fmt: skip
        grid = _grid(found, rate, top)
        emit([record(each) for each in found.candidates[:top]], [grid], out)
        _draw(found, f"{serving.name} at {rate}", grid, drawn)

    search.__doc__ = TITLE
    return attach(search, every, SYSTEMS["serving"])


def _draw(found: "Found", title: str, grid: "Grid", drawn: Drawn) -> None:
    from secondorder.report.page import Section
    from secondorder.report.pareto import pareto_figure

    if drawn.figure is not None:
        write_figure(lambda: pareto_figure(found, title), drawn.figure)
    if drawn.report is not None:
        write_report(title, [Section(title=title, grids=[grid], figures=[pareto_figure(found, title)])], drawn.report)


def __getattr__(name: str) -> Callable[..., None]:
    """The command, made when it is first asked for: until then no scenario is imported."""
    if name != "search":
        raise AttributeError(name)
    return _command()


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _numbers(what: str, text: str, example: str) -> list[int]:
    from secondorder.errors import InputError

    try:
        return [int(part) for part in _listed(text)]
    except ValueError:
        raise InputError(what, given=repr(text), expected=f"integers such as {example}") from None


def _factors(text: str) -> dict[str, float]:
    """Regions and their factors on prices."""
    from secondorder.errors import InputError

    parts = [part.partition("=") for part in _listed(text)]
    try:
        return {name.strip(): float(factor) if equals else 1.0 for name, equals, factor in parts}
    except ValueError:
        raise InputError("regions", given=repr(text), expected="names such as poland,quebec=1.1") from None


def _rented() -> list[str]:
    """Accelerators that have a rental on file."""
    from secondorder.fleets.prices import prices

    return sorted({quote.accelerator for _, quote in prices.items() if quote.rental is not None})


def _service(table: dict[str, Any], rate: str, accelerators: list[str], flags: list[Flag]) -> "Serving":
    """The service as it was given, with some accelerator: each candidate has its own."""
    from secondorder.scenarios.serving import Serving

    accelerator = accelerators[0] if accelerators else "h200"
    return build(Serving, {"arrivals": f"poisson {rate}", **table, "accelerator": accelerator}, flags)


def _grid(found: "Found", rate: str, top: int) -> "Grid":
    from secondorder.quantities import pretty
    from secondorder.report.tables import Grid

    metrics, carbon = list(found.best.p99s), found.best.carbon is not None
    rows = [
        [
            found.label(each),
            f"{each.cost:.4g}",
            *(f"{1e6 * amount:.3g}" for amount in each.token_costs.values()),
            *([f"{each.carbon:.3g}"] if each.carbon is not None else []),
            *(pretty(each.p99s[metric], "s") for metric in metrics),
            each.source,
        ]
        for each in found.candidates[:top]
    ]
    header = ["layout", "USD/hour", "in", "out", *(["kgCO2e/hour"] if carbon else []), *metrics, "by"]
    above = [f"{len(found.candidates)} layouts keep the objectives at {rate}, {len(found.refused)} do not"]
    below = [
        "layout: replicas (prefill+decode if apart) x accelerators of each, precision, tokens of a step if these vary",
        "in, out: USD per million tokens of that kind, all of the cost over them",
        f"the first rests on: {found.best.rests_on}",
    ]
    return Grid(header=header, rows=rows, above=above, below=below, numbers=frozenset(range(1, len(header) - 1)))
