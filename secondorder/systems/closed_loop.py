"""A service whose clients wait for their answers: a limit of requests at a time, or users who think."""

from secondorder.answers.declared import CLOSED_LOOP
from secondorder.systems.system import System

SYSTEM = System(
    kind="secondorder.scenarios.closed_loop:ClosedLoop",
    title="A service whose clients wait for their answers: a limit of requests at a time, or users who think.",
    example=(
        '--model llama_3_1_8b --accelerator h100_sxm --arrivals "poisson 8 request/s" '
        '--lengths "input=geometric 1024 output=geometric 256" --max-concurrency 32'
    ),
    closed_form="secondorder.analytic.serving.closed_loop:solve_closed_loop",
    simulator="secondorder.simulate.closed_loop:simulate_closed_loop",
    has_requests=True,
    has_kernel=True,
    metrics=CLOSED_LOOP,
)
