"""Commands over a plan file: ``solve``, ``simulate``, ``compare`` and ``sweep``.

A plan is a TOML file with one table a scenario, whose keys are the fields of the dataclass::

    [serving]
    model = "llama_3_1_8b"
    accelerator = "h100_sxm"
    lengths = "azure_conv_2023"
    max_num_seqs = 256
    goodput = { ttft = "200 ms" }

    [serving.arrivals]
    kind = "poisson"
    rate = "8 request/s"

The ``kind`` of the arrivals may also be gamma, deterministic, markov, or trace with its
``file``; ``arrivals = "poisson 8 request/s"`` says the same in one line. Files are looked for
from the plan's own folder.
"""

import tomllib
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from secondorder.cli.options import PRINTED, USUAL, Margin, Output, Run
from secondorder.cli.output import check_output, emit, patience, records, show
from secondorder.errors import FileError, InputError, UnknownName

if TYPE_CHECKING:
    from secondorder.scenarios.scenario import Scenario


def example(command: str) -> str:
    """What the help of a command shows."""
    verb, _, options = command.partition(" ")
    return f"""\
Example:

  secondorder {verb} plan.toml {options}

where plan.toml holds

  [serving]
  model = "llama_3_1_8b"
  accelerator = "h100_sxm"
  arrivals = "poisson 8 request/s"
  lengths = "azure_conv_2023"
"""


Plan = Annotated[str, Parameter(help="TOML file; its table [serving], [queue], [training]... has the fields.")]


def solve(plan: Plan, /, *, out: Output = PRINTED) -> None:
    """Answer a plan by closed forms, every order."""
    from secondorder.analytic import solve

    check_output(out)
    show(solve(read_plan(plan)), out)


def simulate(plan: Plan, /, *, run: Run = USUAL, out: Output = PRINTED) -> None:
    """Simulate a plan event by event, with 95 % intervals."""
    from secondorder.simulate import simulate

    check_output(out)
    scenario = read_plan(plan)
    with patience("simulating"):
        answer = simulate(scenario, **run.arguments)
    show(answer, out)


def compare(plan: Plan, /, *, margin: Margin = None, run: Run = USUAL, out: Output = PRINTED) -> None:
    """Solve and simulate a plan, and judge each closed form."""
    from secondorder.validation.comparison import compare

    check_output(out)
    scenario = read_plan(plan)
    with patience("simulating"):
        comparison = compare(scenario, margin=margin, **run.arguments)
    show(comparison, out)


def sweep(
    plan: Plan,
    /,
    *,
    vary: Annotated[list[str], Parameter(help="FIELD=VALUE,VALUE...; may be repeated for a grid.", negative="")],
    margin: Margin = None,
    run: Run = USUAL,
    out: Output = PRINTED,
) -> None:
    """Compare at every point of a grid of a plan's fields.

    A dot reaches into a field: arrivals.rate, lengths.output, step_time.host_overhead.
    """
    from secondorder.report.tables import sweep_grids
    from secondorder.validation.sweeps import sweep

    check_output(out)
    scenario = read_plan(plan)
    spelt = dict(_varied(text) for text in vary)
    grid = {path: [read_value(scenario, path, text) for text in texts] for path, texts in spelt.items()}
    with patience("simulating"):
        frame = sweep(scenario, grid, margin=margin, **run.arguments)
    for path, texts in spelt.items():
        frame[path] = frame[path].map({str(value): text for value, text in zip(grid[path], texts, strict=True)})
    emit(records(frame), sweep_grids(frame, list(grid)), out)


def _varied(text: str) -> tuple[str, list[str]]:
    path, equals, values = text.partition("=")
    texts = [value.strip() for value in values.split(",") if value.strip()]
    if not equals or not texts:
        raise InputError("vary", given=repr(text), expected="FIELD=VALUE,VALUE such as max_num_seqs=64,128")
    return path.strip(), texts


def read_value(scenario: Any, path: str, text: str) -> Any:
    """The value that a text gives to the field at ``path``: as in a plan, quotes left out."""
    from secondorder.cli.doors import Door, check_field, told_from

    *outer, last = path.split(".")
    owner = scenario
    for place, name in enumerate(outer):
        check_field(owner, name, ".".join(outer[:place]))
        owner = getattr(owner, name)
    check_field(owner, last, ".".join(outer))
    with told_from(".".join(outer)) if outer else nullcontext():
        value = Door().field(type(owner), last, _toml(text))
        replace(owner, **{last: value})  # refused here, by the name it has in the plan
    return value


def _toml(text: str) -> Any:
    """A number, a truth value or a table as TOML writes it; else the text itself."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def read_plan(name: str) -> "Scenario":
    """The scenario of a plan file. Errors name the file and the key."""
    from secondorder.cli.doors import Door, told_from
    from secondorder.scenarios.collective import Collective
    from secondorder.scenarios.pipeline import Pipeline
    from secondorder.scenarios.queue import Queue
    from secondorder.scenarios.serving import Serving
    from secondorder.scenarios.training import Training
    from secondorder.scenarios.training_step import TrainingStep

    systems: dict[str, type[Scenario]] = {
        "serving": Serving,
        "queue": Queue,
        "training": Training,
        "training_step": TrainingStep,
        "collective": Collective,
        "pipeline": Pipeline,
    }
    tables = _tables(name)
    for word in tables:
        if word not in systems:
            raise UnknownName.among(f"{name}: table", word, systems)
    if not tables:
        raise FileError(name, given="an empty plan", expected=f"a table {tables_of(systems)}")
    ((word, table),) = tables.items()
    if not isinstance(table, dict):
        raise InputError(f"{name}: {word}", given=repr(table), expected=f"a table [{word}]")
    with told_from(f"{name}: {word}"):
        return Door(Path(name).parent).build(systems[word], table)


def tables_of(systems: Iterable[str]) -> str:
    """The tables that a plan may have, in words."""
    *most, last = (f"[{word}]" for word in systems)
    return f"{', '.join(most)} or {last}"


def _tables(name: str) -> dict[str, Any]:
    expected = "a plan (TOML)"
    try:
        return tomllib.loads(Path(name).read_text(encoding="utf-8"))
    except OSError as error:
        reasons = {FileNotFoundError: "no such file", IsADirectoryError: "a directory"}
        raise FileError(name, given=reasons.get(type(error), "an unreadable file"), expected=expected) from None
    except ValueError as error:  # not TOML, or not even text
        raise FileError(name, given=f"no TOML ({error})", expected=expected) from None
