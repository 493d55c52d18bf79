"""Energy, carbon and water of a fleet in closed form: where the mean of a product is not the product of the means.

Power in W, times in s, energy in kWh, intensity in kgCO2e/kWh, carbon in kgCO2e.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from secondorder.analytic.arguments import Floats, Real, non_negative, plain, positive
from secondorder.answers.answer import Answer
from secondorder.answers.estimate import Claim, Rung, rung
from secondorder.errors import InputError
from secondorder.fleets.regions import Region, one_basis
from secondorder.quantities import pretty, si
from secondorder.scenarios.footprint import JOULES_PER_KWH, Footprint

OVERFLOW = 1e-3
"""Share of the work past an hour's capacity above which the closed forms are out of their domain."""


def power(*, rated: Real, utilisation: Real, idle_share: Real) -> Real:
    """Power in W at a utilisation: ``rated (idle_share + (1 - idle_share) utilisation)``.

    *Approximation*: linear between rest and full work. ``rated`` in W, the others shares from 0 to 1; all broadcast.
    Errors: ``InputError``. *Source*: Fan, Weber and Barroso, Power provisioning for a warehouse-sized computer (2007).

    >>> power(rated=700.0, utilisation=0.5, idle_share=0.3).__round__(9)
    455.0
    """
    idle, busy = _share("idle_share", idle_share), _share("utilisation", utilisation)
    return plain(positive("rated", rated) * (idle + (1 - idle) * busy))


def energy(*, power: Real, seconds: Real) -> Real:
    """Energy in kWh: ``power seconds / 3.6e6``.

    *Exact*. ``power`` in W, ``seconds`` in s; broadcast. Errors: ``InputError``. *Source*: definition.

    >>> energy(power=1000.0, seconds=3600.0)
    1.0
    """
    return plain(non_negative("power", power) * non_negative("seconds", seconds) / JOULES_PER_KWH)


def mean_product(*, power: npt.ArrayLike, intensity: npt.ArrayLike) -> float:
    """Mean of power times intensity over the hours: ``mean(power) mean(intensity) + cov(power, intensity)``.

    *Exact*. ``power`` in W and ``intensity`` in kgCO2e/kWh, one value an hour; the result in W kgCO2e/kWh.
    Errors: ``InputError``. *Source*: definition of the covariance (over n, not n - 1).

    >>> mean_product(power=[1.0, 3.0], intensity=[2.0, 1.0]), 2.0 * 1.5
    (2.5, 3.0)
    """
    x, y = non_negative("power", np.asarray(power)), non_negative("intensity", np.asarray(intensity))
    if x.shape != y.shape or not x.size:
        raise InputError("intensity", given=f"{y.size} hours", expected=f"as many as of power, {x.size}")
    covariance = ((x - x.mean()) * (y - y.mean())).mean()
    return float(x.mean() * y.mean() + covariance)


def noise_factor(*, load_scv: Real, intensity_scv: Real, correlation: Real) -> Real:
    """Mean of the product of two lognormal factors of mean 1: ``exp(r s1 s2)``, ``s^2 = ln(1 + scv)``.

    *Exact*. ``correlation`` ``r`` of the logarithms, -1 to 1; all broadcast. Errors: ``InputError``. *Source*: the
    sum of jointly normal variables is normal; Aitchison and Brown, The Lognormal Distribution (1957).

    >>> round(noise_factor(load_scv=0.25, intensity_scv=0.25, correlation=1.0), 9)    # E[X^2] = 1 + scv
    1.25
    """
    one, other = np.log1p(non_negative("load_scv", load_scv)), np.log1p(non_negative("intensity_scv", intensity_scv))
    between = np.asarray(correlation, float)
    if not (np.abs(between) <= 1).all():
        raise InputError("correlation", given=correlation, expected="-1 to 1")
    return plain(np.exp(between * np.sqrt(one * other)))


