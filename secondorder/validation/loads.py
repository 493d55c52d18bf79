"""A service over its load: where the closed forms and the simulation differ.

The loads are shares of the saturation rate. Between the simulated points the closed forms
are drawn on a finer grid, and the knee is where the tail crosses the objective.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from secondorder.analytic.serving import saturation
from secondorder.answers.answer import Answer
from secondorder.errors import InputError
from secondorder.executor import run_each
from secondorder.quantities import Quantity, quantity, si
from secondorder.scenarios.serving import Serving
from secondorder.systems.registry import system_of
from secondorder.validation.comparison import Comparison
from secondorder.verbs import simulate, solve
from secondorder.workloads.traces import Trace

LOADS = (0.25, 0.50, 0.70, 0.80, 0.90, 0.97)
LINE = (0.05, 0.15, 0.25, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.93, 0.95, 0.97)


@dataclass(frozen=True, kw_only=True)
class LoadStudy:
    """``points``: a comparison at each load. ``lines``: closed forms on a finer grid of loads.
    ``replays``: the trace's own arrivals at the same rates, if a trace was given."""

    scenario: Serving
    saturation: float
    loads: tuple[float, ...]
    points: tuple[Comparison, ...]
    line_loads: tuple[float, ...]
    lines: tuple[Answer, ...]
    replays: tuple[Answer, ...]
    margin: float

    def line(self, metric: str, order: int) -> tuple[list[float], list[float]]:
        """Rates (request/s) and values (SI) of a closed form over the load."""
        found = [
            (load * self.saturation, e.amount)
            for load, answer in zip(self.line_loads, self.lines, strict=True)
            for e in answer.get(metric, ())
            if e.order == order
        ]
        return [rate for rate, _ in found], [value for _, value in found]

    def at(self, load: float) -> Serving:
        """The scenario at this share of saturation."""
        return _at(self.scenario, load * self.saturation)

    def knee(self, metric: str, objective: Quantity | str, order: int = 2) -> float | None:
        """The rate (request/s) at which a closed form crosses the objective; None if it never does."""
        most = si(quantity(objective, "s", "objective"))
        rates, values = self.line(metric, order)
        above = [i for i, value in enumerate(values) if value > most]
        if not above or above[0] == 0:
            return None
        i = above[0]
        share = (np.log(most) - np.log(values[i - 1])) / (np.log(values[i]) - np.log(values[i - 1]))
        return float(rates[i - 1] + share * (rates[i] - rates[i - 1]))


def load_study(
    scenario: Serving,
    *,
    loads: Sequence[float] = LOADS,
    trace: Trace | None = None,
    seed: int = 0,
    replications: int | None = None,
    requests: int | None = None,
    precision: float | None = None,
    margin: float | None = None,
    jobs: int = 1,
    progress: Callable[[Iterable[Answer], int], Iterable[Answer]] | None = None,
) -> LoadStudy:
    """Compare a scenario at shares of its saturation rate, and solve it in between.

    ``trace`` is replayed at the same rates, its gaps stretched. ``progress`` wraps the results
    as they come, with their number. ``jobs`` threads, or processes of SimPy, share the runs of each simulation.

    Errors: ``InputError`` for a load that is not between 0 and 1.
    """
    for load in loads:
        if not 0 < load < 1:
            raise InputError("loads", given=load, expected="shares of saturation between 0 and 1")
    margin = system_of(scenario).margin if margin is None else margin
    limit = saturation(scenario).rate
    line_loads = tuple(sorted({*(load for load in LINE if load <= max(loads)), *loads}))
    chosen = partial(simulate, seed=seed, precision=precision, jobs=jobs, replications=replications, requests=requests)
    tasks = [partial(_simulated, _at(scenario, load * limit), chosen) for load in loads]
    if trace is not None:
        tasks += [partial(_simulated, _replaying(scenario, trace, load * limit), simulate) for load in loads]
    tasks += [partial(solve, _at(scenario, load * limit)) for load in reversed(line_loads)]
    answers = run_each(lambda task: task(), tasks)
    found = list(progress(answers, len(tasks)) if progress else answers)
    simulated, found = found[: len(loads)], found[len(loads) :]
    replays, found = (found[: len(loads)], found[len(loads) :]) if trace is not None else ([], found)
    lines = dict(zip(reversed(line_loads), found, strict=True))
    points = [
        Comparison(scenario=scenario.name, solved=lines[load], simulated=answer, margin=margin)
        for load, answer in zip(loads, simulated, strict=True)
    ]
    return LoadStudy(
        scenario=scenario,
        saturation=limit,
        loads=tuple(loads),
        points=tuple(points),
        line_loads=line_loads,
        lines=tuple(lines[load] for load in line_loads),
        replays=tuple(replays),
        margin=margin,
    )


def _at(scenario: Serving, rate: float) -> Serving:
    if isinstance(scenario.arrivals, Trace):
        raise InputError("arrivals", given="a trace", expected="a law of arrivals; give the trace with trace=")
    return replace(scenario, arrivals=scenario.arrivals.at(f"{rate!r} request/s"))


def _replaying(scenario: Serving, trace: Trace, rate: float) -> Serving:
    return replace(scenario, arrivals=trace.at(f"{rate!r} request/s"), lengths=None)


def _simulated(scenario: Serving, once: Callable[[Serving], Answer]) -> Answer:
    """A simulated answer without its records, which need not travel between processes."""
    return replace(once(scenario), requests=None, series=None)
