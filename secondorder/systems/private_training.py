"""What differential privacy costs a step of training."""

from secondorder.systems.system import System

SYSTEM = System(
    kind="secondorder.scenarios.private_training:PrivateTraining",
    title="What differential privacy costs a step of training.",
    example="--model llama_3_1_8b --batch-size 8 --sequence-length 2048 --clipping ghost",
    closed_form="secondorder.analytic.private_training:solve_private_training",
)
