"""What a run leaves behind: one entry for each customer, in order of arrival."""

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pandas as pd

Floats: TypeAlias = npt.NDArray[np.float64]
Integers: TypeAlias = npt.NDArray[np.int64]
Kinds: TypeAlias = npt.NDArray[np.int8]


class Outcome(IntEnum):
    """What became of a customer."""

    SERVED = 0
    BLOCKED = 1
    ABANDONED = 2
    INSIDE = 3


@dataclass(frozen=True)
class Run:
    """One run, from an empty start until the last customer has left.

    Times in s; ``start`` and ``finish`` are absent (nan) where there was no service. ``service`` is the work brought.
    ``outcome`` (an ``Outcome`` each) is None where all were served, ``attempts`` is None where each came once, and
    ``kind``, the class from 1 on, is None where there are no classes. ``busy`` holds beginnings and ends of the
    servers' work where that is not from ``start`` to ``finish``, and ``left`` when each left for good where that is
    not ``finish`` (infinite: never). ``begin_matters`` is False where services have no beginning of their own
    (processor sharing, fork-join, preemption), so that there is no wait to speak of.
    """

    arrival: Floats
    service: Floats
    start: Floats
    finish: Floats
    outcome: Kinds | None = None
    attempts: Integers | None = None
    kind: Kinds | None = None
    busy: tuple[Floats, Floats] | None = None
    left: Floats | None = None
    begin_matters: bool = True

    def __len__(self) -> int:
        return len(self.arrival)

    @property
    def wait(self) -> Floats:
        """From arrival to the beginning of service, in s; with retries the earlier attempts count."""
        return self.start - self.arrival

    @property
    def response(self) -> Floats:
        """From arrival to the end of service, in s."""
        return self.finish - self.arrival

    @property
    def gone(self) -> Floats:
        """When each left for good: served, turned away or out of patience."""
        return self.finish if self.left is None else self.left

    def count(self, outcome: Outcome) -> int:
        """How many customers met this end."""
        if self.outcome is None:
            return len(self) if outcome is Outcome.SERVED else 0
        return int((self.outcome == outcome).sum())

    @property
    def frame(self) -> "pd.DataFrame":
        """One row a customer: ``arrival, start, finish, service, wait, response`` (s), ``outcome``, and
        ``attempts`` and ``class`` where they mean something."""
        import pandas as pd

        names = np.array([outcome.name.lower() for outcome in Outcome])
        codes = np.zeros(len(self), np.int8) if self.outcome is None else self.outcome
        columns: dict[str, object] = {
            "arrival": self.arrival,
            "start": self.start,
            "finish": self.finish,
            "service": self.service,
            "wait": self.wait,
            "response": self.response,
            "outcome": pd.Categorical(names[codes], categories=names),
        }
        if not self.begin_matters:
            del columns["wait"], columns["start"]
        if self.attempts is not None:
            columns["attempts"] = self.attempts
        if self.kind is not None:
            columns["class"] = self.kind
        return pd.DataFrame(columns)
