"""A model run batch by batch, its kernels launched ahead of the device."""

from secondorder.answers.declared import INFERENCE
from secondorder.systems.system import System

SYSTEM = System(
    kind="secondorder.scenarios.inference:Inference",
    title="A model run batch by batch, its kernels launched ahead of the device.",
    example=(
        "--model resnet50 --accelerator a100_80gb --batch-size 8 "
        '--precision fp16 --launch "exponential 5 us" --jitter exponential'
    ),
    closed_form="secondorder.analytic.inference:solve_inference",
    simulator="secondorder.simulate.inference:simulate_inference",
    metrics=INFERENCE,
)
