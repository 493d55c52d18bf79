"""``secondorder train``: a training run of weeks, its checkpoints and its failures.

The flags are the fields of ``Training`` and of what it has: checkpoints, recovery, spares, the step and its layout.
"""

from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Group, Parameter

from secondorder.cli.drawing import NOTHING, Drawn, check_drawn, write_figure, write_report
from secondorder.cli.flags import INNER, Flag, Given, attach, by_flag, flag_of, flags_of, given_in, nested
from secondorder.cli.options import (
    OUTPUT,
    PRINTED,
    Kept,
    KeptBesideNodes,
    Margin,
    Output,
    Replications,
    Simulated,
)
from secondorder.cli.output import check_output, emit, patience, records
from secondorder.cli.progress import Counted
from secondorder.cli.systems import answer
from secondorder.errors import FileError, InputError
from secondorder.systems.registry import SYSTEMS

if TYPE_CHECKING:
    from secondorder.scenarios.training import Training

TITLE = "Choose a checkpoint interval, spares or a size for a run of weeks."
EXAMPLE = """\
Examples:

  secondorder train --failures "exponential 8240 s" --interval "994 s"
    --write "60 s" --restart "300 s" --duration "54 day"

  secondorder train --failures llama_3 --accelerators 16384 --write "60 s"
    --restart "300 s" --study interval --figure interval.png

  secondorder train --failures "exponential 3 h" --interval "20 min"
    --write "60 s" --restart "5 min" --spares 4 --repair "lognormal 8 h scv=1"
    --study spares

  secondorder study recovery --failures llama_3 --accelerators 16384
    --write "60 s" --restart "300 s" --detection "30 s" --replacement "5 min"
    --spares 2 --repair "lognormal 8 h scv=1" --replicas 128 --shared 0.1
    --regroup "10 s" --reload "2 min" --figure recovery.png

  secondorder train --model llama_3_1_405b --cluster llama_3_16k
    --data-parallel 128 --tensor-parallel 8 --pipeline-parallel 16
    --schedule interleaved --interleaving 8 --stage-layers 0,126x1,0
    --zero-stage 2 --compute-efficiency 0.56 --global-batch 2048
    --sequence-length 8192 --interval "30 min" --restart "5 min"

Failures: "exponential MTBF"; for other laws, say what a failure renews:
"renewal LAW" (all), "stationary NODES LAW", "new NODES LAW"; "bursts MTBF
mtbf_storm=... calm=... storm=..."; "pairs COUNT lifetime=..."; or rates from
the zoo. Failures strike during work, writes and restarts, not during downtime.
"""

RUN = Group("Run", sort_key=1)
CHECKPOINT = Group("Checkpoints", sort_key=2)
RECOVERY = Group("Recovery", sort_key=3)
ELASTIC = Group("Replicas that continue while one recovers", sort_key=4)
ALLOCATION = Group("Planned ends of allocations", sort_key=4)
STEP = Group("Step and cluster", sort_key=5)
LAYOUT = Group("Layout", sort_key=6)
FATES = ("failed_repairs", "retired", "delivery")
"""Flags of what becomes of failed nodes."""
Study = Literal["interval", "spares", "scaling", "recovery"]
STUDIES: Mapping[Study, str] = {
    "interval": "Goodput over the checkpoint interval, and what a wrong one costs.",
    "spares": "Availability, goodput and cost over the number of spare nodes.",
    "scaling": "Goodput and cost over the size of the cluster.",
    "recovery": "Ways to recover side by side, and spares against the interval.",
}
TIMES = Replications()

Accelerators = Annotated[
    str | None,
    Parameter(
        group=RUN,
        metavar="INT",
        help="Number of accelerators, for failure rates from the zoo without a cluster.",
        allow_leading_hyphen=True,
    ),
]
Studied = Annotated[
    Study | None,
    Parameter(group=OUTPUT, help="Goodput over the interval, the spares, the size of the cluster, or ways to recover."),
]
Price = Annotated[
    str | None,
    Parameter(
        group=OUTPUT,
        metavar="PRICE",
        help='Price of an accelerator, for the studies of spares and scaling, "2 USD/hour".',
    ),
]


# Flags


