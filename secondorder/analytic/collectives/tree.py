"""A binomial tree with jitter: the law of its time, exactly, by a recursion of laws.

A tree of ``m`` ranks is one of ``a``, the largest power of two below ``m``, whose root takes from (or gives
to) the root of one of ``m - a``: ``R(m) = max(R(a), R(m-a)) + X``, ``R(1) = 0``. The two share no hop, so that they
are independent.
"""

from typing import NamedTuple

import numpy as np

from secondorder.analytic.arguments import Floats
from secondorder.errors import InputError
from secondorder.laws import Service

POINTS = 2**14
"""Points of the grid on which laws are held."""
SPREAD = 4.0
"""The scv up to which the grid is fine enough for 0.1 %."""


class Grid(NamedTuple):
    """A law on the points ``0, step, 2 step, ...``: the probability of each, in s."""

    step: float
    mass: Floats

    @property
    def mean(self) -> float:
        """In s."""
        return float(self.mass @ np.arange(len(self.mass))) * self.step

    def quantile(self, p: float) -> float:
        """In s, between the points."""
        reached = np.concatenate([[0.0], np.cumsum(self.mass)])
        return float(np.interp(p, reached, (np.arange(len(reached)) - 0.5) * self.step))

    def plus(self, other: "Grid") -> "Grid":
        """The law of the sum of two independent times."""
        size = 2 * len(self.mass)
        summed = np.fft.irfft(np.fft.rfft(self.mass, size) * np.fft.rfft(other.mass, size), size)
        return Grid(self.step, np.maximum(summed[: len(self.mass)], 0.0))

    def largest(self, other: "Grid") -> "Grid":
        """The law of the larger of two independent times."""
        return Grid(self.step, np.diff(np.cumsum(self.mass) * np.cumsum(other.mass), prepend=0.0))


def on_grid(law: Service, *, longest: float, points: int = POINTS) -> Grid:
    """A law with each time moved to the nearest point of a grid that ends at ``longest`` s."""
    step = longest / points
    edges = (np.arange(points) + 0.5) * step
    return Grid(step, np.diff(1 - law.survival(edges), prepend=0.0))


def reduction(*, law: Service, ranks: int) -> Grid:
    """The law of a reduction to one of ``ranks``, or of a broadcast from it, from a common start.

    ``R(m) = max(R(a), R(m-a)) + X``. *Exact*, on a grid: within 0.1 % up to an scv of 4. ``law`` that of a hop.
    Errors: ``InputError``. *Source*: the recursion of the module.

    >>> from secondorder.laws import Exponential
    >>> round(reduction(law=Exponential("1 s"), ranks=4).mean, 4)  # max of two, and one more
    2.5
    """
    return _reduction(law, ranks, hops=1)


def all_reduce(*, law: Service, ranks: int) -> Grid:
    """The law of a reduction and a broadcast after it, from a common start: two independent ``reduction``.

    *Exact*, on a grid. ``law`` that of a hop. Errors: ``InputError``. *Source*: the recursion of the module.

    >>> from secondorder.laws import Exponential
    >>> found = all_reduce(law=Exponential("1 s"), ranks=2)  # two hops: Erlang
    >>> round(found.mean, 4), round(found.quantile(0.99), 3)
    (2.0, 6.638)
    """
    one = _reduction(law, ranks, hops=2)
    return one.plus(one)


def _reduction(law: Service, ranks: int, hops: int) -> Grid:
    if ranks < 2:
        raise InputError("ranks", given=ranks, expected="at least 2")
    levels = (ranks - 1).bit_length()
    hop = on_grid(law, longest=_longest(law, hops * levels, ranks))
    found = {1: Grid(hop.step, np.eye(1, POINTS)[0])}

    def law_of(m: int) -> Grid:
        if m not in found:
            part = 1 << (m - 1).bit_length() - 1
            found[m] = law_of(part).largest(law_of(m - part)).plus(hop)
        return found[m]

    return law_of(ranks)


def _longest(law: Service, hops: int, ranks: int) -> float:
    """A time that a path of this many hops hardly exceeds."""
    single = law.moment(1)
    while float(law.survival(np.asarray(single))) * ranks > 1e-9:
        single *= 1.25
    mean = law.moment(1)
    return float(single + (hops - 1) * min(single, 4 * mean * (1 + law.scv**0.5)) + mean)
