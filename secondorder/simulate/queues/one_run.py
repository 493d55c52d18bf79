"""The metrics of one replication of a queue, for comparisons on the same random numbers."""

from secondorder.scenarios.queue import Queue
from secondorder.simulate.queues.measures import measure
from secondorder.simulate.queues.run import run

CUSTOMERS = 20_000
"""Customers of a replication, if no number is given."""
BEGINNING = 0.2
"""Share of the customers that come before the empty start is forgotten."""


def metrics(queue: Queue, *, seed: int, replication: int, requests: int | None) -> dict[str, float]:
    """What ``measure`` finds after the beginning; of all customers where there is an outage."""
    count = requests or CUSTOMERS
    one = run(queue, count, seed=seed, replication=replication)
    return measure(queue, one, 0 if queue.transient else int(BEGINNING * count), count)
