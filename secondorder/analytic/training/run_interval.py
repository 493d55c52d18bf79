"""The interval of a whole run: the best by its closed forms, and the classic ones beside it."""

import math
from dataclasses import replace

from secondorder.analytic.training.allocated_run import AllocatedRun
from secondorder.analytic.training.elastic_run import ElasticRun
from secondorder.analytic.training.interval import best_interval, daly, young
from secondorder.analytic.training.run import Run
from secondorder.errors import InputError
from secondorder.quantities import registry, si
from secondorder.scenarios.training import (
    AsyncCheckpoint,
    Training,
    TwoLevelCheckpoint,
    VerifiedCheckpoint,
)


def long_run_goodput(scenario: Training) -> float:
    """The goodput of the highest order alone, for a search over scenarios. Errors: ``InputError``.

    >>> from secondorder.scenarios.training import Checkpoint
    >>> run = Training(failures="exponential 8240 s", checkpoint=Checkpoint(interval="994.4 s", write="60 s"))
    >>> round(long_run_goodput(run), 4)
    0.884
    """
    run = Run(scenario=scenario)
    if scenario.elastic is not None:
        return ElasticRun(run=run, elastic=scenario.elastic).shares["goodput"]
    if scenario.allocation is not None:
        return AllocatedRun(run=run, allocation=scenario.allocation).goodput
    return run.shares["goodput"]


def losses_mtbf(scenario: Training) -> float:
    """Mean time in s between failures that send the run back to a checkpoint. Errors: ``InputError`` for none."""
    share = 1.0 if scenario.elastic is None else scenario.elastic.shared
    if share == 0:
        given, remedy = "none of the failures", "the longer the interval, the better: state the share, or an interval"
        raise InputError("elastic.shared", given=given, expected="a share above 0 for a best interval", remedy=remedy)
    return scenario.mtbf / share


def best_training_interval(scenario: Training) -> float:
    """The interval in s of the highest ``long_run_goodput``, all else equal; numerical, to a relative 1e-6.

    Searched to ten MTBF, from a tenth of Young's interval or of the drain, or from a 10,000th of the MTBF if
    that is less. A run with ``work`` is cut into equal intervals, the best number of them. Where checkpoints take
    no time at all, one step. Errors: ``InputError``, also where work is then a fluid.

    >>> from secondorder.scenarios.training import Checkpoint
    >>> run = Training(failures="exponential 8240 s", checkpoint=Checkpoint(interval="600 s", write="60 s"))
    >>> round(best_training_interval(run))   # the exact optimum, 954.8 s
    955
    >>> round(best_training_interval(replace(run, duration=None, work="2000 s")))
    1000
    """
    run, cost = Run(scenario=scenario), _cost(scenario)
    drain = run.write if isinstance(scenario.policy, AsyncCheckpoint) else 0.0
    if cost + drain == 0:
        if run.step is not None:
            return run.step
        remedy = "the shorter their interval, the better: give one"
        raise InputError("interval", given="checkpoints that take no time", expected="a time above 0", remedy=remedy)
    mtbf = longest = losses_mtbf(scenario)
    if isinstance(scenario.policy, VerifiedCheckpoint):
        mtbf = min(mtbf, si(scenario.policy.silent_mtbf))
    shortest = [1e-4 * mtbf]
    if cost > 0:
        shortest.append(float(young(write=cost, mtbf=mtbf / run.every)) / 10)
    if drain > 0:
        shortest.append(drain / 10)

    def search(endless: Training) -> float:
        return best_interval(lambda tau: long_run_goodput(endless.at(tau)), low=min(shortest), high=10 * longest)

    if run.work is None:
        return search(scenario)
    # without what is left for a last interval, which would make the goodput a saw of the interval
    endless = replace(scenario, work=None, duration=scenario.work)
    best = search(endless)
    wall = Run(scenario=scenario.at(best)).wall if run.aging else math.inf
    if run.aging and wall < math.inf:  # most work in the time that it takes is least time for the work
        best = search(replace(endless, duration=registry.Quantity(wall, "s")))
    cuts = run.work / best
    equal = {run.work / max(1, number) for number in (math.floor(cuts), math.ceil(cuts))}
    return max(equal, key=lambda tau: long_run_goodput(scenario.at(tau)))


def classic_intervals(scenario: Training) -> dict[str, float]:
    """Young's and Daly's interval in s, by the time for which a checkpoint stops the work; empty where it stops none.

    Of two levels the durable write counts by its share. A drain is left out: ``classic_note``. Errors: ``InputError``.

    >>> from secondorder.scenarios.training import Checkpoint
    >>> run = Training(failures="exponential 8240 s", checkpoint=Checkpoint(interval="600 s", write="60 s"))
    >>> {who: round(interval, 1) for who, interval in classic_intervals(run).items()}
    {'Young': 994.4, 'Daly': 954.8}
    """
    cost, mtbf = _cost(scenario), losses_mtbf(scenario)
    if cost == 0:
        return {}
    return {"Young": float(young(write=cost, mtbf=mtbf)), "Daly": float(daly(write=cost, mtbf=mtbf))}


def classic_note(scenario: Training) -> str:
    """What Young's and Daly's intervals leave out, in words; empty where they leave out nothing.

    >>> slow = AsyncCheckpoint(interval="600 s", pause="1 s", drain="600 s")
    >>> classic_note(Training(failures="exponential 8240 s", checkpoint=slow))
    'Young and Daly see the pause alone (1 s): at their interval (128 s) the drain (600 s) holds training up'
    """
    classic = classic_intervals(scenario)
    if not classic:
        return "Young and Daly have no interval: a checkpoint stops no work"
    young_interval, drain = classic["Young"], Run(scenario=scenario).write
    if not isinstance(scenario.policy, AsyncCheckpoint) or drain == 0:
        return ""
    note = f"Young and Daly see the pause alone ({scenario.blocking_seconds:.4g} s)"
    if drain > young_interval:
        return f"{note}: at their interval ({young_interval:.3g} s) the drain ({drain:.4g} s) holds training up"
    return f"{note}: the work lost during a drain ({drain:.4g} s) is left out"


def _cost(scenario: Training) -> float:
    """For how long a checkpoint stops the work where nothing holds it up, in s; the durable level's share with it."""
    policy = scenario.policy
    durable = scenario.write_seconds / policy.every if isinstance(policy, TwoLevelCheckpoint) else 0.0
    return scenario.blocking_seconds + durable
