"""Laws with tails no heavier than an exponential: constant, exponential and its sums and mixtures, gamma, normal."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Self

import numpy as np
import numpy.typing as npt
from annotated_types import Gt, Le

from secondorder.arrays import Floats
from secondorder.errors import InputError
from secondorder.laws.protocol import (
    Complexes,
    Mean,
    SpelledLaw,
    draws,
    seconds,
    time_argument,
    transform_argument,
    whole_order,
)
from secondorder.quantities import Count, Quantity, Scv, Unit, si
from secondorder.spelling import Spelled

Share = Annotated[float, Gt(0), Le(1)]


@dataclass(frozen=True)
class Exponential(SpelledLaw):
    """``P(S > t) = exp(-t / mean)``; scv 1.

    >>> Exponential("2 s").moment(2), Exponential("2 s").laplace(0.5)
    (8.0, array(0.5+0.j))
    """

    word: ClassVar[str] = "exponential"
    mean: Mean

    @property
    def scv(self) -> float:
        """1."""
        return 1.0

    def moment(self, k: int) -> float:
        """``k! mean^k``, in s^k."""
        return math.factorial(whole_order(k)) * si(self.mean) ** k

    def laplace(self, s: npt.ArrayLike) -> Complexes:
        """``1 / (1 + s mean)``."""
        return np.asarray(1 / (1 + transform_argument(s) * si(self.mean)))

    def survival(self, t: npt.ArrayLike) -> Floats:
        """``exp(-t / mean)``."""
        return np.asarray(np.exp(-time_argument(t) / si(self.mean)))

    def excess(self, t: npt.ArrayLike) -> Floats:
        """``mean exp(-t / mean)``."""
        return si(self.mean) * self.survival(t)

    def sample(self, n: int, rng: np.random.Generator) -> Floats:
        """``n`` draws in seconds."""
        return rng.standard_exponential(draws(n)) * si(self.mean)

    def phases(self) -> tuple[Floats, Floats]:
        """As a phase-type law: the phases' initial probabilities, and the generator among them in 1/s."""
        return np.ones(1), np.array([[-1 / si(self.mean)]])


@dataclass(frozen=True)
class Deterministic(SpelledLaw):
    """Always ``mean``; scv 0.

    >>> Deterministic("50 ms").sample(2, np.random.default_rng())
    array([0.05, 0.05])
    """

    word: ClassVar[str] = "deterministic"
    mean: Mean

    @property
    def scv(self) -> float:
        """0."""
        return 0.0

    def moment(self, k: int) -> float:
        """``mean^k``, in s^k."""
        return si(self.mean) ** whole_order(k)

    def laplace(self, s: npt.ArrayLike) -> Complexes:
        """``exp(-s mean)``."""
        return np.asarray(np.exp(-transform_argument(s) * si(self.mean)))

    def survival(self, t: npt.ArrayLike) -> Floats:
        """1 before the mean, 0 from it on."""
        return np.asarray(time_argument(t) < si(self.mean), np.float64)

    def excess(self, t: npt.ArrayLike) -> Floats:
        """``max(mean - t, 0)``."""
        return np.maximum(si(self.mean) - time_argument(t), 0)

    def sample(self, n: int, rng: np.random.Generator) -> Floats:
        """``n`` times the mean. ``rng`` is not used."""
        return np.full(draws(n), si(self.mean))


@dataclass(frozen=True)
class Erlang(SpelledLaw):
    """The sum of ``stages`` exponential times of equal mean; scv ``1 / stages``.

    >>> Erlang("1 s", stages=4).scv
    0.25
    """

    word: ClassVar[str] = "erlang"
    mean: Mean
    stages: Count

    @property
    def scv(self) -> float:
        """``1 / stages``."""
        return 1 / self.stages

    def moment(self, k: int) -> float:
        """``mean^k (1 + 1/n)(1 + 2/n)...(1 + (k-1)/n)`` for ``n`` stages, in s^k."""
        return si(self.mean) ** k * math.prod(1 + i / self.stages for i in range(whole_order(k)))

    def laplace(self, s: npt.ArrayLike) -> Complexes:
        """``(1 + s mean / stages)^-stages``."""
        return np.asarray((1 + transform_argument(s) * si(self.mean) / self.stages) ** -self.stages)

    def survival(self, t: npt.ArrayLike) -> Floats:
        """The regularised upper incomplete gamma function of ``stages`` at ``stages t / mean``."""
        return gamma_survival(self.stages, si(self.mean), t)

    def excess(self, t: npt.ArrayLike) -> Floats:
        """``mean P(S' > t) - t P(S > t)``, ``S'`` with a stage more."""
        return gamma_excess(self.stages, si(self.mean), t)

    def sample(self, n: int, rng: np.random.Generator) -> Floats:
        """``n`` draws in seconds."""
        return rng.standard_gamma(self.stages, draws(n)) * (si(self.mean) / self.stages)

    def phases(self) -> tuple[Floats, Floats]:
        """As a phase-type law: the phases' initial probabilities, and the generator among them in 1/s."""
        rate = self.stages / si(self.mean)
        return np.eye(self.stages)[0], rate * (np.eye(self.stages, k=1) - np.eye(self.stages))


