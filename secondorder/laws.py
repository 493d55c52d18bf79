"""How long one thing lasts (a service, a gap, a lifetime): laws with a mean, samples, transforms, one-line spellings.

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

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Protocol, Self, TypeAlias

import numpy as np
import numpy.typing as npt

from secondorder import spelling
from secondorder.arrays import EqualByValue, Floats
from secondorder.errors import InputError, UnknownName
from secondorder.quantities import Checked, Count, Positive, Quantity, Unit, registry, si

Mean = Annotated[Quantity | str, Unit("s", positive=True)]
Complexes: TypeAlias = npt.NDArray[np.complex128]


class ServiceLaw(Protocol):
    """What every law of service offers."""

    @property
    def mean(self) -> Mean:
        """Mean (a quantity in s)."""

    @property
    def scv(self) -> float:
        """Squared coefficient of variation."""

    def moment(self, k: int) -> float:
        """``E[S^k]`` in s^k; ``InputError`` where it is infinite."""

    def laplace(self, s: npt.ArrayLike) -> Complexes:
        """``E[exp(-s S)]`` for ``s`` in 1/s with ``Re s >= 0``; real or complex, any shape."""

    def survival(self, t: npt.ArrayLike) -> Floats:
        """``P(S > t)`` for ``t`` in s, any shape."""

    def excess(self, t: npt.ArrayLike) -> Floats:
        """``E[max(S - t, 0)]`` in s for ``t >= 0`` in s, any shape; over the mean, the survival of a residual life."""

    def sample(self, n: int, rng: np.random.Generator) -> Floats:
        """``n`` independent draws in seconds."""

    def at(self, mean: Mean) -> Self:
        """The same law at another mean: time is stretched, the shape is kept."""


class _Law(spelling.Spelled):
    """A law that is its ``mean`` and a shape."""

    mean: Mean

    def at(self, mean: Mean) -> Self:
        """The same law at another mean."""
        return replace(self, mean=mean)  # type: ignore[type-var]


@dataclass(frozen=True)
class Exponential(_Law):
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
        return math.factorial(_order(k)) * si(self.mean) ** k

    def laplace(self, s: npt.ArrayLike) -> Complexes:
        """``1 / (1 + s mean)``."""
        return np.asarray(1 / (1 + _argument(s) * si(self.mean)))

    def survival(self, t: npt.ArrayLike) -> Floats:
        """``exp(-t / mean)``."""
        return np.asarray(np.exp(-_time(t) / si(self.mean)))

    def excess(self, t: npt.ArrayLike) -> Floats:
        """``mean exp(-t / mean)``."""
        return si(self.mean) * self.survival(t)

    def sample(self, n: int, rng: np.random.Generator) -> Floats:
        """``n`` draws in seconds."""
        return rng.standard_exponential(_draws(n)) * si(self.mean)

    def phases(self) -> tuple[Floats, Floats]:
        """As a phase-type law: the phases' initial probabilities, and the generator among them in 1/s."""
        return np.ones(1), np.array([[-1 / si(self.mean)]])


@dataclass(frozen=True)
class Deterministic(_Law):
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
        return si(self.mean) ** _order(k)

    def laplace(self, s: npt.ArrayLike) -> Complexes:
        """``exp(-s mean)``."""
        return np.asarray(np.exp(-_argument(s) * si(self.mean)))

    def survival(self, t: npt.ArrayLike) -> Floats:
        """1 before the mean, 0 from it on."""
        return np.asarray(_time(t) < si(self.mean), np.float64)

    def excess(self, t: npt.ArrayLike) -> Floats:
        """``max(mean - t, 0)``."""
        return np.maximum(si(self.mean) - _time(t), 0)

    def sample(self, n: int, rng: np.random.Generator) -> Floats:
        """``n`` times the mean. ``rng`` is not used."""
        return np.full(_draws(n), si(self.mean))


