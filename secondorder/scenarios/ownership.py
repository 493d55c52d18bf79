"""What a fleet costs, owned or rented, under a load.

>>> from secondorder.fleets.accelerators import accelerators
>>> from secondorder.fleets.prices import prices
>>> fleet = Ownership(
...     accelerator=accelerators.h100_sxm, accelerators=64, purchase=prices.buy_h100_server.purchase,
...     server_overhead=1, power_overhead=1.8, pue=1.17, electricity_price="0.0892 USD/kWh", maintenance=0.05,
...     service_life="4 year", horizon="3 year", utilisation=0.5)
>>> {part: round(usd / 1e3) for part, usd in fleet.costs(fleet.on, fleet.busy)._asdict().items()}
{'capital': 1613, 'energy': 144, 'maintenance': 323}

A load may take the place of ``utilisation``: Poisson requests at a ``rate`` that follows an hourly ``profile``, each of
which keeps one slot of a replica busy for a ``service``, and waits in one line where none is free. Replicas are always
on, or follow the load (``target_utilisation``, ``boot``).
"""

import math
from dataclasses import dataclass
from typing import Annotated, NamedTuple

import numpy as np
from annotated_types import Ge, Gt, Le

from secondorder.arrays import Floats
from secondorder.errors import InputError, Unstable
from secondorder.fleets.accelerators import Accelerator
from secondorder.fleets.prices import Money, Rental
from secondorder.fleets.regions import ElectricityPrice
from secondorder.laws import Time, Timed
from secondorder.quantities import Count, Duration, Positive, Rate, si
from secondorder.scenarios.footprint import HOUR, JOULES_PER_KWH, Profile, Share, Utilisation, read_profile

YEAR = 365.25 * 24 * HOUR


class Costs(NamedTuple):
    """USD over the horizon."""

    capital: float
    energy: float
    maintenance: float

    @property
    def total(self) -> float:
        return sum(self)


