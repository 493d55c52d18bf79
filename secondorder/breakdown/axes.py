"""The axes of a map: the quantity that varies, its ends, and a linear or logarithmic scale."""

import math
from dataclasses import dataclass
from typing import Literal

from secondorder.errors import InputError

SLACK = 1e-9
"""Share of an axis by which a value may lie beyond its end: for rounding."""


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One axis: its ``name``, its ``meaning``, its ends. ``whole``: whether it has only whole numbers, such as servers.

    >>> servers = Axis(name="servers", meaning="servers", low=2, high=32, scale="log", whole=True)
    >>> servers.place(8), servers.value(0.5)
    (0.5, 8.0)
    """

    name: str
    meaning: str
    low: float
    high: float
    scale: Literal["linear", "log"] = "linear"
    whole: bool = False

    def holds(self, value: float) -> bool:
        """Whether a value lies on the axis."""
        return self._allowed(value) and -SLACK <= self._share(value) <= 1 + SLACK

    def place(self, value: float) -> float:
        """Where a value lies, from 0 at the low end to 1 at the high one. Errors: ``InputError`` beyond them."""
        if not self.holds(value):
            kind = "a whole number" if self.whole else "a number"
            raise InputError(self.name, given=value, expected=f"{kind} from {self.low:g} to {self.high:g}")
        return min(max(self._share(value), 0.0), 1.0)

    def value(self, place: float) -> float:
        """The value at a place from 0 to 1; on an axis of whole numbers the nearest one."""
        if self.scale == "log":
            found = self.low * (self.high / self.low) ** place
        else:
            found = self.low + place * (self.high - self.low)
        return float(round(found)) if self.whole else found

    def _allowed(self, value: float) -> bool:
        return (
            math.isfinite(value) and (value > 0 or self.scale == "linear") and (not self.whole or value == int(value))
        )

    def _share(self, value: float) -> float:
        if self.scale == "log":
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)
