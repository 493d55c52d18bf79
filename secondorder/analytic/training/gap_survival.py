"""The law of the gap from one failure to the next, as a failure sees it (the Palm law of the process).

What a run keeps of the work between two failures depends on the gap between them alone, so that the
mean over this law is exact for any stationary process, however its gaps depend on each other.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import assert_never

import numpy as np
import numpy.typing as npt

from secondorder.analytic.arguments import Floats, one
from secondorder.errors import InputError
from secondorder.fleets.failures import (
    Bursts,
    FailureProcess,
    NewNodes,
    PlatformRenewal,
    ReplicatedPairs,
    StationaryNodes,
)
from secondorder.laws import Exponential
from secondorder.quantities import si

Function = Callable[[npt.ArrayLike], Floats]


@dataclass(frozen=True, kw_only=True)
class Gap:
    """A gap between failures: ``mean`` in s, ``survival(t) = P(> t)``, ``excess(t) = E[max(gap - t, 0)]`` in s.

    ``memoryless`` where it is exponential; series over it are then geometric.
    """

    mean: float
    survival: Function
    excess: Function
    memoryless: bool = False


def exponential_gap(mtbf: float) -> Gap:
    """Poisson failures: ``P(gap > t) = exp(-t / mtbf)``. *Exact*. ``mtbf`` in s. Errors: ``InputError``.

    >>> float(exponential_gap(2.0).survival(2.0)) == math.exp(-1)
    True
    """
    mean = one("mtbf", mtbf)

    def survival(t: npt.ArrayLike) -> Floats:
        return np.asarray(np.exp(-np.asarray(t, np.float64) / mean))

    return Gap(mean=mean, survival=survival, excess=lambda t: mean * survival(t), memoryless=True)


def palm_gap(process: FailureProcess) -> Gap:
    """The gap after a failure of a stationary process.

    - the whole platform renewed: its law;
    - ``N`` nodes of all ages: ``S(t) (e(t)/m)^(N-1)``, one node fresh and the others in equilibrium,
      ``S`` and ``e`` survival and excess of a lifetime, ``m`` its mean; its excess is ``(m/N) (e(t)/m)^N``;
    - bursts: ``a exp(D0 t) 1``, ``D0`` the switching less the failing, ``a`` the phase just after a failure;
    - ``b`` replicated pairs of mean lifetime ``mu``: ``(1 - (1 - e^(-t/mu))^2)^b``, its excess
      ``mu 4^b B(b, b+1) I(e^(-t/mu)/2; b, b+1)`` with Euler's beta function and the incomplete one.

    *Exact*. Times in s. Errors: ``InputError`` for new nodes, whose process is not stationary
    unless lifetimes are exponential.

    *Source*: Daley and Vere-Jones, An introduction to the theory of point processes (1988), section 3.4;
    superposition: Cox and Smith 1954; bursts: Fischer and Meier-Hellstern, The MMPP cookbook (1993).

    >>> from secondorder.fleets.failures import read_failures
    >>> gap = palm_gap(read_failures("stationary 2 weibull 100 s shape=0.7"))
    >>> round(gap.mean, 9), float(gap.survival(20.0).round(6)), round(float(gap.excess(0.0)), 9)
    (50.0, 0.572754, 50.0)
    """
    match process:
        case _ if is_poisson(process):
            return exponential_gap(process.mtbf)
        case PlatformRenewal():
            law = process.law("gap")
            return Gap(mean=law.moment(1), survival=law.survival, excess=law.excess)
        case StationaryNodes():
            return _stationary(process)
        case Bursts():
            return _bursts(process)
        case ReplicatedPairs():
            return _pairs(process)
        case NewNodes():
            remedy = "use new_nodes, or stationary nodes"
            raise InputError("failures", given="nodes that start new", expected="a stationary process", remedy=remedy)
    assert_never(process)


def is_poisson(process: FailureProcess) -> bool:
    """Whether the failures are a Poisson process: exponential gaps or lifetimes, or bursts of one rate.

    >>> from secondorder.fleets.failures import read_failures
    >>> is_poisson(read_failures("new 64 exponential 1000 h")), is_poisson(read_failures("renewal deterministic 1 h"))
    (True, False)
    """
    match process:
        case PlatformRenewal(gap=Exponential()):
            return True
        case StationaryNodes(lifetime=Exponential()) | NewNodes(lifetime=Exponential()):
            return True
        case Bursts():
            return si(process.mtbf_calm) == si(process.mtbf_storm)
    return False


def _stationary(process: StationaryNodes) -> Gap:
    law, nodes = process.law("lifetime"), process.nodes
    mean = law.moment(1)

    def survival(t: npt.ArrayLike) -> Floats:
        return np.asarray(law.survival(t) * (law.excess(t) / mean) ** (nodes - 1))

    def excess(t: npt.ArrayLike) -> Floats:
        return np.asarray(mean / nodes * (law.excess(t) / mean) ** nodes)

    return Gap(mean=mean / nodes, survival=survival, excess=excess)


def _bursts(process: Bursts) -> Gap:
    """Two exponential terms: ``D0`` of two phases has two real eigenvalues."""
    fail = np.array([1 / si(process.mtbf_calm), 1 / si(process.mtbf_storm)])
    leave = np.array([1 / si(process.calm), 1 / si(process.storm)])
    met = fail * leave[::-1]
    after = met / met.sum()  # the phase just after a failure
    trace, apart = (fail + leave).sum(), (fail + leave)[0] - (fail + leave)[1]
    fast = (trace + math.sqrt(apart**2 + 4 * leave[0] * leave[1])) / 2
    slow = (fail[0] * fail[1] + fail[0] * leave[1] + fail[1] * leave[0]) / fast
    weight = (fast - float(after @ fail)) / (fast - slow)
    weights, rates = np.array([weight, 1 - weight]), np.array([slow, fast])

    def terms(t: npt.ArrayLike) -> Floats:
        return np.asarray(np.exp(-np.multiply.outer(np.asarray(t, np.float64), rates)))

    return Gap(
        mean=process.mtbf,
        survival=lambda t: np.asarray(terms(t) @ weights),
        excess=lambda t: np.asarray(terms(t) @ (weights / rates)),
    )


def _pairs(process: ReplicatedPairs) -> Gap:
    from scipy.special import betainc

    pairs, lifetime = process.pairs, si(process.lifetime)
    scale = 2 * process.mtbf - lifetime / pairs  # mu 4^b B(b, b+1), without a difference of logarithms

    def survival(t: npt.ArrayLike) -> Floats:
        failed = -np.expm1(-np.asarray(t, np.float64) / lifetime)
        with np.errstate(divide="ignore"):
            return np.asarray(np.exp(pairs * np.log1p(-(failed**2))))

    def excess(t: npt.ArrayLike) -> Floats:
        return np.asarray(scale * betainc(pairs, pairs + 1, np.exp(-np.asarray(t, np.float64) / lifetime) / 2))

    return Gap(mean=process.mtbf, survival=survival, excess=excess)
