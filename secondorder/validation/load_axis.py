"""The error of a closed form on the load axis: at which load does it reach what was simulated?

Near saturation a latency rises so steeply that an error of 50 % of the value may be one of 1 % of the load.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

from secondorder.answers.answer import Answer
from secondorder.errors import InputError, Unstable
from secondorder.quantities import si
from secondorder.scenarios.queue import Queue
from secondorder.scenarios.scenario import Scenario
from secondorder.scenarios.serving import Serving
from secondorder.verbs import solve
from secondorder.workloads.arrivals import Gamma, MarkovModulated, Poisson

FINE = 1e-4
"""Relative width of the load to which the crossing is found."""
REACHES = (1.05, 1.3, 4.0)
"""Times below and above the load of the scenario that the crossing is looked for, one after another."""


def load_error(scenario: Serving | Queue, metric: str, order: int, simulated: float) -> float | None:
    """``load/own - 1`` of the load at which a closed form equals a ``simulated`` value; None where none does.

    At -3 % the formula's curve lies 3 % to the left of the simulated one: it is too high by what 3 % more load would
    do. The load is found by bisection between a quarter of the scenario's own and four times it, or the formula's
    saturation. *Valid where* the metric rises with the load. Errors: ``InputError`` where the arrivals have no rate to
    change; those of ``solve``.

    >>> from secondorder.scenarios.queue import Queue
    >>> queue = Queue(arrivals="poisson 8 request/s", service="exponential 100 ms")
    >>> round(load_error(queue, "response_mean", 1, 1 / (10 - 8.2)), 4)
    0.025
    """
    return _Curves(scenario).error(metric, order, simulated)


def load_errors(scenario: Scenario, simulated: Mapping[tuple[str, int], float]) -> dict[tuple[str, int], float]:
    """``load_error`` of several closed forms, by metric and order, which share what is solved on the way.

    Left out are those that reach the simulated value at no load; all, where the arrivals have no rate to change.
    """
    if not isinstance(scenario, Serving | Queue) or not isinstance(
        scenario.arrivals, Poisson | Gamma | MarkovModulated
    ):
        return {}
    curves = _Curves(scenario)
    found = {key: curves.error(*key, value) for key, value in simulated.items()}
    return {key: error for key, error in found.items() if error is not None}


class _Curves:
    """The closed forms of a scenario over its load; each load is solved once."""

    def __init__(self, scenario: Serving | Queue) -> None:
        own = scenario.arrivals
        if not isinstance(own, Poisson | Gamma | MarkovModulated):
            raise InputError("arrivals", given=type(own).__name__, expected="a law with a rate")
        self.scenario, self.arrivals, self.rate = scenario, own, si(own.rate)
        self.solved: dict[float, Answer | None] = {}

    def error(self, metric: str, order: int, simulated: float) -> float | None:
        """By how much the load differs at which a closed form reaches a simulated value."""
        crossing = _crossing(lambda times: self.value(metric, order, times), simulated)
        return None if crossing is None else crossing - 1

    def value(self, metric: str, order: int, times: float) -> float | None:
        """A closed form at a multiple of the load; None past saturation."""
        if times not in self.solved:
            self.solved[times] = self._at(times)
        answer = self.solved[times]
        found = [each.amount for each in answer.get(metric, ()) if each.order == order] if answer is not None else []
        return found[0] if found else None

    def _at(self, times: float) -> Answer | None:
        arrivals = self.arrivals.at(f"{self.rate * times!r} request/s")
        try:
            return solve(replace(self.scenario, arrivals=arrivals))
        except Unstable:
            return None


def _crossing(formula: Callable[[float], float | None], value: float) -> float | None:
    """Where a rising formula reaches a value; what has no value counts as above it."""

    def above(times: float) -> bool:
        found = formula(times)
        return found is None or found > value

    bracket = _bracket(above)
    if bracket is None:
        return None
    low, high = bracket
    while high - low > FINE * low:
        middle = (low + high) / 2
        low, high = (low, middle) if above(middle) else (middle, high)
    below = formula(low)
    if formula(high) is None and below is not None and below < value / 2:
        return None  # it is still far below where it ends
    return (low + high) / 2


def _bracket(above: Callable[[float], bool]) -> tuple[float, float] | None:
    """Two loads between which the crossing lies, looked for from the scenario's own load outwards."""
    up = not above(1.0)
    near = 1.0
    for reach in REACHES:
        far = reach if up else 1 / reach
        if above(far) is up:
            return (near, far) if up else (far, near)
        near = far
    return None
