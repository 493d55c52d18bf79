"""Speculative decoding: a draft model proposes tokens, the model verifies them."""

from secondorder.systems.system import System

SYSTEM = System(
    kind="secondorder.scenarios.speculative:Speculative",
    title="Speculative decoding: a draft model proposes tokens, the model verifies them.",
    example=(
        "--model llama_3_1_70b --accelerator h200 --tensor-parallel-size 2 "
        '--arrivals "poisson 0.2 request/s" --lengths "input=512 output=256" '
        "--draft llama_3_1_8b --gamma 4 --acceptance 0.8"
    ),
    closed_form="secondorder.analytic.serving.speculative:solve_speculative",
    simulator="secondorder.simulate.speculative:simulate_speculative",
)
