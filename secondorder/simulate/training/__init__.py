"""A training run of weeks under failures, simulated: work, checkpoints, failures, restarts, repairs.

What other code may call:

- ``run(scenario, seed=0, replication=0, log=True) -> Story``: one replication. A ``Story`` holds the seconds of each
  account (``work, checkpoint, rework, restart, downtime``, of which ``waiting``), the wall times of the
  ``failures``, the steps kept, and its ``phases`` (``frame``: pandas).
- ``runs(scenario, seed=0, replications=10, jobs=1, first=0) -> list[Story]``.
- ``tell(scenario, Causes(failures=iter([...]))) -> Story``: the run to which just this happens.
- ``measure(scenario, story) -> dict[str, float]``: the metrics of one.
- ``simulate_training(scenario, seed, replications, jobs, witness) -> Answer``.
"""

from secondorder.simulate.training.answer import measure, runs, simulate_training
from secondorder.simulate.training.causes import Causes
from secondorder.simulate.training.job import run, tell
from secondorder.simulate.training.recorder import Story

__all__ = ["Causes", "Story", "measure", "run", "runs", "simulate_training", "tell"]