def flags() -> list[Flag]:
    """A flag for each field of the run, and of what it has."""
    from secondorder.scenarios.allocation import Allocation
    from secondorder.scenarios.elastic import Elastic
    from secondorder.scenarios.training import Recovery, Spares, Training

    run = [flag_of(Training, name, (name,), RUN) for name in ("failures", "duration", "work")]
    checkpoints = [flag for word in _checkpoints() for flag in _fields(_checkpoints()[word], "checkpoint", CHECKPOINT)]
    storage = flag_of(Training, "storage", ("storage",), CHECKPOINT)
    spares = [
        flag_of(Spares, "count", ("spares", "count"), RECOVERY, "spares"),
        flag_of(Spares, "repair", ("spares", "repair"), RECOVERY),
        *(flag_of(Spares, name, ("spares", name), RECOVERY) for name in ("crews", *FATES)),
    ]
    law = flag_of(Training, "step", ("step",), STEP, "step_time")
    recovery = [*_fields(Recovery, "recovery", RECOVERY), *spares, *_fields(Elastic, "elastic", ELASTIC)]
    ends = _fields(Allocation, "allocation", ALLOCATION)
    every = [*run, *checkpoints, storage, *recovery, *ends, *step_flags(), law]
    named: dict[str, Flag] = {}
    for flag in every:
        named.setdefault(flag.name, flag)
    return [*named.values()]


def step_flags() -> list[Flag]:
    """The flags of a training step: its job, the job's layout, the step itself, and last the cluster's nodes."""
    from secondorder.fleets.clusters import Cluster
    from secondorder.scenarios.training_step import TrainingStep

    groups = {INNER["Layout"]: LAYOUT}
    found = [flag.optional() for flag in flags_of(TrainingStep, STEP, ("step",))]
    nodes = flag_of(Cluster, "nodes", ("step", "cluster", "nodes"), STEP)
    return [*(Flag(flag.field, flag.path, groups.get(flag.group, STEP)) for flag in found), nodes]


def _checkpoints() -> Mapping[str, type]:
    """The kinds of checkpoints by word."""
    from secondorder.families import family_of
    from secondorder.scenarios.training import Checkpoint

    family = family_of(frozenset({Checkpoint}))
    assert family is not None
    return {kind.word: kind.type for kind in family.kinds}


def _fields(kind: type, place: str, group: Group) -> list[Flag]:
    return [flag_of(kind, flag.name, (place, flag.name), group) for flag in flags_of(kind, group)]


# Tables


def table_of(given: Given) -> dict[str, Any]:
    """What a plan would have for the flags that were given, by their names."""
    every = flags()
    step_names = {flag.name for flag in every if flag.path[0] == "step"}
    table = nested([flag for flag in every if flag.name not in step_names], given)
    table["checkpoint"] = {"kind": _kind(given), **table.get("checkpoint", {})}
    _check_recovery(given)
    others = sorted(step_names & given.keys() - {"step_time"})
    if "step_time" in given:
        if others:
            raise InputError("step_time", given=f"a law with {others[0]}", expected="one of the two")
        return {**table, "step": given["step_time"]}
    if others:
        table["step"] = step_table(given)
    return table


def step_table(given: Given) -> dict[str, Any]:
    """What a plan would have for a training step."""
    from secondorder.plans.text import plain_value

    *others, nodes = step_flags()
    step: dict[str, Any] = nested(others, given).get("step", {})
    if nodes.name in given:
        if "cluster" not in step:
            raise InputError("nodes", given="nodes without a cluster", expected="--cluster too")
        step["cluster"] = {"like": step["cluster"], "nodes": plain_value(str(given[nodes.name]))}
    return {**step, "job": step.get("job", {})}


def _kind(given: Given) -> str:
    """The only kind of checkpoint that has all of the flags that were given; blocking where several have them."""
    known = {word: {each.name for each in fields(kind)} for word, kind in _checkpoints().items()}
    default, *others = known
    own = {word: known[word] - known[default] for word in others}
    kinds = [word for word in others if own[word] & given.keys()]
    if len(kinds) > 1:
        raise InputError("checkpoint", given=f"flags of {' and '.join(kinds)} checkpoints", expected="those of one")
    kind = next(iter(kinds), default)
    if stray := sorted(known[default] & given.keys() - known[kind]):
        marks = " or ".join(f"--{name.replace('_', '-')}" for name in sorted(own[kind] & given.keys()))
        raise InputError(stray[0], given=f"--{stray[0]} with {marks}", expected=f"flags of {kind} checkpoints alone")
    return kind


