"""Equivalence tests: "the formula holds within x %", with a p-value, over a family of claims.

That a test finds no difference does not show that there is none; it may only lack data.
So the burden is turned round: the claim to be rejected is that formula and truth differ by more
than the margin, and it takes two one-sided tests (Schuirmann 1987). They agree with
``verdicts.verdict``, which asks the same of an interval.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from secondorder.errors import InputError
from secondorder.simulate.statistics.intervals import student_quantile
from secondorder.validation.coverage import Bounded
from secondorder.validation.verdicts import Verdict, region

Floats = npt.NDArray[np.float64]
LEVEL = 0.05
"""How often a verdict, or one of a family of verdicts, may be wrong."""


@dataclass(frozen=True, kw_only=True)
class Equivalence:
    """Two one-sided tests of one formula: ``p_agrees`` is against "further off than the margin", ``p_breaks``
    against "within the margin". A true margin is rejected with at most these probabilities."""

    formula: float
    margin: float
    mean: float
    standard_error: float
    degrees: float
    p_agrees: float
    p_breaks: float

    def verdict(self, level: float = LEVEL) -> Verdict:
        """That of the ``1 - level`` interval: wrong with probability ``level`` at most."""
        return _verdict(self.p_agrees <= level / 2, self.p_breaks <= level)


def equivalence(formula: float, values: npt.ArrayLike, *, margin: float) -> Equivalence:
    """Test a formula against the ``values`` of a metric in independent replications.

    ``p_agrees = max P(T > t)`` over ``t = (mean - least)/se`` and ``(greatest - mean)/se``, where
    ``least`` and ``greatest`` are the truths that the formula is just within ``margin`` of, and ``T`` is
    Student's with ``n - 1`` degrees of freedom; ``p_breaks = 2 min P(T < t)``. *Exact* for normal
    values. Errors: ``InputError`` for fewer than two values or a margin that is not between 0 and 1.

    *Source*: Schuirmann 1987; Wellek, Testing Statistical Hypotheses of Equivalence (2010).

    >>> test = equivalence(1.02, [0.99, 1.01, 1.02, 0.98, 1.00], margin=0.10)
    >>> str(test.verdict()), test.p_agrees < 0.001
    ('agrees', True)
    """
    sample = np.asarray(values, float)
    if len(sample) < 2:
        raise InputError("values", given=f"{len(sample)} replications", expected="at least 2, for their spread")
    error = float(sample.std(ddof=1)) / math.sqrt(len(sample))
    return two_one_sided(formula, float(sample.mean()), error, degrees=len(sample) - 1, margin=margin)


def equivalence_to(
    formula: float, simulated: Bounded, *, replications: int, margin: float, confidence: float = 0.95
) -> Equivalence:
    """The same from a Student interval: its mean and standard error are read back from it.

    >>> from secondorder.simulate.statistics.intervals import student
    >>> test = equivalence_to(1.02, student([0.99, 1.01, 1.02, 0.98, 1.00]), replications=5, margin=0.10)
    >>> round(test.standard_error, 6), str(test.verdict())
    (0.007071, 'agrees')
    """
    if simulated.low is None or simulated.high is None:
        raise InputError("simulated", given="no interval", expected="a mean over at least 2 replications")
    mean, half = (simulated.low + simulated.high) / 2, (simulated.high - simulated.low) / 2
    degrees = replications - 1
    return two_one_sided(formula, mean, half / student_quantile(confidence, degrees), degrees=degrees, margin=margin)


def two_one_sided(formula: float, mean: float, standard_error: float, *, degrees: float, margin: float) -> Equivalence:
    """The tests of ``equivalence`` from a mean, its standard error and the degrees of freedom.

    >>> round(two_one_sided(1.0, 1.0, 0.05, degrees=9, margin=0.1).p_agrees, 3)
    0.051
    """
    least, most = region(formula, margin)
    above, below = mean - least, most - mean  # both positive: the mean is inside
    outside = [_tail(gap, standard_error, degrees) for gap in (above, below)]
    inside = [_tail(-gap, standard_error, degrees) for gap in (above, below)]
    return Equivalence(
        formula=formula,
        margin=margin,
        mean=mean,
        standard_error=standard_error,
        degrees=degrees,
        p_agrees=max(outside),
        p_breaks=min(1.0, 2 * min(inside)),
    )


def _tail(gap: float, standard_error: float, degrees: float) -> float:
    """``P(T > gap/standard_error)``; without any spread the gap's sign decides, and 0 is inside."""
    from scipy.special import stdtr

    if standard_error == 0:
        return 0.0 if gap >= 0 else 1.0
    return float(stdtr(degrees, -gap / standard_error))


