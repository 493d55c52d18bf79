"""``secondorder train``: a training run of weeks, its checkpoints and its failures."""

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Group, Parameter

from secondorder.cli.options import OUTPUT, PRINTED, Margin, Output, Replications, plain
from secondorder.cli.output import check_output, emit, patience, records, show
from secondorder.errors import FileError, InputError

if TYPE_CHECKING:
    from secondorder.scenarios.training import Training

EXAMPLE = """\
Examples:

  secondorder train --failures "exponential 8240 s" --interval "994 s"
    --write "60 s" --restart "300 s" --duration "54 day"

  secondorder train --failures llama_3 --accelerators 16384 --write "60 s"
    --restart "300 s" --study interval --figure interval.png

  secondorder train --failures "exponential 3 h" --interval "20 min"
    --write "60 s" --restart "5 min" --spares 4 --repair "lognormal 8 h scv=1"
    --study spares

  secondorder train --model llama_3_1_405b --cluster llama_3_16k
    --data-parallel 128 --tensor-parallel 8 --pipeline-parallel 16
    --schedule interleaved --interleaving 8 --stage-layers 0,126x1,0
    --zero-stage 2 --compute-efficiency 0.56 --global-batch 2048
    --sequence-length 8192 --interval "30 min" --restart "5 min"

Failures: "exponential MTBF"; of other laws one must say what is as new after a
failure: "renewal LAW" (all), "stationary NODES LAW", "new NODES LAW"; "bursts
MTBF mtbf_storm=... calm=... storm=..."; "pairs COUNT lifetime=..."; or rates of
the zoo. Clocks: failures strike in work, writes and restarts, not in downtime.
"""

RUN = Group("Run", sort_key=1)
CHECKPOINT = Group("Checkpoints", sort_key=2)
RECOVERY = Group("Recovery", sort_key=3)
STEP = Group("Step", sort_key=4)


def _run(text: str, **options: Any) -> Parameter:
    return Parameter(group=RUN, help=text, allow_leading_hyphen=True, **options)


def _checkpoint(text: str, **options: Any) -> Parameter:
    return Parameter(group=CHECKPOINT, help=text, allow_leading_hyphen=True, **options)


def _recovery(text: str, **options: Any) -> Parameter:
    return Parameter(group=RECOVERY, help=text, allow_leading_hyphen=True, **options)


def _step(text: str, **options: Any) -> Parameter:
    return Parameter(group=STEP, help=text, **options)


