"""Laws with tails heavier than any exponential: lognormal, Pareto, and Weibull below shape 1."""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from secondorder.arrays import Floats
from secondorder.errors import InputError
from secondorder.laws.elementary import exp, power
from secondorder.laws.protocol import Complexes, Mean, SpelledLaw, by_columns, draws, time_argument, whole_order
from secondorder.quantities import Positive, Scv, si


@dataclass(frozen=True)
class LogNormal(SpelledLaw):
    """The exponential of a normal variable, ``exp(mu + sigma Z)``, ``sigma^2 = ln(1 + scv)``.

    >>> LogNormal("1 s", scv=4).laplace(1.0).round(9)
    np.complex128(0.57477079+0j)

    *Source* of the transform: steepest descent along a bent contour, after Asmussen, Jensen
    and Rojas-Nandayapa, On the Laplace transform of the lognormal distribution (2016).
    """

    word: ClassVar[str] = "lognormal"
    mean: Mean
    scv: Scv

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
        return float(si(self.mean) ** k * (1 + self.scv) ** (whole_order(k) * (k - 1) / 2))

    def laplace(self, s: npt.ArrayLike) -> Complexes:
        """``E[exp(-s S)]`` by quadrature, relative error below 1e-12."""
        return by_columns(s, self._laplace)

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
        return np.maximum(si(self.mean) * ndtr(self.sigma - score) - time_argument(t) * ndtr(-score), 0)

    def _score(self, t: npt.ArrayLike) -> Floats:
        with np.errstate(divide="ignore"):
            return np.asarray(np.log(time_argument(t) / self.median) / self.sigma)

    def sample(self, n: int, rng: np.random.Generator) -> Floats:
        """``n`` draws in seconds."""
        return exp(self.sigma * rng.standard_normal(draws(n))) * self.median


@dataclass(frozen=True)
class Pareto(SpelledLaw):
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
        if whole_order(k) >= self.shape:
            raise InputError(f"moment {k}", given=f"shape {self.shape}", expected=f"a shape above {k}, else infinite")
        return self.shape * self.least**k / (self.shape - k)

    def laplace(self, s: npt.ArrayLike) -> Complexes:
        """``E[exp(-s S)]`` by quadrature, relative error below 1e-12."""
        return by_columns(s, self._laplace)

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
        return np.asarray((self.least / np.maximum(time_argument(t), self.least)) ** self.shape)

    def excess(self, t: npt.ArrayLike) -> Floats:
        """``t P(S > t) / (shape - 1)`` from ``least`` on, before it ``mean - t``."""
        t = time_argument(t)
        late = np.maximum(t, self.least)
        return np.where(t < self.least, si(self.mean) - t, late * self.survival(late) / (self.shape - 1))

    def sample(self, n: int, rng: np.random.Generator) -> Floats:
        """``n`` draws in seconds."""
        return exp(rng.standard_exponential(draws(n)) / self.shape) * self.least


@dataclass(frozen=True)
class Weibull(SpelledLaw):
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
        return self.scale**k * math.gamma(1 + whole_order(k) / self.shape)

    def laplace(self, s: npt.ArrayLike) -> Complexes:
        """``E[exp(-s S)]`` by quadrature, absolute error below 1e-12."""
        return by_columns(s, self._laplace)

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
        return np.asarray(np.exp(-((time_argument(t) / self.scale) ** self.shape)))

    def excess(self, t: npt.ArrayLike) -> Floats:
        """``mean Q(1/shape, (t/scale)^shape)``, ``Q`` the regularised upper incomplete gamma function."""
        from scipy.special import gammaincc

        return np.asarray(si(self.mean) * gammaincc(1 / self.shape, (time_argument(t) / self.scale) ** self.shape))

    def sample(self, n: int, rng: np.random.Generator) -> Floats:
        """``n`` draws in seconds."""
        return power(rng.standard_exponential(draws(n)), 1 / self.shape) * self.scale