class _TwoExponentials(ABC):
    """A time that is exponential with one mean or another: ``w1`` and ``m1`` or ``w2`` and ``m2``."""

    @property
    @abstractmethod
    def weights(self) -> tuple[float, float]:
        """Probability of each kind."""

    @property
    @abstractmethod
    def means(self) -> tuple[float, float]:
        """Mean of each kind in s."""

    def moment(self, k: int) -> float:
        """``k! (w1 m1^k + w2 m2^k)``, in s^k."""
        whole_order(k)
        return math.factorial(k) * sum(w * m**k for w, m in zip(self.weights, self.means, strict=True))

    def laplace(self, s: npt.ArrayLike) -> Complexes:
        """``w1/(1 + s m1) + w2/(1 + s m2)``."""
        (w1, w2), (m1, m2), s = self.weights, self.means, transform_argument(s)
        return np.asarray(w1 / (1 + s * m1) + w2 / (1 + s * m2))

    def survival(self, t: npt.ArrayLike) -> Floats:
        """``w1 exp(-t/m1) + w2 exp(-t/m2)``."""
        (w1, w2), (m1, m2), t = self.weights, self.means, time_argument(t)
        return np.asarray(w1 * np.exp(-t / m1) + w2 * np.exp(-t / m2))

    def excess(self, t: npt.ArrayLike) -> Floats:
        """``w1 m1 exp(-t/m1) + w2 m2 exp(-t/m2)``."""
        (w1, w2), (m1, m2), t = self.weights, self.means, time_argument(t)
        return np.asarray(w1 * m1 * np.exp(-t / m1) + w2 * m2 * np.exp(-t / m2))

    def sample(self, n: int, rng: np.random.Generator) -> Floats:
        """``n`` draws in seconds."""
        means = np.where(rng.random(draws(n)) < self.weights[0], *self.means)
        return rng.standard_exponential(n) * means

    def phases(self) -> tuple[Floats, Floats]:
        """As a phase-type law: the phases' initial probabilities, and the generator among them in 1/s."""
        m1, m2 = self.means
        return np.array(self.weights), np.diag([-1 / m1, -1 / m2])


@dataclass(frozen=True)
class Hyperexponential(_TwoExponentials, SpelledLaw):
    """One of two exponential times, with balanced means: each kind carries half of the work; scv >= 1.

    With probability ``p = (1 + sqrt((scv - 1)/(scv + 1))) / 2`` the mean is ``mean / (2 p)``,
    else ``mean / (2 (1 - p))``. ``ExponentialMixture`` takes ``p`` and the two means instead.

    >>> short, long = Hyperexponential("1 s", scv=4).means
    >>> round(short, 4), round(long, 4)
    (0.5635, 4.4365)

    *Source*: balanced means: Morse, Queues, Inventories and Maintenance (1958), chapter 5.
    """

    word: ClassVar[str] = "hyperexponential"
    mean: Mean
    scv: Scv

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.scv < 1:
            remedy = "use erlang or gamma for a smaller spread"
            raise InputError("scv", given=self.scv, expected="a number of at least 1", remedy=remedy)

    @property
    def probability(self) -> float:
        """Probability of the shorter kind, ``p``."""
        return (1 + math.sqrt((self.scv - 1) / (self.scv + 1))) / 2

    @property
    def weights(self) -> tuple[float, float]:
        """Probabilities of the shorter and the longer kind."""
        # 1 - p = 1/((scv + 1) 2 p), without the difference that loses digits at a large scv
        p = self.probability
        return p, 1 / (2 * p * (self.scv + 1))

    @property
    def means(self) -> tuple[float, float]:
        """Means of the shorter and the longer kind in s."""
        p = self.probability
        return si(self.mean) / (2 * p), si(self.mean) * p * (self.scv + 1)


@dataclass(frozen=True)
class ExponentialMixture(_TwoExponentials, Spelled):
    """An exponential time of mean ``first`` with probability ``p``, else one of mean ``second``; scv >= 1.

    The hyperexponential law with its three parameters free. One request in ten may take 2 s, the others 50 ms:

    >>> law = ExponentialMixture(0.9, first="50 ms", second="2 s")
    >>> law.mean, round(law.scv, 4), str(law)
    (<Quantity(0.245, 'second')>, 12.4027, 'exponential-mixture 0.9 first=0.05 s second=2 s')

    *Source*: Cox and Miller, The Theory of Stochastic Processes (1965); Kleinrock, Queueing Systems I
    (1975), section 4.7.
    """

    word: ClassVar[str] = "exponential-mixture"
    p: Share
    first: Mean
    second: Mean

    @property
    def mean(self) -> Quantity:
        """``p first + (1 - p) second`` (a quantity in s)."""
        return seconds(self.moment(1))

    @property
    def scv(self) -> float:
        """``E[S^2] / E[S]^2 - 1``."""
        return self.moment(2) / self.moment(1) ** 2 - 1

    @property
    def weights(self) -> tuple[float, float]:
        """``p`` and ``1 - p``."""
        return self.p, 1 - self.p

    @property
    def means(self) -> tuple[float, float]:
        """Means of the two kinds in s."""
        return si(self.first), si(self.second)

    def at(self, mean: Mean) -> Self:
        """The same law at another mean: both kinds are stretched by the same factor."""
        ratio = si(Unit("s", positive=True).read(mean, "mean")) / self.moment(1)
        first, second = (seconds(ratio * kind) for kind in self.means)
        return replace(self, first=first, second=second)


