"""Where approximations break: the utilisations past which they are off by more than a given share.

Against the exact closed form where there is one, else against the simulation, whose border lies
between two loads that its intervals tell apart.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from zlib import crc32

import numpy as np

from secondorder.scenarios.queue import ForkJoin, JoinShortest, Queue
from secondorder.simulate.statistics.precision import replicate_until
from secondorder.validation.catalogue import queueing
from secondorder.validation.catalogue.twin import FIRST, Formula, Twin, ladder_top
from secondorder.validation.utilisation import at_utilisation

LEVELS = (0.05, 0.10, 0.25)
FINE = tuple(round(float(rho), 3) for rho in np.arange(0.05, 0.981, 0.01))
"""Loads at which two closed forms are compared."""
COARSE = (0.3, 0.5, 0.7, 0.8, 0.9)
"""Loads that are simulated."""
WIDTH, BUDGET = 0.012, 5.0
"""Relative half-width wanted of a simulated point, and seconds of one core, roughly, that it may take."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A shape of queue, whose arrival rate is varied, and ``formulas`` for it by name.

    The truth is the closed form that ``exact`` names, or the simulation where it names none.
    """

    name: str
    queue: Queue
    formulas: Mapping[str, Formula]
    metric: str = "wait_mean"
    exact: str = ""

    @property
    def against(self) -> str:
        return self.exact or "simulation"


@dataclass(frozen=True)
class Point:
    """The error ``formula/truth - 1`` at a utilisation, between ``low`` and ``high``."""

    rho: float
    low: float
    high: float

    def beyond(self, level: float) -> bool | None:
        """Whether it is more than ``level`` off; None where the interval does not tell."""
        if self.low > level or self.high < -level:
            return True
        return False if -level <= self.low and self.high <= level else None


@dataclass(frozen=True, kw_only=True)
class Border:
    """Errors of one formula over the utilisation."""

    formula: str
    shape: Shape
    points: Sequence[Point]

    def beyond(self, level: float) -> str:
        """The loads at which it is more than ``level`` off, in words."""
        return region([point.rho for point in self.points], [point.beyond(level) for point in self.points])


def region(loads: Sequence[float], beyond: Sequence[bool | None]) -> str:
    """The intervals of load in which something holds, as text, from whether it does at each load (None: unknown).

    >>> region([0.1, 0.2, 0.3, 0.4], [True, True, False, False]), region([0.1, 0.2], [False, False])
    ('< 0.25', 'nowhere')
    >>> region([0.1, 0.3, 0.5, 0.7, 0.9], [False, True, None, False, True])
    '0.2-0.3..0.7, > 0.8'
    """
    parts, place = [], 0
    while place < len(loads):
        if not beyond[place]:
            place += 1
            continue
        last = place
        while last + 1 < len(loads) and beyond[last + 1] is not False:
            last += 1
        while beyond[last] is None:
            last -= 1
        before = next((k for k in range(place - 1, -1, -1) if beyond[k] is False), None)
        after = next((k for k in range(last + 1, len(loads)) if beyond[k] is False), None)
        begin = None if before is None else _between(loads[before], loads[place], place - before)
        end = None if after is None else _between(loads[last], loads[after], after - last)
        parts.append(_span(begin, end))
        place = len(loads) if after is None else after
    if parts:
        return ", ".join(parts)
    return "nowhere" if all(each is False for each in beyond) else "not told"


def _between(one: float, other: float, steps: int) -> str:
    """Neighbours are halved; with loads between them that do not tell, both are named."""
    return f"{round((one + other) / 2, 2):g}" if steps == 1 else f"{one:.2g}..{other:.2g}"


def _span(begin: str | None, end: str | None) -> str:
    if begin is None:
        return "everywhere" if end is None else f"< {end}"
    return f"> {begin}" if end is None else f"{begin}-{end}"


def borders_of(shape: Shape, seed: int = 0) -> list[Border]:
    """The errors of each formula: at 94 loads against an exact form, at 5 against the simulation."""
    queues = [at_utilisation(shape.queue, rho) for rho in (FINE if shape.exact else COARSE)]
    truths = [_exact(shape, queue) if shape.exact else _simulated(shape, queue, seed) for queue in queues]
    found = []
    for name, formula in shape.formulas.items():
        amounts = [formula(queue)[shape.metric] for queue in queues]
        points = [
            Point(queue.utilisation, amount / high - 1, amount / low - 1 if low > 0 else np.inf)
            for queue, amount, (low, high) in zip(queues, amounts, truths, strict=True)
        ]
        found.append(Border(formula=name, shape=shape, points=points))
    return found


def _exact(shape: Shape, queue: Queue) -> tuple[float, float]:
    truth = ladder_top(queue)[shape.metric]
    return truth, truth


def _simulated(shape: Shape, queue: Queue, seed: int) -> tuple[float, float]:
    metric = shape.metric
    twin = Twin(title=shape.name, claim="", suite="", scenario=queue, margins={metric: 0.1})
    own = crc32(f"{seed} {shape.name} {queue.utilisation:.3f}".encode())
    found = replicate_until(
        lambda replication, customers: {metric: twin.witness(queue, customers, own, replication)[metric]},
        metrics=[metric],
        relative_half_width=WIDTH,
        length=twin.length.customers,
        budget=int(BUDGET * twin.speed),
        first=FIRST,
    ).intervals[metric]
    assert found.low is not None
    assert found.high is not None
    return found.low, found.high


def _shapes() -> tuple[Shape, ...]:
    one = {"Kingman": queueing.kingman, "KLB": queueing.klb, "Marchal": queueing.marchal}
    several = {"Allen-Cunneen": queueing.allen_cunneen, "Whitt": queueing.whitt}
    bursts = "markov 1 request/s rate_2=0.6 request/s sojourn_1=100 s sojourn_2=100 s"
    spread, queue, renewal = "hyperexponential 1 s scv=4", queueing.queue, queueing.renewal
    exact = [
        Shape(name="E4/M/1", queue=queue(renewal("erlang 1.25 s stages=4")), formulas=one, exact="GI/M/1"),
        Shape(
            name="H2/M/1, ca2 4", queue=queue(renewal("hyperexponential 1.25 s scv=4")), formulas=one, exact="GI/M/1"
        ),
        Shape(name="M/D/4", queue=queue(3.2, "deterministic 1 s", servers=4), formulas=several, exact="M/D/c"),
        Shape(
            name="MMPP/M/1, IDC 6",
            queue=queue(bursts),
            formulas={"Kingman, scv": queueing.kingman, "Kingman, IDC": queueing.dispersed},
            exact="MMPP/M/1",
        ),
        Shape(
            name="M/H2/1, cs2 4",
            queue=queue(0.5, spread),
            metric="wait_p99",
            formulas={"p99 (1+cs2)/2": queueing.scaled_p99},
            exact="M/H2/1",
        ),
    ]
    simulated = [
        Shape(
            name="M/H2/4, cs2 4",
            queue=queue(3.2, spread, servers=4),
            formulas={"Allen-Cunneen": queueing.allen_cunneen, "Kimura": queueing.kimura},
        )
    ]
    for tasks in (8, 32):
        forks, formulas = queue(0.5, servers=tasks, routing=ForkJoin()), {"Nelson-Tantawi": ladder_top}
        simulated.append(Shape(name=f"fork-join of {tasks}", queue=forks, formulas=formulas, metric="response_mean"))
    for servers in (5, 20):
        routed, formulas = queue(servers / 2, servers=servers, routing=JoinShortest()), {"mean field": ladder_top}
        simulated.append(Shape(name=f"2 choices of {servers}", queue=routed, formulas=formulas, metric="response_mean"))
    return (*exact, *simulated)


SHAPES = _shapes()
