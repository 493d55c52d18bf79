"""What every law of a time offers, and what laws share: their arguments, checked, and a stretch to another mean."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, Protocol, Self, TypeAlias

import numpy as np
import numpy.typing as npt

from secondorder.arrays import Floats
from secondorder.errors import InputError
from secondorder.quantities import Quantity, Unit, registry
from secondorder.spelling import Spelled

Mean = Annotated[Quantity | str, Unit("s", positive=True)]
Complexes: TypeAlias = npt.NDArray[np.complex128]


class ServiceLaw(Protocol):
    """What every law of service offers."""

    @property
    def mean(self) -> Mean:
        """Mean (a quantity in s)."""

    @property
    def scv(self) -> float:
        """Squared coefficient of variation."""

    def moment(self, k: int) -> float:
        """``E[S^k]`` in s^k; ``InputError`` where it is infinite."""

    def laplace(self, s: npt.ArrayLike) -> Complexes:
        """``E[exp(-s S)]`` for ``s`` in 1/s with ``Re s >= 0``; real or complex, any shape."""

    def survival(self, t: npt.ArrayLike) -> Floats:
        """``P(S > t)`` for ``t`` in s, any shape."""

    def excess(self, t: npt.ArrayLike) -> Floats:
        """``E[max(S - t, 0)]`` in s for ``t >= 0`` in s, any shape; over the mean, the survival of a residual life."""

    def sample(self, n: int, rng: np.random.Generator) -> Floats:
        """``n`` independent draws in seconds."""

    def at(self, mean: Mean) -> Self:
        """The same law at another mean: time is stretched, the shape is kept."""


@dataclass(frozen=True)
class SpelledLaw(Spelled):
    """A law that is its ``mean`` and a shape."""

    mean: Mean

    def at(self, mean: Mean) -> Self:
        """The same law at another mean."""
        return replace(self, mean=mean)


def seconds(value: float) -> Quantity:
    """A plain number of seconds as a quantity."""
    found: Quantity = registry.Quantity(value, "s")
    return found


def draws(n: int) -> int:
    """The number of draws, checked."""
    if n < 0:
        raise InputError("n", given=n, expected="a number of draws of at least 0")
    return n


def whole_order(k: int) -> int:
    """The order of a moment, checked."""
    if k < 0 or k != int(k):
        raise InputError("moment", given=k, expected="an integer order of at least 0")
    return int(k)


def time_argument(t: npt.ArrayLike) -> Floats:
    """The argument of a survival function."""
    return np.maximum(np.asarray(t, dtype=np.float64), 0.0)


def transform_argument(s: npt.ArrayLike) -> Complexes:
    """The transform's argument, checked."""
    argument = np.asarray(s, dtype=np.complex128)
    if not (np.isfinite(argument).all() and (argument.real >= 0).all()):
        raise InputError("s", given=s, expected="finite numbers with a real part of at least 0")
    return argument


def by_columns(s: npt.ArrayLike, transform: Callable[[Complexes], Complexes], width: int = 400) -> Complexes:
    """``transform`` of the arguments in a column (1 at 0), a bounded number at a time."""
    argument = transform_argument(s)
    flat = np.ones(argument.size, dtype=np.complex128)
    todo = np.flatnonzero(argument)
    rows = max(1, 1_000_000 // width)
    for start in range(0, todo.size, rows):
        part = todo[start : start + rows]
        flat[part] = transform(argument.reshape(-1)[part, None])
    return flat.reshape(argument.shape)
