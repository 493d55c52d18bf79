"""Prefill and decode on separate replicas, with the cache sent between them."""

from secondorder.systems.system import System

SYSTEM = System(
    kind="secondorder.scenarios.disaggregated:Disaggregated",
    title="Prefill and decode on separate replicas, with the cache sent between them.",
    example=(
        "--model llama_3_1_8b --accelerator h100_sxm "
        '--arrivals "poisson 20 request/s" --lengths "input=2048 output=geometric 256" '
        '--prefill-replicas 2 --decode-replicas 2 --link "50 GB/s latency=10 us"'
    ),
    closed_form="secondorder.analytic.serving.disaggregated:solve_disaggregated",
    simulator="secondorder.simulate.disaggregated:simulate_disaggregated",
)
