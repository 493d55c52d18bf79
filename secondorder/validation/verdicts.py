"""Verdicts: agrees, breaks, or not enough data; against a margin stated beforehand."""

from enum import StrEnum

from secondorder.errors import InputError
from secondorder.scenarios.answers import Estimate


class Verdict(StrEnum):
    """What an interval says of a formula."""

    AGREES = "agrees"
    BREAKS = "breaks"
    NOT_ENOUGH_DATA = "not enough data"
    REPLAYED = "replayed once"


def verdict(formula: float, simulated: Estimate, margin: float) -> Verdict:
    """Whether a closed form lies within ``margin`` of the truth that the simulation estimates.

    With the simulated interval ``[low, high]``: *agrees* if the formula is within the margin
    of every value in it, *breaks* if of none, else *not enough data*. With 95 % intervals each
    of the two is wrong in at most 2.5 % of the cases (two one-sided tests). A replayed trace
    has no interval, and no verdict either.

    >>> truth = Estimate(metric="wait", amount=1.0, unit="s", source="simulation", low=0.98, high=1.02)
    >>> [str(verdict(formula, truth, 0.10)) for formula in (1.01, 1.5, 1.10)]
    ['agrees', 'breaks', 'not enough data']
    """
    check_margin(margin)
    if simulated.low is None or simulated.high is None:
        return Verdict.REPLAYED
    if simulated.high * (1 - margin) <= formula <= simulated.low * (1 + margin):
        return Verdict.AGREES
    if formula < simulated.low * (1 - margin) or formula > simulated.high * (1 + margin):
        return Verdict.BREAKS
    return Verdict.NOT_ENOUGH_DATA


def check_margin(margin: float) -> None:
    """Refuse a margin that is not a share."""
    if not 0 < margin < 1:
        raise InputError("margin", given=margin, expected="a share between 0 and 1, such as 0.1")
