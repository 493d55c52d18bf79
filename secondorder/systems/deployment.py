"""Several replicas of a service behind a router, and what failures do to it."""

from secondorder.answers.declared import DEPLOYMENT
from secondorder.systems.system import System

SYSTEM = System(
    kind="secondorder.scenarios.deployment:Deployment",
    title="Several replicas of a service behind a router, and what failures do to it.",
    example=(
        "--model llama_3_1_8b --accelerator h100_sxm "
        '--arrivals "poisson 60 request/s" --lengths azure_conv_2023 --replicas 4 --router least-outstanding'
    ),
    closed_form="secondorder.analytic.deployment.ladder:solve_deployment",
    simulator="secondorder.simulate.deployment:simulate_deployment",
    has_requests=True,
    has_precision=True,
    has_tiers=True,
    has_stages=True,
    has_kernel=True,
    metrics=DEPLOYMENT,
    own_command=True,
    command="deploy",
)