@dataclass(frozen=True)
class Erlang(_Law):
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
        return si(self.mean) ** k * math.prod(1 + i / self.stages for i in range(_order(k)))

    def laplace(self, s: npt.ArrayLike) -> Complexes:
        """``(1 + s mean / stages)^-stages``."""
        return np.asarray((1 + _argument(s) * si(self.mean) / self.stages) ** -self.stages)

    def survival(self, t: npt.ArrayLike) -> Floats:
        """The regularised upper incomplete gamma function of ``stages`` at ``stages t / mean``."""
        return _gamma_survival(self.stages, si(self.mean), t)

    def excess(self, t: npt.ArrayLike) -> Floats:
        """``mean P(S' > t) - t P(S > t)``, ``S'`` with a stage more."""
        return _gamma_excess(self.stages, si(self.mean), t)

    def sample(self, n: int, rng: np.random.Generator) -> Floats:
        """``n`` draws in seconds."""
        return rng.standard_gamma(self.stages, _draws(n)) * (si(self.mean) / self.stages)

    def phases(self) -> tuple[Floats, Floats]:
        """As a phase-type law: the phases' initial probabilities, and the generator among them in 1/s."""
        rate = self.stages / si(self.mean)
        return np.eye(self.stages)[0], rate * (np.eye(self.stages, k=1) - np.eye(self.stages))


@dataclass(frozen=True)
class Hyperexponential(_Law):
    """One of two exponential times, with balanced means: each kind carries half of the work; scv >= 1.

    With probability ``p = (1 + sqrt((scv - 1)/(scv + 1))) / 2`` the mean is ``mean / (2 p)``,
    else ``mean / (2 (1 - p))``.

    >>> short, long = Hyperexponential("1 s", scv=4).means
    >>> round(short, 4), round(long, 4)
    (0.5635, 4.4365)

    *Source*: balanced means: Morse, Queues, Inventories and Maintenance (1958), chapter 5.
    """

    word: ClassVar[str] = "hyperexponential"
    mean: Mean
    scv: Positive

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.scv < 1:
            remedy = "use erlang or gamma for a smaller spread"
            raise InputError("scv", given=self.scv, expected="a number of at least 1", remedy=remedy)

    @property
    def probability(self) -> float:
        """Of the shorter kind, ``p``."""
        return (1 + math.sqrt((self.scv - 1) / (self.scv + 1))) / 2

    @property
    def means(self) -> tuple[float, float]:
        """Means of the shorter and the longer kind in s."""
        # 1 - p = 1/((scv + 1) 2 p), without the difference that loses digits at a large scv
        p = self.probability
        return si(self.mean) / (2 * p), si(self.mean) * p * (self.scv + 1)

    def moment(self, k: int) -> float:
        """``k! (p m1^k + (1-p) m2^k)``, in s^k."""
        short, long = self.means
        half = si(self.mean) / 2  # p m1 = (1 - p) m2
        return math.factorial(_order(k)) * half * (short ** (k - 1) + long ** (k - 1)) if k else 1.0

    def laplace(self, s: npt.ArrayLike) -> Complexes:
        """``p/(1 + s m1) + (1-p)/(1 + s m2)``."""
        short, long = self.means
        s, half = _argument(s), si(self.mean) / 2
        return np.asarray(half / short / (1 + s * short) + half / long / (1 + s * long))

    def survival(self, t: npt.ArrayLike) -> Floats:
        """``p exp(-t/m1) + (1-p) exp(-t/m2)``."""
        (short, long), half, t = self.means, si(self.mean) / 2, _time(t)
        return np.asarray(half / short * np.exp(-t / short) + half / long * np.exp(-t / long))

    def excess(self, t: npt.ArrayLike) -> Floats:
        """``p m1 exp(-t/m1) + (1-p) m2 exp(-t/m2)``."""
        (short, long), half, t = self.means, si(self.mean) / 2, _time(t)
        return np.asarray(half * (np.exp(-t / short) + np.exp(-t / long)))

    def sample(self, n: int, rng: np.random.Generator) -> Floats:
        """``n`` draws in seconds."""
        means = np.where(rng.random(_draws(n)) < self.probability, *self.means)
        return rng.standard_exponential(n) * means

    def phases(self) -> tuple[Floats, Floats]:
        """As a phase-type law: the phases' initial probabilities, and the generator among them in 1/s."""
        short, long = self.means
        half = si(self.mean) / 2
        return np.array([half / short, half / long]), np.diag([-1 / short, -1 / long])


