"""The exact law of the wait in a single-server queue, whose run on the same draws is a control of a simulation."""

from dataclasses import dataclass, field

import numpy as np

from secondorder.arrays import Floats
from secondorder.errors import InputError

POINTS = 2**16
"""Points of the grid."""
REACH = 40.0
"""Mean waits of those who wait that the grid covers: of an exponential tail a share of exp(-40) lies beyond."""


@dataclass(frozen=True)
class WaitLaw:
    """The wait of M/G/1: its ``mean``, and the share ``cumulated[k]`` of waits up to ``(k + 1/2) step``."""

    mean: float
    step: float
    cumulated: Floats = field(repr=False)

    def level(self, share: float) -> tuple[float, float]:
        """A wait that at least this share does not exceed, and the very share that does not."""
        place = int(np.searchsorted(self.cumulated, share))
        return (place + 0.5) * self.step, float(self.cumulated[place])


def wait_law(rate: float, services: Floats, weights: Floats) -> WaitLaw:
    """The law of the wait in M/G/1, first come first served, with services of finitely many lengths.

    ``W*(s) = (1 - rho) / (1 - rho E*(s))``, ``E*`` the transform of what is left of a service that is under way. That
    law is put on a grid, each value on its two neighbours so that the mean is kept, and the wait comes from one fast
    Fourier transform and its inverse. ``rate``: customers per second; ``services`` in s, with ``weights`` of sum 1.

    *Exact* but for the grid, whose step is 1/1600 of the mean wait of those who wait; *valid for* ``0 < rho < 1``.
    Errors: ``InputError`` elsewhere. *Source*: Pollaczek 1930; Khinchine 1932; Kleinrock 1975, volume 1, section 5.7.

    >>> law = wait_law(0.8, np.ones(1), np.ones(1))     # M/D/1: rho / (2 (1 - rho))
    >>> round(law.mean, 12), round(float(law.cumulated[0]), 3)
    (2.0, 0.2)
    """
    mean = float(np.cumsum(services * weights)[-1])
    load = rate * mean
    if not 0 < load < 1:
        raise InputError("rate", given=f"a load of {load:.4g}", expected="a load between 0 and 1")
    second = float(np.cumsum(services**2 * weights)[-1])
    expected = rate * second / (2 * (1 - load))
    step = REACH * expected / load / POINTS
    left = np.fft.rfft(_left_of_a_service(services, weights / mean, step))
    waits = np.fft.irfft((1 - load) / (1 - load * left), POINTS)
    return WaitLaw(expected, step, np.minimum(np.cumsum(waits), 1.0))


def _left_of_a_service(services: Floats, weights: Floats, step: float) -> Floats:
    """Masses on the grid of the time left of a service under way: uniform up to each length, by its share of time.

    The mass of a point is the second difference of ``K(x) = E[(x - X)^+]``.
    """
    order = np.argsort(services, kind="stable")
    lengths, shares = services[order], (services * weights)[order]
    points = step * np.arange(-1, POINTS + 1)
    done = np.searchsorted(lengths, points)
    whole = np.concatenate([[0.0], np.cumsum(shares)])
    halves = np.concatenate([[0.0], np.cumsum(shares * lengths / 2)])
    curved = np.concatenate([np.cumsum((shares / (2 * lengths))[::-1])[::-1], [0.0]])
    ramps = whole[done] * points - halves[done] + curved[done] * points**2
    ramps[0] = 0.0
    masses = np.diff(ramps, 2) / step
    masses[0] = 1 - float(np.cumsum(masses[1:])[-1])
    return np.asarray(masses)


def waits(arrival: Floats, service: Floats) -> Floats:
    """The wait of each customer of one server who starts idle: Lindley's recursion as a running minimum.

    >>> waits(np.array([0.0, 1.0, 2.0]), np.array([2.0, 1.5, 1.0])).tolist()
    [0.0, 1.0, 1.5]
    """
    walk = np.cumsum(service[:-1])
    walk -= arrival[1:] - arrival[0]
    walk = np.concatenate([[0.0], walk])
    return np.asarray(walk - np.minimum.accumulate(walk))
