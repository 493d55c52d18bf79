"""One step of a training job laid out on a cluster."""

from secondorder.systems.system import System

SYSTEM = System(
    kind="secondorder.scenarios.training_step:TrainingStep",
    title="One step of a training job laid out on a cluster.",
    example=(
        "--model gpt_3_175b --cluster opt_175b "
        "--data-parallel 31 --tensor-parallel 8 --pipeline-parallel 4 "
        "--global-batch 1488 --sequence-length 2048"
    ),
    closed_form="secondorder.analytic.training_step:solve_step",
    simulator="secondorder.simulate.training_step:simulate_step",
)