@dataclass(frozen=True, kw_only=True)
class Ownership(Timed):
    """The cost of this many accelerators over a horizon.

    - ``accelerator``: kind of accelerator, from the zoo (h100_sxm).
    - ``accelerators``: accelerators that are owned.
    - ``purchase``: price of one accelerator ("30000 USD"); some are in the zoo's prices.
    - ``server_overhead``: price of all (servers, network) over that of the accelerators (1.4); 1 if the price
      includes it.
    - ``power_overhead``: rated power of a server over that of its accelerators (1.8); 1 counts the accelerators alone.
    - ``pue``: energy of the whole site over that of the computers (1.2).
    - ``electricity_price``: price of electricity ("0.12 USD/kWh").
    - ``maintenance``: share of the purchase that each year's maintenance costs (0.05).
    - ``service_life``: time over which the purchase loses its worth, evenly ("4 year").
    - ``horizon``: time that totals are for ("3 year"); past the service life the fleet is bought again.
    - ``utilisation``: mean share of the fleet that is busy, 0 to 1; or give a load by its rate and service.
    - ``residual``: share of the purchase that is left at the end of the service life.
    - ``idle_share``: power at rest over rated power.
    - ``rental``: price of renting one accelerator, host and electricity included, to compare with ("3 USD/hour").
    - ``rate``: mean rate of the requests, instead of a utilisation ("20 request/s").
    - ``profile``: hourly profile of the rate: flat, "sinusoid swing=0.6 peak=15", or the values themselves (24 make a
      day).
    - ``service``: time that a request keeps a slot busy, or its law ("2 s", "exponential 2 s"); given with the rate.
    - ``accelerators_per_replica``: accelerators that work together as one replica.
    - ``slots``: requests that a replica serves at once.
    - ``wait_objective``: wait before service that a request should not exceed ("1 s").
    - ``tokens_per_request``: tokens of a request, for the cost of tokens.
    - ``target_utilisation``: utilisation that the number of replicas aims at as it follows the load (0.7); all
      are always on if not given.
    - ``boot``: time that a replica takes to start, paid and idle, at most an hour ("5 min"); given with the target.
    - ``name``: name of the scenario in results.

    With a ``target_utilisation``, at each hour's start as many replicas are ordered as bring the utilisation to it, up
    to the fleet; slots not needed go when they are free, and draw nothing when off. A price that nobody knows you must
    give.

    Errors: ``InputError``, by name, for a price or another fact that is missing; ``Unstable``.
    """

    _times = ("service",)
    accelerator: Accelerator
    accelerators: Count
    purchase: Money | None
    server_overhead: Annotated[float, Ge(1)]
    power_overhead: Annotated[float, Ge(1)]
    pue: Annotated[float, Ge(1)]
    electricity_price: ElectricityPrice | None
    maintenance: Annotated[float, Ge(0)]
    service_life: Duration
    horizon: Duration
    utilisation: Utilisation | None = None
    residual: Share = 0.0
    idle_share: Share = 0.3
    rental: Rental | None = None
    rate: Rate | None = None
    profile: Profile | str = "flat"
    service: Time | None = None
    accelerators_per_replica: Count = 1
    slots: Count = 1
    wait_objective: Duration | None = None
    tokens_per_request: Positive | None = None
    target_utilisation: Annotated[float, Gt(0), Le(1)] | None = None
    boot: Duration | None = None
    name: str = "ownership"

    def __post_init__(self) -> None:
        object.__setattr__(self, "profile", read_profile("profile", self.profile))
        super().__post_init__()
        _ = self.accelerator.rated_power  # refused where it is not known
        for name, example in (("purchase", "33600 USD"), ("electricity_price", "0.09 USD/kWh")):
            if getattr(self, name) is None:
                raise InputError(name, given="none", expected=f"a price: none is known; find one and write {example!r}")
        for name in ("service_life", "horizon"):
            if not si(getattr(self, name)):
                raise InputError(name, given=getattr(self, name), expected="a time above 0")
        self._check_load()

    def _check_load(self) -> None:
        if (self.utilisation is None) == (self.rate is None):
            given = "neither" if self.rate is None else "both"
            raise InputError("utilisation", given=f"{given} of utilisation and rate", expected="one of the two")
        if (self.rate is None) != (self.service is None):
            missing = "rate" if self.rate is None else "service"
            raise InputError(missing, given="none", expected="rate and service together, or neither")
        if (self.target_utilisation is None) != (self.boot is None):
            missing = "boot" if self.boot is None else "target_utilisation"
            raise InputError(missing, given="none", expected="target_utilisation and boot together, or neither")
        if self.accelerators % self.accelerators_per_replica:
            expected = f"a multiple of the {self.accelerators_per_replica} of a replica"
            raise InputError("accelerators", given=self.accelerators, expected=expected)
        if self.rate is None:
            for name in ("wait_objective", "tokens_per_request", "target_utilisation"):
                if getattr(self, name) is not None:
                    raise InputError("rate", given="none", expected=f"requests, if there is a {name}")
        if self.boot is not None and si(self.boot) > HOUR:
            raise InputError("boot", given=self.boot, expected="at most an hour, in which the load is followed")

    # The load

    @property
    def replicas(self) -> int:
        """Replicas of the whole fleet."""
        return self.accelerators // self.accelerators_per_replica

    @property
    def hourly_rates(self) -> Floats:
        """In request/s."""
        assert self.rate is not None
        assert not isinstance(self.profile, str)
        return si(self.rate) * np.array(self.profile)

    @property
    def mean_service(self) -> float:
        """In s."""
        return self.law("service").moment(1)

    @property
    def hourly_replicas(self) -> Floats:
        """Ordered in each hour: all, or ``ceil(rate service / (slots target))``, from 1 to all."""
        rates = self.hourly_rates
        if self.target_utilisation is None:
            return np.full(len(rates), float(self.replicas))
        wanted = rates * self.mean_service / (self.slots * self.target_utilisation)
        return np.clip(np.ceil(wanted - 1e-9), 1, self.replicas)

    def check_stable(self) -> None:
        """``Unstable`` where the load of the whole cycle exceeds what is ordered in it."""
        if self.rate is None:
            return
        load, room = (
            float(self.hourly_rates.mean()) * self.mean_service,
            float(self.hourly_replicas.mean()) * self.slots,
        )
        if load >= room:
            remedy, fleet = "a lower target_utilisation", self.replicas * self.slots
            if load >= fleet:
                more, rate = math.floor(load / self.slots) + 1, si(self.rate) * fleet / load
                remedy = f"at least {more} replicas, or an arrival rate below {rate:.6g} request/s"
            raise Unstable(
                f"{self.name}: {load:.6g} slots of work for {room:.6g}: the queue grows from day to day; use {remedy}"
            )

    # Means over the cycle, in accelerators

    @property
    def on(self) -> float:
        """Accelerators switched on, on average."""
        if self.rate is None:
            return float(self.accelerators)
        return float(self.hourly_replicas.mean()) * self.accelerators_per_replica

    @property
    def busy(self) -> float:
        """Accelerators at work, on average: a replica with half of its slots taken counts as half."""
        if self.utilisation is not None:
            return self.utilisation * self.accelerators
        return float(self.hourly_rates.mean()) * self.mean_service / self.slots * self.accelerators_per_replica

    # Costs

    @property
    def outlay(self) -> float:
        """What the whole fleet costs to buy, in USD."""
        assert self.purchase is not None
        return self.accelerators * si(self.purchase) * self.server_overhead

    def energy(self, on: float, busy: float) -> float:
        """Over the horizon at the meter, in kWh: ``pue rated (idle_share on + (1 - idle_share) busy)``."""
        at_meter = self.accelerator.rated_power * self.power_overhead * self.pue
        power = at_meter * (self.idle_share * on + (1 - self.idle_share) * busy)
        return power * si(self.horizon) / JOULES_PER_KWH

    def costs(self, on: float, busy: float) -> Costs:
        """Over the horizon, for this many accelerators on and busy on average.

        ``capital = outlay (1 - residual) horizon / service_life``, ``maintenance`` a share of the outlay a year.
        """
        assert self.electricity_price is not None
        lives = si(self.horizon) / si(self.service_life)
        return Costs(
            capital=self.outlay * (1 - self.residual) * lives,
            energy=self.energy(on, busy) * si(self.electricity_price),
            maintenance=self.outlay * self.maintenance * si(self.horizon) / YEAR,
        )
