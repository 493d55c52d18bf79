"""Sampling several answers, or until one is right: tokens, latency, cost, success."""

from secondorder.systems.system import System

SYSTEM = System(
    kind="secondorder.scenarios.reasoning:Reasoning",
    title="Sampling several answers, or until one is right: tokens, latency, cost, success.",
    example=(
        '--strategy best_of --samples 16 --length "lognormal mean=2000 cv=1" '
        '--prompt-tokens 500 --prefill "50 ms" --token-time "10 ms" --success 0.3'
    ),
    closed_form="secondorder.analytic.reasoning:solve_reasoning",
    simulator="secondorder.simulate.reasoning:simulate_reasoning",
)