def _check_recovery(given: Given) -> None:
    """Refuse a run without a restart, and flags of spares that do not go together."""
    if "restart" not in given:
        expected = 'how long it is from a failure\'s repair to work, "0 s" if it takes no time'
        raise InputError("restart", given="nothing", expected=expected)
    if "spares" not in given:
        if stray := [name for name in ("repair", "crews", *FATES) if name in given]:
            raise InputError(stray[0], given=f"{stray[0]} without spares", expected="--spares too")
    elif "repair" not in given:
        expected = "the law of a repair, as spares are used again once they are repaired"
        raise InputError("repair", given="nothing", expected=expected, remedy='write --repair "lognormal 8 h scv=1"')


def read_training(table: dict[str, Any], accelerators: int | None = None, *, choosing: bool = False) -> "Training":
    """The scenario of a table that flags gave. Errors name the flag.

    ``choosing`` the interval, it need not be given.
    """
    try:
        table = {**table, "failures": _counted(table.get("failures"), accelerators)}
        if table["failures"] is None:
            del table["failures"]
        checkpoint = table["checkpoint"]
        if "interval" not in checkpoint and choosing:
            return _built({**table, "checkpoint": {**checkpoint, "interval": "1 h"}})
        if "interval" not in checkpoint:
            raise _no_interval(table)
        return _built(table)
    except FileError:
        raise
    except InputError as error:
        raise by_flag(error, flags()) from None


def _built(table: dict[str, Any]) -> "Training":
    from secondorder.plans.tables import Tables
    from secondorder.scenarios.training import Training

    return Tables().build(Training, table)


def _counted(failures: Any, accelerators: Any) -> Any:
    """Failure rates from the zoo for these accelerators, or for their nodes of eight; anything else unchanged."""
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

    scenario = _built({**table, "checkpoint": {**table["checkpoint"], "interval": "1 h"}})
    best = pretty(best_training_interval(scenario), "s")
    remedy = f"the best by closed form is {best}; --study interval shows how much it matters"
    return InputError("interval", given="nothing", expected="a time of work between checkpoints", remedy=remedy)


# The command

NO_STORE = KeptBesideNodes()


def _scheduled(given: Given, kept: KeptBesideNodes) -> tuple[Given, KeptBesideNodes]:
    """``--cluster tcp://HOST:PORT`` is a scheduler, as it is for the other commands, and no cluster of nodes."""
    address = given.get("cluster")
    if not isinstance(address, str) or "://" not in address:
        return given, kept
    return {name: value for name, value in given.items() if name != "cluster"}, replace(kept, cluster=address)


def _command() -> Callable[..., None]:
    every = flags()

    def train(
        *,
        values: object,
        accelerators: Accelerators = None,
        study: Studied = None,
        price: Price = None,
        simulate: Simulated = True,
        margin: Margin = None,
        run: Replications = TIMES,
        kept: KeptBesideNodes = NO_STORE,
        drawn: Drawn = NOTHING,
        out: Output = PRINTED,
    ) -> None:
        given, kept = _scheduled(given_in(values, every), kept)
        if study is not None:
            _study(study, given, accelerators, price, drawn, simulate, margin, run, kept, out)
            return
        check_output(out)
        for name, value in (("store", kept.store), ("scheduler", kept.cluster)):
            if value is not None:
                expected = f"--study {' or '.join(STUDIES)}"
                raise InputError(name, given="one without a study", expected=expected)
        if price is not None:
            raise InputError("price", given="a price without a study of costs", expected="--study spares or scaling")
        answer(_scenario(given, accelerators, None), simulate, margin, run, out, drawn)

    train.__doc__ = TITLE
    return attach(train, every, SYSTEMS["training"])


