"""Draws of a law whose shape is an axis of a map."""

import numpy as np

from secondorder.arrays import Floats
from secondorder.laws.elementary import exp


def lognormal(scv: float, count: int, rng: np.random.Generator) -> Floats:
    """Lognormal draws of mean 1: the same normal ones for each ``scv``."""
    variance = np.log1p(scv)
    drawn: Floats = exp(np.sqrt(variance) * rng.standard_normal(count) - variance / 2)
    return drawn
