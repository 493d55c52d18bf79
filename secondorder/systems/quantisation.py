"""A service with weights, arithmetic and cache at other precisions."""

from secondorder.systems.system import System

SYSTEM = System(
    kind="secondorder.scenarios.quantisation:Quantisation",
    title="A service with weights, arithmetic and cache at other precisions.",
    example=(
        "--model llama_3_1_8b --accelerator h100_sxm "
        '--arrivals "poisson 8 request/s" --lengths "input=1024 output=256" '
        "--weight-precision int4 --compute-precision bf16"
    ),
    closed_form="secondorder.analytic.serving.quantisation:solve_quantisation",
    simulator="secondorder.simulate.quantisation:simulate_quantisation",
)
