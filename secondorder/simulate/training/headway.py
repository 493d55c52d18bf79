"""When a run that makes no progress is given up."""

from secondorder.errors import InfeasibleError

MOST_IN_VAIN = 20_000
"""Failures without a new durable checkpoint after which a run is given up."""


def no_headway() -> InfeasibleError:
    """The error for such a run."""
    return InfeasibleError(
        f"the run makes no headway: {MOST_IN_VAIN:,} failures and no new checkpoint; "
        "shorten the interval, the write or the restart"
    )
