"""Closed forms: one model a module, named by the textbook's noun."""

from secondorder.errors import InputError
from secondorder.scenarios.answers import Answer
from secondorder.scenarios.serving import Serving


def solve(scenario: Serving) -> Answer:
    """The closed forms of a scenario, every order.

    Errors: ``Unstable`` when the load is at or past saturation.
    """
    match scenario:
        case Serving():
            from secondorder.analytic.serving.ladder import ladder

            return ladder(scenario)
    raise InputError("scenario", given=type(scenario).__name__, expected="a Serving scenario")
