"""The error of a closed form on the load axis: at which load does it reach what was simulated?

Near saturation a latency rises so steeply that an error of 50 % of the value may be one of 1 % of the load.
"""

from collections.abc import Callable
from dataclasses import replace

from secondorder.errors import InputError, Unstable
from secondorder.quantities import si
from secondorder.scenarios.queue import Queue
from secondorder.scenarios.serving import Serving
from secondorder.verbs import solve
from secondorder.workloads.arrivals import Gamma, MarkovModulated, Poisson

FINE = 1e-4
"""Relative width of the load to which the crossing is found."""
REACH = 4.0
"""Times below and above the load of the scenario that the crossing is looked for."""


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
    own = scenario.arrivals
    if not isinstance(own, Poisson | Gamma | MarkovModulated):
        raise InputError("arrivals", given=type(own).__name__, expected="a law with a rate")
    rate = si(own.rate)

    def formula(times: float) -> float | None:
        """The value at so many times the load; None past saturation."""
        try:
            solved = solve(replace(scenario, arrivals=own.at(f"{rate * times!r} request/s")))
        except Unstable:
            return None
        found = [each.amount for each in solved.get(metric, ()) if each.order == order]
        return found[0] if found else None

    crossing = _crossing(formula, simulated)
    return None if crossing is None else crossing - 1


def _crossing(formula: Callable[[float], float | None], value: float) -> float | None:
    """Where a rising formula reaches a value; what has no value counts as above it."""
    low, high = 1 / REACH, REACH
    lowest = formula(low)
    if lowest is None or lowest > value:
        return None
    highest = formula(high)
    if highest is not None and highest < value:
        return None
    while high - low > FINE * low:
        middle = (low + high) / 2
        found = formula(middle)
        low, high = (middle, high) if found is not None and found < value else (low, middle)
    return (low + high) / 2