class _Flags:
    """Flags by the names of the fields that they set."""

    def given(self, *names: str) -> dict[str, Any]:
        """Those that were given, of these names or of all."""
        wanted = names or tuple(field.name for field in fields(self))  # type: ignore[arg-type]
        return {name: value for name in wanted if (value := getattr(self, name)) is not None}


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Checkpoints(_Flags):
    """What is written, when. Which kind it is follows from the flags that are given."""

    interval: Annotated[str | None, _checkpoint("Work between checkpoints.")] = None
    write: Annotated[str | None, _checkpoint("For how long a write stops the work.")] = None
    pause: Annotated[str | None, _checkpoint("Asynchronous: for how long the copy to host memory stops it.")] = None
    drain: Annotated[str | None, _checkpoint("Asynchronous: how long the write in the background takes.")] = None
    every: Annotated[int | None, _checkpoint("Two levels: each so-many-th is durable.", converter=plain)] = None
    durable_write: Annotated[str | None, _checkpoint("Two levels: the durable write, after the light one.")] = None
    light_share: Annotated[
        float | None, _checkpoint("Two levels: share of failures that the light one is good for.", converter=plain)
    ] = None
    light_restart: Annotated[str | None, _checkpoint("Two levels: restart from the light one.")] = None
    verify: Annotated[str | None, _checkpoint("Silent errors: a verification before each write.")] = None
    silent_mtbf: Annotated[str | None, _checkpoint("Silent errors: mean time between them.")] = None

    @property
    def table(self) -> dict[str, Any]:
        """As a plan spells it."""
        marks = {"pause": "async", "drain": "async", "every": "two_level", "silent_mtbf": "verified"}
        marks |= {"durable_write": "two_level", "light_share": "two_level", "light_restart": "two_level"}
        marks |= {"verify": "verified"}
        kinds = dict.fromkeys(kind for name, kind in marks.items() if getattr(self, name) is not None)
        if len(kinds) > 1:
            raise InputError("checkpoint", given=f"flags of {' and '.join(kinds)} checkpoints", expected="those of one")
        kind = next(iter(kinds), "blocking")
        if kind == "async" and self.write is not None:
            raise InputError(
                "write", given="--write beside --pause or --drain", expected="--drain: an asynchronous write"
            )
        return {"kind": kind, **self.given()}


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Recoveries(_Flags):
    """What follows a failure."""

    restart: Annotated[str | None, _recovery("Restart, in which the next failure may strike.")] = None
    detection: Annotated[str | None, _recovery("Until a failure is noticed; nothing fails then.")] = None
    replacement: Annotated[str | None, _recovery("To replace what failed; nothing fails then.")] = None
    spares: Annotated[int | None, _recovery("Spare nodes. Default: always one left.", converter=plain)] = None
    repair: Annotated[str | None, _recovery('Law of a repair, "lognormal 8 h scv=1".')] = None
    crews: Annotated[int | None, _recovery("Repairs at once. Default: all.", converter=plain)] = None

    @property
    def table(self) -> dict[str, Any]:
        """As a plan spells it."""
        if self.restart is None:
            expected = 'how long it is from a failure\'s repair to work, "0 s" if it takes no time'
            raise InputError("restart", given="nothing", expected=expected)
        table: dict[str, Any] = {"recovery": self.given("restart", "detection", "replacement")}
        if self.spares is None:
            if stray := self.given("repair", "crews"):
                raise InputError(
                    next(iter(stray)), given=f"{next(iter(stray))} without spares", expected="--spares beside it"
                )
            return table
        if self.repair is None:
            expected = "the law of a repair beside spares, or each of them is used once"
            raise InputError(
                "repair", given="nothing", expected=expected, remedy='write --repair "lognormal 8 h scv=1"'
            )
        return {**table, "spares": {"count": self.spares, **self.given("repair", "crews")}}


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Steps(_Flags):
    """What a step does, and on what; without a model work is a fluid."""

    model: Annotated[str | None, _step("A name of the zoo, or a Hugging Face config.json.")] = None
    cluster: Annotated[str | None, _step("A name of the zoo.")] = None
    global_batch: Annotated[int | None, _step("Sequences of a step.", converter=plain)] = None
    sequence_length: Annotated[int | None, _step("Tokens of a sequence.", converter=plain)] = None
    data_parallel: Annotated[int | None, _step("Replicas. Default: 1.", converter=plain)] = None
    tensor_parallel: Annotated[int | None, _step("Accelerators a layer. Default: 1.", converter=plain)] = None
    pipeline_parallel: Annotated[int | None, _step("Stages of layers. Default: 1.", converter=plain)] = None
    expert_parallel: Annotated[int | None, _step("Accelerators a set of experts. Default: 1.", converter=plain)] = None
    micro_batch_size: Annotated[int | None, _step("Sequences at once in a stage. Default: 1.", converter=plain)] = None
    schedule: Annotated[str | None, _step("1f1b, gpipe or interleaved. Default: 1f1b.")] = None
    interleaving: Annotated[int | None, _step("Pieces of a stage when interleaved.", converter=plain)] = None
    stage_layers: Annotated[str | None, _step("Layers of each piece where they differ, 7,14x8,7.")] = None
    zero_stage: Annotated[int | None, _step("0 to 3: what replicas shard. Default: 1.", converter=plain)] = None
    recomputation: Annotated[str | None, _step("none, selective or full. Default: selective.")] = None
    sequence_parallel: Annotated[str | None, _step("true or false. Default: true.")] = None
    precision: Annotated[str | None, _step("Of the arithmetic. Default: bf16.")] = None
    dropout: Annotated[str | None, _step("Whether its masks take memory.")] = None
    compute_efficiency: Annotated[
        float | None, _step("Share of the peak in matrix code. Default: 0.5.", converter=plain)
    ] = None
    network_efficiency: Annotated[float | None, _step("Share of the links' bandwidth.", converter=plain)] = None
    jitter: Annotated[str | None, _step('Factor of each piece of work, "lognormal scv=0.01".')] = None
    slow_ranks: Annotated[str | None, _step('Always slow replicas, "{3 = 1.2}".')] = None
    reserved_memory: Annotated[str | None, _step("Of each accelerator, beside the job.")] = None
    step_time: Annotated[str | None, _step("Instead of a model: the law of a step's time.")] = None

    _LAYOUT = (
        "data_parallel", "tensor_parallel", "pipeline_parallel", "expert_parallel", "micro_batch_size", "schedule",
        "interleaving", "stage_layers", "zero_stage", "recomputation", "sequence_parallel",
    )  # fmt: skip
    _JOB = ("model", "global_batch", "sequence_length", "precision", "dropout")
    _WRITTEN = ("sequence_parallel", "dropout", "slow_ranks")  # as TOML writes a truth value or a table

    @property
    def table(self) -> dict[str, Any]:
        """As a plan spells it."""
        from secondorder.cli.plan_files import plain_value

        given = self.given(*(field.name for field in fields(self)))
        law = given.pop("step_time", None)
        if law is not None and given:
            raise InputError("step_time", given=f"a law beside {next(iter(given))}", expected="one of the two")
        if law is not None:
            return {"step": law}
        if not given:
            return {}
        given |= {name: plain_value(given[name]) for name in self._WRITTEN if name in given}
        layout = {name: given.pop(name) for name in self._LAYOUT if name in given}
        if "stage_layers" in layout:
            layout["stage_layers"] = _layers(layout["stage_layers"])
        job = {name: given.pop(name) for name in self._JOB if name in given}
        return {"step": {"job": {**job, "layout": layout}, **given}}