@dataclass(frozen=True)
class LogNormal(_Law):
    """The exponential of a normal variable, ``exp(mu + sigma Z)``, ``sigma^2 = ln(1 + scv)``.

    >>> LogNormal("1 s", scv=4).laplace(1.0).round(9)
    np.complex128(0.57477079+0j)

    *Source* of the transform: steepest descent along a bent contour, after Asmussen, Jensen
    and Rojas-Nandayapa, On the Laplace transform of the lognormal distribution (2016).
    """

    word: ClassVar[str] = "lognormal"
    mean: Mean
    scv: Positive

    @property
    def sigma(self) -> float:
        """Standard deviation of the logarithm."""
        return math.sqrt(math.log1p(self.scv))

    @property
    def median(self) -> float:
        """``exp(mu)``, in s."""
        return si(self.mean) / math.sqrt(1 + self.scv)

    def moment(self, k: int) -> float:
        """``mean^k (1 + scv)^(k(k-1)/2)``, in s^k."""
        return float(si(self.mean) ** k * (1 + self.scv) ** (_order(k) * (k - 1) / 2))

    def laplace(self, s: npt.ArrayLike) -> Complexes:
        """``E[exp(-s S)]`` by quadrature, relative error below 1e-12."""
        return _nonzero(s, self._laplace)

    def _laplace(self, s: Complexes) -> Complexes:
        """Trapezoidal rule for the integral of ``exp(-s median e^(sigma z) - z^2/2) / sqrt(2 pi)`` over z.

        The contour ``z = x - i (arg s / sigma) r/(1+r)``, ``r = |s| sigma^2 median e^(sigma x)``,
        leaves the real line where the first factor would oscillate, and crosses the saddle at
        ``-W(s sigma^2 median)/sigma`` in the direction of steepest descent.
        """
        from scipy.special import lambertw

        sigma, scale = self.sigma, s * self.sigma**2 * self.median
        grid, step = np.linspace(-9, 9, 300, retstep=True)
        x = grid - lambertw(scale, 0).real / sigma
        r = np.exp(np.minimum(sigma * x + np.log(np.abs(scale)), 700))
        turn = np.angle(s) / sigma
        z = x - 1j * turn * r / (1 + r)
        slope = 1 - 1j * turn * sigma * r / (1 + r) ** 2
        integrand = np.exp(-s * self.median * np.exp(sigma * z) - z * z / 2) * slope
        return np.asarray(integrand.sum(axis=-1) * step / math.sqrt(2 * math.pi))

    def survival(self, t: npt.ArrayLike) -> Floats:
        """``P(Z > ln(t/median)/sigma)``, ``Z`` standard normal."""
        from scipy.special import ndtr

        return np.asarray(ndtr(-self._score(t)))

    def excess(self, t: npt.ArrayLike) -> Floats:
        """``mean P(Z > z - sigma) - t P(Z > z)`` with ``z = ln(t/median)/sigma``."""
        from scipy.special import ndtr

        score = self._score(t)
        return np.maximum(si(self.mean) * ndtr(self.sigma - score) - _time(t) * ndtr(-score), 0)

    def _score(self, t: npt.ArrayLike) -> Floats:
        with np.errstate(divide="ignore"):
            return np.asarray(np.log(_time(t) / self.median) / self.sigma)

    def sample(self, n: int, rng: np.random.Generator) -> Floats:
        """``n`` draws in seconds."""
        return np.exp(self.sigma * rng.standard_normal(_draws(n))) * self.median


