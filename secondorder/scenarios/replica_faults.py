"""What goes wrong with replicas: failures at random or at a stated time, slow replicas, rolling restarts.

>>> Faults(events=(Kill(replica=1, at="60 s", restart="2 min"), RandomFailures(mtbf="6 h", restart="3 min"))).moments
(60.0,)
"""

from dataclasses import dataclass
from typing import Annotated, TypeAlias

from annotated_types import Ge

from secondorder.errors import InputError
from secondorder.quantities import Checked, Duration, Quantity, Unit, si

Place = Annotated[int, Ge(0)]
Span = Annotated[Quantity | str, Unit("s", positive=True)]


@dataclass(frozen=True, kw_only=True)
class RandomFailures(Checked):
    """Each replica fails after an exponential time in service of mean ``mtbf`` and is back, cold, after ``restart``.

    - ``mtbf``: mean time in service between failures of one replica.
    - ``restart``: time until it serves again, weights loaded and the cache empty.
    - ``exponential``: whether the restart is exponential of that mean instead of fixed.
    """

    mtbf: Span
    restart: Duration
    exponential: bool = False


@dataclass(frozen=True, kw_only=True)
class Kill(Checked):
    """One replica fails at a stated time and is back, cold, after ``restart``.

    - ``replica``: number of the replica, from 0.
    - ``at``: time of the failure since the start.
    - ``restart``: time until it serves again.
    """

    replica: Place
    at: Duration
    restart: Duration


@dataclass(frozen=True, kw_only=True)
class Slow(Checked):
    """The steps of one replica take ``factor`` times as long for a while.

    - ``replica``: number of the replica, from 0.
    - ``at``: time since the start.
    - ``lasts``: how long.
    - ``factor``: how many times as long a step takes.
    """

    replica: Place
    at: Duration
    lasts: Span
    factor: Annotated[float, Ge(1)] = 2.0


@dataclass(frozen=True, kw_only=True)
class RollingRestart(Checked):
    """The replicas restart one after the other; each is drained first: it takes no new requests and finishes its own.

    - ``at``: time of the first since the start.
    - ``restart``: time that each is away after it is drained.
    """

    at: Duration
    restart: Duration


Fault: TypeAlias = RandomFailures | Kill | Slow | RollingRestart


@dataclass(frozen=True, kw_only=True)
class Faults(Checked):
    """A schedule of faults.

    - ``events``: the faults.
    """

    events: tuple[Fault, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        for event in self.events:
            if not isinstance(event, Fault):
                expected = "RandomFailures, Kill, Slow or RollingRestart"
                raise InputError("events", given=repr(event), expected=expected)

    @property
    def moments(self) -> tuple[float, ...]:
        """Stated times of faults in s."""
        return tuple(sorted(si(event.at) for event in self.events if not isinstance(event, RandomFailures)))

    @property
    def random(self) -> RandomFailures | None:
        """The failures at random, if there are any."""
        return next((event for event in self.events if isinstance(event, RandomFailures)), None)

    @property
    def replicas(self) -> tuple[int, ...]:
        """Numbers of the replicas that faults name."""
        return tuple(event.replica for event in self.events if isinstance(event, Kill | Slow))
