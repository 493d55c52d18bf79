"""An open network of queues: stations, and customers that go from one to the next by chance."""

from secondorder.answers.declared import QUEUE_NETWORK
from secondorder.systems.system import System

SYSTEM = System(
    kind="secondorder.scenarios.queue_network:QueueNetwork",
    title="An open network of queues: stations, and customers that go from one to the next by chance.",
    example='--stations "a service=50 ms rate=8 request/s to=b:0.5; b service=80 ms"',
    closed_form="secondorder.analytic.queue_network:solve_queue_network",
    simulator="secondorder.simulate.queues.network:simulate_queue_network",
    metrics=QUEUE_NETWORK,
)
