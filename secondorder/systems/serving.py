"""An LLM service: requests arrive, one engine batches and serves them."""

from secondorder.answers.declared import SERVING
from secondorder.systems.system import System, effects

SYSTEM = System(
    kind="secondorder.scenarios.serving:Serving",
    title="An LLM service: requests arrive, one engine batches and serves them.",
    example=('--model llama_3_1_8b --accelerator h100_sxm --arrivals "poisson 8 request/s" --lengths azure_conv_2023'),
    closed_form="secondorder.analytic.serving.ladder:ladder",
    simulator="secondorder.simulate.serving:simulate_serving",
    has_requests=True,
    has_precision=True,
    has_kernel=True,
    has_tiers=True,
    has_stages=True,
    own_command=True,
    metrics=SERVING,
    effects=effects(
        "secondorder.scenarios.effects.serving",
        "arrival_variability",
        "bursts",
        "length_spread",
        bursts="without_bursts",
        arrival_variability="with_even_arrivals",
        length_spread="with_equal_lengths",
        prefill_interference="without_prefill_interference",
        batch_limit="without_batch_limit",
        cache_limit="without_cache_limit",
        prefix_reuse="without_prefix_reuse",
        asynchronous_steps="with_steps_in_turn",
    ),
    one_run="secondorder.simulate.serving.one_run:latencies",
)
