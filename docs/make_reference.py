"""Print docs/reference.md: every public name, one line each, by module.

python docs/make_reference.py > docs/reference.md
"""

import inspect
import pkgutil
from collections.abc import Iterator
from importlib import import_module
from types import ModuleType
from typing import Any

import secondorder as so
from secondorder.plans.fields import shown_fields
from secondorder.systems.registry import SYSTEMS
from secondorder.systems.system import System
from secondorder.zoo import Zoo

PACKAGES = ("analytic", "simulate", "validation")
HEAD = """\
# Reference

Every public name, with the first sentence of its docstring. `help(name)` has the rest: formula, conditions, units,
errors, source and an example that runs. Printed by `python docs/make_reference.py > docs/reference.md`.

## The front door: `import secondorder as so`

"""


def page() -> str:
    """The whole page."""
    for package in PACKAGES:  # first: `so.simulate` is the package, which can be called, once it is imported
        import_module(f"secondorder.{package}")
    parts = [HEAD, *(f"- `so.{name}`: {said(getattr(so, name))}\n" for name in sorted(so.__all__, key=str.lower))]
    parts += ["\n## Scenarios, by the names of their tables in a plan\n", *map(scenario, SYSTEMS.values())]
    for package in PACKAGES:
        parts.append(f"\n## `secondorder.{package}`\n")
        for module in modules(package):
            found = list(public(module))
            if found:
                parts.append(f"\n### `{module.__name__}`\n\n{said(module)}\n\n")
                parts += [line(thing) for thing in found]
    return "".join(parts)


def scenario(system: System) -> str:
    """A kind of scenario and its fields."""
    fields = "".join(f"- `{one.name}`: {one.text}\n" for one in shown_fields(system.type).values())
    return f"\n### `{system.word}`\n\n{system.title}\n\n{fields}"


def modules(package: str) -> Iterator[ModuleType]:
    """A package, and all that is in it, by name."""
    root = import_module(f"secondorder.{package}")
    yield root
    for found in sorted(pkgutil.walk_packages(root.__path__, f"{root.__name__}."), key=lambda each: each.name):
        yield import_module(found.name)


def public(module: ModuleType) -> Iterator[Any]:
    """Functions and classes that the module defines and does not keep to itself, as they stand in it."""
    for name, thing in vars(module).items():
        if not name.startswith("_") and getattr(thing, "__module__", None) == module.__name__ and callable(thing):
            yield thing


def signature(thing: Any) -> str:
    """Name and parameters, without their types."""
    if isinstance(thing, type):
        return thing.__name__
    shown = [
        each.replace(annotation=inspect.Parameter.empty, default=inspect.Parameter.empty)
        for each in inspect.signature(thing).parameters.values()
    ]
    return f"{thing.__name__}{inspect.Signature(shown)}"


def line(thing: Any) -> str:
    """An entry; formulas of the catalogue's claims have no docstring of their own."""
    return f"- `{signature(thing)}`: {said(thing)}".removesuffix(": ") + "\n"


def said(thing: Any) -> str:
    """The first paragraph of the docstring, as one line; of a zoo, its first names."""
    if isinstance(thing, Zoo):
        first, second, *_ = thing
        return f"Entries by name, with their sources: `{first}`, `{second}`, ..."
    return " ".join((inspect.getdoc(thing) or "").split("\n\n")[0].split()).replace("``", "`")


if __name__ == "__main__":
    print(page(), end="")
