"""A forward pass before and after quantisation, pruning or distillation."""

from secondorder.systems.system import System

SYSTEM = System(
    kind="secondorder.scenarios.compression:Compression",
    title="A forward pass before and after quantisation, pruning or distillation.",
    example=(
        "--model llama_3_1_8b --accelerator h100_sxm --precision bf16 "
        '--method "quantised int4 group_size=128 head=bf16" --input-tokens 1'
    ),
    closed_form="secondorder.analytic.compression:solve_compression",
)
