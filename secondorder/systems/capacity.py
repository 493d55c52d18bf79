"""How many replicas a rate needs to meet objectives on p99, and what limits it."""

from secondorder.answers.declared import CAPACITY
from secondorder.systems.system import System

SYSTEM = System(
    kind="secondorder.scenarios.capacity:Capacity",
    title="How many replicas a rate needs to meet objectives on p99, and what limits it.",
    example=(
        "--model llama_3_1_8b --accelerator h100_sxm "
        '--arrivals "poisson 1 request/s" --lengths "input=1920 output=128" '
        '--max-num-seqs 32 --rate "50 request/s" --e2el-p99 "5 s"'
    ),
    closed_form="secondorder.analytic.capacity:solve_capacity",
    simulator="secondorder.simulate.capacity:simulate_capacity",
    metrics=CAPACITY,
)
