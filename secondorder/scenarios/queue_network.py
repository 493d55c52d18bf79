"""An open network: stations with a queue each, and customers that go from one to the next by chance.

>>> tandem = QueueNetwork(stations=["web service=500 ms rate=1 request/s to=data:1", "data service=800 ms"])
>>> tandem.routing, [round(rate, 9) for rate in tandem.arrival_rates]
(((0.0, 1.0), (0.0, 0.0)), [1.0, 1.0])
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from secondorder.errors import InputError, UnknownName, Unstable
from secondorder.laws import Deterministic, Exponential, Gamma, Service
from secondorder.quantities import Checked, Count, Duration, NonNegative, Rate, si
from secondorder.spelling import Spelled, read


@dataclass(frozen=True, kw_only=True)
class Station(Spelled):
    """A station of a network: a line before some servers, first come, first served.

    - ``name``: name of the station.
    - ``service``: mean service ("80 ms").
    - ``rate``: customers that come to it from outside ("8 request/s"), Poisson; none if not given.
    - ``servers``: servers of its one line.
    - ``scv``: squared coefficient of variation of the service: 1 is exponential, 0 constant, others are gamma.
    - ``to``: stations that customers go to next, with the share that does ("app:0.5 disk:0.3"); the others leave.
    """

    word: ClassVar[str] = "station"
    name: str
    service: Duration
    rate: Rate | None = None
    servers: Count = 1
    scv: NonNegative = 1.0
    to: str = ""

    @cached_property
    def law(self) -> Service:
        """Of the service."""
        if self.scv == 1:
            return Exponential(self.service)
        return Gamma(self.service, scv=self.scv) if self.scv > 0 else Deterministic(self.service)

    @cached_property
    def shares(self) -> dict[str, float]:
        """Where customers go next. Errors: ``InputError``."""
        found = dict[str, float]()
        for part in self.to.replace(",", " ").split():
            name, _, share = part.rpartition(":")
            try:
                found[name] = float(share)
            except ValueError:
                raise InputError("to", given=repr(self.to), expected='shares such as "app:0.5 disk:0.3"') from None
        if any(not 0 <= share <= 1 for share in found.values()) or sum(found.values()) > 1 + 1e-12:
            raise InputError("to", given=repr(self.to), expected="shares from 0 to 1 with a sum of at most 1")
        return found


@dataclass(frozen=True, kw_only=True)
class Stations(Checked):
    """The stations of a network; lines of text become the stations that they spell.

    - ``stations``: the stations.
    """

    stations: tuple[Station, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "stations", tuple(map(_station, self.stations)))
        super().__post_init__()
        names = Counter(each.name for each in self.stations)
        if not names:
            raise InputError("stations", given="none", expected="at least one station")
        if twice := [name for name, count in names.items() if count > 1]:
            raise InputError("stations", given=f"two with the name {twice[0]}", expected="a different name for each")
        for unknown in {name for each in self.stations for name in each.shares} - set(names):
            raise UnknownName.among("to", unknown, list(names))


@dataclass(frozen=True, kw_only=True)
class QueueNetwork(Checked):
    """An open network of queues: Poisson arrivals from outside, and random routing after each service.

    - ``stations``: stations, separated by a semicolon ("web service=50 ms rate=8 request/s to=app:0.5; app
      service=80 ms"): name, mean service, rate from outside, servers, and where customers go next.
    - ``name``: name of the scenario in results.

    Errors: ``InputError`` for a station that nobody comes to, or for customers that never leave.

    *Source*: Jackson, Networks of waiting lines, Operations Research 5 (1957).
    """

    stations: Stations
    name: str = "queue network"

    def __post_init__(self) -> None:
        if isinstance(self.stations, tuple | list):
            object.__setattr__(self, "stations", Stations(stations=tuple(self.stations)))
        super().__post_init__()
        if not sum(self.rates):
            raise InputError("stations", given="none with a rate", expected="customers from outside at one of them")
        try:
            rates = self.arrival_rates
        except np.linalg.LinAlgError:
            rates = (-1.0,)
        if min(rates) < 0 or not np.isfinite(rates).all():
            raise InputError("stations", given="customers that never leave", expected="shares that let them leave")
        if unmet := [name for name, rate in zip(self.names, rates, strict=True) if not rate]:
            raise InputError("stations", given=f"nobody who comes to {unmet[0]}", expected="customers at each station")

    @property
    def names(self) -> tuple[str, ...]:
        """Of the stations."""
        return tuple(each.name for each in self.stations.stations)

    @property
    def rates(self) -> tuple[float, ...]:
        """Customers from outside at each station, 1/s."""
        return tuple(0.0 if each.rate is None else si(each.rate) for each in self.stations.stations)

    @property
    def services(self) -> tuple[float, ...]:
        """Mean service at each station in s."""
        return tuple(si(each.service) for each in self.stations.stations)

    @property
    def servers(self) -> tuple[int, ...]:
        """Of each station."""
        return tuple(each.servers for each in self.stations.stations)

    @property
    def scvs(self) -> tuple[float, ...]:
        """Of the services at each station."""
        return tuple(each.scv for each in self.stations.stations)

    @property
    def routing(self) -> tuple[tuple[float, ...], ...]:
        """A row a station: the probability to go to each other one next; what is left of 1 leaves."""
        return tuple(tuple(each.shares.get(name, 0.0) for name in self.names) for each in self.stations.stations)

    @cached_property
    def arrival_rates(self) -> tuple[float, ...]:
        """Of all who come to each station, 1/s: the traffic equations ``a = r + a P``."""
        found = np.linalg.solve(np.eye(len(self.names)) - np.array(self.routing).T, np.array(self.rates))
        return tuple(float(each) for each in found)

    @property
    def utilisations(self) -> tuple[float, ...]:
        """Of the servers of each station."""
        each = zip(self.arrival_rates, self.services, self.servers, strict=True)
        return tuple(rate * service / servers for rate, service, servers in each)

    def check_stable(self) -> None:
        """Refuse a station that gets more work than it can do. Errors: ``Unstable``."""
        load, name = max(zip(self.utilisations, self.names, strict=True))
        if load >= 1:
            raise Unstable(
                f"{self.name}: utilisation {load:.4g} of {name}: its queue grows without limit; use more servers "
                f"there, or rates {load:.4g} times lower"
            )


def _station(value: Any) -> Station:
    """A station, or the one that a text or a table spells."""
    if isinstance(value, str):
        example = "web service=50 ms rate=8 request/s to=app:0.5"
        return read(f"station {value}", {"station": Station}, what="stations", example=example)
    known = {field.name for field in fields(Station)}
    if isinstance(value, Mapping) and {"name", "service"} <= set(value) <= known:
        return Station(**value)
    if not isinstance(value, Station):
        raise InputError("stations", given=repr(value), expected='"web service=50 ms rate=8 request/s to=app:0.5"')
    return value
