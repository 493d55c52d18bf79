"""The kinds of scenario: each file of this package that has a ``SYSTEM``."""

import pkgutil
from importlib import import_module
from typing import TYPE_CHECKING

from secondorder.errors import InputError
from secondorder.systems.system import System

if TYPE_CHECKING:
    from secondorder.scenarios.scenario import Scenario

_FRAMEWORK = ("system", "registry")


def _found() -> dict[str, System]:
    import secondorder.systems as package

    modules = [module.name for module in pkgutil.iter_modules(package.__path__) if module.name not in _FRAMEWORK]
    systems: list[System] = [import_module(f"{package.__name__}.{name}").SYSTEM for name in sorted(modules)]
    return {system.word: system for system in systems}


SYSTEMS: dict[str, System] = _found()
"""The kinds of scenario by the name of their table in a plan."""


def register(system: System) -> System:
    """Add a kind of scenario that is defined outside the package; solve, simulate, plans and flags then know it.

    Errors: ``InputError`` where another kind has the same name.
    """
    known = SYSTEMS.setdefault(system.word, system)
    if known is not system:
        raise InputError("system", given=repr(system.word), expected="a name that no other kind of scenario has")
    return system


def system_of(scenario: "Scenario") -> System:
    """The system that a scenario is one of.

    Errors: ``InputError`` for what is no scenario.
    """
    for system in SYSTEMS.values():
        if type(scenario).__name__ == system.name and isinstance(scenario, system.type):
            return system
    expected = f"a scenario: {', '.join(system.name for system in SYSTEMS.values())}"
    raise InputError("scenario", given=type(scenario).__name__, expected=expected)
