"""The size of the cluster: more accelerators do more work and fail more often."""

import json
from dataclasses import dataclass, replace
from functools import partial

from secondorder.analytic.training.run_interval import best_training_interval
from secondorder.analytic.training_step import mean_step
from secondorder.answers.answer import Answer
from secondorder.errors import InfeasibleError, InputError
from secondorder.fleets.failures import (
    Bursts,
    FailureProcess,
    NewNodes,
    PlatformRenewal,
    ReplicatedPairs,
    StationaryNodes,
)
from secondorder.quantities import Quantity, registry, si
from secondorder.scenarios.training import Training
from secondorder.scenarios.training_step import TrainingStep
from secondorder.studies.interval import length
from secondorder.studies.points import Keeping, answers
from secondorder.studies.spares import hourly_price, paid
from secondorder.verbs import simulate, solve

FACTORS = (0.0625, 0.125, 0.25, 0.5, 1.0, 2.0, 4.0)


@dataclass(frozen=True, kw_only=True)
class Size:
    """A cluster of this many ``accelerators`` that work, at its own best ``interval`` (s of work).

    ``price``: USD for an accelerator and hour, None where it is not known. ``paid``: accelerators paid for over those
    that work, spares included; None where no cluster says how many a spare node has.
    """

    accelerators: int
    scenario: Training
    interval: float
    solved: Answer
    simulated: Answer | None
    price: float | None
    paid: float | None = 1.0

    def effective(self, goodput: float) -> float:
        """Accelerators whose work is kept."""
        return self.accelerators * goodput

    def cost(self, goodput: float) -> float | None:
        """USD for an hour of one accelerator's work that is kept; without the spares where ``paid`` is not known."""
        return None if self.price is None else self.price * (self.paid or 1.0) / goodput


@dataclass(frozen=True, kw_only=True)
class ScalingStudy:
    """``sizes`` of the cluster, the smallest first; ``left_out`` says which are not possible, and why.

    ``accelerators``: of the ``scenario`` as it was given.
    """

    scenario: Training
    accelerators: int
    sizes: tuple[Size, ...]
    left_out: tuple[str, ...]
    how: str


def scaling_study(
    scenario: Training,
    *,
    accelerators: int | None = None,
    price: Quantity | str | None = None,
    seed: int = 0,
    replications: int | None = None,
    jobs: int = 1,
    simulated: bool = True,
    keeping: Keeping | None = None,
) -> ScalingStudy:
    """Goodput and cost at sizes from a sixteenth to four times the scenario's.

    Failures come at a rate in proportion to the size. A step is laid out again with more or fewer replicas of
    the model and the same global batch, and a stated ``work`` takes less or more time by it (in proportion to
    the size where there is no step). The time of a write is kept where it was given, and follows from the
    storage where it was not; spares are as many at every size. The interval is the best one at each size.
    ``accelerators``: of the scenario as it is, where no step says it; ``price``: of an accelerator and hour,
    the cluster's if none is given. ``keeping`` says where the runs are kept and worked out, and takes the place of
    ``jobs``.

    Errors: ``InputError`` without a size.
    """
    step = scenario.step
    if isinstance(step, TrainingStep):
        if accelerators not in (None, step.cluster.accelerators):
            raise InputError("accelerators", given=accelerators, expected=f"the cluster's {step.cluster.accelerators}")
        accelerators = step.cluster.accelerators
    if accelerators is None:
        raise InputError("accelerators", given="nothing", expected="how many the run has, or a model and its cluster")
    cost = hourly_price(scenario, price)
    sizes, left_out = [], []
    for factor in FACTORS:
        count = accelerators * factor
        if count != int(count):
            left_out.append(f"{count:g}: no whole number")
            continue
        try:
            sizes.append(_size(scenario, factor, round(count), cost))
        except (InfeasibleError, InputError) as error:
            left_out.append(f"{count:,.6g}: {error}")
    how = "closed forms only"
    if simulated:
        runs = replications or 100
        found = _simulated(sizes, seed, runs, keeping or Keeping(jobs=jobs))
        left_out += [
            f"{size.accelerators:,}: {error}"
            for size, error in zip(sizes, found, strict=True)
            if isinstance(error, str)
        ]
        sizes = [
            replace(size, simulated=answer)
            for size, answer in zip(sizes, found, strict=True)
            if not isinstance(answer, str)
        ]
        how = f"{runs} runs of {length(scenario)} at each size"
    return ScalingStudy(
        scenario=scenario, accelerators=accelerators, sizes=tuple(sizes), left_out=tuple(left_out), how=how
    )


def _size(scenario: Training, factor: float, count: int, price: float | None) -> Size:
    sized = _scaled(scenario, factor)
    interval = best_training_interval(sized)
    sized = sized.at(interval)
    return Size(
        accelerators=count,
        scenario=sized,
        interval=interval,
        solved=solve(sized),
        simulated=None,
        price=price,
        paid=paid(sized),
    )


def _simulated(sizes: list[Size], seed: int, replications: int, keeping: Keeping) -> list[Answer | str]:
    """What the runs of each size give, or why they give nothing."""
    return answers(
        [size.scenario for size in sizes],
        [{"accelerators": str(size.accelerators)} for size in sizes],
        partial(simulate, seed=seed, replications=replications),
        keeping,
        seed=seed,
        options=json.dumps({"replications": replications}),
    )


def _scaled(scenario: Training, factor: float) -> Training:
    faster, step, work = factor, scenario.step, scenario.work
    if isinstance(step, TrainingStep):
        larger = _with_replicas(step, factor)
        faster, step = mean_step(step) / mean_step(larger), larger
    if work is not None:
        work = registry.Quantity(si(work) / faster, "s")
    return replace(scenario, failures=scaled(scenario.process, factor), step=step, work=work)


def _with_replicas(step: TrainingStep, factor: float) -> TrainingStep:
    """The step on a cluster of another size: the replicas of the model are more or fewer."""
    layout, cluster = step.job.layout, step.cluster
    replicas, nodes = layout.data_parallel * factor, cluster.nodes * factor
    if replicas != int(replicas) or nodes != int(nodes):
        given = f"{replicas:g} replicas on {nodes:g} nodes"
        raise InputError("data_parallel", given=given, expected="whole replicas on whole nodes")
    job = replace(step.job, layout=replace(layout, data_parallel=int(replicas)))
    return replace(step, job=job, cluster=replace(cluster, nodes=int(nodes)))


def scaled(process: FailureProcess, factor: float) -> FailureProcess:
    """The failures of a platform ``factor`` times as large.

    >>> scaled(PlatformRenewal(gap="exponential 3 h"), 2).mtbf
    5400.0

    Errors: ``InputError`` where that would not be whole nodes.
    """
    match process:
        case PlatformRenewal():
            gap = process.law("gap")
            return PlatformRenewal(gap=gap.at(registry.Quantity(gap.moment(1) / factor, "s")))
        case StationaryNodes(nodes=nodes) | NewNodes(nodes=nodes):
            return replace(process, nodes=_whole("nodes", nodes * factor))
        case Bursts(mtbf_calm=calm, mtbf_storm=storm):
            faster = (registry.Quantity(si(each) / factor, "s") for each in (calm, storm))
            return replace(process, **dict(zip(("mtbf_calm", "mtbf_storm"), faster, strict=True)))
        case ReplicatedPairs(pairs=pairs):
            return replace(process, pairs=_whole("pairs", pairs * factor))


def _whole(what: str, count: float) -> int:
    if count != int(count):
        raise InputError(what, given=f"{count:g}", expected="a whole number at every size")
    return int(count)
