"""Customers that arrive, wait and are served."""

from secondorder.answers.declared import QUEUE
from secondorder.systems.system import System

SYSTEM = System(
    kind="secondorder.scenarios.queue:Queue",
    title="Customers that arrive, wait and are served.",
    example='--arrivals "poisson 8 request/s" --service "lognormal 100 ms scv=4"',
    closed_form="secondorder.analytic.queues.ladder:solve_queue",
    simulator="secondorder.simulate.queues:simulate_queue",
    has_requests=True,
    own_command=True,
    metrics=QUEUE,
)
