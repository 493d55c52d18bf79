"""A queue over its utilisation: closed forms as a line, the simulation at some of its points."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from secondorder.answers.answer import Answer
from secondorder.errors import InputError
from secondorder.executor import run_each
from secondorder.quantities import si
from secondorder.scenarios.queue import Closed, Queue
from secondorder.simulate.witness import Witness
from secondorder.verbs import simulate, solve

DOTS = (0.2, 0.4, 0.6, 0.7, 0.8, 0.9)
LINE = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.65, 0.7, 0.75, 0.8, 0.83, 0.86, 0.88, 0.9, 0.92, 0.94)


@dataclass(frozen=True, kw_only=True)
class UtilisationStudy:
    """Answers of a queue at utilisations: ``solved`` at those of ``line``, ``simulated`` at those of ``dots``."""

    queue: Queue
    metrics: tuple[str, ...]
    line: tuple[float, ...]
    solved: tuple[Answer, ...]
    dots: tuple[float, ...]
    simulated: tuple[Answer, ...]


def utilisation_study(
    queue: Queue,
    metrics: Sequence[str],
    *,
    simulated: bool = True,
    seed: int = 0,
    replications: int | None = None,
    requests: int | None = None,
    jobs: int = 1,
    witness: Witness | None = None,
) -> UtilisationStudy:
    """Solve, and simulate, a queue at utilisations from 5 % to 94 % by changing its arrival rate.

    Errors: ``InputError`` for a closed population, whose load is not a rate, and for a metric
    that the queue does not have.
    """
    if isinstance(queue.arrivals, Closed):
        raise InputError("plot", given="a closed population", expected="arrivals with a rate to change")
    dots = DOTS if simulated else ()
    once = partial(simulate, seed=seed, replications=replications, requests=requests, witness=witness)
    known = solve(at_utilisation(queue, 0.5))
    for metric in metrics:
        known[metric]
    answers = list(run_each(lambda rho: _simulated(at_utilisation(queue, rho), once), dots, jobs))
    return UtilisationStudy(
        queue=queue,
        metrics=tuple(metrics),
        line=LINE,
        solved=tuple(solve(at_utilisation(queue, rho)) for rho in LINE),
        dots=dots,
        simulated=tuple(answers),
    )


def at_utilisation(queue: Queue, utilisation: float) -> Queue:
    """The queue at another utilisation, by its arrival rate."""
    arrivals = queue.open_arrivals
    rate = si(arrivals.rate) * utilisation / queue.utilisation
    return replace(queue, arrivals=arrivals.at(f"{rate!r} request/s"))


def _simulated(queue: Queue, once: Callable[[Queue], Answer]) -> Answer:
    return replace(once(queue), requests=None, series=None)
