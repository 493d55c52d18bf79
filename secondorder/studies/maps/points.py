"""A point of a map: its scenario, its formula, and the truth with its interval."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from secondorder.breakdown.fields import Coordinates
from secondorder.scenarios.scenario import Scenario

Amounts: TypeAlias = Mapping[str, float]
"""Values by metric, in SI units."""
ScenarioAt: TypeAlias = Callable[[Coordinates], Scenario]
Formula: TypeAlias = Callable[[Coordinates], Amounts]
Once: TypeAlias = Callable[[Coordinates, int, int, int], Amounts]
"""``(point, seed, replication, length)`` to what one replication of that length measures."""


@dataclass(frozen=True, kw_only=True)
class Simulated:
    """A truth that is simulated: ``once``; a replication has ``length`` customers, all together at most ``budget``."""

    once: Once
    length: int
    budget: int


@dataclass(frozen=True, kw_only=True)
class Exact:
    """A truth that a closed form gives."""

    amounts: Formula


@dataclass(frozen=True, kw_only=True)
class Ground:
    """How a field makes the scenario at a point and finds its truth."""

    scenario: ScenarioAt
    truth: Simulated | Exact