@dataclass(frozen=True)
class Pareto(_Law):
    """``P(S > t) = (least / t)^shape`` for ``t >= least = mean (shape - 1) / shape``; shape > 1.

    The k-th moment is finite for ``k < shape`` only: with ``shape <= 2`` there is no scv.

    >>> Pareto("1 s", shape=3).scv.__round__(9)
    0.333333333
    """

    word: ClassVar[str] = "pareto"
    mean: Mean
    shape: Positive

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.shape <= 1:
            raise InputError("shape", given=self.shape, expected="a number above 1, else the mean is infinite")

    @property
    def scv(self) -> float:
        """``1 / (shape (shape - 2))``; ``InputError`` unless ``shape > 2``."""
        self.moment(2)
        return 1 / (self.shape * (self.shape - 2))

    @property
    def least(self) -> float:
        """The shortest time, in s."""
        return si(self.mean) * (self.shape - 1) / self.shape

    def moment(self, k: int) -> float:
        """``shape least^k / (shape - k)``, in s^k; ``InputError`` unless ``k < shape``."""
        if _order(k) >= self.shape:
            raise InputError(f"moment {k}", given=f"shape {self.shape}", expected=f"a shape above {k}, else infinite")
        return self.shape * self.least**k / (self.shape - k)

    def laplace(self, s: npt.ArrayLike) -> Complexes:
        """``E[exp(-s S)]`` by quadrature, relative error below 1e-12."""
        return _nonzero(s, self._laplace)

    def _laplace(self, s: Complexes) -> Complexes:
        """``shape`` times the exponential integral of order ``shape + 1`` at ``s least``.

        With ``z = s least`` along the ray ``t = 1 + e^v/z``, where ``exp(-z t)`` does not oscillate:
        ``shape e^-z / z`` times the integral of ``(1 + e^v/z)^-(shape+1) exp(v - e^v)`` over v.
        """
        z = s * self.least
        low = np.minimum(0, np.log(np.abs(z))) - 40
        count = int((4.5 - low.min()) / min(0.15, 0.3 / math.sqrt(self.shape)))
        v = low + (4.5 - low) * np.linspace(0, 1, count)
        integrand = np.exp(v - np.exp(v) - (self.shape + 1) * np.log1p(np.exp(v) / z))
        total = integrand.sum(axis=-1) * (4.5 - low[..., 0]) / (count - 1)
        return np.asarray(self.shape * np.exp(-z[..., 0]) / z[..., 0] * total)

    def survival(self, t: npt.ArrayLike) -> Floats:
        """``(least / t)^shape`` from ``least`` on, before it 1."""
        return np.asarray((self.least / np.maximum(_time(t), self.least)) ** self.shape)

    def excess(self, t: npt.ArrayLike) -> Floats:
        """``t P(S > t) / (shape - 1)`` from ``least`` on, before it ``mean - t``."""
        t = _time(t)
        late = np.maximum(t, self.least)
        return np.where(t < self.least, si(self.mean) - t, late * self.survival(late) / (self.shape - 1))

    def sample(self, n: int, rng: np.random.Generator) -> Floats:
        """``n`` draws in seconds."""
        return np.exp(rng.standard_exponential(_draws(n)) / self.shape) * self.least


@dataclass(frozen=True)
class Gamma(_Law):
    """A gamma time of shape ``1/scv``: between constant (scv 0) and heavy spread.

    >>> Gamma("1 s", scv=0.5).moment(3)
    3.0
    """

    word: ClassVar[str] = "gamma"
    mean: Mean
    scv: Positive

    def moment(self, k: int) -> float:
        """``mean^k (1 + scv)(1 + 2 scv)...(1 + (k-1) scv)``, in s^k."""
        return si(self.mean) ** k * math.prod(1 + i * self.scv for i in range(_order(k)))

    def laplace(self, s: npt.ArrayLike) -> Complexes:
        """``(1 + s mean scv)^(-1/scv)``."""
        return np.asarray(np.exp(-np.log(1 + _argument(s) * si(self.mean) * self.scv) / self.scv))

    def survival(self, t: npt.ArrayLike) -> Floats:
        """The regularised upper incomplete gamma function of ``1/scv`` at ``t / (scv mean)``."""
        return _gamma_survival(1 / self.scv, si(self.mean), t)

    def excess(self, t: npt.ArrayLike) -> Floats:
        """``mean P(S' > t) - t P(S > t)``, ``S'`` of shape ``1/scv + 1`` and the same scale."""
        return _gamma_excess(1 / self.scv, si(self.mean), t)

    def sample(self, n: int, rng: np.random.Generator) -> Floats:
        """``n`` draws in seconds."""
        return rng.standard_gamma(1 / self.scv, _draws(n)) * (si(self.mean) * self.scv)


