"""``secondorder calibrate``, ``replay`` and ``emulate``: from real runs to step times, and back."""

from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Group, Parameter

from secondorder.cli.drawing import NOTHING, Drawn, check_drawn, write_figure, write_report
from secondorder.cli.options import OUTPUT, PRINTED, REQUIRED, Output, at_least, efficiency
from secondorder.cli.output import check_output, emit, patience, records
from secondorder.cli.plans import Plan, Which
from secondorder.errors import InputError, UnknownName

if TYPE_CHECKING:
    from secondorder.fleets.accelerators import Accelerator
    from secondorder.validation.measured import MeasuredRun
    from secondorder.validation.measured_loop import MeasuredLoop

CALIBRATE = """\
Example:

  secondorder calibrate result.json --model llama_3_1_8b
    --accelerator h100_sxm --fitted 0.5 --profile h100.toml

  secondorder serve --model qwen3_8b --accelerator h100_sxm
    --step-time h100.toml --request-rate "8 request/s"
    --input-len 1024 --output-len 256
"""
REPLAY = """\
Example:

  secondorder replay result.json --model llama_3_1_8b
    --accelerator h100_sxm --step-time h100.toml --figure replay.png
"""
EMULATE = """\
Example:

  secondorder emulate plan.toml --port 8000
  secondorder emulate plan.toml --record engine.csv

Prompts sent as text are counted by characters, because there is no tokenizer.
Whatever a client measures beyond the times printed at the end is its own time.
"""
RUN = Group("The run", sort_key=2)
LINK = "link_bandwidth"
"""A setting of the card, where the zoo knows none: of its links, or of its host bus."""
NO_SETTINGS = ("model", "accelerator", "arrivals", "lengths", "name")
"""Fields of a service that the run itself gives."""

Result = Annotated[
    str,
    Parameter(
        metavar="RESULT",
        help="Results of vLLM bench, GuideLLM, AIPerf, inference-perf, InferenceX or BLIS; CSV files; folders.",
    ),
]
Model = Annotated[str, Parameter(group=REQUIRED, metavar="NAME", help="Language model that ran (llama_3_1_8b).")]
Card = Annotated[str, Parameter(group=REQUIRED, metavar="NAME", help="Accelerator that it ran on (h100_sxm).")]
Setting = Annotated[
    list[str] | None,
    Parameter(
        group=RUN, metavar="FIELD=VALUE", negative="",
        help="Setting of the engine that the file does not state, such as num_gpu_blocks=2588; may be repeated.",
    ),
]  # fmt: skip
Unit = Annotated[
    str | None, Parameter(group=RUN, metavar="UNIT", help="Unit of a CSV file's times, where its columns have none.")
]


def _runs(results: tuple[str, ...], unit: str | None) -> "tuple[list[MeasuredRun], list[MeasuredLoop]]":
    """Those with requests, and summaries of closed loops."""
    from secondorder.validation.measured import MeasuredRun, read_run
    from secondorder.validation.measured_loop import MeasuredLoop

    if not results:
        raise InputError("RESULT", given="none", expected="at least one result file")
    found = [read_run(path, unit=unit) for path in results]
    runs = [each for each in found if isinstance(each, MeasuredRun)]
    return runs, [each for each in found if isinstance(each, MeasuredLoop)]


def _changes(settings: list[str] | None, apart: tuple[str, ...] = ()) -> dict[str, Any]:
    """Fields of a service from ``name=value``, but those that the run gives and those ``apart``."""
    from secondorder.scenarios.serving import Serving

    known = [each.name for each in fields(Serving) if each.name not in NO_SETTINGS + apart]
    found: dict[str, Any] = {}
    for setting in settings or []:
        name, equals, value = setting.partition("=")
        if not equals:
            raise InputError("setting", given=repr(setting), expected="FIELD=VALUE, such as num_gpu_blocks=2588")
        if name not in (*known, LINK):
            raise UnknownName.among("setting", name, [*known, LINK])
        found[name] = _value(value)
    return found


def _value(text: str) -> object:
    """A whole number, a fraction, a truth, or the text."""
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text


def _card(name: str, changes: dict[str, Any]) -> "tuple[Accelerator, dict[str, Any]]":
    """The accelerator, with the link that ``--setting link_bandwidth=...`` gives it, and the other settings."""
    import secondorder as so

    card, rest = so.accelerators[name], {field: value for field, value in changes.items() if field != LINK}
    return (replace(card, link_bandwidth=changes[LINK]) if LINK in changes else card), rest


