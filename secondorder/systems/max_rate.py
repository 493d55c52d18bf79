"""The highest rate at which a deployment meets objectives on p99."""

from secondorder.answers.declared import MAX_RATE
from secondorder.systems.system import System

SYSTEM = System(
    kind="secondorder.scenarios.max_rate:MaxRate",
    title="The highest rate at which a deployment meets objectives on p99.",
    example=(
        "--model llama_3_1_8b --accelerator h100_sxm "
        '--arrivals "poisson 20 request/s" --lengths "input=512 output=geometric 64" --max-num-seqs 32 --replicas 1 '
        '--ttft-p99 "100 ms" --requests 1000'
    ),
    closed_form="secondorder.analytic.deployment.max_rate:solve_max_rate",
    simulator="secondorder.simulate.max_rate:simulate_max_rate",
    metrics=MAX_RATE,
)
