"""A router that deals tokens out to experts, and the devices that hold the experts.

>>> routing = ExpertRouting(tokens=16, experts=8, top_k=2, expert_parallel=4, capacity_factor=1.25)
>>> routing.mean_load, routing.capacity, routing.experts_per_device
(4.0, 5, 2)
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated

import numpy as np
from annotated_types import Ge, Le

from secondorder.arrays import Floats
from secondorder.errors import InputError
from secondorder.quantities import Checked, Count, NonNegative, Positive


@dataclass(frozen=True, kw_only=True)
class ExpertRouting(Checked):
    """``tokens`` that each pick ``top_k`` different experts of ``experts``, independently of one another.

    A token picks one expert after the other, each time by the popularity of those that are left (as the
    greatest of log popularity plus Gumbel noise do). All experts are equally popular unless ``zipf`` or
    ``weights`` say otherwise.

    - ``tokens``: tokens that are routed together (of one layer, in one step).
    - ``experts``: experts among which they are routed.
    - ``top_k``: different experts that each token goes to.
    - ``expert_parallel``: devices that hold the experts, equally many on each; must divide their number.
    - ``capacity_factor``: most tokens that an expert takes, as a multiple of the mean; the others are dropped;
      no limit if not given.
    - ``zipf``: exponent of the popularity: the i-th expert has i^-zipf, so the popular ones share a device.
    - ``weights``: popularity of each expert, in any scale (4,2,1,1).
    - ``name``: name of the scenario in results.

    With a capacity an expert takes ``ceil(capacity_factor tokens top_k / experts)`` tokens.

    Errors: ``InputError`` for contradictory values.
    """

    tokens: Annotated[int, Ge(1), Le(131_072)]
    experts: Count
    top_k: Count
    expert_parallel: Count
    capacity_factor: Positive | None = None
    zipf: NonNegative | None = None
    weights: Sequence[float] | None = None
    name: str = "expert routing"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.top_k > self.experts:
            raise InputError("top_k", given=self.top_k, expected=f"at most the {self.experts} experts")
        if self.experts % self.expert_parallel:
            given = f"{self.expert_parallel} for {self.experts} experts"
            raise InputError("expert_parallel", given=given, expected="a divisor of experts")
        if self.zipf is not None and self.weights is not None:
            raise InputError("weights", given="weights with zipf", expected="one of the two")
        if self.weights is not None:
            object.__setattr__(self, "weights", _read_weights(self.weights, self.experts))

    @cached_property
    def shares(self) -> Floats:
        """Popularity of each expert; the sum is 1."""
        if self.weights is not None:
            found = np.array(self.weights)
        else:
            found = np.arange(1.0, self.experts + 1) ** -(self.zipf or 0.0)
        shares: Floats = found / found.sum()
        return shares

    @property
    def uniform(self) -> bool:
        """Whether all experts are equally popular."""
        return bool(np.ptp(self.shares) == 0)

    @property
    def routed(self) -> int:
        """Picks in all: ``tokens top_k``."""
        return self.tokens * self.top_k

    @property
    def mean_load(self) -> float:
        """Tokens that an expert gets, on average over the experts."""
        return self.routed / self.experts

    @property
    def capacity(self) -> int | None:
        """Tokens that an expert takes at most; None where there is no limit."""
        if self.capacity_factor is None:
            return None
        return max(math.ceil(self.capacity_factor * self.routed / self.experts - 1e-9), 1)

    @property
    def experts_per_device(self) -> int:
        """Experts that lie on one device."""
        return self.experts // self.expert_parallel


def _read_weights(weights: Sequence[float], experts: int) -> tuple[float, ...]:
    expected = f"{experts} positive numbers, one an expert"
    try:
        found = tuple(float(weight) for weight in weights)
    except (TypeError, ValueError):
        raise InputError("weights", given=repr(weights), expected=expected) from None
    if len(found) != experts:
        raise InputError("weights", given=f"{len(found)} of them", expected=expected)
    if not all(0 < weight < math.inf for weight in found):
        raise InputError("weights", given=f"{min(found):g} to {max(found):g}", expected=expected)
    return found
