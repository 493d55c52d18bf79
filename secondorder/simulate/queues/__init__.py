"""Queues, simulated: customers come, wait, are served, and each leaves a record.

What other code may call:

- ``run(queue, customers, seed=0, replication=0, path=None) -> Run``: one replication from an empty
  start. A ``Run`` holds arrays of one entry a customer, in order of arrival: ``arrival, service,
  start, finish`` (s) and, where they mean something, ``outcome, attempts, kind``; its ``wait`` and
  ``response``; its ``frame`` (pandas). ``path`` forces ``"recursion"`` (Lindley, Kiefer-Wolfowitz;
  plain first come first served only) or ``"events"`` (SimPy); both give the same times, bit for bit.
- ``replicate(queue, seed=0, replications=10, customers=N, jobs=1, first=0) -> list[Run]``:
  replications ``first, first + 1, ...``, each from its own streams. More of them later: call again
  with ``first`` set to those there are; the draws of the others stay.
- ``measure(queue, run, start=0, end=None) -> dict[str, float]``: the metrics (SI) of the customers
  ``start`` to ``end``, and of the servers meanwhile.
- ``warm_up(queue) -> int``: customers after which the empty start is forgotten, by the relaxation
  time; ``cut(queue, runs) -> int``: the same with MSER-5 over the mean of the runs, if that is later.
- ``after(queue, customers, cut) -> tuple[int, int]``: which customers to measure: past the cut, and
  before the end where later arrivals would have mattered.
- ``simulate_queue(queue, seed, replications, requests, jobs) -> Answer``.
"""

from secondorder.simulate.queues.answer import after, cut, replicate, simulate_queue, warm_up
from secondorder.simulate.queues.measures import measure
from secondorder.simulate.queues.records import Outcome, Run
from secondorder.simulate.queues.run import run

__all__ = ["Outcome", "Run", "after", "cut", "measure", "replicate", "run", "simulate_queue", "warm_up"]
