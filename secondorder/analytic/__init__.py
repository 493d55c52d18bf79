"""Closed forms: one model a module, named by the textbook's noun."""

from secondorder.errors import InputError
from secondorder.scenarios.answers import Answer
from secondorder.scenarios.queue import Queue
from secondorder.scenarios.serving import Serving


def solve(scenario: Serving | Queue) -> Answer:
    """The closed forms of a scenario, every order.

    Errors: ``Unstable`` when the load is at or past saturation.
    """
    match scenario:
        case Serving():
            from secondorder.analytic.serving.ladder import ladder

            return ladder(scenario)
        case Queue():
            from secondorder.analytic.queue_ladder import solve_queue

            return solve_queue(scenario)
    raise InputError("scenario", given=type(scenario).__name__, expected="a Serving or a Queue scenario")
