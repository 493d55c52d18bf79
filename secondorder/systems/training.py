"""A training run under failures, checkpoints and restarts."""

from secondorder.answers.declared import TRAINING
from secondorder.systems.system import System, effects

SYSTEM = System(
    kind="secondorder.scenarios.training:Training",
    title="A training run under failures, checkpoints and restarts.",
    example=(
        '--failures "exponential 8240 s" --checkpoint "blocking 994 s write=60 s" --recovery "300 s" --work "54 day"'
    ),
    closed_form="secondorder.analytic.training.ladder:solve_training",
    simulator="secondorder.simulate.training:simulate_training",
    has_kernel=True,
    replications=None,  # as many as the witness makes cheap
    margin=0.005,  # goodput is near 1, so that it is to be known far better than a latency
    own_command=True,
    metrics=TRAINING,
    effects=effects(
        "secondorder.scenarios.effects.training",
        "restart",
        "checkpoint_writes",
        "step_jitter",
        restart="without_restart",
        rework="without_rework",
        checkpoint_writes="without_writes",
        step_jitter="with_equal_steps",
        spares_run_out="with_spares_for_all",
    ),
    places="secondorder.breakdown.places.training:places",
    one_run="secondorder.simulate.training.one_run:metrics",
)
