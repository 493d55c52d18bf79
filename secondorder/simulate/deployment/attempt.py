"""One attempt of a request at one replica, and the fates that a request can have."""

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from secondorder.simulate.serving.request import Ask, Slot

if TYPE_CHECKING:
    from secondorder.simulate.deployment.replica import Replica


class Fate(StrEnum):
    """How a request ended."""

    SERVED = "served"
    REFUSED = "refused"
    TIMED_OUT = "timed out"
    LOST = "lost"


@dataclass(slots=True, eq=False)
class Attempt:
    """A request on its way: the ``number``-th attempt, at a ``replica`` once it has a ``slot`` there.

    ``emitted`` tokens were brought from a replica that failed. At ``deadline`` (ps) its client gives it up. ``ends_as``
    is set once the attempt is to end otherwise than served; ``open`` says whether its client still waits for it.
    """

    ask: Ask
    number: int = 1
    emitted: int = 0
    deadline: int | None = None
    replica: "Replica | None" = None
    slot: Slot | None = None
    ends_as: Fate | None = None
    open: bool = True
