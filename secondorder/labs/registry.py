"""The labs: each module of this package that has a ``LAB``."""

import pkgutil
from functools import cache
from importlib import import_module
from importlib.resources import files
from pathlib import Path

from secondorder.errors import UnknownName
from secondorder.labs.lab import Lab

_PACKAGE = "secondorder.labs"
_PARTS = ("lab", "dots", "drawing", "shell", "pictures", "registry", "notebooks", "export", "serve")


@cache
def labs() -> dict[str, Lab]:
    """The labs by name, in their order."""
    found = [_load(name) for name in _names()]
    return {lab.name: lab for lab in sorted(found, key=lambda lab: lab.number)}


def _names() -> list[str]:
    modules = pkgutil.iter_modules(import_module(_PACKAGE).__path__)
    return [module.name for module in modules if module.name not in _PARTS]


def _load(name: str) -> Lab:
    found: Lab = import_module(f"{_PACKAGE}.{name}").LAB
    return found


def lab_of(word: str) -> Lab:
    """A lab by its name or number. Errors: ``UnknownName``, with the near ones.

    >>> lab_of("1").name, lab_of("tail").number
    ('knee', 2)
    """
    if word in _names():
        return _load(word)  # without loading the others
    for lab in labs().values():
        if word == str(lab.number):
            return lab
    raise UnknownName.among("lab", word, list(labs()))


def notebook(lab: Lab) -> Path:
    """The file of its notebook."""
    return Path(str(files("secondorder.labs.notebooks").joinpath(f"{lab.name}.py")))
