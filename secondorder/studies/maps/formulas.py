"""The approximations of the maps: orders that ``solve`` gives, and further formulas."""

from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any

from secondorder.analytic.queues.multiserver_general import allen_cunneen
from secondorder.analytic.training.periodic import exact_goodput
from secondorder.breakdown.fields import Coordinates, Field
from secondorder.breakdown.rows import Row
from secondorder.studies.maps.grounds import ground_of
from secondorder.studies.maps.points import Amounts, Formula
from secondorder.studies.maps.training import interval_at
from secondorder.systems.registry import SYSTEMS
from secondorder.systems.system import loaded
from secondorder.validation.catalogue import queueing

OF_SCENARIOS: Mapping[str, Callable[[Any], Amounts]] = {
    "kingman": queueing.kingman,
    "marchal": queueing.marchal,
    "index_of_dispersion": queueing.dispersed,
}
"""Formulas that take the scenario."""


def _pollaczek_khinchine(point: Coordinates) -> Amounts:
    load = point["load"]
    return {"wait_mean": load * (1 + point["service_scv"]) / (2 * (1 - load))}


def _daly_of_weibull(point: Coordinates) -> Amounts:
    given = {"interval": interval_at(point), "write": point["write"]}
    return {"goodput": float(exact_goodput(**given, mtbf=1.0))}


def _allen_cunneen(point: Coordinates) -> Amounts:
    servers = round(point["servers"])
    wait = allen_cunneen(
        arrival_rate=point["load"] * servers,
        mean_service=1.0,
        arrival_scv=point["arrival_scv"],
        service_scv=1.0,
        servers=servers,
    )
    return {"wait_mean": float(wait)}


OF_POINTS: Mapping[str, Formula] = {
    "pollaczek_khinchine": _pollaczek_khinchine,
    "daly_of_weibull": _daly_of_weibull,
    "allen_cunneen": _allen_cunneen,
}
"""Formulas that take the coordinates: times in units of a mean service."""


def formula_of(row: Row) -> Formula:
    """What the approximation says at a point of its map."""
    if row.name in OF_POINTS:
        return OF_POINTS[row.name]
    scenario_at = ground_of(row.field).scenario
    if row.name in OF_SCENARIOS:
        return lambda point: OF_SCENARIOS[row.name](scenario_at(point))
    return partial(_rung, row)


def _rung(row: Row, point: Coordinates) -> Amounts:
    rungs = _solved(row.field, tuple(point[axis.name] for axis in row.field.axes))
    return {metric: amount for (metric, order), amount in rungs.items() if order == row.order}


@lru_cache(maxsize=2_000)
def _solved(field: Field, values: tuple[float, ...]) -> Mapping[tuple[str, int | None], float]:
    """The closed forms without their maps, since a map must not consult itself. Formulas of one field share them."""
    point = dict(zip((axis.name for axis in field.axes), values, strict=True))
    answer = loaded(SYSTEMS[field.system].closed_form)(ground_of(field).scenario(point))
    return {(rung.metric, rung.order): rung.amount for rung in answer.estimates}
