"""Arrivals that are not Poisson: their dispersion by frequency, and bursts that have the same effect.

>>> from secondorder.workloads.arrivals import Gamma
>>> dispersion(Gamma("8 request/s", burstiness=0.25), np.array([1e-3, 1e3])).round(2).tolist()
[4.0, 1.46]
"""

import numpy as np

from secondorder.arrays import Complexes, Floats
from secondorder.quantities import si
from secondorder.scenarios.serving import Serving
from secondorder.workloads.arrivals import Deterministic, Gamma, MarkovModulated

LEAST_FREQUENCY = 1e-4
"""Share of the rate: at lower frequencies a renewal process has its value at frequency 0, the scv."""


def dispersion(arrivals: object, frequency: Floats) -> Floats:
    """Spectrum of the arrivals over their rate: 1 for Poisson, the index of dispersion of counts at frequency 0.

    Of a renewal process ``(1 - |f|^2) / |1 - f|^2``, ``f(w)`` the transform of a gap; of a Markov-modulated one
    ``1 + (idc - 1) r^2 / (r^2 + w^2)``, ``r`` the sum of the switching rates. ``frequency`` in rad/s. 1 for recorded
    arrivals. *Exact*. *Source*: Cox and Lewis, Statistical Analysis of Series of Events (1966), section 4.5.
    """
    match arrivals:
        case Gamma():
            rate, shape = si(arrivals.rate), float(arrivals.burstiness)
            w = np.maximum(np.abs(frequency), LEAST_FREQUENCY * rate)
            gap = (1 - 1j * w / (shape * rate)) ** -shape
            return np.asarray((1 - np.abs(gap) ** 2) / np.abs(1 - gap) ** 2)
        case Deterministic():
            return np.zeros_like(frequency)
        case MarkovModulated():
            switching = 1 / si(arrivals.sojourn_1) + 1 / si(arrivals.sojourn_2)
            return np.asarray(1 + (arrivals.idc - 1) * switching**2 / (switching**2 + frequency**2))
    return np.ones_like(frequency)


def mean_burst(scenario: Serving, seconds: float) -> float:
    """Mean size of geometric bursts whose counts over a time are as dispersed as those of the arrivals.

    Geometric bursts of mean ``g`` at Poisson moments have the index ``2 g - 1``; arrivals steadier than
    Poisson's have none.
    """
    return max(1.0, (1 + float(dispersion(scenario.arrivals, np.array([1 / seconds]))[0])) / 2)


def burst(prompt: Complexes, mean: float) -> Complexes:
    """Transform of the cells of a geometric burst, from that of one prompt."""
    return np.asarray(prompt / (mean - (mean - 1) * prompt))


def rest_of_burst(prompt: Complexes, mean: float) -> Complexes:
    """Transform of the cells of the requests of a burst that precede, or follow, a given one of it."""
    return np.asarray(1 / (mean - (mean - 1) * prompt))
