"""``secondorder train``: a training run of weeks, its checkpoints and its failures."""

from dataclasses import dataclass, fields
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Group, Parameter

from secondorder.cli.options import (
    OUTPUT,
    PRINTED,
    MarginOfTraining,
    Output,
    Replications,
    ReplicationsOfTraining,
    Simulated,
    plain,
)
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
STEP = Group("Step and cluster", sort_key=4)
LAYOUT = Group("Layout", sort_key=5)


def _flag(group: Group, text: str, metavar: str, default: str = "", **options: Any) -> Parameter:
    options |= {"converter": plain} if metavar in ("INT", "SHARE") else {"allow_leading_hyphen": True}
    return Parameter(group=group, help=text, metavar=metavar or None, show_default=default or None, **options)


_run, _checkpoint, _recovery = partial(_flag, RUN), partial(_flag, CHECKPOINT), partial(_flag, RECOVERY)
_step, _layout = partial(_flag, STEP), partial(_flag, LAYOUT)


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

    interval: Annotated[
        str | None, _checkpoint('Work between two checkpoints, "30 min", required unless a study chooses it.', "TIME")
    ] = None
    write: Annotated[
        str | None, _checkpoint('Time that a write stops the work, "60 s".', "TIME", "as the storage takes")
    ] = None
    pause: Annotated[str | None, _checkpoint("Asynchronous: time of the copy to host memory.", "TIME")] = None
    drain: Annotated[
        str | None, _checkpoint("Asynchronous: time of the write in the background.", "TIME", "as the storage takes")
    ] = None
    every: Annotated[int | None, _checkpoint("Two levels: every N-th checkpoint is durable.", "INT")] = None
    durable_write: Annotated[
        str | None, _checkpoint("Two levels: time of the durable write.", "TIME", "as the storage takes")
    ] = None
    light_share: Annotated[
        float | None, _checkpoint("Two levels: share of failures that the light checkpoint mends.", "SHARE")
    ] = None
    light_restart: Annotated[str | None, _checkpoint("Two levels: restart from the light one.", "TIME")] = None
    verify: Annotated[str | None, _checkpoint("Silent errors: time of the verification before each write.", "TIME")] = (
        None
    )
    silent_mtbf: Annotated[str | None, _checkpoint("Silent errors: mean time between two.", "TIME")] = None
    storage: Annotated[
        str | None,
        _checkpoint("Storage, of the zoo (tectonic_llama_3), from which writes follow.", "NAME", "the cluster's"),
    ] = None

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
        given = self.given()
        given.pop("storage", None)  # of the run, and not of the checkpoint
        return {"kind": kind, **given}


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Recoveries(_Flags):
    """What follows a failure."""

    restart: Annotated[
        str | None, _recovery('Time from a repair to work, in which failures strike too, "5 min"; due.', "TIME")
    ] = None
    detection: Annotated[
        str | None, _recovery("Time until a failure is noticed, in which nothing fails.", "TIME", "0 s")
    ] = None
    replacement: Annotated[
        str | None, _recovery("Time to replace what failed, in which nothing fails.", "TIME", "0 s")
    ] = None
    spares: Annotated[int | None, _recovery("Spare nodes.", "INT", "always one left")] = None
    repair: Annotated[
        str | None, _recovery('Time of a repair, or its law, "lognormal 8 h scv=1"; due with spares.', "LAW")
    ] = None
    crews: Annotated[int | None, _recovery("Repairs at once.", "INT", "all")] = None

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
class Jobs(_Flags):
    """What a step does, and on what."""

    model: Annotated[
        str | None, _step("Language model, of the zoo (llama_3_1_8b) or a Hugging Face config.json.", "NAME")
    ] = None
    cluster: Annotated[str | None, _step("Cluster, of the zoo (llama_3_16k).", "NAME")] = None
    nodes: Annotated[int | None, _step("Nodes of the cluster.", "INT", "the zoo's")] = None
    global_batch: Annotated[int | None, _step("Sequences of a step, all replicas together.", "INT")] = None
    sequence_length: Annotated[int | None, _step("Tokens of a sequence.", "INT")] = None
    precision: Annotated[str | None, _step("Number format of the arithmetic.", "NAME", "bf16")] = None
    dropout: Annotated[str | None, _step("Whether dropout masks are kept.", "BOOL", "false")] = None
    sequence_parallel: Annotated[
        str | None, _step("Whether ranks share what lies between split matrices.", "BOOL", "true")
    ] = None
    compute_efficiency: Annotated[
        float | None, _step("Share of the peak that the arithmetic reaches.", "SHARE", "0.5")
    ] = None
    network_efficiency: Annotated[
        float | None, _step("Share of the links' bandwidth that is reached.", "SHARE", "0.8")
    ] = None
    jitter: Annotated[
        str | None, _step('Factor of mean 1 on each piece of work, "lognormal scv=0.01".', "LAW", "none")
    ] = None
    slow_ranks: Annotated[
        str | None, _step("Factors of replicas that are always slow, '{\"3\": 1.2}'.", "TABLE", "none")
    ] = None
    reserved_memory: Annotated[str | None, _step("Memory of each accelerator beside the job.", "SIZE", "1.5 GiB")] = (
        None
    )

    _LAYOUT = (
        "data_parallel", "tensor_parallel", "pipeline_parallel", "expert_parallel", "micro_batch_size", "schedule",
        "interleaving", "stage_layers", "zero_stage", "recomputation", "sequence_parallel",
    )  # fmt: skip
    _JOB = ("model", "global_batch", "sequence_length", "precision", "dropout")
    _WRITTEN = ("sequence_parallel", "dropout", "slow_ranks", "stage_layers")  # as TOML writes a truth value or a table

    @property
    def table(self) -> dict[str, Any]:
        """As a plan spells it."""
        from secondorder.plans.text import plain_value

        given = self.given()
        if not given:
            return {}
        given |= {name: plain_value(given[name]) for name in self._WRITTEN if name in given}
        if (nodes := given.pop("nodes", None)) is not None:
            if "cluster" not in given:
                raise InputError("nodes", given="nodes without a cluster", expected="--cluster beside them")
            given["cluster"] = {"like": given["cluster"], "nodes": nodes}
        layout = {name: given.pop(name) for name in self._LAYOUT if name in given}
        job = {name: given.pop(name) for name in self._JOB if name in given}
        return {"step": {"job": {**job, "layout": layout}, **given}}


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Layouts(_Flags):
    """How the job is spread."""

    data_parallel: Annotated[int | None, _layout("Replicas of the model.", "INT", "1")] = None
    tensor_parallel: Annotated[int | None, _layout("Accelerators that share each layer.", "INT", "1")] = None
    pipeline_parallel: Annotated[int | None, _layout("Stages that the layers are split into.", "INT", "1")] = None
    expert_parallel: Annotated[int | None, _layout("Replicas that the experts are dealt out among.", "INT", "1")] = None
    micro_batch_size: Annotated[int | None, _layout("Sequences that pass a stage together.", "INT", "1")] = None
    schedule: Annotated[
        str | None, _layout("Order of the passes.", "", "1f1b", choices=("gpipe", "1f1b", "interleaved"))
    ] = None
    interleaving: Annotated[int | None, _layout("Chunks of the model on a stage, if interleaved.", "INT", "1")] = None
    stage_layers: Annotated[
        str | None, _layout("Layers of each chunk, where they differ, 7,14x8,7.", "LIST", "all alike")
    ] = None
    zero_stage: Annotated[
        int | None,
        _layout("What replicas share out: nothing (0), optimiser (1), gradients (2), weights (3).", "INT", "1"),
    ] = None
    recomputation: Annotated[
        str | None,
        _layout("Activations that are computed again.", "", "selective", choices=("none", "selective", "full")),
    ] = None


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Steps(Jobs, Layouts):
    """A step with its layout, or the law of its time; without either work is a fluid."""

    step_time: Annotated[
        str | None, _step('Instead of a model: time of a step, or its law, "lognormal 4 s scv=0.01".', "LAW")
    ] = None

    @property
    def table(self) -> dict[str, Any]:
        """As a plan spells it."""
        if self.step_time is None:
            return super().table
        if others := self.given().keys() - {"step_time"}:
            raise InputError("step_time", given=f"a law beside {min(others)}", expected="one of the two")
        return {"step": self.step_time}