@dataclass(frozen=True)
class Weibull(_Law):
    """``P(S > t) = exp(-(t/scale)^shape)``, ``scale = mean / Gamma(1 + 1/shape)``: heavy below shape 1.

    >>> Weibull("1 s", shape=0.5).scv.__round__(9)
    5.0
    """

    word: ClassVar[str] = "weibull"
    mean: Mean
    shape: Positive

    @property
    def scv(self) -> float:
        """``Gamma(1 + 2/shape) / Gamma(1 + 1/shape)^2 - 1``."""
        return math.expm1(math.lgamma(1 + 2 / self.shape) - 2 * math.lgamma(1 + 1 / self.shape))

    @property
    def scale(self) -> float:
        """In s: ``P(S > scale) = 1/e``."""
        return si(self.mean) / math.gamma(1 + 1 / self.shape)

    def moment(self, k: int) -> float:
        """``scale^k Gamma(1 + k/shape)``, in s^k."""
        return self.scale**k * math.gamma(1 + _order(k) / self.shape)

    def laplace(self, s: npt.ArrayLike) -> Complexes:
        """``E[exp(-s S)]`` by quadrature, absolute error below 1e-12."""
        return _nonzero(s, self._laplace)

    def _laplace(self, s: Complexes) -> Complexes:
        """Trapezoidal rule for the integral of ``exp(-s scale e^(w/shape) - e^w + w)`` over w.

        Along ``Im w = -arg(s) shape/(1+shape)`` both exponents turn by the same angle, which
        stays below a right one: neither factor oscillates faster than it decays.
        """
        k = self.shape
        clear = min(k, 1) * (math.pi / 2) / (1 + k)  # from the contour to where the integrand stops to decay
        low = min(0.0, -k * math.log(np.abs(s).max() * self.scale)) - 38
        high = math.log(38 / math.sin(math.pi / 2 / (1 + k)))
        x, step = np.linspace(low, high, int((high - low) * 38 / (2 * math.pi * clear)) + 2, retstep=True)
        w = x - 1j * np.angle(s) * k / (1 + k)
        stretched = np.exp(np.minimum(x / k, 500) + 1j * w.imag / k)
        exponent = w - np.exp(w) - s * self.scale * stretched
        return np.asarray(np.exp(exponent).sum(axis=-1) * step)

    def survival(self, t: npt.ArrayLike) -> Floats:
        """``exp(-(t/scale)^shape)``."""
        return np.asarray(np.exp(-((_time(t) / self.scale) ** self.shape)))

    def excess(self, t: npt.ArrayLike) -> Floats:
        """``mean Q(1/shape, (t/scale)^shape)``, ``Q`` the regularised upper incomplete gamma function."""
        from scipy.special import gammaincc

        return np.asarray(si(self.mean) * gammaincc(1 / self.shape, (_time(t) / self.scale) ** self.shape))

    def sample(self, n: int, rng: np.random.Generator) -> Floats:
        """``n`` draws in seconds."""
        return rng.standard_exponential(_draws(n)) ** (1 / self.shape) * self.scale


@dataclass(frozen=True)
class Normal(_Law):
    """A normal time of a small spread: scv at most 1/25, so that one in three and a half million is below 0.

    What is below 0 is drawn as 0. Jitter of steps and links.

    >>> law = Normal("1 s", scv=0.0025)
    >>> law.sigma.__round__(9), law.survival(1.05).round(4)
    (0.05, np.float64(0.1587))
    """

    word: ClassVar[str] = "normal"
    mean: Mean
    scv: Positive

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
        for order in range(1, _order(k) + 1):
            before, now = now, si(self.mean) * now + (order - 1) * self.sigma**2 * before
        return now

    def laplace(self, s: npt.ArrayLike) -> Complexes:
        """``exp(-s mean + s^2 sigma^2 / 2)``. *Valid when* ``s sigma^2`` is below the mean."""
        s = _argument(s)
        return np.asarray(np.exp(-s * si(self.mean) + s**2 * self.sigma**2 / 2))

    def survival(self, t: npt.ArrayLike) -> Floats:
        """``P(Z > (t - mean) / sigma)``, ``Z`` standard normal."""
        from scipy.special import ndtr

        return np.asarray(ndtr((si(self.mean) - _time(t)) / self.sigma))

    def excess(self, t: npt.ArrayLike) -> Floats:
        """``sigma (phi(z) - z P(Z > z))`` with ``z = (t - mean) / sigma``."""
        from scipy.special import ndtr

        z = (_time(t) - si(self.mean)) / self.sigma
        return np.asarray(self.sigma * (np.exp(-z * z / 2) / math.sqrt(2 * math.pi) - z * ndtr(-z)))

    def sample(self, n: int, rng: np.random.Generator) -> Floats:
        """``n`` draws in seconds."""
        return np.maximum(si(self.mean) + self.sigma * rng.standard_normal(_draws(n)), 0)


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
    def mean(self) -> Mean:
        """Mean of the values (a quantity in s)."""
        return registry.Quantity(self.moment(1), "s")  # type: ignore[no-any-return]

    @property
    def scv(self) -> float:
        """Variance of the values (over n) over their squared mean."""
        return float(np.var(self.values) / np.mean(self.values) ** 2)

    def moment(self, k: int) -> float:
        """Mean of the values' k-th powers, in s^k."""
        return float(np.mean(np.asarray(self.values) ** _order(k)))

    def laplace(self, s: npt.ArrayLike) -> Complexes:
        """Mean of ``exp(-s value)``."""
        values = np.asarray(self.values)
        return _nonzero(s, lambda part: np.exp(-part * values).mean(axis=-1), width=values.size)

    def survival(self, t: npt.ArrayLike) -> Floats:
        """Share of the values above ``t``."""
        values = np.sort(self.values)
        return np.asarray(1 - np.searchsorted(values, _time(t), side="right") / len(values))

    def excess(self, t: npt.ArrayLike) -> Floats:
        """Mean of what the values exceed ``t`` by."""
        values, t = np.sort(self.values), _time(t)
        beyond = np.append(values[::-1].cumsum()[::-1], 0.0)
        place = np.searchsorted(values, t, side="right")
        return np.maximum(beyond[place] - t * (len(values) - place), 0) / len(values)

    def sample(self, n: int, rng: np.random.Generator) -> Floats:
        """``n`` draws in seconds, with replacement."""
        return np.asarray(self.values)[rng.integers(0, len(self.values), _draws(n))]

    def at(self, mean: Mean) -> "EmpiricalLaw":
        """The same times stretched to another mean."""
        ratio = si(Unit("s", positive=True).read(mean, "mean")) / self.moment(1)
        return EmpiricalLaw(np.asarray(self.values) * ratio)


