"""A collective operation among ranks, hop by hop."""

from secondorder.answers.declared import COLLECTIVE
from secondorder.systems.system import System, effects

SYSTEM = System(
    kind="secondorder.scenarios.collective:Collective",
    title="A collective operation among ranks, hop by hop.",
    example=(
        "--operation all_reduce --algorithm ring --ranks 64 "
        '--size "1 GB" --link "50 GB/s latency=5 us" --jitter "lognormal scv=0.04"'
    ),
    closed_form="secondorder.analytic.collectives.ladder:solve_collective",
    simulator="secondorder.simulate.collectives:simulate_collective",
    metrics=COLLECTIVE,
    effects=effects(
        "secondorder.scenarios.effects.collectives",
        "jitter",
        "slow_links",
        "slow_ranks",
        jitter="without_jitter",
        slow_links="without_slow_links",
        slow_ranks="without_slow_ranks",
    ),
    places="secondorder.breakdown.places.collectives:of_collective",
    one_run="secondorder.simulate.collectives.one_run:of_collective",
)
