"""A step's budget of tokens: time to first token against gaps between tokens."""

from secondorder.systems.system import System

SYSTEM = System(
    kind="secondorder.scenarios.chunked_prefill:ChunkedPrefill",
    title="A step's budget of tokens: time to first token against gaps between tokens.",
    example=(
        "--model llama_3_1_8b --accelerator h100_sxm --lengths azure_conv_2023 "
        '--arrivals "poisson 8 request/s" --max-num-batched-tokens 512 --itl "30 ms"'
    ),
    closed_form="secondorder.analytic.serving.chunked_prefill:solve_chunked_prefill",
    simulator="secondorder.simulate.chunked_prefill:simulate_chunked_prefill",
)
