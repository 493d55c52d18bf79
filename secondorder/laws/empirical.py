"""The law of measured times."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from secondorder.arrays import EqualByValue, Floats
from secondorder.errors import InputError
from secondorder.laws.protocol import Complexes, Mean, by_columns, draws, seconds, time_argument, whole_order
from secondorder.quantities import Quantity, Unit, si


@dataclass(frozen=True, eq=False, repr=False)
class EmpiricalLaw(EqualByValue):
    """Measured times in seconds, each as likely as the others; drawn with replacement.

    >>> law = EmpiricalLaw([0.1, 0.2, 0.6])
    >>> law.mean.round(6), round(law.scv, 6), law.at("3 s").values
    (<Quantity(0.3, 'second')>, 0.518519, array([1., 2., 6.]))
    """

    values: Floats | Sequence[float]

    def __post_init__(self) -> None:
        values = np.array(self.values, dtype=np.float64)
        expected = "at least one finite time in s from 0 on, not all 0"
        if values.ndim != 1 or not values.size:
            raise InputError("values", given=f"an array of shape {values.shape}", expected=expected)
        bad = ~np.isfinite(values) | (values < 0)
        if bad.any() or not values.any():
            raise InputError("values", given=f"{values[bad.argmax()]} at index {bad.argmax()}", expected=expected)
        values.flags.writeable = False
        object.__setattr__(self, "values", values)

    def __repr__(self) -> str:
        return f"<{len(self.values)} measured times of mean {self.moment(1):.3g} s>"

    @property
    def mean(self) -> Quantity:
        """Mean of the values (a quantity in s)."""
        return seconds(self.moment(1))

    @property
    def scv(self) -> float:
        """Variance of the values (over n) over their squared mean."""
        return float(np.var(self.values) / np.mean(self.values) ** 2)

    def moment(self, k: int) -> float:
        """Mean of the values' k-th powers, in s^k."""
        return float(np.mean(np.asarray(self.values) ** whole_order(k)))

    def laplace(self, s: npt.ArrayLike) -> Complexes:
        """Mean of ``exp(-s value)``."""
        values = np.asarray(self.values)
        return by_columns(s, lambda part: np.exp(-part * values).mean(axis=-1), width=values.size)

    def survival(self, t: npt.ArrayLike) -> Floats:
        """Share of the values above ``t``."""
        values = np.sort(self.values)
        return np.asarray(1 - np.searchsorted(values, time_argument(t), side="right") / len(values))

    def excess(self, t: npt.ArrayLike) -> Floats:
        """Mean of what the values exceed ``t`` by."""
        values, t = np.sort(self.values), time_argument(t)
        beyond = np.append(values[::-1].cumsum()[::-1], 0.0)
        place = np.searchsorted(values, t, side="right")
        return np.maximum(beyond[place] - t * (len(values) - place), 0) / len(values)

    def sample(self, n: int, rng: np.random.Generator) -> Floats:
        """``n`` draws in seconds, with replacement."""
        return np.asarray(self.values)[rng.integers(0, len(self.values), draws(n))]

    def at(self, mean: Mean) -> "EmpiricalLaw":
        """The same times stretched to another mean."""
        ratio = si(Unit("s", positive=True).read(mean, "mean")) / self.moment(1)
        return EmpiricalLaw(np.asarray(self.values) * ratio)
