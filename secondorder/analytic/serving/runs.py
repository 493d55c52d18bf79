"""The law of a run of steps from its moments, and laws in few atoms.

A run of ``m`` steps lasts between ``m`` steps without a prompt and ``m`` full ones. What prompts add to
it is a sum of few large parts: its third moment tells more of the tail than a normal law would.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

from secondorder.arrays import Floats

Edges = tuple[float, ...]

LEVELS: Edges = (0, 0.05, 0.15, 0.35, 0.65, 0.85, 0.94, 0.98, 0.995, 1)
"""Cuts of a law in few parts."""
FINE: Edges = (*np.arange(36) / 40, *(1 - np.geomspace(0.1, 5e-4, 24)), 1.0)
"""Cuts of a law in many parts, close together about the 99th percentile."""
ON_BORDER = 1e-6
"""Share of an interval: what lies on its border, up to rounding, belongs to it."""
CUBE_ROOT = 2.0
"""Shape of a gamma law from which its cube root is near enough to normal."""
MOST_DEVIATIONS = 3.0
"""Standard deviations by which what is normal may lengthen or shorten a run."""
LEAST_LOG = -600.0
"""Logarithm of a gamma quantile below which it is as good as 0."""


@dataclass(frozen=True, kw_only=True)
class RunLaw:
    """Laws of runs of steps: from ``least`` to ``most`` (s), of these moments; arrays of one shape.

    With probability ``quiet`` no step has a prompt, and the run lasts ``least``. Otherwise Pearson's type III, a gamma
    law moved and scaled to the mean, the variance and the skewness, cut at the ends; where its shape is 2 or more by
    the cube root of Wilson and Hilferty. Either is more or less by a normal ``deviation`` (s) that has nothing to do
    with prompts. *Source*: Johnson, Kotz, Balakrishnan, Continuous univariate distributions 1 (1994), sections 12.4.1
    and 17.5.
    """

    least: Floats
    most: Floats
    start: Floats
    scale: Floats
    shape: Floats
    quiet: Floats
    deviation: Floats

    @classmethod
    def of(
        cls,
        *,
        least: Floats,
        most: Floats,
        mean: Floats,
        variance: Floats,
        third: Floats,
        quiet: Floats,
        deviation: Floats,
    ) -> Self:
        """From the mean, and the variance and the third central moment without what is normal."""
        mean, variance, third = _without(least, quiet, mean, variance, third)
        variance = np.maximum(variance + deviation**2, (1e-6 * mean) ** 2)
        scale = np.maximum(third, 1e-3 * variance**1.5) / (2 * variance)
        shape = variance / scale**2
        start = mean - shape * scale
        return cls(least=least, most=most, start=start, scale=scale, shape=shape, quiet=quiet, deviation=deviation)

    def beyond(self, t: Floats) -> Floats:
        """Probability of more than ``t``, an entry for each law."""
        from scipy.special import gammaincc, ndtr

        k, x = self.shape, np.maximum(t - self.start, 0.0) / self.scale
        found = ndtr(-3 * np.sqrt(k) * (np.cbrt(x / k) - 1 + 1 / (9 * k)))
        first, last = self._ends
        rough = (k < CUBE_ROOT) & (first <= t) & (t < last)
        found[rough] = gammaincc(k[rough], x[rough])
        found = np.where(t < first, 1.0, np.where(t < last, found, 0.0))
        alone = ndtr((self.least - t) / np.maximum(self.deviation, 1e-12 * self.least))
        return np.asarray(found + self.quiet * (alone - found))

    @property
    def _ends(self) -> tuple[Floats, Floats]:
        """Shortest and longest runs with prompts, s."""
        return self.least - MOST_DEVIATIONS * self.deviation, self.most + MOST_DEVIATIONS * self.deviation

    def quantiles(self, levels: Floats) -> Floats:
        """Quantiles: along a new last axis, for each level; near enough for atoms of a known mean."""
        from scipy.special import ndtri

        k, quiet = self.shape[..., None], self.quiet[..., None]
        alone = levels / np.maximum(quiet, 1e-300)
        levels = np.clip((levels - quiet) / (1 - quiet), 1e-12, 1 - 1e-12)
        x = k * np.maximum(1 - 1 / (9 * k) + ndtri(levels) / (3 * np.sqrt(k)), 0.0) ** 3
        rough = self.shape < CUBE_ROOT
        if rough.any():
            x[rough] = _nearer(x[rough], k[rough], levels[rough])
        first, last = (each[..., None] for each in self._ends)
        x = np.clip(self.start[..., None] + self.scale[..., None] * x, first, last)
        normal = self.least[..., None] + self.deviation[..., None] * ndtri(np.clip(alone, 1e-12, 1 - 1e-12))
        return np.where(alone < 1, normal, x)


def _nearer(x: Floats, shape: Floats, levels: Floats) -> Floats:
    """Quantiles of gamma laws, from those of the cube root: one step of Newton's on the logarithm of the lesser tail.

    ``P(x) = x^k e^-x / G(k + 1) (1 + x / (k + 1) (1 + x / (k + 2) (...)))``; as ``P(x) < x^k / G(k + 1)``, a quantile
    has a least value. *Source*: Abramowitz and Stegun 1964, equation 6.5.29.
    """
    from scipy.special import gammaln

    scale = gammaln(shape + 1)
    x = np.maximum(x, np.exp(np.maximum((np.log(levels) + scale) / shape, LEAST_LOG)))
    density = np.exp(shape * np.log(x) - x - scale)  # times x over the shape
    most = float(x.max())
    below = np.ones_like(x)
    for term in range(int(most + 5 * np.sqrt(most) + 5), 0, -1):
        below *= x
        below /= shape + term
        below += 1
    share = density * below
    low = x * np.exp(np.clip(np.log(levels / share) * below / shape, -1, 1))
    rest = np.maximum(1 - share, 1e-12)
    high = x * np.maximum(1 + np.log(rest / (1 - levels)) * rest / (shape * density), 0.5)
    return np.where(levels < 0.5, low, high)


def _without(least: Floats, quiet: Floats, mean: Floats, variance: Floats, third: Floats) -> tuple[Floats, ...]:
    """Mean, variance and third central moment of the part of a law that is not an atom ``quiet`` at ``least``."""
    above, rest = mean - least, 1 - quiet
    first = above / rest
    second = (variance + above**2) / rest
    cube = (third + 3 * variance * above + above**3) / rest
    return least + first, second - first**2, cube - 3 * first * second + 2 * first**3


def parts(values: Floats, weight: Floats, edges: Edges = FINE) -> tuple[Floats, Floats]:
    """A law in few atoms: the mean between each two of its quantiles, and how much lies there; rising.

    Several laws of common weights: a row of values for each.

    >>> parts(np.array([1.0, 3.0]), np.array([0.5, 0.5]), (0, 0.25, 1))
    (array([1.        , 2.33333333]), array([0.25, 0.75]))
    """
    order = np.argsort(values, axis=-1, kind="stable")
    values, weight = np.take_along_axis(values, order, axis=-1), weight[order]
    if values.ndim == 1:
        return parts_of_rising(values, weight, edges), np.diff(edges)
    rows = zip(values, weight, strict=True)
    return np.array([parts_of_rising(*row, edges) for row in rows]), np.diff(edges)


def parts_of_rising(values: Floats, weight: Floats, edges: Edges) -> Floats:
    """The means of ``parts`` of a law whose values rise."""
    mass, sums = np.zeros((2, len(values) + 1))
    weight.cumsum(out=mass[1:])
    (values * weight).cumsum(out=sums[1:])
    cuts = np.asarray(edges, float) * mass[-1]
    return np.asarray(np.diff(np.interp(cuts, mass, sums)) / np.diff(cuts))


def binned(atoms: Floats, weight: Floats, bins: int = 4096) -> tuple[Floats, Floats]:
    """A law on fewer atoms, rising: the mean of those in each of equal intervals.

    >>> binned(np.array([3.0, 1.0, 1.1]), np.array([0.5, 0.25, 0.25]), bins=2)
    (array([1.05, 3.  ]), array([0.5, 0.5]))
    """
    low, high = float(atoms.min()), float(atoms.max())
    place = ((atoms - low) * ((bins - 1) / max(high - low, 1e-300)) + ON_BORDER).astype(int)
    mass = np.bincount(place, weight, minlength=bins)
    sums = np.bincount(place, weight * atoms, minlength=bins)
    kept = mass > 0
    return np.asarray(sums[kept] / mass[kept]), np.asarray(mass[kept], float)
