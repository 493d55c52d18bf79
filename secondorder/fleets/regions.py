"""Regions by what their electricity emits and costs, and facilities by what they use of it and of water.

>>> poland, quebec = regions.poland, regions.quebec
>>> round(poland.carbon_intensity.m / quebec.carbon_intensity.m, 1)
24.1
>>> regions.poland.electricity_price is None, facilities.meta.wue is None    # not known, never 0
(True, True)
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated

from annotated_types import Ge

from secondorder.errors import InputError, UnknownName
from secondorder.quantities import Checked, Count, Quantity, Unit
from secondorder.zoo import Source, Zoo, read_entries

CarbonIntensity = Annotated[Quantity | str, Unit("kgCO2e/kWh", positive=True)]
ElectricityPrice = Annotated[Quantity | str, Unit("USD/kWh")]
WaterUse = Annotated[Quantity | str, Unit("L/kWh")]
BASES = ("life cycle", "direct")


@dataclass(frozen=True, kw_only=True)
class Region(Checked):
    """A grid, by averages over a ``year``.

    - ``carbon_intensity``: of a kWh generated there; imports are not in it.
    - ``basis``: ``life cycle``, with the fuel chain and the building of the plants, or ``direct``, what leaves the
      stacks; the two do not compare: nuclear, hydro and wind have a direct intensity of 0.
    - ``electricity_price``: of a kWh, what industry pays.
    """

    name: str
    carbon_intensity: CarbonIntensity
    basis: str
    year: Count
    electricity_price: ElectricityPrice | None = None
    note: str = ""
    sources: Mapping[str, Source] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.basis not in BASES:
            raise UnknownName.among("basis", self.basis, BASES)


@dataclass(frozen=True, kw_only=True)
class Facility(Checked):
    """A data centre, by averages over a year.

    - ``pue``: power usage effectiveness, the energy of the whole site over that of the computers.
    - ``wue``: water usage effectiveness, litres used on site for a kWh of the computers.
    """

    name: str
    pue: Annotated[float, Ge(1)]
    wue: WaterUse | None = None
    note: str = ""
    sources: Mapping[str, Source] = field(default_factory=dict, repr=False, compare=False)


def one_basis(compared: Mapping[str, Region]) -> None:
    """Errors: ``InputError`` where the regions' intensities are on different bases, and do not compare."""
    bases = {region.basis for region in compared.values()}
    if len(bases) > 1:
        remedy = "compare US states with one another"
        raise InputError(
            "regions", given=f"intensities by {', '.join(sorted(bases))}", expected="one basis", remedy=remedy
        )


def _regions() -> dict[str, Region]:
    entries = read_entries("secondorder.fleets", "regions.toml")
    return {name: Region(**fields, sources=sources) for name, (fields, sources) in entries.items()}


def _facilities() -> dict[str, Facility]:
    entries = read_entries("secondorder.fleets", "facilities.toml")
    return {name: Facility(**fields, sources=sources) for name, (fields, sources) in entries.items()}


regions: Zoo[Region] = Zoo("regions", _regions)
facilities: Zoo[Facility] = Zoo("facilities", _facilities)
