"""Storage, decoding workers and prefetching that keep an accelerator supplied."""

from secondorder.answers.declared import DATA_LOADING
from secondorder.systems.system import System

SYSTEM = System(
    kind="secondorder.scenarios.data_loading:DataLoading",
    title="Storage, decoding workers and prefetching that keep an accelerator supplied.",
    example=(
        '--batch-size 256 --sample-size "110 kB" --storage-bandwidth "2 GB/s" '
        '--workers 6 --decode "exponential 300 ms" --prefetch 2 --step "exponential 50 ms"'
    ),
    closed_form="secondorder.analytic.data_loading:solve_data_loading",
    simulator="secondorder.simulate.data_loading:simulate_data_loading",
    metrics=DATA_LOADING,
)
