"""How long one thing lasts (a service, a gap, a lifetime): laws with a mean, samples, transforms, one-line spellings.

>>> import numpy as np
>>> law = read_law("lognormal mean=100ms scv=4")
>>> law.mean, law.scv, round(law.moment(2), 9)
(<Quantity(0.1, 'second')>, 4.0, 0.05)
>>> str(law.at("2 s"))
'lognormal 2 s scv=4'
>>> Exponential("10 ms").sample(3, np.random.default_rng(1)).round(5)
array([0.01073, 0.00308, 0.05375])

``mean`` is a quantity; ``moment``, ``laplace`` and ``sample`` work in plain SI: seconds, and
1/s for the transform's argument. ``scv`` is the squared coefficient of variation,
``variance / mean^2``: 0 for a constant, 1 for exponential, above 1 for a heavy spread.
The same laws serve as gaps between arrivals.
"""

from secondorder.laws.empirical import EmpiricalLaw
from secondorder.laws.heavy_tailed import LogNormal, Pareto, Weibull
from secondorder.laws.light_tailed import (
    Deterministic,
    Erlang,
    Exponential,
    ExponentialMixture,
    Gamma,
    Hyperexponential,
    Normal,
)
from secondorder.laws.protocol import Complexes, Mean, ServiceLaw
from secondorder.laws.reading import LAWS, Law, Service, Time, Timed, read_law, read_shape, time_law
from secondorder.laws.residual_life import residual

__all__ = [
    "LAWS",
    "Complexes",
    "Deterministic",
    "EmpiricalLaw",
    "Erlang",
    "Exponential",
    "ExponentialMixture",
    "Gamma",
    "Hyperexponential",
    "Law",
    "LogNormal",
    "Mean",
    "Normal",
    "Pareto",
    "Service",
    "ServiceLaw",
    "Time",
    "Timed",
    "Weibull",
    "read_law",
    "read_shape",
    "residual",
    "time_law",
]