def _layers(text: str) -> list[int]:
    """``7,14x8,7``: 7 layers, 14 times 8, and 7."""
    found: list[int] = []
    for part in text.split(","):
        times, x, layers = part.strip().rpartition("x")
        if not layers.isdigit() or (x and not times.isdigit()):
            raise InputError("stage_layers", given=repr(text), expected="numbers of layers such as 7,14x8,7")
        found += [int(layers)] * (int(times) if x else 1)
    return found


TIMES = Replications()
Study = Literal["interval", "spares", "scaling"]


def train(
    *,
    failures: Annotated[
        str | None, _run('When it fails, "exponential 3 h"; see below. Default: the rates of the cluster.')
    ] = None,
    accelerators: Annotated[
        int | None, _run("How many there are, for rates of the zoo without a cluster.", converter=plain)
    ] = None,
    duration: Annotated[str | None, _run('How long the run is watched. Default: "30 day".')] = None,
    work: Annotated[str | None, _run("Instead: what there is to do, in time without failures and writes.")] = None,
    checkpoints: Checkpoints = Checkpoints(),
    recovery: Recoveries = Recoveries(),
    step: Steps = Steps(),
    study: Annotated[
        Study | None, Parameter(group=OUTPUT, help="Goodput over the interval, the spares, or the size of the cluster.")
    ] = None,
    price: Annotated[str | None, Parameter(group=OUTPUT, help="Of an accelerator, for the scaling study.")] = None,
    figure: Annotated[str | None, Parameter(group=OUTPUT, help="Picture of the study: .png, .svg or .pdf.")] = None,
    simulate: Annotated[bool, Parameter(help="Also simulate, and judge the closed forms.")] = True,
    margin: Margin = None,
    run: Replications = TIMES,
    out: Output = PRINTED,
) -> None:
    """Choose a checkpoint interval, spares or a size for a run of weeks."""
    from secondorder.analytic import solve
    from secondorder.validation.comparison import compare

    check_output(out)
    table = {"failures": failures, "duration": duration, "work": work, **recovery.table, **step.table}
    table = {name: value for name, value in table.items() if value is not None}
    table["checkpoint"] = checkpoints.table
    if study is None and figure is not None:
        raise InputError("figure", given="a picture without a study", expected="--study interval, spares or scaling")
    if price is not None and study != "scaling":
        raise InputError("price", given="a price without --study scaling", expected="the study of which it is a part")
    scenario = read_training(table, accelerators, choosing=study in ("interval", "scaling"))
    if accelerators is not None and study != "scaling":
        _check_needed(failures, accelerators, scenario)
    if study is not None:
        given = checkpoints.interval is not None
        _study(study, scenario, accelerators, price, figure, simulate, run, out, given=given)
        return
    if not simulate:
        show(solve(scenario), out)
        return
    with patience("simulating"):
        comparison = compare(scenario, margin=margin, **run.arguments)
    show(comparison, out)