Law: TypeAlias = Exponential | Deterministic | Erlang | Hyperexponential | LogNormal | Pareto | Gamma | Weibull | Normal

LAWS: dict[str, type[Law]] = {
    law.word: law
    for law in (Exponential, Deterministic, Erlang, Hyperexponential, LogNormal, Pareto, Gamma, Weibull, Normal)
}


def read_law(text: str, what: str = "service") -> Law:
    """The law that a line spells: its word, its mean, its shape as ``name=value``.

    >>> read_law("exponential 10 ms") == Exponential("10 ms")
    True
    >>> read_law("deterministic mean=1 s").scv
    0.0
    >>> read_law("lognormol mean=100ms scv=4")
    Traceback (most recent call last):
    secondorder.errors.UnknownName: service: got 'lognormol', expected exponential, deterministic, erlang, ...

    Errors: ``UnknownName`` for a law or a field that does not exist, ``InputError`` for a
    field missing, given twice or not readable; ``what`` names the law in them.
    """
    return spelling.read(text, LAWS, what=what, example="exponential 10 ms")


Service: TypeAlias = Law | EmpiricalLaw
"""Any law of a time."""

Time: TypeAlias = Service | Quantity | str
"""A law of a time; a fixed time ("5 s") is a constant law, and a line ("exponential 5 s") is read."""


def time_law(value: Time, what: str) -> Service:
    """The law that a field's value stands for.

    >>> time_law("5 s", "setup") == Deterministic("5 s") == time_law("deterministic 5 s", "setup")
    True
    """
    if isinstance(value, str) and value.strip()[:1].isalpha():
        return read_law(value, what)
    if isinstance(value, str | Quantity):
        return Deterministic(Unit("s", positive=True).read(value, what))
    if isinstance(value, int | float):
        return Deterministic(Unit("s", positive=True).read(value, what))  # a number without a unit is refused
    if not isinstance(value, Service):
        raise InputError(what, given=repr(value), expected='a law such as "exponential 100 ms", or a fixed time')
    return value


def read_shape(text: object, what: str) -> Service:
    """A law of mean 1 s, a factor rather than a time, from a line without its mean.

    >>> read_shape("lognormal scv=0.04", "jitter").scv, read_shape("exponential", "jitter").scv
    (0.04, 1.0)
    """
    expected = "a law without its mean, which is 1"
    refusal = InputError(what, given=repr(text), expected=expected, remedy='write "lognormal scv=0.04"')
    if not isinstance(text, str):
        raise refusal
    word, _, rest = (part.strip() for part in text.strip().partition(" "))
    if word.lower() in LAWS and re.search(r"^(?!\w+\s*=)\S|(?<!\S)mean\s*=", rest):
        raise refusal
    try:
        return read_law(f"{word} 1 s {rest}".strip(), what)
    except InputError as error:
        if isinstance(error, UnknownName) or error.what != what:
            raise
        raise refusal from None  # no law, or one that lacks its scv


