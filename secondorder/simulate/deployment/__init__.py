"""Several engines behind a router on SimPy: faults, time-outs and retries, each request's fate.

What other code may call:

- ``run(scenario, requests, seed, replication) -> DeploymentRun``: serve these requests, to the last one's end.
- ``simulate_deployment(scenario, seed, replications, requests, jobs) -> Answer``.
"""

from secondorder.simulate.deployment.answer import simulate_deployment
from secondorder.simulate.deployment.run import DeploymentRun, run

__all__ = ["DeploymentRun", "run", "simulate_deployment"]
