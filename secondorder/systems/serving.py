"""An LLM service: requests arrive, one engine batches and serves them."""

from secondorder.answers.declared import SERVING
from secondorder.systems.system import System

SYSTEM = System(
    kind="secondorder.scenarios.serving:Serving",
    title="An LLM service: requests arrive, one engine batches and serves them.",
    example=('--model llama_3_1_8b --accelerator h100_sxm --arrivals "poisson 8 request/s" --lengths azure_conv_2023'),
    closed_form="secondorder.analytic.serving.ladder:ladder",
    simulator="secondorder.simulate.serving:simulate_serving",
    has_requests=True,
    has_precision=True,
    has_kernel=True,
    own_command=True,
    metrics=SERVING,
)
