"""Layouts of a service in regions: what an accelerator costs there, and what the electricity emits.

A rented accelerator costs its price times the region's factor. The carbon is that of ``analytic.footprint``: power is
linear in the load over saturation, times the PUE of the site and the mean intensity of the grid. Making the machines
is not in it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from secondorder.analytic.footprint import solve_footprint
from secondorder.errors import InputError
from secondorder.fleets.accelerators import Accelerator
from secondorder.fleets.regions import Facility, Region, facilities, one_basis, regions
from secondorder.quantities import quantity
from secondorder.scenarios.footprint import Footprint
from secondorder.studies.candidates import Candidate, by_cost

SITE = "survey_average"
"""Facility of the zoo whose PUE is taken."""
OVERHEAD = 1.8
"""Rated power of a server over that of its accelerators, as in ``Footprint``."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """A region by its name in the zoo, the ``factor`` on prices there, and the site and servers in it."""

    name: str
    factor: float
    region: Region
    facility: Facility
    power_overhead: float

    def check(self, accelerator: Accelerator) -> None:
        """Errors: ``InputError`` for an accelerator whose power is not known."""
        _ = accelerator.rated_power

    def carbon(self, each: Candidate) -> float:
        """Operational carbon of a candidate in kgCO2e/hour."""
        fleet = Footprint(
            accelerator=each.scenario.serving.accelerator,
            accelerators=each.accelerators,
            power_overhead=self.power_overhead,
            utilisation=each.utilisation,
            horizon="1 hour",
            region=self.region,
            facility=self.facility,
        )
        return solve_footprint(fleet).best("carbon_operational").amount

    def put(self, each: Candidate) -> Candidate:
        """A candidate here, with its price and carbon."""
        assert each.scenario.price is not None
        price = self.factor * quantity(each.scenario.price, "USD/hour", "price")
        factor = "" if self.factor == 1 else f" at {self.factor:g} times the price"
        grid = f"{self.name}{factor}: {self.region.carbon_intensity}, {self.region.basis}, {self.region.year}"
        servers = f"servers rated {self.power_overhead:g} times their accelerators, PUE {self.facility.pue:g}"
        return replace(
            each,
            cost=each.cost * self.factor,
            scenario=replace(each.scenario, price=price),
            region=self.name,
            carbon=self.carbon(each),
            rests_on=f"{each.rests_on}; {grid}; {servers}; power linear in load, {each.utilisation:.0%} of saturation",
        )


def places_of(
    names: Sequence[str] | Mapping[str, float], facility: str = SITE, power_overhead: float = OVERHEAD
) -> tuple[Place, ...]:
    """Regions of the zoo, with a factor on prices of 1 where none is given.

    >>> [(place.name, place.factor) for place in places_of({"poland": 1.0, "quebec": 1.1})]
    [('poland', 1.0), ('quebec', 1.1)]

    Errors: ``InputError`` for a factor that is not above 0, and where intensities are on different bases.
    """
    factors = dict(names) if isinstance(names, Mapping) else dict.fromkeys(names, 1.0)
    for name, factor in factors.items():
        if not 0 < factor < float("inf"):
            raise InputError(f"regions.{name}", given=factor, expected="a factor on prices above 0")
    found = {name: regions[name] for name in factors}
    one_basis(found)
    site = facilities[facility]
    return tuple(
        Place(name=name, factor=factors[name], region=region, facility=site, power_overhead=power_overhead)
        for name, region in found.items()
    )


def placed(candidates: Iterable[Candidate], places: Sequence[Place]) -> Iterator[Candidate]:
    """Each candidate in each place, the cheapest first; without places as they are."""
    yield from sorted((place.put(c) for c in candidates for place in places) if places else candidates, key=by_cost)
