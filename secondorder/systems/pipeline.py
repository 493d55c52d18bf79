"""Microbatches through a pipeline, pass by pass."""

from secondorder.answers.declared import PIPELINE
from secondorder.systems.system import System, effects

SYSTEM = System(
    kind="secondorder.scenarios.pipeline:Pipeline",
    title="Microbatches through a pipeline, pass by pass.",
    example=('--stages 8 --microbatches 32 --forward "10 ms" --backward "20 ms" --jitter "lognormal scv=0.09"'),
    closed_form="secondorder.analytic.collectives.ladder:solve_pipeline",
    simulator="secondorder.simulate.collectives:simulate_pipeline",
    metrics=PIPELINE,
    effects=effects(
        "secondorder.scenarios.effects.collectives",
        "jitter",
        "slow_stages",
        jitter="without_pass_jitter",
        slow_stages="without_slow_stages",
    ),
    places="secondorder.breakdown.places.collectives:of_pipeline",
    one_run="secondorder.simulate.collectives.one_run:of_pipeline",
)
