"""A queue through the day: customers come at a rate that changes from hour to hour, and so do the servers.

>>> desk = Roster(rate="12 request/hour", profile="0.5 1.5", service="exponential 5 min", servers="1,2")
>>> desk.hourly_servers, [round(3600 * rate, 6) for rate in desk.hourly_rates]
((1, 2), [6.0, 18.0])
"""

from dataclasses import dataclass

from secondorder.errors import InputError, Unstable
from secondorder.laws import Time, Timed
from secondorder.quantities import Rate, si
from secondorder.scenarios.footprint import Profile, read_profile
from secondorder.spelling import read_numbers


@dataclass(frozen=True, kw_only=True)
class Roster(Timed):
    """One queue, first come, first served; the rate of Poisson arrivals and the servers change by the hour, in a cycle.

    - ``rate``: mean rate over the cycle ("20 request/hour").
    - ``profile``: hourly profile of the rate: flat, "sinusoid swing=0.6 peak=15", or the values themselves (24 make a
      day).
    - ``service``: time of a service, or its law ("exponential 5 min").
    - ``servers``: servers on duty in each hour of the cycle ("1,2x3,1" is 1, then twice 3, then 1), or one number.
    - ``name``: name of the scenario in results.

    Where servers go off duty, those who are idle go first, then whoever is done first with the service under way.

    Errors: ``InputError`` for as many hours of servers as the profile does not have.
    """

    _times = ("service",)
    rate: Rate
    service: Time
    servers: str
    profile: Profile | str = "flat"
    name: str = "roster"

    def __post_init__(self) -> None:
        object.__setattr__(self, "servers", str(self.servers).strip())
        object.__setattr__(self, "profile", read_profile("profile", self.profile))
        super().__post_init__()
        numbers = read_numbers(self.servers, "servers")
        if not all(0 <= number < 1e6 and number % 1 == 0 for number in numbers) or not sum(numbers):
            raise InputError("servers", given=repr(self.servers), expected="whole numbers, not all 0")
        hours = {len(numbers), len(self.profile)} - {1}
        if len(hours) > 1:
            given = f"{len(numbers)} hours, where the profile has {len(self.profile)}"
            raise InputError("servers", given=given, expected="as many numbers, or a single one")

    @property
    def hours(self) -> int:
        """Of the cycle."""
        return max(len(self.profile), len(read_numbers(self.servers, "servers")))

    @property
    def hourly_rates(self) -> tuple[float, ...]:
        """In request/s, hour by hour."""
        assert not isinstance(self.profile, str)
        values = self.profile if len(self.profile) > 1 else self.profile * self.hours
        return tuple(si(self.rate) * value for value in values)

    @property
    def hourly_servers(self) -> tuple[int, ...]:
        """On duty in each hour."""
        numbers = read_numbers(self.servers, "servers")
        return tuple(int(each) for each in (numbers if len(numbers) > 1 else numbers * self.hours))

    @property
    def mean_service(self) -> float:
        """In s."""
        return self.law("service").moment(1)

    @property
    def mean_servers(self) -> float:
        """Over the cycle."""
        return sum(self.hourly_servers) / self.hours

    @property
    def utilisation(self) -> float:
        """Of the servers over the cycle."""
        return si(self.rate) * self.mean_service / self.mean_servers

    def check_stable(self) -> None:
        """Refuse more work in a cycle than its servers can do. Errors: ``Unstable``."""
        if self.utilisation >= 1:
            load = si(self.rate) * self.mean_service
            raise Unstable(
                f"{self.name}: work for {load:.4g} servers, and {self.mean_servers:.4g} on duty on average: the queue "
                f"grows from cycle to cycle; use more server hours, or a rate below "
                f"{3600 * self.mean_servers / self.mean_service:.4g} request/hour"
            )