def _study_command(name: Study) -> Callable[..., None]:
    """``secondorder study NAME``: the same flags, with one study chosen."""
    every = flags()

    def study(
        *,
        values: object,
        accelerators: Accelerators = None,
        price: Price = None,
        drawn: Drawn = NOTHING,
        simulate: Simulated = True,
        margin: Margin = None,
        run: Replications = TIMES,
        kept: KeptBesideNodes = NO_STORE,
        out: Output = PRINTED,
    ) -> None:
        given, kept = _scheduled(given_in(values, every), kept)
        _study(name, given, accelerators, price, drawn, simulate, margin, run, kept, out)

    study.__doc__ = STUDIES[name]
    return attach(study, every, SYSTEMS["training"])


def __getattr__(name: str) -> Callable[..., None]:
    """The commands, made when one is first asked for: until then no scenario is imported."""
    if name == "train":
        return _command()
    study: Any = name.removeprefix("study_")
    if study in STUDIES:
        return _study_command(study)
    raise AttributeError(name)


def _scenario(given: Given, accelerators: str | None, study: Study | None) -> "Training":
    """The run that the flags spell; some studies choose the interval themselves."""
    from secondorder.plans.text import plain_value

    table = table_of(given)
    count: Any = None if accelerators is None else plain_value(accelerators)
    scenario = read_training(table, count, choosing=study in ("interval", "scaling", "recovery"))
    if count is not None and study != "scaling":
        _check_needed(table.get("failures"), count, scenario)
    return scenario


def _check_needed(failures: str | None, accelerators: int, scenario: "Training") -> None:
    """Refuse a number of accelerators that changes nothing."""
    from secondorder.scenarios.training_step import TrainingStep

    if isinstance(scenario.step, TrainingStep) and accelerators != scenario.step.cluster.accelerators:
        expected = f"the cluster's {scenario.step.cluster.accelerators}, or none"
        raise InputError("accelerators", given=accelerators, expected=expected)
    if failures is not None and " " in failures.strip():
        raise InputError("accelerators", given=accelerators, expected=f'none: "{failures}" is of all together')


def _study(
    study: Study,
    given: Given,
    accelerators: str | None,
    price: str | None,
    drawn: Drawn,
    simulated: bool,
    margin: float | None,
    run: Replications,
    kept: Kept,
    out: Output,
) -> None:
    from secondorder.plans.text import plain_value
    from secondorder.report.page import Section, plan_of, sources_of
    from secondorder.studies.interval import interval_study
    from secondorder.studies.recovery import recovery_study
    from secondorder.studies.scaling import scaling_study
    from secondorder.studies.spares import spares_study

    check_output(out)
    if price is not None and study not in ("spares", "scaling"):
        raise InputError("price", given="a price without a study of costs", expected="a study of spares or scaling")
    check_drawn(drawn)
    scenario = _scenario(given, accelerators, study)
    options: dict[str, Any] = {"simulated": simulated, "seed": run.seed, "replications": run.replications}
    options["keeping"] = kept.keeping(run.jobs, Counted())
    with patience("simulating"):
        found: Any
        match study:
            case "interval":
                found = interval_study(scenario, given="interval" in given, **options)
            case "spares":
                found = spares_study(scenario, price=price, **options)
            case "scaling":
                count: Any = None if accelerators is None else plain_value(accelerators)
                found = scaling_study(scenario, accelerators=count, price=price, **options)
            case "recovery":
                found = recovery_study(scenario, **options)
    tables, frame, figure = _shown(study)
    grids = tables(found, margin)
    emit(records(frame(found, margin)), grids, out)
    if drawn.figure is not None:
        write_figure(lambda: figure(found), drawn.figure)
    if drawn.report is not None:
        section = Section(
            title=f"{scenario.name}: study of the {study}",
            plan=plan_of(scenario),
            grids=grids,
            figures=[figure(found)],
            sources=list(dict.fromkeys(sources_of(scenario))),
        )
        write_report(section.title, [section], drawn.report)


def _shown(study: Study) -> tuple[Callable[..., Any], Callable[..., Any], Callable[..., Any]]:
    """What makes the tables, the frame and the figure of a study."""
    if study == "recovery":
        from secondorder.report.recovery import recovery_figure, recovery_frame, recovery_grids

        return recovery_grids, recovery_frame, recovery_figure
    from secondorder.report.training import study_figure, study_frame, study_grids

    return study_grids, study_frame, study_figure
