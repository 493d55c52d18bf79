"""Allocations of a batch system, each of which ends at a planned time.

>>> Allocation(ends_after="24 h", grace="5 min", requeue="30 min").period
88200.0
"""

from dataclasses import dataclass

from secondorder.errors import InputError
from secondorder.quantities import Checked, Duration, si


@dataclass(frozen=True, kw_only=True)
class Allocation(Checked):
    """The run holds its nodes for a limited time, again and again; between two allocations it waits in the queue.

    - ``ends_after``: time from the start of an allocation to its planned end ("24 h").
    - ``grace``: notice before the end, in which a last checkpoint is written ("5 min"); none if not given: what is done
      since the last checkpoint is then lost at each end.
    - ``requeue``: time from the end of an allocation to the start of the next ("30 min").

    At the notice the run stops work and writes, or ends the write that is under way; the rest of the allocation is
    idle. A failure in that write loses what no checkpoint holds. Every allocation but the first begins with a restart.
    The work between two checkpoints begins again with it. Failures strike neither in the idle rest nor in the queue.
    """

    ends_after: Duration
    grace: Duration = "0 s"
    requeue: Duration = "0 s"

    def __post_init__(self) -> None:
        super().__post_init__()
        if si(self.ends_after) <= si(self.grace):
            expected = f"less than the {self.ends_after} of an allocation"
            raise InputError("allocation.grace", given=self.grace, expected=expected)

    @property
    def period(self) -> float:
        """Time in s from the start of an allocation to that of the next."""
        return si(self.ends_after) + si(self.requeue)

    @property
    def usable(self) -> float:
        """Time in s from the start of an allocation to the notice of its end."""
        return si(self.ends_after) - si(self.grace)
