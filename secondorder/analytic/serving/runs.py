"""The law of a run of steps from its moments, and laws in few atoms.

A run of ``m`` steps lasts between ``m`` steps without a prompt and ``m`` full ones. What prompts add to
it is a sum of few large parts: its third moment tells more of the tail than a normal law would.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Edges = tuple[float, ...]

LEVELS: Edges = (0, 0.05, 0.15, 0.35, 0.65, 0.85, 0.94, 0.98, 0.995, 1)
"""Cuts of a law in few parts."""
FINE: Edges = (*np.arange(36) / 40, *(1 - np.geomspace(0.1, 5e-4, 24)), 1.0)
"""Cuts of a law in many parts, close together about the 99th percentile."""


@dataclass(frozen=True, kw_only=True)
class RunLaw:
    """Laws of runs of steps, an entry each: from ``least`` to ``most`` (s), of these moments.

    Where the skewness is that of a gamma law from ``least`` or more: Pearson's type III of
    mean, variance and skewness, cut at ``most``. Where it is less: Pearson's type I, the beta
    law between ``least`` and ``most``, of mean and variance. *Source*: Johnson, Kotz,
    Balakrishnan, Continuous univariate distributions 1 (1994), section 12.4.1.
    """

    least: Floats
    most: Floats
    start: Floats
    scale: Floats
    shape: Floats
    beta: tuple[Floats, Floats]
    bounded: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, *, least: Floats, most: Floats, mean: Floats, variance: Floats, third: Floats) -> Self:
        """From the mean, the variance and the third central moment."""
        tiny = 1e-9 * most
        most = np.maximum(most, least + 4 * tiny)
        mean = np.clip(mean, least + tiny, most - tiny)
        share = (mean - least) / (most - least)
        spread = np.clip(variance / (most - least) ** 2, 1e-16, 0.999 * share * (1 - share))
        sizes = share * (1 - share) / spread - 1
        scale = np.maximum(third, 0) / (2 * variance) + tiny
        start = mean - variance / scale
        return cls(
            least=least, most=most, start=start, scale=scale, shape=(mean - start) / scale,
            beta=(share * sizes, (1 - share) * sizes), bounded=start < least,
        )  # fmt: skip

    def beyond(self, t: Floats) -> Floats:
        """Probability of more than ``t``, an entry for each law."""
        from scipy.special import betaincc, gammaincc

        share = np.clip((t - self.least) / (self.most - self.least), 0, 1)
        gamma = gammaincc(self.shape, np.maximum(t - self.start, 0) / self.scale)
        return np.where(self.bounded, betaincc(*self.beta, share), np.where(t < self.most, gamma, 0.0))

    def quantiles(self, levels: Floats) -> Floats:
        """Quantiles: a row for each law, a column for each level."""
        from scipy.special import betaincinv, gammaincinv

        (a, b), width = self.beta, self.most - self.least
        beta = self.least[:, None] + width[:, None] * betaincinv(a[:, None], b[:, None], levels)
        gamma = self.start[:, None] + self.scale[:, None] * gammaincinv(self.shape[:, None], levels)
        return np.where(self.bounded[:, None], beta, np.minimum(gamma, self.most[:, None]))


def parts(values: Floats, weight: Floats, edges: Edges = FINE) -> tuple[Floats, Floats]:
    """A law in few atoms: the mean between each two of its quantiles, and how much lies there; rising.

    >>> parts(np.array([1.0, 3.0]), np.array([0.5, 0.5]), (0, 0.25, 1))
    (array([1.        , 2.33333333]), array([0.25, 0.75]))
    """
    order = np.argsort(values)
    mass = np.concatenate([[0], weight[order].cumsum()])
    sums = np.concatenate([[0], (values[order] * weight[order]).cumsum()])
    cuts = np.asarray(edges, float)
    means = np.diff(np.interp(cuts * mass[-1], mass, sums)) / (np.diff(cuts) * mass[-1])
    return means, np.diff(cuts)
