"""What goes wrong with replicas: failures at random or at a stated time, a whole zone, slow replicas, rolling restarts.

>>> Faults(events=(Kill(replica=1, at="60 s", restart="2 min"), RandomFailures(mtbf="6 h", restart="3 min"))).moments
(60.0,)
"""

import re
from dataclasses import dataclass
from typing import Annotated, ClassVar, TypeAlias

from annotated_types import Ge

from secondorder.errors import InputError
from secondorder.families import members_of, read_text
from secondorder.quantities import Duration, Quantity, Unit, si
from secondorder.spelling import Spelled

Place = Annotated[int, Ge(0)]
Span = Annotated[Quantity | str, Unit("s", positive=True)]


@dataclass(frozen=True, kw_only=True)
class RandomFailures(Spelled):
    """Each replica fails after an exponential time in service of mean ``mtbf`` and is back, cold, after ``restart``.

    - ``mtbf``: mean time in service between failures of one replica.
    - ``restart``: time until it serves again, weights loaded and the cache empty.
    - ``exponential``: whether the restart is exponential of that mean instead of fixed.
    """

    word: ClassVar[str] = "random"
    mtbf: Span
    restart: Duration
    exponential: bool = False


@dataclass(frozen=True, kw_only=True)
class Kill(Spelled):
    """One replica fails at a stated time and is back, cold, after ``restart``.

    - ``replica``: number of the replica, from 0.
    - ``at``: time of the failure since the start.
    - ``restart``: time until it serves again.
    """

    word: ClassVar[str] = "kill"
    replica: Place
    at: Duration
    restart: Duration


@dataclass(frozen=True, kw_only=True)
class ZoneFailure(Spelled):
    """Several replicas fail at the same time and are back, cold, after ``restart``: those of one zone, rack or switch.

    - ``zone``: numbers of its replicas, from 0: "0-2", or "0,3".
    - ``at``: time of the failure since the start.
    - ``restart``: time until they serve again.

    >>> ZoneFailure(zone="0-2,5", at="60 s", restart="5 min").replicas
    (0, 1, 2, 5)
    """

    word: ClassVar[str] = "zone"
    zone: str
    at: Duration
    restart: Duration

    def __post_init__(self) -> None:
        object.__setattr__(self, "zone", str(self.zone).replace(" ", ""))
        super().__post_init__()
        if not re.fullmatch(r"\d+(-\d+)?(,\d+(-\d+)?)*", self.zone) or not self.replicas:
            raise InputError("zone", given=repr(self.zone), expected='numbers of replicas, such as "0-2" or "0,3"')

    @property
    def replicas(self) -> tuple[int, ...]:
        """Numbers of its replicas, each once."""
        ends = [part.split("-") for part in self.zone.split(",")]
        return tuple(sorted({number for end in ends for number in range(int(end[0]), int(end[-1]) + 1)}))


@dataclass(frozen=True, kw_only=True)
class Slow(Spelled):
    """The steps of one replica take ``factor`` times as long for a while.

    - ``replica``: number of the replica, from 0.
    - ``at``: time since the start.
    - ``lasts``: how long.
    - ``factor``: how many times as long a step takes.
    """

    word: ClassVar[str] = "slow"
    replica: Place
    at: Duration
    lasts: Span
    factor: Annotated[float, Ge(1)] = 2.0


@dataclass(frozen=True, kw_only=True)
class RollingRestart(Spelled):
    """The replicas restart one after the other; each is drained first: it takes no new requests and finishes its own.

    - ``at``: time of the first since the start.
    - ``restart``: time that each is away after it is drained.
    """

    word: ClassVar[str] = "rolling"
    at: Duration
    restart: Duration


Fault: TypeAlias = RandomFailures | Kill | ZoneFailure | Slow | RollingRestart


@dataclass(frozen=True, kw_only=True)
class Faults(Spelled):
    """A schedule of faults; lines of text become the faults that they spell.

    - ``events``: the faults.

    >>> str(Faults(events=["kill 1 at=60 s restart=2 min", "rolling 5 min restart=30 s"]))
    'kill 1 at=60 s restart=120 s; rolling 300 s restart=30 s'
    """

    word: ClassVar[str] = "faults"
    events: tuple[Fault, ...]

    def __post_init__(self) -> None:
        events = tuple(_event(event) for event in self.events)
        object.__setattr__(self, "events", events)
        super().__post_init__()
        if not events:
            raise InputError("events", given="none", expected="at least one fault")

    def __str__(self) -> str:
        return "; ".join(map(str, self.events))

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
        zones = [number for event in self.events if isinstance(event, ZoneFailure) for number in event.replicas]
        return (*(event.replica for event in self.events if isinstance(event, Kill | Slow)), *zones)


def _event(event: object) -> object:
    """A fault, or the one that a text spells."""
    found = read_text(event, members_of(Fault), "events") if isinstance(event, str) else event
    if not isinstance(found, Fault):
        raise InputError("events", given=repr(event), expected="random, kill, zone, slow or rolling")
    return found
