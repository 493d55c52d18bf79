"""The fates that a request can have."""

from enum import StrEnum


class Fate(StrEnum):
    """How a request ended."""

    SERVED = "served"
    REFUSED = "refused"
    TIMED_OUT = "timed out"
    LOST = "lost"