def overflow(*, utilisation: Real, load_scv: Real) -> Real:
    """Mean demand beyond an hour's capacity, as a share of it: ``E[max(u X - 1, 0)]``, ``X`` lognormal of mean 1.

    ``u Phi(d) - Phi(d - s)``, ``s^2 = ln(1 + scv)``, ``d = ln(u)/s + s/2``. *Exact*. Both broadcast. Errors:
    ``InputError``. *Source*: Black and Scholes (1973), equation 13, without interest.

    >>> round(overflow(utilisation=1.0, load_scv=0.0), 9), round(overflow(utilisation=0.8, load_scv=0.04), 6)
    (0.0, 0.011489)
    """
    from scipy.special import ndtr

    u, spread = non_negative("utilisation", utilisation), np.sqrt(np.log1p(non_negative("load_scv", load_scv)))
    with np.errstate(divide="ignore", invalid="ignore"):
        d = np.log(u) / spread + spread / 2
        found = u * ndtr(d) - ndtr(d - spread)
    return plain(np.where((spread == 0) | (u == 0), np.maximum(u - 1, 0), found))


def carbon_by_region(scenario: Footprint, regions: Mapping[str, Region]) -> dict[str, float]:
    """Carbon of the same fleet in each region, in kgCO2e, the least first: operational, and embodied where it is known.

    The order-2 figure of ``solve_footprint``. Errors: ``InputError`` where the regions' intensities are on
    different bases, and do not compare.

    >>> from secondorder.fleets.accelerators import accelerators
    >>> from secondorder.fleets.regions import facilities, regions
    >>> fleet = Footprint(
    ...     accelerator=accelerators.h100_sxm, accelerators=64, power_overhead=1.8, utilisation=0.5,
    ...     horizon="365 day", region=regions.poland, facility=facilities.microsoft)
    >>> found = carbon_by_region(fleet, {name: regions[name] for name in ("poland", "norway", "quebec")})
    >>> {name: round(kg / 1e3) for name, kg in found.items()}
    {'quebec': 15, 'norway': 16, 'poland': 356}
    """
    one_basis(regions)
    answers = {name: solve_footprint(replace(scenario, region=region)) for name, region in regions.items()}
    found = {
        name: (a.best("carbon") if "carbon" in a else a.best("carbon_operational")).amount
        for name, a in answers.items()
    }
    return dict(sorted(found.items(), key=lambda pair: pair[1]))


def solve_footprint(scenario: Footprint) -> Answer:
    """Closed forms: ``energy`` (kWh), ``carbon_operational``, ``carbon_embodied``, ``carbon`` (kgCO2e), ``water`` (L).

    Totals over the horizon; with a ``rate`` also ``energy_per_request``, ``carbon_per_request`` and, with the tokens,
    ``carbon_per_token``. Order 0 takes rated power all the time, order 1 the means, order 2 the mean of the
    product of power and intensity. ``carbon`` is given where ``embodied`` is known, ``water`` where ``wue`` is.

    Outside their domain where more than a thousandth of the work exceeds its hour's capacity: it is done later.
    """
    s, work = scenario, _work(scenario)
    rows = [
        *_rungs("utilisation", [work.mean], "", ("mean of the profile",), (1,)),
        *_rungs("energy", work.kwh, "kWh", _SOURCES[:2], (0, 1)),
        *_rungs("carbon_operational", work.operational, "kgCO2e", _SOURCES, (0, 1, 2), work.late),
    ]
    totals = work.operational
    if (embodied := s.embodied_carbon) is not None:
        totals = [each + embodied for each in work.operational]
        rows += _rungs("carbon_embodied", [embodied], "kgCO2e", ("straight line over the service life",), (1,))
        rows += _rungs("carbon", totals, "kgCO2e", _SOURCES, (0, 1, 2), work.late)
    if (water := s.water_per_kwh) is not None:
        rows += _rungs("water", [each * water for each in work.kwh], "L", _SOURCES[:2], (0, 1))
    rows += _of_a_request(s, work, totals)
    what = f"{s.accelerators} x {s.accelerator.name}, horizon {pretty(si(s.horizon), 's')}"
    grid = f"{s.region.name}, carbon intensity by {_BASES[s.region.basis]}"
    how = "; ".join([what, grid, *_not_counted(s)])
    return Answer(scenario=s.name, estimates=tuple(rows), how=how)


