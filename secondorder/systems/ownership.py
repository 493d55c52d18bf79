"""What a fleet costs, owned or rented, under a load."""

from secondorder.answers.declared import OWNERSHIP
from secondorder.systems.system import System

SYSTEM = System(
    kind="secondorder.scenarios.ownership:Ownership",
    title="What a fleet costs, owned or rented, under a load.",
    example=(
        '--accelerator h100_sxm --accelerators 64 --purchase "30000 USD" '
        "--server-overhead 1.4 --power-overhead 1.8 --pue 1.2 --maintenance 0.05 "
        '--electricity-price "0.12 USD/kWh" --service-life "4 year" '
        '--horizon "3 year" --utilisation 0.5'
    ),
    closed_form="secondorder.analytic.ownership:solve_ownership",
    simulator="secondorder.simulate.ownership:simulate_ownership",
    is_random=lambda scenario: scenario.rate is not None,  # a stated utilisation leaves nothing random
    metrics=OWNERSHIP,
)
