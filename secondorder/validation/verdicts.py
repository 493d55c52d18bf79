"""Verdicts: agrees, breaks, or not enough data; against a margin stated beforehand.

The same question with a p-value, for a family of claims, is ``validation.equivalence``.
"""

from enum import StrEnum

from secondorder.answers.estimate import Estimate
from secondorder.errors import InputError


class Verdict(StrEnum):
    """What an interval says about a formula."""

    AGREES = "agrees"
    BREAKS = "breaks"
    NOT_ENOUGH_DATA = "not enough data"
    UNSTABLE = "unstable"
    STABLE = "stable"
    DIVERGES = "diverges"
    TRANSIENT = "transient"
    TWO_STATES = "two states"
    REPLAYED = "replayed once"


def verdict(formula: float, simulated: Estimate, margin: float) -> Verdict:
    """Whether a closed form lies within ``margin`` of the truth that the simulation estimates.

    With the simulated interval: *agrees* if the formula is within the margin of every value
    in it, *breaks* if of none, else *not enough data*. With 95 % intervals it wrongly
    agrees in at most 2.5 % of the cases (two one-sided tests), and wrongly breaks in at most
    5 %, nearer 2.5 % where the interval is short compared with the margin. A replayed trace has no
    interval, and no verdict either.

    >>> truth = Estimate(metric="wait", amount=1.0, unit="s", source="simulated", low=0.98, high=1.02)
    >>> [str(verdict(formula, truth, 0.10)) for formula in (1.01, 1.5, 1.10)]
    ['agrees', 'breaks', 'not enough data']
    """
    least, most = region(formula, margin)
    if not simulated.steady:  # the simulation itself says that nothing may be concluded
        return Verdict(simulated.steadiness)
    if simulated.low is None or simulated.high is None:
        return Verdict.REPLAYED
    if least <= simulated.low and simulated.high <= most:
        return Verdict.AGREES
    if simulated.high < least or simulated.low > most:
        return Verdict.BREAKS
    return Verdict.NOT_ENOUGH_DATA


def region(formula: float, margin: float) -> tuple[float, float]:
    """The least and greatest truth that the formula is within ``margin`` of: ``|formula - x| <= margin |x|``.

    >>> region(0.9, 0.1)
    (0.8181818181818181, 1.0)
    """
    check_margin(margin)
    near, far = formula / (1 + margin), formula / (1 - margin)
    return min(near, far), max(near, far)


def check_margin(margin: float) -> None:
    """Refuse a margin that is not a share."""
    if not 0 < margin < 1:
        raise InputError("margin", given=margin, expected="a share between 0 and 1, such as 0.1")
