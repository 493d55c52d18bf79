"""The theory of LLM serving as twins: each theorem with a simulation, counterexamples included."""

from functools import cache

from secondorder.validation.catalogue.theory import chance, lines, memory, orders, states, steps
from secondorder.validation.catalogue.theory.theorem import Theorem

__all__ = ["Theorem", "twins"]


@cache
def twins() -> tuple[Theorem, ...]:
    """In the order of the theorems, the limit cycle and the monotone policies last."""
    found = (module.twins() for module in (memory, steps, states, lines, orders, chance))
    return tuple(sorted((twin for each in found for twin in each), key=lambda twin: int(twin.theorem[1:])))
