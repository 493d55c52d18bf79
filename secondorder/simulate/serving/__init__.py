"""An LLM service on SimPy: requests arrive, an engine with continuous batching serves them.

What other code may call:

- ``draw(scenario, count, seed, replication) -> Requests``: the requests of one replication.
- ``run(scenario, requests) -> ServingRun``: serve them by one engine, to the last token.
- ``record(scenario, requests)``: the same run in whole picoseconds.
- ``partition_of(scenario, requests) -> Partition``: the latencies of these requests, split into causes.
- ``simulate_serving(scenario, seed, replications, jobs) -> Answer``.

To put several engines into one environment: ``single_run.engine_for``, with one ``Recorder``.
"""

from secondorder.simulate.serving.answer import simulate_serving
from secondorder.simulate.serving.asks import asks, draw
from secondorder.simulate.serving.partition import Partition, partition_of
from secondorder.simulate.serving.single_run import ServingRun, record, run

__all__ = [
    "Partition", "ServingRun", "asks", "draw", "partition_of", "record", "run", "simulate_serving",
]  # fmt: skip
