"""What a fleet draws from the grid and leaves in the air: energy, carbon and water, hour by hour.

>>> from secondorder.fleets.accelerators import accelerators
>>> from secondorder.fleets.regions import facilities, regions
>>> fleet = Footprint(
...     accelerator=accelerators.h100_sxm, accelerators=64, power_overhead=1.8, utilisation=0.5, horizon="365 day",
...     region=regions.poland, facility=facilities.microsoft, load="sinusoid swing=0.6 peak=15")
>>> round(float(fleet.power(0.5)) / 1e3, 1)                                                  # kW at the meter
61.3
>>> fleet.hourly_utilisation.round(2).tolist()[3], fleet.hourly_utilisation.round(2).tolist()[15]
(0.2, 0.8)

Power is linear in utilisation: ``rated (idle_share + (1 - idle_share) u)``. *Source*: Fan, Weber and Barroso, Power
provisioning for a warehouse-sized computer (2007). Energy is given in kWh, carbon in kgCO2e, water in L.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge, Le

from secondorder.arrays import Floats
from secondorder.errors import InfeasibleError, InputError
from secondorder.fleets.accelerators import Accelerator
from secondorder.fleets.regions import Facility, Region
from secondorder.quantities import Checked, Count, Duration, Positive, Quantity, Rate, Unit, si

HOUR = 3600.0
JOULES_PER_KWH = 3.6e6
Share = Annotated[float, Ge(0), Le(1)]
Utilisation = Annotated[float, Ge(0), Le(1)]
Spread = Annotated[float, Ge(0)]
Carbon = Annotated[Quantity | str, Unit("kgCO2e")]
Profile = tuple[float, ...]


def read_profile(what: str, value: object) -> Profile:
    """Hourly values of mean 1, which repeat: from any such numbers, or from a line.

    "flat", "sinusoid swing=0.6 peak=15" (24 hourly means; the peak at the hour 15, which is the default) or
    "0.4 0.3 1.2 ...". 24 values make a day, 8,760 a year. Errors: ``InputError``.

    >>> read_profile("load", [1, 3])
    (0.5, 1.5)
    >>> max(read_profile("load", "sinusoid swing=0.6")).__round__(3)
    1.593
    """
    if isinstance(value, str):
        word, _, rest = value.strip().partition(" ")
        if word == "flat" and not rest:
            return (1.0,)
        if word == "sinusoid":
            return _sinusoid(what, rest)
        value = [_number(what, part) for part in value.replace(",", " ").split()]
    if not isinstance(value, Sequence) or not len(value):
        raise InputError(what, given=repr(value), expected=_SPELLINGS)
    numbers = [_number(what, each) for each in value]
    if min(numbers) < 0 or not sum(numbers):
        raise InputError(what, given=f"{min(numbers):g} at the least", expected="hourly values from 0 on, not all 0")
    mean = math.fsum(numbers) / len(numbers)
    return tuple(number / mean for number in numbers)


_SPELLINGS = 'hourly values, "flat", or "sinusoid swing=0.6 peak=15"'


def _sinusoid(what: str, text: str) -> Profile:
    """Means over each hour of ``1 + swing cos(2 pi (t - peak)/24)``."""
    given = {"peak": 15.0}
    for part in text.split():
        name, equals, number = part.partition("=")
        if name not in ("swing", "peak") or not equals:
            raise InputError(what, given=repr(text), expected=_SPELLINGS)
        given[name] = _number(what, number)
    if not 0 <= given.get("swing", -1) <= 1:
        raise InputError(f"{what}.swing", given=given.get("swing", "nothing"), expected="a share from 0 to 1")
    angle = 2 * math.pi / 24
    swing = given["swing"] * math.sin(angle / 2) / (angle / 2)
    return tuple(1 + swing * math.cos(angle * (hour + 0.5 - given["peak"])) for hour in range(24))


def _number(what: str, value: object) -> float:
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise InputError(what, given=repr(value), expected=_SPELLINGS)
    return number


@dataclass(frozen=True, kw_only=True)
class Footprint(Checked):
    """Energy, carbon and water of a fleet in one region.

    - ``accelerator``: kind of accelerator, from the zoo (h100_sxm).
    - ``accelerators``: accelerators of the fleet.
    - ``power_overhead``: rated power of a server over that of its accelerators (1.8); 1 counts the accelerators alone.
    - ``utilisation``: mean share of the capacity that is busy, 0 to 1.
    - ``horizon``: time that totals are for ("1 year").
    - ``region``: region whose electricity it draws, from the zoo (poland).
    - ``facility``: site, with its PUE and, where known, its water use, from the zoo (microsoft).
    - ``idle_share``: power at rest over rated power.
    - ``embodied``: carbon of making one accelerator and its share of the server ("150 kgCO2e"); without it none
      is counted.
    - ``service_life``: time over which embodied carbon is spread, evenly ("4 year"); required with it.
    - ``load``: hourly profile of the utilisation around its mean: flat, "sinusoid swing=0.6 peak=15", or the values
      themselves (24 make a day).
    - ``intensity``: hourly profile of the grid's carbon intensity around its mean, written like the load.
    - ``load_scv``: squared coefficient of variation of a lognormal factor on each hour's load.
    - ``intensity_scv``: squared coefficient of variation of a lognormal factor on each hour's carbon intensity.
    - ``correlation``: correlation of the two factors' logarithms, -1 to 1.
    - ``deferrable``: share of each hour's work that may move within its day to the hours of the cleanest electricity.
    - ``rate``: rate of the requests that the utilisation serves ("100 request/s"), for the carbon of one request.
    - ``tokens_per_request``: tokens of a request, for the carbon of one token.
    - ``name``: name of the scenario in results.

    Power is linear: ``idle_share`` is by default that of the first-order suite; whole servers of 2007 took a half
    (Barroso and Hölzle, The case for energy-proportional computing). The mean intensity is the region's
    ``carbon_intensity``; ``pue`` and ``wue`` are the facility's, and without a ``wue`` no water is given. Factors of
    ``load_scv`` and ``intensity_scv`` have the mean 1, and each hour draws them again. ``deferrable`` work moves as far
    as the fleet has room, within the cycle where that is not made of days. Requests of a ``rate`` come as a Poisson
    stream of equal work. Work that an hour has no room for is done in the next.

    Errors: ``InputError``, ``InfeasibleError``.
    """

    accelerator: Accelerator
    accelerators: Count
    power_overhead: Annotated[float, Ge(1)]
    utilisation: Utilisation
    horizon: Annotated[Duration, "above 0"]
    region: Region
    facility: Facility
    idle_share: Share = 0.3
    embodied: Carbon | None = None
    service_life: Duration | None = None
    load: Profile | str = "flat"
    intensity: Profile | str = "flat"
    load_scv: Spread = 0.0
    intensity_scv: Spread = 0.0
    correlation: Annotated[float, Ge(-1), Le(1)] = 0.0
    deferrable: Share = 0.0
    rate: Rate | None = None
    tokens_per_request: Positive | None = None
    name: str = "footprint"

    def __post_init__(self) -> None:
        for name in ("load", "intensity"):
            object.__setattr__(self, name, read_profile(name, getattr(self, name)))
        super().__post_init__()
        _ = self.rated_power  # refused where it is not known
        if not si(self.horizon):
            raise InputError("horizon", given=self.horizon, expected="a time above 0")
        if (self.embodied is None) != (self.service_life is None):
            missing = "embodied" if self.embodied is None else "service_life"
            raise InputError(missing, given="nothing", expected="embodied and service_life together, or neither")
        if self.service_life is not None and not si(self.service_life):
            raise InputError("service_life", given=self.service_life, expected="a time above 0")
        if self.correlation and not (self.load_scv and self.intensity_scv):
            raise InputError("correlation", given=self.correlation, expected="load_scv and intensity_scv above 0 too")
        if self.rate is not None and not self.utilisation:
            raise InputError("utilisation", given=0, expected="above 0, if requests are served")
        if self.tokens_per_request is not None and self.rate is None:
            raise InputError("rate", given="nothing", expected="requests, if there are tokens of them")
        shorter, longer = sorted((len(self.load), len(self.intensity)))
        if longer % shorter:
            given = f"{len(self.load)} hours of load, {len(self.intensity)} of intensity"
            raise InputError("intensity", given=given, expected="one cycle a whole multiple of the other")

    # What both witnesses need

    @property
    def hours(self) -> int:
        """Hours of the cycle."""
        return max(len(self.load), len(self.intensity))

    @property
    def rated_power(self) -> float:
        """Rated power of the computers, in W."""
        return self.accelerators * self.accelerator.rated_power * self.power_overhead

    def power(self, utilisation: float | Floats) -> Floats:
        """At the meter, in W: ``pue rated (idle_share + (1 - idle_share) utilisation)``."""
        share = self.idle_share + (1 - self.idle_share) * np.asarray(utilisation, float)
        return np.asarray(self.facility.pue * self.rated_power * share)

    @property
    def hourly_intensity(self) -> Floats:
        """Carbon intensity of each hour of the cycle, in kgCO2e/kWh."""
        return si(self.region.carbon_intensity) * self._cycle(self.intensity)

    @property
    def hourly_utilisation(self) -> Floats:
        """Mean of what each hour of the cycle asks for, after the deferrable work was moved; may exceed 1.

        Errors: ``InfeasibleError`` where the work that must be done at its hour leaves no room for the rest.
        """
        asked = self.utilisation * self._cycle(self.load)
        if not self.deferrable:
            return asked
        days = (-1, 24) if self.hours % 24 == 0 else (1, -1)
        blocks = zip(asked.reshape(days), self.hourly_intensity.reshape(days), strict=True)
        return np.concatenate([shifted(work, intensity, self.deferrable) for work, intensity in blocks])

    def _cycle(self, profile: Profile | str) -> Floats:
        assert not isinstance(profile, str)
        return np.tile(np.array(profile), self.hours // len(profile))

    @property
    def embodied_carbon(self) -> float | None:
        """Embodied carbon of all accelerators in kgCO2e: the horizon's share of the service life; None if not known."""
        if self.embodied is None or self.service_life is None:
            return None
        return self.accelerators * si(self.embodied) * si(self.horizon) / si(self.service_life)

    @property
    def water_per_kwh(self) -> float | None:
        """Litres on site for a kWh at the meter, ``wue / pue``; None where it is not known."""
        return None if self.facility.wue is None else si(self.facility.wue) / self.facility.pue


def shifted(asked: Floats, intensity: Floats, share: float) -> Floats:
    """``asked`` by the hour with a ``share`` of each hour's work moved to the hours of the lowest intensity.

    Each hour takes at most what fills it (1). *Exact* least carbon for work that may move to any of these hours.

    >>> shifted(np.array([0.8, 0.4, 0.6]), np.array([1.0, 3.0, 2.0]), 0.5).round(9).tolist()
    [1.0, 0.2, 0.6]

    Errors: ``InfeasibleError`` where it does not fit.
    """
    done = asked * (1 - share)
    left = float(asked.sum() * share)
    for hour in np.argsort(intensity, kind="stable"):
        moved = min(left, max(1 - float(done[hour]), 0.0))
        done[hour] += moved
        left -= moved
    if left > 1e-9 * asked.sum():
        raise InfeasibleError(f"deferrable work of {left:.3g} full hours finds no room: use more accelerators")
    return done
