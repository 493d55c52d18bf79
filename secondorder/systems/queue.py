"""Customers that arrive, wait and are served."""

from secondorder.answers.declared import QUEUE
from secondorder.systems.system import System, effects

SYSTEM = System(
    kind="secondorder.scenarios.queue:Queue",
    title="Customers that arrive, wait and are served.",
    example='--arrivals "poisson 8 request/s" --service "lognormal 100 ms scv=4"',
    closed_form="secondorder.analytic.queues.ladder:solve_queue",
    simulator="secondorder.simulate.queues:simulate_queue",
    has_requests=True,
    own_command=True,
    metrics=QUEUE,
    effects=effects(
        "secondorder.scenarios.effects.queue",
        "arrival_variability",
        "bursts",
        "service_variability",
        "several_servers",
        bursts="without_bursts",
        arrival_variability="with_even_arrivals",
        service_variability="with_equal_services",
        routing="with_one_line",
        several_servers="with_one_fast_server",
        waiting_to_fill="without_waiting_to_fill",
        retries="without_retries",
        outage="without_outage",
        setup="without_setup",
    ),
    places="secondorder.breakdown.places.queues:places",
    one_run="secondorder.simulate.queues.one_run:metrics",
)
