"""Where a scenario lies on a map."""

from secondorder.breakdown.breakdown_map import BreakdownMap
from secondorder.errors import InputError
from secondorder.scenarios.scenario import Scenario
from secondorder.systems.registry import system_of
from secondorder.systems.system import loaded


def place_on(found: BreakdownMap, scenario: Scenario) -> dict[str, float]:
    """The coordinates of a scenario on a map. Errors: ``InputError`` where it does not lie there."""
    system = system_of(scenario)
    places = {} if system.places is None else loaded(system.places)(scenario, loaded(system.closed_form)(scenario))
    at = places.get(found.row.field.name)
    if at is None:
        expected = f"one of the map {found.name}: {found.row.field.given}"
        raise InputError("scenario", given=scenario.name, expected=expected)
    found.error_at(**at)  # refuses what lies beyond the ends of an axis
    return {axis.name: at[axis.name] for axis in found.axes}
