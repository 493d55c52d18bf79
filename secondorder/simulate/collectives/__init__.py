"""Collectives and pipelines, simulated: one event a hop or a pass, and no barrier between stages.

What other code may call:

- ``simulate_collective``, ``simulate_pipeline``: a scenario to an ``Answer``; ``operations`` and ``steps``: their
  single times.
- ``ring.finish(start, hops)``: when each rank of a ring is done, for given times of the hops.
- ``recursion.ends(collective, hops)``, ``events.ends(collective, hops)``: any algorithm, by the max-plus recursion
  and by messages on SimPy; the same times, bit for bit.
- ``pipeline.makespan(forward, backward, send=, schedule=, interleaving=)``: when each stage is done, for given
  times; ``pipeline.passes`` and ``stages.passes`` (on SimPy): when each pass ends.
- ``overlap.finish``, ``overlap.exposed``, ``overlap.on_simpy``: buckets that communicate behind computation.
"""

from secondorder.simulate.collectives.answer import operations, simulate_collective, simulate_pipeline, steps

__all__ = ["operations", "simulate_collective", "simulate_pipeline", "steps"]