TIMES = ReplicationsOfTraining()
Study = Literal["interval", "spares", "scaling"]


def train(
    *,
    failures: Annotated[
        str | None, _run('When it fails, "exponential 3 h", see below.', "LAW", "the rates of the cluster")
    ] = None,
    accelerators: Annotated[
        int | None, _run("Accelerators that rates of the zoo are for, without a cluster.", "INT")
    ] = None,
    duration: Annotated[str | None, _run("Time that the run is watched.", "TIME", "30 day")] = None,
    work: Annotated[
        str | None, _run('Instead: what there is to do, without failures and writes, "20 day".', "TIME")
    ] = None,
    checkpoints: Checkpoints = Checkpoints(),
    recovery: Recoveries = Recoveries(),
    step: Steps = Steps(),
    study: Annotated[
        Study | None, Parameter(group=OUTPUT, help="Goodput over the interval, the spares, or the size of the cluster.")
    ] = None,
    price: Annotated[
        str | None,
        Parameter(
            group=OUTPUT,
            metavar="PRICE",
            help='Price of an accelerator, for the studies of spares and scaling, "2 USD/hour".',
        ),
    ] = None,
    figure: Annotated[
        str | None, Parameter(group=OUTPUT, metavar="FILE", help="Picture of the study: .png, .svg or .pdf.")
    ] = None,
    simulate: Simulated = True,
    margin: MarginOfTraining = None,
    run: ReplicationsOfTraining = TIMES,
    out: Output = PRINTED,
) -> None:
    """Choose a checkpoint interval, spares or a size for a run of weeks."""
    from secondorder.validation.comparison import compare
    from secondorder.verbs import solve

    check_output(out)
    table = {"failures": failures, "duration": duration, "work": work, **recovery.table, **step.table}
    table["storage"] = checkpoints.storage
    table = {name: value for name, value in table.items() if value is not None}
    table["checkpoint"] = checkpoints.table
    if study is None and figure is not None:
        raise InputError("figure", given="a picture without a study", expected="--study interval, spares or scaling")
    if price is not None and study not in ("spares", "scaling"):
        raise InputError("price", given="a price without a study of costs", expected="--study spares or scaling")
    scenario = read_training(table, accelerators, choosing=study in ("interval", "scaling"))
    if accelerators is not None and study != "scaling":
        _check_needed(failures, accelerators, scenario)
    if study is not None:
        given = checkpoints.interval is not None
        _study(study, scenario, accelerators, price, figure, simulate, margin, run, out, given=given)
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
    from secondorder.plans.tables import Tables
    from secondorder.scenarios.training import Training

    try:
        table = {**table, "failures": _counted(table.get("failures"), accelerators)}
        if table["failures"] is None:
            del table["failures"]
        checkpoint = table["checkpoint"]
        if "interval" not in checkpoint and choosing:
            return Tables().build(Training, {**table, "checkpoint": {**checkpoint, "interval": "1 h"}})
        if "interval" not in checkpoint:
            raise _no_interval(table)
        return Tables().build(Training, table)
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


_PREFIXES = (
    "checkpoint.", "recovery.", "spares.", "step.job.layout.", "step.job.", "step.cluster.", "step.",
    "job.layout.", "job.", "cluster.",
)  # fmt: skip


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
    margin: float | None,
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
                found = spares_study(scenario, price=price, **options)
            case "scaling":
                found = scaling_study(scenario, accelerators=accelerators, price=price, **options)
    emit(records(report.study_frame(found, margin)), report.study_grids(found, margin), out)
    if figure is not None:
        print(f"picture: {save(report.study_figure(found), figure)}", file=sys.stderr)
