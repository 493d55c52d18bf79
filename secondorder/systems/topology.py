"""Switches, links, diameter and bisection of a network, and the bounds that follow."""

from secondorder.systems.system import System

SYSTEM = System(
    kind="secondorder.scenarios.topology:Topology",
    title="Switches, links, diameter and bisection of a network, and the bounds that follow.",
    example=('--shape "leaf-spine leaves=8 hosts=16 spines=4" --link-bandwidth "50 GB/s" --size "1 GB"'),
    closed_form="secondorder.analytic.topology:solve_topology",
)
