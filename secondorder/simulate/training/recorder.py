"""The books of a run: where its time went, and what became of the work.

Every second of the wall clock is in one account. Time in work and in blocking writes is booked as
kept; a failure moves what it destroys of both to ``rework``.
"""

from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import simpy

from secondorder.arrays import Floats
from secondorder.simulate.training.kept_segments import KeptSegments

if TYPE_CHECKING:
    import pandas as pd

ACCOUNTS = {
    "work": "work",
    "write": "checkpoint",
    "light write": "checkpoint",
    "durable write": "checkpoint",
    "last write": "checkpoint",
    "pause": "checkpoint",
    "verify": "checkpoint",
    "wait for drain": "checkpoint",
    "wait for storage": "checkpoint",
    "restart": "restart",
    "detection": "downtime",
    "replacement": "downtime",
    "vain restart": "downtime",
    "regroup": "restart",
    "wait for replicas": "downtime",
    "wait for repair": "waiting",
    "idle": "downtime",
    "requeue": "downtime",
}
"""The account of each phase."""

Process = Generator[simpy.Event, object, None]

Phase = tuple[str, float, float]
"""Name, start and end in s."""


class Savepoint(NamedTuple):
    """What a checkpoint holds: whole segments; and the accounts at the time when it was made, in s."""

    segments: int = 0
    work: float = 0.0
    checkpoint: float = 0.0


START = Savepoint()


@dataclass(frozen=True, kw_only=True)
class Story:
    """One run: where its ``wall`` seconds went, when it failed, and, if they were kept, its phases.

    ``work + checkpoint + rework + restart + downtime = wall``, all in s. ``work`` was kept: done and not
    lost by the end, whether or not a checkpoint holds it yet. ``rework`` is the work that was lost and the
    time of the blocking writes that were lost with it; ``downtime`` is detection, replacement and ``waiting``
    for a repair. ``failures`` are wall times in s; ``silent`` counts the silent errors that were found;
    ``steps`` those kept. ``segments``: the whole intervals that checkpoints hold, where steps vary.
    """

    wall: float
    work: float
    checkpoint: float
    rework: float
    restart: float
    downtime: float
    waiting: float
    failures: Floats
    silent: int = 0
    steps: int = 0
    phases: tuple[Phase, ...] = ()
    segments: KeptSegments | None = None

    @property
    def goodput(self) -> float:
        """Share of the wall time that was work and was kept."""
        return self.work / self.wall

    @property
    def availability(self) -> float:
        """Share of the wall time in which the run did not wait for a repair."""
        return 1 - self.waiting / self.wall

    @property
    def frame(self) -> "pd.DataFrame":
        """The phases: ``start, end`` (s), ``phase``; a ``drain`` goes on beside the others."""
        import pandas as pd

        rows = [(start, end, phase) for phase, start, end in self.phases]
        return pd.DataFrame(rows, columns=["start", "end", "phase"]).sort_values("start", kind="stable")


class Recorder:
    """Records each phase as it begins, each failure, and what is lost."""

    def __init__(self, env: simpy.Environment, *, log: bool) -> None:
        self.env = env
        self.spent = dict.fromkeys(ACCOUNTS.values(), 0.0)
        self.rework = self.worked = 0.0  # worked: also what was lost
        self.phase, self.since = "", 0.0
        self.failures: list[float] = []
        self.silent = 0
        self.phases: list[Phase] | None = [] if log else None

    def enter(self, phase: str) -> None:
        """A phase begins now."""
        self.phase, self.since = phase, self.env.now

    def leave(self) -> None:
        """The phase ends now; there may be none."""
        phase, now = self.phase, self.env.now
        if phase and now > self.since:
            self.spent[ACCOUNTS[phase]] += now - self.since
            if phase == "work":
                self.worked += now - self.since
            if self.phases is not None:
                self.phases.append((phase, self.since, now))
        self.phase = ""

    def drained(self, since: float) -> None:
        """A drain beside the other phases ends now, or is given up."""
        if self.phases is not None:
            self.phases.append(("drain", since, self.env.now))

    def mark(self, segments: int) -> Savepoint:
        """What a checkpoint made now holds; the phases before it are closed."""
        return Savepoint(segments, self.spent["work"], self.spent["checkpoint"])

    def lose(self, saved: Savepoint) -> None:
        """Move all that was done since a checkpoint to what is lost."""
        self.rework += (self.spent["work"] - saved.work) + (self.spent["checkpoint"] - saved.checkpoint)
        self.spent["work"], self.spent["checkpoint"] = saved.work, saved.checkpoint

    def story(self, steps: int) -> Story:
        """The run up to now."""
        spent = self.spent
        return Story(
            wall=self.env.now,
            work=spent["work"],
            checkpoint=spent["checkpoint"],
            rework=self.rework,
            restart=spent["restart"],
            downtime=spent["downtime"] + spent["waiting"],
            waiting=spent["waiting"],
            failures=np.array(self.failures, float),
            silent=self.silent,
            steps=steps,
            phases=tuple(self.phases or ()),
        )
