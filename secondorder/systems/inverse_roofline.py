"""What hardware an objective needs, and which accelerators meet it."""

from secondorder.systems.system import System

SYSTEM = System(
    kind="secondorder.scenarios.inverse_roofline:InverseRoofline",
    title="What hardware an objective needs, and which accelerators meet it.",
    example=('--model llama_3_1_8b --precision bf16 --latency "10 ms" --input-tokens 1 --context-tokens 2048'),
    closed_form="secondorder.analytic.inverse_roofline:solve_inverse_roofline",
)
