"""How unevenly a router distributes tokens over experts."""

from secondorder.answers.declared import EXPERT_ROUTING
from secondorder.systems.system import System

SYSTEM = System(
    kind="secondorder.scenarios.expert_routing:ExpertRouting",
    title="How unevenly a router distributes tokens over experts.",
    example="--tokens 16 --experts 8 --top-k 2 --expert-parallel 8",
    closed_form="secondorder.analytic.expert_routing:solve_expert_routing",
    simulator="secondorder.simulate.expert_routing:simulate_expert_routing",
    metrics=EXPERT_ROUTING,
)
