"""Energy, carbon and water of a fleet in a region."""

from secondorder.answers.declared import FOOTPRINT
from secondorder.systems.system import System

SYSTEM = System(
    kind="secondorder.scenarios.footprint:Footprint",
    title="Energy, carbon and water of a fleet in a region.",
    example=(
        "--accelerator h100_sxm --accelerators 64 --power-overhead 1.8 "
        '--utilisation 0.5 --horizon "1 year" --region poland --facility microsoft'
    ),
    closed_form="secondorder.analytic.footprint:solve_footprint",
    simulator="secondorder.simulate.footprint:simulate_footprint",
    metrics=FOOTPRINT,
)
