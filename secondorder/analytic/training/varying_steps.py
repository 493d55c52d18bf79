"""Intervals whose length varies with their steps, under Poisson failures.

An interval is a fixed number of steps, and a step that is redone takes a new time. Of the attempts at an
interval the short ones are more likely to outlast the failures: an interval is met as if it were shorter
than its mean, and the attempt that is kept is shorter still.
"""

import math
from dataclasses import dataclass, replace

from secondorder.analytic.arguments import one
from secondorder.analytic.training.cycle import Cycle
from secondorder.errors import InputError
from secondorder.laws import Deterministic, Service

SMALLEST = 1e-7
"""Steps per time between failures below which the transform of a step has no digits left: two moments then serve."""


@dataclass(frozen=True, kw_only=True)
class StepFactors:
    """Factors on the mean time of a step under failures; all are 1 where steps do not vary.

    - ``met``: the certain time that outlasts the failures as often as a step does, ``-M ln E[e^(-X/M)]``.
    - ``kept``: the mean time of a step in an attempt that succeeds, ``E[X e^(-X/M)] / E[e^(-X/M)]``.
    - ``unspoiled``: ``met`` where another Poisson process, such as silent errors, must be outlasted too; else the same.
    """

    met: float = 1.0
    kept: float = 1.0
    unspoiled: float = 1.0

    def rescale(self, cycle: Cycle) -> Cycle:
        """The cycle of intervals of the length that failures meet, with the times that are kept and the work done."""
        if self == StepFactors():
            return cycle
        work = cycle.kept / self.met
        return replace(cycle, kept=work * self.kept, done=work)


def step_factors(step: Service | None, *, mtbf: float, silent_mtbf: float = math.inf) -> StepFactors:
    """The factors of steps of this law, each drawn again whenever it is redone.

    ``n`` steps and a write ``w`` outlast the failures with ``E[e^(-X/M)]^n e^(-w/M)``, and an attempt lasts
    ``M (1 - that)`` on average, as with a certain length of ``n met E[X] + w``. *Exact* for independent steps. Times in
    s. Errors: ``InputError``.

    *Source*: geometric attempts of random length, with the transform of the length in place of the exponential:
    Kulkarni, Nicola and Trivedi, The completion time of a job on multimode systems (1987), preemptive-repeat-different.

    >>> from secondorder.laws import LogNormal
    >>> factors = step_factors(LogNormal("100 s", scv=1), mtbf=7200.0)
    >>> round(factors.met, 4), round(factors.kept, 4)
    (0.9932, 0.9865)
    """
    m, silent = one("mtbf", mtbf), silent_mtbf
    if step is None or isinstance(step, Deterministic):
        return StepFactors()
    both = 1 / m + 1 / silent
    return StepFactors(met=_met(step, 1 / m), kept=_kept(step, both), unspoiled=_met(step, both))


def error_at_mean(step: Service, *, mtbf: float) -> float:
    """Relative overestimate of the goodput with every step at its mean: ``scv E[X] / (2 M)``.

    *First order*; whatever the interval. Infinite where the law has no variance. *Source*: the mean of
    ``step_factors`` to the second moment.

    >>> from secondorder.laws import LogNormal
    >>> round(error_at_mean(LogNormal("100 s", scv=1), mtbf=7200.0), 4)
    0.0069
    """
    try:
        return step.scv * step.moment(1) / (2 * mtbf)
    except InputError:
        return math.inf


def _met(step: Service, rate: float) -> float:
    """``-ln E[e^(-r X)] / (r E[X])``."""
    mean = step.moment(1)
    if rate * mean < SMALLEST:
        return _by_moments(step, rate * mean / 2)
    return -math.log(float(step.laplace(rate).real)) / (rate * mean)


def _kept(step: Service, rate: float) -> float:
    """``E[X e^(-r X)] / (E[e^(-r X)] E[X])``, the slope of the transform from its imaginary part nearby."""
    mean = step.moment(1)
    if rate * mean < SMALLEST:
        return _by_moments(step, rate * mean)
    wide, narrow = (-complex(step.laplace(rate * (1 + h * 1j))).imag / (h * rate) for h in (0.01, 0.005))
    return (4 * narrow - wide) / 3 / (float(step.laplace(rate).real) * mean)


def _by_moments(step: Service, ratio: float) -> float:
    try:
        return max(1 - step.scv * ratio, 0.0)
    except InputError:
        return 1.0