class Timed(Checked):
    """A frozen dataclass whose fields named in ``_times`` become laws when it is made, those in ``_shapes`` factors."""

    _times: ClassVar[tuple[str, ...]] = ()
    _shapes: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        for name in self._times:
            if (value := getattr(self, name)) is not None:
                object.__setattr__(self, name, time_law(value, name))
        for name in self._shapes:
            if not isinstance(value := getattr(self, name), Service | None):
                object.__setattr__(self, name, read_shape(value, name))
        super().__post_init__()

    def law(self, name: str) -> Service:
        """The law in a field."""
        value = getattr(self, name)
        assert isinstance(value, Service)
        return value


def residual(law: Service, n: int, rng: np.random.Generator) -> Floats:
    """``n`` draws of the time still to go of one that is found under way: ``P(> t) = excess(t) / mean``.

    A uniform share of a draw that is picked in proportion to its length, where such a draw is simple;
    otherwise by inversion, to a relative 1e-12. *Source*: Cox, Renewal Theory (1962), section 5.2.

    >>> draws = residual(Weibull("1 s", shape=0.5), 100_000, np.random.default_rng(1))
    >>> abs(draws.mean() / ((1 + 5) / 2) - 1) < 0.05  # (1 + scv)/2 means
    np.True_
    """
    if (long := _by_length(law, _draws(n), rng)) is not None:
        return long * rng.random(n)
    level = rng.random(n) * law.moment(1)
    least, most = np.zeros(n), np.full(n, law.moment(1))
    while (short := law.excess(most) > level).any():
        least, most = np.where(short, most, least), np.where(short, 2 * most, most)
    while (most - least > 1e-12 * most).any():
        middle = (least + most) / 2
        if ((middle == least) | (middle == most)).all():
            break
        short = law.excess(middle) > level
        least, most = np.where(short, middle, least), np.where(short, most, middle)
    return most


def _by_length(law: Service, n: int, rng: np.random.Generator) -> Floats | None:
    """``n`` draws picked in proportion to their length, where that is a law of the same family."""
    match law:
        case Exponential():
            return rng.standard_gamma(2, n) * si(law.mean)
        case Erlang(stages=stages):
            return rng.standard_gamma(stages + 1, n) * (si(law.mean) / stages)
        case Gamma(scv=scv):
            return rng.standard_gamma(1 / scv + 1, n) * (si(law.mean) * scv)
        case Weibull(shape=shape):
            return np.asarray(rng.standard_gamma(1 + 1 / shape, n) ** (1 / shape) * law.scale)
        case LogNormal(sigma=sigma):
            return np.exp(sigma * rng.standard_normal(n) + sigma**2) * law.median
    return None


def _draws(n: int) -> int:
    if n < 0:
        raise InputError("n", given=n, expected="a number of draws of at least 0")
    return n


def _order(k: int) -> int:
    if k < 0 or k != int(k):
        raise InputError("moment", given=k, expected="an integer order of at least 0")
    return int(k)


def _time(t: npt.ArrayLike) -> Floats:
    """The argument of a survival function."""
    return np.maximum(np.asarray(t, dtype=np.float64), 0.0)


def _gamma_survival(shape: float, mean: float, t: npt.ArrayLike) -> Floats:
    from scipy.special import gammaincc

    return np.asarray(gammaincc(shape, _time(t) * shape / mean))


def _gamma_excess(shape: float, mean: float, t: npt.ArrayLike) -> Floats:
    longer = _gamma_survival(shape + 1, mean * (shape + 1) / shape, t)
    return np.maximum(mean * longer - _time(t) * _gamma_survival(shape, mean, t), 0)


def _argument(s: npt.ArrayLike) -> Complexes:
    """The transform's argument, checked."""
    argument = np.asarray(s, dtype=np.complex128)
    if not (np.isfinite(argument).all() and (argument.real >= 0).all()):
        raise InputError("s", given=s, expected="finite numbers with a real part of at least 0")
    return argument


def _nonzero(s: npt.ArrayLike, transform: Callable[[Complexes], Complexes], width: int = 400) -> Complexes:
    """``transform`` of the arguments in a column (1 at 0), a bounded number at a time."""
    argument = _argument(s)
    flat = np.ones(argument.size, dtype=np.complex128)
    todo = np.flatnonzero(argument)
    rows = max(1, 1_000_000 // width)
    for start in range(0, todo.size, rows):
        part = todo[start : start + rows]
        flat[part] = transform(argument.reshape(-1)[part, None])
    return flat.reshape(argument.shape)
