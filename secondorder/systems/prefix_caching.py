"""What is saved if a share of the prompt tokens is already cached."""

from secondorder.systems.system import System

SYSTEM = System(
    kind="secondorder.scenarios.prefix_caching:PrefixCaching",
    title="What is saved if a share of the prompt tokens is already cached.",
    example=(
        "--model llama_3_1_8b --accelerator h100_sxm "
        '--arrivals "poisson 8 request/s" --lengths "input=2048 output=256" '
        "--enable-prefix-caching true --hit-ratio 0.75"
    ),
    closed_form="secondorder.analytic.serving.prefix_caching:solve_prefix_caching",
    simulator="secondorder.simulate.prefix_caching:simulate_prefix_caching",
    has_requests=True,
    has_tiers=True,
)
