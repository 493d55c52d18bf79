"""Arrays: the names of their types, and values that hold them and are still equal by value."""

from dataclasses import fields
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]
Real: TypeAlias = float | Floats
"""A number, or an array of numbers, elementwise."""
Integers: TypeAlias = npt.NDArray[np.int64]
Booleans: TypeAlias = npt.NDArray[np.bool_]
Complexes: TypeAlias = npt.NDArray[np.complex128]


def at_most(value: Real, most: float) -> Real:
    """``min(value, most)``, elementwise."""
    return np.minimum(value, most) if isinstance(value, np.ndarray) else min(value, most)


class EqualByValue:
    """A frozen dataclass with arrays among its fields: equal, and of equal hash, where their values are."""

    def _values(self) -> tuple[object, ...]:
        return tuple(_hashable(getattr(self, field.name)) for field in fields(self) if field.compare)  # type: ignore[arg-type]

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self._values() == other._values()

    def __hash__(self) -> int:
        return hash(self._values())


def _hashable(value: object) -> object:
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.tobytes()
    return tuple(map(_hashable, value)) if isinstance(value, tuple) else value
