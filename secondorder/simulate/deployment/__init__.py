"""Several engines behind a router on SimPy: faults, time-outs and retries, each request's fate.

What other code may call:

- ``run(scenario, requests, seed, replication) -> DeploymentRun``: serve these requests, to the last one's end.
- ``serve(scenario, requests, seed, replication, witness) -> DeploymentRun``: the same by the kernel, where it can.
- ``simulate_deployment(scenario, seed, replications, requests, jobs, witness) -> Answer``.
"""

from secondorder.simulate.deployment.answer import simulate_deployment
from secondorder.simulate.deployment.compiled import serve
from secondorder.simulate.deployment.run import DeploymentRun, run

__all__ = ["DeploymentRun", "run", "serve", "simulate_deployment"]
