"""From a Laplace transform, or a tail, to numbers: Euler inversion and quantiles."""

import math
from collections.abc import Callable

import numpy as np

from secondorder.analytic.arguments import Floats
from secondorder.arrays import Complexes
from secondorder.errors import InputError

Transform = Callable[[Complexes], Complexes]

_A = 18.4  # the error of discretisation is about exp(-A) f(3t): for a tail, 1e-8 of its value and less
_TERMS, _AVERAGED = 48, 14


def euler(transform: Transform, t: Floats) -> tuple[Floats, Floats]:
    """``f(t)`` from its Laplace transform, with an estimate of the absolute error.

    Trapezoidal rule along ``Re s = A/(2t)``; the alternating sum of 62 terms is accelerated by
    binomial averaging, over three ranges: their distance tells where ``f`` is not smooth enough.
    *Numerical inversion*: relative error about 1e-8 for a smooth tail above 1e-6, absolute about
    1e-13 below; 1e-3 and more near a jump.
    ``t`` in s, above 0, any shape.

    *Source*: Abate and Whitt, Numerical inversion of Laplace transforms of probability
    distributions (1995), section 1.

    >>> value, error = euler(lambda s: 1 / (1 + s), np.array([0.5, 5.0]))
    >>> bool(np.allclose(value, np.exp([-0.5, -5.0]), rtol=1e-7)), bool((error < 1e-10).all())
    (True, True)
    """
    t = np.asarray(t, dtype=np.float64)
    k = np.arange(_TERMS + _AVERAGED + 1)
    path = np.asarray((_A + 2j * math.pi * k) / (2 * t[..., None]), dtype=np.complex128)
    values = transform(path).real
    terms = np.where(k % 2, -1.0, 1.0) * values
    terms[..., 0] /= 2
    sums = np.cumsum(terms, axis=-1) * (math.exp(_A / 2) / t[..., None])
    best = _averaged(sums, _TERMS, _AVERAGED)
    others = (_averaged(sums, _TERMS - 9, _AVERAGED - 3), _averaged(sums, _TERMS - 13, _AVERAGED - 1))
    return best, 10 * np.maximum(*(np.abs(best - other) for other in others))


def _averaged(sums: Floats, first: int, count: int) -> Floats:
    weights = np.array([math.comb(count, k) for k in range(count + 1)]) / 2.0**count
    return np.asarray(sums[..., first : first + count + 1] @ weights)


def checked(value: Floats, error: Floats, t: Floats, tolerance: float) -> Floats:
    """``value`` where its error is at most ``tolerance`` of it; ``InputError`` at the first that is not."""
    bad = ~(error <= tolerance * np.abs(value))
    if bad.any():
        worst = int(np.asarray(bad).argmax())
        raise InputError(
            "t",
            given=f"{np.asarray(t).flat[worst]:.6g} s, where the inversion finds {np.asarray(value).flat[worst]:.3g}"
            f" with an error of {np.asarray(error).flat[worst]:.1g}",
            expected=f"a tail above about 1e-7, smooth enough for a relative error of {tolerance:.1g}",
            remedy="for a constant service use multiserver_deterministic; else simulate, or allow more with tolerance",
        )
    return value


def quantile(tail: Callable[[Floats], Floats], p: Floats, scale: Floats) -> Floats:
    """The least ``t >= 0`` with ``tail(t) <= 1 - p`` for a ``tail`` that falls, by bisection to 1e-14.

    ``scale`` in s is where the search starts; ``p`` and ``scale`` share one shape.

    >>> float(quantile(lambda t: np.exp(-t), np.array(0.99), np.array(1.0)).round(9))
    4.605170186
    """
    target, low, high = 1 - p, np.zeros_like(p), np.array(scale, dtype=np.float64)
    at_once = tail(low) <= target
    while (beyond := (tail(high) > target) & ~at_once).any():
        low, high = np.where(beyond, high, low), np.where(beyond, 2 * high, high)
        if (high > 1e12 * scale).any():
            raise InputError("p", given=p, expected="a level that the tail reaches within 1e12 mean service times")
    while ((high - low > 1e-14 * high) & ~at_once).any():
        middle = (low + high) / 2
        if ((middle <= low) | (middle >= high) | at_once).all():
            break
        above = tail(middle) > target
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    return np.where(at_once, 0.0, high)