@dataclass(frozen=True)
class Gamma(SpelledLaw):
    """A gamma time of shape ``1/scv``: between constant (scv 0) and heavy spread.

    >>> Gamma("1 s", scv=0.5).moment(3)
    3.0
    """

    word: ClassVar[str] = "gamma"
    mean: Mean
    scv: Scv

    def moment(self, k: int) -> float:
        """``mean^k (1 + scv)(1 + 2 scv)...(1 + (k-1) scv)``, in s^k."""
        return si(self.mean) ** k * math.prod(1 + i * self.scv for i in range(whole_order(k)))

    def laplace(self, s: npt.ArrayLike) -> Complexes:
        """``(1 + s mean scv)^(-1/scv)``."""
        return np.asarray(np.exp(-np.log(1 + transform_argument(s) * si(self.mean) * self.scv) / self.scv))

    def survival(self, t: npt.ArrayLike) -> Floats:
        """The regularised upper incomplete gamma function of ``1/scv`` at ``t / (scv mean)``."""
        return gamma_survival(1 / self.scv, si(self.mean), t)

    def excess(self, t: npt.ArrayLike) -> Floats:
        """``mean P(S' > t) - t P(S > t)``, ``S'`` of shape ``1/scv + 1`` and the same scale."""
        return gamma_excess(1 / self.scv, si(self.mean), t)

    def sample(self, n: int, rng: np.random.Generator) -> Floats:
        """``n`` draws in seconds."""
        return rng.standard_gamma(1 / self.scv, draws(n)) * (si(self.mean) * self.scv)


@dataclass(frozen=True)
class Normal(SpelledLaw):
    """A normal time of a small spread: scv at most 1/25, so that one in three and a half million is below 0.

    What is below 0 is drawn as 0. Jitter of steps and links.

    >>> law = Normal("1 s", scv=0.0025)
    >>> law.sigma.__round__(9), law.survival(1.05).round(4)
    (0.05, np.float64(0.1587))
    """

    word: ClassVar[str] = "normal"
    mean: Mean
    scv: Scv

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.scv > 0.04:
            raise InputError("scv", given=self.scv, expected="at most 0.04", remedy="use lognormal for a larger spread")

    @property
    def sigma(self) -> float:
        """Standard deviation in s."""
        return si(self.mean) * math.sqrt(self.scv)

    def moment(self, k: int) -> float:
        """By the recursion ``m_k = mean m_(k-1) + (k-1) sigma^2 m_(k-2)``, in s^k."""
        before, now = 0.0, 1.0
        for n in range(1, whole_order(k) + 1):
            before, now = now, si(self.mean) * now + (n - 1) * self.sigma**2 * before
        return now

    def laplace(self, s: npt.ArrayLike) -> Complexes:
        """``exp(-s mean + s^2 sigma^2 / 2)``. *Valid when* ``s sigma^2`` is below the mean."""
        s = transform_argument(s)
        return np.asarray(np.exp(-s * si(self.mean) + s**2 * self.sigma**2 / 2))

    def survival(self, t: npt.ArrayLike) -> Floats:
        """``P(Z > (t - mean) / sigma)``, ``Z`` standard normal."""
        from scipy.special import ndtr

        return np.asarray(ndtr((si(self.mean) - time_argument(t)) / self.sigma))

    def excess(self, t: npt.ArrayLike) -> Floats:
        """``sigma (phi(z) - z P(Z > z))`` with ``z = (t - mean) / sigma``."""
        from scipy.special import ndtr

        z = (time_argument(t) - si(self.mean)) / self.sigma
        return np.asarray(self.sigma * (np.exp(-z * z / 2) / math.sqrt(2 * math.pi) - z * ndtr(-z)))

    def sample(self, n: int, rng: np.random.Generator) -> Floats:
        """``n`` draws in seconds."""
        return np.maximum(si(self.mean) + self.sigma * rng.standard_normal(draws(n)), 0)


def gamma_survival(shape: float, mean: float, t: npt.ArrayLike) -> Floats:
    from scipy.special import gammaincc

    return np.asarray(gammaincc(shape, time_argument(t) * shape / mean))


def gamma_excess(shape: float, mean: float, t: npt.ArrayLike) -> Floats:
    longer = gamma_survival(shape + 1, mean * (shape + 1) / shape, t)
    return np.maximum(mean * longer - time_argument(t) * gamma_survival(shape, mean, t), 0)