def calibrate(
    *results: Result,
    model: Model,
    accelerator: Card,
    fitted: Annotated[
        float, Parameter(group=RUN, metavar="SHARE", converter=efficiency, help="Share of each run that is fitted.")
    ] = 1.0,
    engine: Annotated[
        str, Parameter(group=RUN, metavar="NAME", help="vllm, vllm-0.11, vllm-0.9, sglang or tensorrt-llm.")
    ] = "vllm",
    setting: Setting = None,
    unit: Unit = None,
    profile: Annotated[str | None, Parameter(group=OUTPUT, metavar="FILE", help="Step time to write, as TOML.")] = None,
    out: Output = PRINTED,
) -> None:
    """Fit a step time to measured runs, and test it on the part that was not fitted."""
    import secondorder as so
    from secondorder.report.replay import error_grid
    from secondorder.validation.calibrate import calibrate as fit_to
    from secondorder.validation.calibrate import told
    from secondorder.validation.profiles import profile_text

    check_output(out)
    card, changes = _card(accelerator, _changes(setting, apart=("step_time", "engine")))
    runs, loops = _runs(results, unit)
    if loops:
        raise InputError("RESULT", given=f"{loops[0].name}, a summary", expected="runs with one row a request")
    with patience("replaying"):
        fit = fit_to(
            runs, model=so.models[model], accelerator=card, fitted=fitted, engine=engine, **changes,
        )  # fmt: skip
    if profile is not None:
        try:
            Path(profile).write_text(profile_text(fit, Path(profile).stem), encoding="utf-8")
        except OSError as error:
            raise InputError("profile", given=f"{profile}: {error.strerror}", expected="a file to write") from None
    table = fit.errors[["run", "rows", "metric", "measured", "simulated", "error"]]
    emit(records(table), [error_grid(table, told(fit).split("\n"))], out)


def replay(
    *results: Result,
    model: Model,
    accelerator: Card,
    step_time: Annotated[
        str, Parameter(group=RUN, metavar="LAW", help="Step time in one line, or a profile.")
    ] = "measured-roofline",
    setting: Setting = None,
    unit: Unit = None,
    drawn: Drawn = NOTHING,
    out: Output = PRINTED,
) -> None:
    """Compare measured runs, their simulated replays and the closed forms."""
    import pandas as pd

    import secondorder as so
    from secondorder.report.replay import replay_figure, replay_grid, replay_section
    from secondorder.scenarios.profiles import front_end_of
    from secondorder.validation.replay import replay as laid_beside

    check_output(out)
    check_drawn(drawn)
    card, changes = _card(accelerator, _changes(setting))
    runs, loops = _runs(results, unit)
    if loops and (drawn.figure is not None or drawn.report is not None or runs):
        raise InputError("RESULT", given=f"{loops[0].name}, a summary", expected="runs with requests to draw, or alone")
    if drawn.figure is not None and len(runs) > 1:
        raise InputError("figure", given=f"{len(runs)} runs", expected="one run; a --report holds the figures of all")
    if loops:
        _replay_loops(loops, model, card, changes, out)
        return
    changes = {"step_time": step_time, **changes}
    with patience("replaying"):
        front_end = front_end_of(step_time)
        found = [laid_beside(run, run.scenario(so.models[model], card, **changes), front_end) for run in runs]
        rows = records(pd.concat([each.frame for each in found], ignore_index=True))
    emit(rows, [replay_grid(found)], out)
    if drawn.figure is not None:
        write_figure(lambda: replay_figure(found[0]), drawn.figure)
    if drawn.report is not None:
        names = ", ".join(each.run.name for each in found)
        write_report(names, [replay_section(each) for each in found], drawn.report)


def _replay_loops(
    loops: "list[MeasuredLoop]", model: str, card: "Accelerator", changes: dict[str, Any], out: Output
) -> None:
    """Medians of closed loops, measured and simulated with the step time of their engine."""
    import pandas as pd

    import secondorder as so
    from secondorder.report.replay import error_grid

    with patience("replaying"):
        tables = [each.replayed(so.models[model], card, **changes) for each in loops]
    table = pd.concat(tables, ignore_index=True)
    emit(records(table), [error_grid(table, [])], out)


def emulate(
    plan: Plan,
    /,
    *,
    which: Which = None,
    port: Annotated[int, Parameter(group=RUN, converter=at_least(1), help="Port on 127.0.0.1.")] = 8000,
    model_name: Annotated[
        str, Parameter(group=RUN, metavar="NAME", help="Model name that clients ask for.")
    ] = "emulated",
    characters_per_token: Annotated[
        float, Parameter(group=RUN, metavar="NUMBER", help="Characters of a text prompt that count as one token.")
    ] = 4.0,
    record: Annotated[
        str | None, Parameter(group=OUTPUT, metavar="FILE", help="CSV file of the requests, as the engine timed them.")
    ] = None,
) -> None:
    """Answer OpenAI requests on 127.0.0.1 with the timing of a plan's simulated service."""
    import asyncio
    import sys

    from secondorder.cli.endpoint import served
    from secondorder.plans.read import read_plan
    from secondorder.scenarios.serving import Serving

    services = [each.scenario for each in read_plan(plan).chosen(which) if isinstance(each.scenario, Serving)]
    if len(services) != 1:
        raise InputError("PLAN", given=f"{len(services)} services", expected="one, or --scenario NAME")
    if record is not None:
        try:
            Path(record).write_text("", encoding="utf-8")
        except OSError as error:
            raise InputError("record", given=f"{record}: {error.strerror}", expected="a file to write") from None
    print(f"{services[0].name} on http://127.0.0.1:{port}/v1; Ctrl-C ends it", file=sys.stderr)
    try:
        asyncio.run(served(services[0], port, model=model_name, characters=characters_per_token, record=record))
    except asyncio.CancelledError:
        print("ended by SIGTERM", file=sys.stderr)
    except OSError as error:
        raise InputError("port", given=f"{port}: {error.strerror}", expected="a free port") from None
