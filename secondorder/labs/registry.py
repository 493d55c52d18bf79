"""The labs: each module of this package that has a ``LAB``."""

import pkgutil
from functools import cache
from importlib import import_module
from importlib.resources import files
from pathlib import Path

from secondorder.errors import UnknownName
from secondorder.labs.lab import Lab

_PARTS = ("lab", "dots", "drawing", "shell", "registry", "notebooks", "export")


@cache
def labs() -> dict[str, Lab]:
    """The labs by name, in their order."""
    import secondorder.labs as package

    names = [module.name for module in pkgutil.iter_modules(package.__path__) if module.name not in _PARTS]
    found: list[Lab] = [import_module(f"{package.__name__}.{name}").LAB for name in names]
    return {lab.name: lab for lab in sorted(found, key=lambda lab: lab.number)}


def lab_of(word: str) -> Lab:
    """A lab by its name or number. Errors: ``UnknownName``, with the near ones.

    >>> lab_of("1").name, lab_of("tail").number
    ('knee', 2)
    """
    for lab in labs().values():
        if word in (lab.name, str(lab.number)):
            return lab
    raise UnknownName.among("lab", word, list(labs()))


def notebook(lab: Lab) -> Path:
    """The file of its notebook."""
    return Path(str(files("secondorder.labs.notebooks").joinpath(f"{lab.name}.py")))
