"""The virtual station of two engines in opposite order: the network may be unstable with both engines far from full."""

from secondorder.errors import Unstable
from secondorder.scenarios.opposite_routes import OppositeRoutes


def throughput(scenario: OppositeRoutes) -> float:
    """Requests of both classes that end in a step: ``min(2 rate, budget / tokens of the last stage)``.

    Where the last stage goes first, an engine that has work of that stage starves the other's supply of it, so that
    the two last stages are never served together for long: they share one engine's budget, the virtual station.
    *Exact* below both limits; above, *approximation*, a bound from above. *Valid when* both engines step together and
    the budget is many requests' tokens. Errors: ``Unstable`` where an engine itself is overloaded.

    *Source*: Rybko and Stolyar, Problems of Information Transmission 28(3), 1992; Dai and Vande Vate, Operations
    Research 48(5), 2000, for virtual stations; with tokens of language models Dai, Deng, Li, Peng, arXiv 2504.07347,
    section 5.4.

    >>> round(throughput(OppositeRoutes(rate=0.5)), 6), round(throughput(OppositeRoutes(rate=0.8)), 6)
    (1.0, 1.411765)
    """
    if scenario.load >= 1:
        raise Unstable(f"{scenario.name}: each engine has a load of {scenario.load:.4g} of its budget; lower the rate")
    offered = 2 * scenario.rate
    return min(offered, scenario.budget / sum(scenario.last)) if scenario.last_first else offered


def is_stable(scenario: OppositeRoutes) -> bool:
    """Whether the number of requests stays finite: the engines, and the virtual station, are below their budgets.

    >>> is_stable(OppositeRoutes(rate=0.53 * 768 / 608)), is_stable(OppositeRoutes(rate=0.61 * 768 / 608))
    (True, False)
    """
    return scenario.load < 1 and (not scenario.last_first or scenario.virtual_load < 1)