def _check_needed(failures: str | None, accelerators: int, scenario: "Training") -> None:
    """Refuse a number of accelerators that changes nothing."""
    from secondorder.scenarios.training_step import TrainingStep

    if isinstance(scenario.step, TrainingStep) and accelerators != scenario.step.cluster.accelerators:
        expected = f"the cluster's {scenario.step.cluster.accelerators}, or none"
        raise InputError("accelerators", given=accelerators, expected=expected)
    if failures is not None and " " in failures.strip():
        raise InputError("accelerators", given=accelerators, expected=f'none: "{failures}" is of all together')


def read_training(table: dict[str, Any], accelerators: int | None = None, *, choosing: bool = False) -> "Training":
    """The scenario of a table that flags gave. Errors name the flag.

    ``choosing`` the interval, it need not be given.
    """
    from secondorder.cli.doors import Door
    from secondorder.scenarios.training import Training

    try:
        table = {**table, "failures": _counted(table.get("failures"), accelerators)}
        if table["failures"] is None:
            del table["failures"]
        checkpoint = table["checkpoint"]
        if "interval" not in checkpoint and choosing:
            return Door().build(Training, {**table, "checkpoint": {**checkpoint, "interval": "1 h"}})
        if "interval" not in checkpoint:
            raise _no_interval(table)
        return Door().build(Training, table)
    except FileError:
        raise
    except InputError as error:
        raise renamed(error) from None


def _counted(failures: Any, accelerators: Any) -> Any:
    """Rates of the zoo for so many accelerators or nodes of eight; anything else as it is."""
    from secondorder.fleets.failures import failure_rates

    if not isinstance(failures, str) or " " in failures.strip() or accelerators is None:
        return failures
    if not isinstance(accelerators, int) or accelerators < 1:
        raise InputError("accelerators", given=accelerators, expected="an integer of at least 1")
    rates = failure_rates[failures.strip()]
    if rates.per == "node":
        if accelerators % 8:
            raise InputError("accelerators", given=accelerators, expected=f"nodes of 8: {rates.name} counts nodes")
        accelerators //= 8
    return rates.process(accelerators)


def _no_interval(table: dict[str, Any]) -> InputError:
    """The error for a missing interval, with what the formulas would choose."""
    from secondorder.analytic.training.run_interval import best_training_interval
    from secondorder.quantities import pretty

    scenario = read_training({**table, "checkpoint": {**table["checkpoint"], "interval": "1 h"}})
    best = pretty(best_training_interval(scenario), "s")
    remedy = f"the best by closed form is {best}; --study interval shows how much it matters"
    return InputError("interval", given="nothing", expected="a time of work between checkpoints", remedy=remedy)


_PREFIXES = ("checkpoint.", "recovery.", "spares.", "step.job.layout.", "step.job.", "step.")


def renamed(error: InputError) -> InputError:
    """The error told by the flag's name rather than by the field's place."""
    if error.what == "spares.count":
        error.what = "spares"
    for prefix in _PREFIXES:
        if error.what.startswith(prefix):
            error.what = error.what.removeprefix(prefix)
            break
    return error


def _study(
    study: Study,
    scenario: "Training",
    accelerators: int | None,
    price: str | None,
    figure: str | None,
    simulated: bool,
    run: Replications,
    out: Output,
    *,
    given: bool,
) -> None:
    import sys

    from secondorder.report import training as report
    from secondorder.report.plots import check_figure, save
    from secondorder.validation.intervals import interval_study
    from secondorder.validation.scaling import scaling_study
    from secondorder.validation.spares import spares_study

    if figure is not None:
        check_figure(figure)
    options = {"simulated": simulated, **run.arguments}
    with patience("simulating"):
        found: Any
        match study:
            case "interval":
                found = interval_study(scenario, given=given, **options)
            case "spares":
                found = spares_study(scenario, **options)
            case "scaling":
                found = scaling_study(scenario, accelerators=accelerators, price=price, **options)
    emit(records(report.study_frame(found)), report.study_grids(found), out)
    if figure is not None:
        print(f"picture: {save(report.study_figure(found), figure)}", file=sys.stderr)
