"""An open network: stations with a queue each, and customers that go from one to the next by chance.

>>> tandem = QueueNetwork(rates=(1.0, 0.0), services=(0.5, 0.8), routing=((0.0, 1.0), (0.0, 0.0)))
>>> tandem.stations
2
"""

from dataclasses import dataclass

from secondorder.errors import InputError


@dataclass(frozen=True, kw_only=True)
class QueueNetwork:
    """Poisson arrivals from outside, exponential services, first come first served at each station.

    - ``rates``: customers that come to each station from outside in a second.
    - ``services``: mean service at each station in s.
    - ``routing``: a row a station: the probability to go to each other one next; what is left of 1 leaves.
    - ``servers``: servers of each station; one if not given.
    - ``name``: what results call the scenario.

    Errors: ``InputError`` for rows that are not shares of 1, or not one a station.
    """

    rates: tuple[float, ...]
    services: tuple[float, ...]
    routing: tuple[tuple[float, ...], ...]
    servers: tuple[int, ...] = ()
    name: str = "queue network"

    def __post_init__(self) -> None:
        count = len(self.services)
        if not self.servers:
            object.__setattr__(self, "servers", (1,) * count)
        rows = {len(self.rates), len(self.routing), len(self.servers), *map(len, self.routing)}
        if rows != {count}:
            raise InputError("routing", given=f"rows of {sorted(rows)}", expected=f"one entry for each of {count}")
        if any(min(row) < 0 or sum(row) > 1 + 1e-12 for row in self.routing):
            raise InputError("routing", given=self.routing, expected="rows of probabilities that sum to at most 1")

    @property
    def stations(self) -> int:
        """How many there are."""
        return len(self.services)
