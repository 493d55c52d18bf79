"""The model size and number of tokens that make the best use of a compute budget."""

from secondorder.systems.system import System

SYSTEM = System(
    kind="secondorder.scenarios.scaling_law:ScalingLaw",
    title="The model size and number of tokens that make the best use of a compute budget.",
    example='--compute "5.76e23 FLOP" --fit besiroglu_2024',
    closed_form="secondorder.analytic.scaling_laws:solve_scaling_law",
    simulator="secondorder.simulate.scaling_law:simulate_scaling_law",
    is_random=lambda scenario: scenario.fitted.alpha_error > 0,  # without published errors nothing is drawn
)
