"""Jobs that each wait for several accelerators: first come, backfilled, shortest first."""

from secondorder.answers.declared import SHARED_CLUSTER
from secondorder.systems.system import System

SYSTEM = System(
    kind="secondorder.scenarios.shared_cluster:SharedCluster",
    title="Jobs that each wait for several accelerators: first come, backfilled, shortest first.",
    example=(
        '--accelerators 64 --arrivals "6 job/hour" --sizes "1:0.5 8:0.4 32:0.1" '
        '--duration "exponential 1 h" --policy easy'
    ),
    closed_form="secondorder.analytic.shared_cluster:solve_shared_cluster",
    simulator="secondorder.simulate.shared_cluster:simulate_shared_cluster",
    metrics=SHARED_CLUSTER,
    replications=40,  # a second in all: ten leave the mean wait undecided
)