class _Work(NamedTuple):
    """Mean utilisation; energy (kWh) and operational carbon (kgCO2e) by order; ``late``: work past an hour's capacity.

    The energy has the orders 0 and 1, the carbon also order 2.
    """

    mean: float
    kwh: list[float]
    operational: list[float]
    late: str


def _work(s: Footprint) -> _Work:
    seconds, asked, intensity = si(s.horizon), s.hourly_utilisation, s.hourly_intensity
    mean = min(float(asked.mean()), 1.0)  # all hours at full work may add up to a last digit more
    rated, at_mean, idle = (_at_meter(s, each) for each in (1.0, mean, 0.0))
    factor = float(noise_factor(load_scv=s.load_scv, intensity_scv=s.intensity_scv, correlation=s.correlation))
    resting, working = np.full_like(asked, idle), (rated - idle) * asked
    product = mean_product(power=resting, intensity=intensity)
    product = product + factor * mean_product(power=working, intensity=intensity)
    kwh = [float(energy(power=watts, seconds=seconds)) for watts in (rated, at_mean)]
    operational = [*(each * float(intensity.mean()) for each in kwh), float(product) * seconds / JOULES_PER_KWH]
    beyond = float(np.sum(overflow(utilisation=asked, load_scv=s.load_scv)) / max(asked.sum(), 1e-300))
    late = f"{100 * beyond:.2g} % of the work exceeds its hour's capacity, and is done later"
    return _Work(mean, kwh, operational, late if beyond > OVERFLOW else "")


def _of_a_request(s: Footprint, work: _Work, totals: list[float]) -> Iterator[Rung]:
    """What one request takes, and one token, where the rate is known; order 0 at the rate of full work."""
    if s.rate is None:
        return
    requests = si(s.rate) * si(s.horizon)
    full = requests / s.utilisation
    each = [totals[0] / full, totals[1] / requests, totals[2] / requests]
    kwh = [work.kwh[0] / full, work.kwh[1] / requests]
    yield from _rungs("energy_per_request", kwh, "kWh/request", _SOURCES[:2], (0, 1))
    yield from _rungs("carbon_per_request", each, "kgCO2e/request", _SOURCES, (0, 1, 2), work.late)
    if s.tokens_per_request is not None:
        tokens = [one / s.tokens_per_request for one in each]
        yield from _rungs("carbon_per_token", tokens, "kgCO2e/token", _SOURCES, (0, 1, 2), work.late)


def _rungs(
    metric: str, amounts: list[float], unit: str, sources: tuple[str, ...], orders: tuple[int, ...], late: str = ""
) -> Iterator[Rung]:
    """A rung an order; those past order 0 are outside their domain where work is ``late``."""
    for amount, source, order in zip(amounts, sources, orders, strict=True):
        claim = Claim.APPROXIMATION if order else Claim.BOUND
        yield rung(metric, amount, unit, source, order, outside=late if order else "", claim=claim)


_BASES = {"life cycle": "life cycle", "direct": "direct emissions"}


def _not_counted(s: Footprint) -> Iterator[str]:
    """What the totals leave out, and what would put it in."""
    if s.embodied is None:
        yield "embodied carbon is not counted: give embodied and service_life"
    if s.facility.wue is None:
        yield f"water is not counted: no wue is known of {s.facility.name}"


_SOURCES = ("full work, mean intensity", "mean power, mean intensity", "mean of power x intensity, by the hour")


def _at_meter(s: Footprint, utilisation: float) -> float:
    computers = power(rated=s.rated_power, utilisation=utilisation, idle_share=s.idle_share)
    return float(computers) * s.facility.pue


def _share(what: str, value: Real) -> Floats:
    found = non_negative(what, value)
    if (found > 1).any():
        raise InputError(what, given=f"{found.max():.6g}", expected="shares from 0 to 1")
    return found