def _verdict(agrees: bool, breaks: bool) -> Verdict:
    if agrees:
        return Verdict.AGREES
    return Verdict.BREAKS if breaks else Verdict.NOT_ENOUGH_DATA


# Families


def holm(p_values: npt.ArrayLike) -> Floats:
    """Adjusted p-values: rejecting those up to a level is wrong anywhere with at most that probability.

    The k-th smallest of ``n`` times ``n - k + 1``, made non-decreasing. *Exact* as a bound under
    any dependence, so also for claims tested with common random numbers. *Source*: Holm, A
    simple sequentially rejective multiple test procedure (1979).

    >>> holm([0.01, 0.04, 0.03]).tolist()
    [0.03, 0.06, 0.06]
    """
    p = np.asarray(p_values, float)
    order = np.argsort(p)
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
    return adjusted


def family_verdicts(claims: Sequence[Equivalence], level: float = LEVEL) -> list[Verdict]:
    """Verdicts on a family (a grid, a catalogue): with probability ``1 - level`` not one of them is wrong.

    Holm's procedure over the agreements and over the breaks, each at half the level.
    *Valid* under any dependence. *Source*: Holm 1979.

    >>> claim = equivalence(1.0, [0.96, 1.0, 1.01, 1.05], margin=0.10)
    >>> str(claim.verdict()), str(family_verdicts([claim] * 5)[0])
    ('agrees', 'not enough data')
    """
    agrees = holm([claim.p_agrees for claim in claims]) <= level / 2
    breaks = holm([claim.p_breaks for claim in claims]) <= level / 2
    return [_verdict(bool(a), bool(b)) for a, b in zip(agrees, breaks, strict=True)]


# Power


def power(*, replications: int, relative_sd: float, margin: float, error: float = 0.0, level: float = LEVEL) -> float:
    """Probability of *agrees* for a formula that is off by ``error = formula/truth - 1``.

    ``relative_sd``: the standard deviation of one replication, by the truth. *Exact* for normal
    replications: the mean's law is integrated over that of the estimated spread (a chi), by the
    midpoints of 4,000 equally likely spreads. Errors: ``InputError``. *Source*: Owen 1965; Wellek 2010.

    >>> round(power(replications=10, relative_sd=0.1, margin=0.1), 3)
    0.609
    """
    from scipy.special import gammaincinv, ndtr

    if replications < 2 or relative_sd <= 0:
        raise InputError("power", given=f"{replications} with sd {relative_sd}", expected="2 or more, with a spread")
    degrees, se = replications - 1, relative_sd / math.sqrt(replications)
    least, most = region(1 + error, margin)
    levels = (np.arange(4000) + 0.5) / 4000
    spread = np.sqrt(2 * gammaincinv(degrees / 2, levels) / degrees)  # estimated over true
    half = student_quantile(1 - level, degrees) * spread
    chance = ndtr((most - 1) / se - half) - ndtr((least - 1) / se + half)
    return float(np.maximum(chance, 0).mean())


def runs_needed(
    *,
    relative_sd: float,
    margin: float,
    error: float = 0.0,
    power: float = 0.9,
    level: float = LEVEL,
) -> int:
    """Replications after which a formula off by ``error`` *agrees* with probability ``power``.

    ``relative_sd`` of one replication, as in ``power``. *Exact* for normal replications. Errors:
    ``InputError`` where the error is not within the margin, so that no number of runs shows that it is.

    >>> runs_needed(relative_sd=0.1, margin=0.1)
    16
    """
    least, most = region(1 + error, margin)
    if not least < 1 < most:
        raise InputError("error", given=f"{error:.3g}", expected=f"a formula within the margin of {margin:.3g}")
    few, many = 2, 4
    while _power(many, relative_sd, margin, error, level) < power:
        few, many = many, 2 * many
    while few < many:
        middle = (few + many) // 2
        if _power(middle, relative_sd, margin, error, level) < power:
            few = middle + 1
        else:
            many = middle
    return many


def _power(replications: int, relative_sd: float, margin: float, error: float, level: float) -> float:
    return power(replications=replications, relative_sd=relative_sd, margin=margin, error=error, level=level)
