"""Control variates: values of the same runs with a known mean show what part of an error is luck of the draws."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from secondorder.arrays import Floats

LEAST_EXPLAINED = 0.3
"""Share of the variance that a control must explain: below, its own noise would cost more than it saves."""

MOST_ERRORS = 20.0
"""Standard errors of a control's mean from the one expected, beyond which the expectation is not believed. Of runs with
20 sections at 97 % load of code, one in fifteen has its mean more than five of them away, and its p99 far off."""


@dataclass(frozen=True)
class Control:
    """The ``total`` of a value over the ``size`` requests of a section, each of which has the mean ``expected``."""

    total: float
    size: int
    expected: float

    @property
    def deviation(self) -> float:
        """How far the mean lies from the one expected."""
        return self.total / self.size - self.expected


@dataclass(frozen=True)
class Spread:
    """The standard ``error`` of a mean over sections with its ``degrees`` of freedom, and the ``luck`` in the mean.

    ``luck``: how much of the mean the controls explain; the mean less the luck has that error.
    """

    error: float
    degrees: int
    luck: float = 0.0


def spread_of(values: Floats, weights: Floats, controls: Sequence[Control] = ()) -> Spread:
    """The error of the mean of ``values``, one a section, with ``weights`` that sum to 1.

    Without a control ``error^2 = sum w_i^2 (y_i - m)^2 n/(n - 1)``. With one of deviations ``x_i`` the slope is
    ``b = sum w_i^2 (x_i - x)(y_i - m) / sum w_i^2 (x_i - x)^2`` and the luck ``b x``. The error is that of leaving out
    one section after the other, at ``n - 2`` degrees of freedom: a few sections with long waits decide a p99 and its
    control alike, and the usual error of a regression comes out too short. A control that explains less than 30 % of
    the variance is not used, nor one whose mean is more than twenty standard errors from the one expected: waits are
    skewed, and a run without its share of long ones is where the control matters most. That error is never larger than
    the one without a control.

    *Valid when* sections are independent. Measured for a p99 at 97 % load, eight slots, 20 to 40 sections of 100
    relaxation times: 92 to 94 % of 95 % intervals hold the truth, and 88 to 90 % of those with the usual error.
    *Source*: Lavenberg and Welch, A perspective on the use of control variables (1981); Law 2015, section 11.4;
    MacKinnon and White 1985 (the error, HC3).

    >>> luck = np.random.default_rng(1).normal(size=20)
    >>> controls = [Control(each, 1, 0.0) for each in luck]
    >>> found = spread_of(3 + 2 * luck, np.full(20, 1 / 20), controls)
    >>> bool(np.isclose(float(np.mean(3 + 2 * luck)) - found.luck, 3.0)), found.error < 1e-9
    (True, True)
    """
    number = len(values)
    gaps = weights * (values - _sum(weights * values))
    squares = _sum(gaps**2)
    alone = Spread(math.sqrt(squares * number / (number - 1)), number - 1)
    if len(controls) < number or number < 4:
        return alone
    deviations = np.array([each.deviation for each in controls])
    middle = _sum(weights * deviations)
    moved = weights * (deviations - middle)
    room = _sum(moved**2)
    if not room or not squares or abs(middle) > MOST_ERRORS * math.sqrt(room * number / (number - 1)):
        return alone
    slope = _sum(moved * gaps) / room
    left = gaps - slope * moved
    if _sum(left**2) * number / (number - 2) > (1 - LEAST_EXPLAINED) * alone.error**2:
        return alone
    leverage = 1 / number + moved**2 / room
    if leverage.max() >= 1:
        return alone
    pulls = left * (1 - middle * moved / room) / (1 - leverage)
    error = math.sqrt(_sum(pulls**2) * (number - 1) / number)
    return Spread(min(error, alone.error), number - 2, slope * middle)


def _sum(terms: Floats) -> float:
    """In order, so that it does not depend on the machine."""
    return float(np.cumsum(terms)[-1])
