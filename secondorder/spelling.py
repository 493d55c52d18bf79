"""A law in one line: its word, its first field, the others as ``name=value``.

``str`` of a ``Spelled`` law gives what ``read`` reads back to an equal law. A field that has
a default may be left out, and ``str`` leaves it out where it has that value.
"""

import re
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields
from typing import Any, ClassVar, TypeVar

import pint

from secondorder.errors import InputError, UnknownName
from secondorder.families import fields_of
from secondorder.quantities import Checked, quantity


class Spelled(Checked):
    """A frozen dataclass with a spelling."""

    word: ClassVar[str]

    def __str__(self) -> str:
        return spelled(self.word, self)


def spelled(word: str, law: object) -> str:
    """A frozen dataclass in one line: its word, its first field, the others that are not as by default.

    It reads back to an equal value unless one of its fields is a law with fields of its own.
    """
    if not fields_of(law):
        return word
    first, *others = fields_of(law)
    given = [(field, getattr(law, field.name)) for field in others]
    parts = [f"{field.name}={spell(value)}" for field, value in given if not is_default(field, value)]
    return " ".join([word, spell(getattr(law, first.name)), *parts])


def is_default(field: Field[object], value: object) -> bool:
    """Whether a field has the value that it has when nothing is given."""
    default = field.default if field.default_factory is MISSING else field.default_factory()
    if value is None or default is None or default is MISSING:
        return value is default
    if isinstance(value, pint.Quantity) and isinstance(default, str):
        return bool(value == quantity(default, f"{value.u:D}"))
    return type(value) is type(default) and bool(value == default)


L = TypeVar("L")


def read(text: str, laws: Mapping[str, type[L]], *, what: str, example: str) -> L:
    """The one of ``laws`` (dataclasses, by word) that ``text`` spells; ``what`` names it in errors.

    Errors: ``UnknownName`` for a law or a field that does not exist, ``InputError`` for a
    field missing, given twice or not readable.
    """
    word, _, rest = text.strip().partition(" ")
    if not word[:1].isalpha():
        expected = f"a law ({', '.join(laws)}) and its fields"
        raise InputError(what, given=repr(text), expected=expected, remedy=f'write "{example}"')
    if word.lower() not in laws:
        raise UnknownName.among(what, word, laws)
    law = laws[word.lower()]
    given = _given(word.lower(), law, rest, what)
    try:
        return law(**given)
    except InputError as error:
        raise error.within(what) from None


def _given(word: str, law: type, text: str, what: str) -> dict[str, Any]:
    """The fields of ``law`` that ``text`` gives, each a string, or a number where it is a bare one."""
    known = [field.name for field in fields(law)]
    first, *rest = re.split(r"(?<!\S)(\w+)\s*=", text)
    pairs = list(zip(rest[::2], rest[1::2], strict=True))
    if first.strip():
        if not known:
            raise InputError(what, given=repr(f"{word} {first.strip()}"), expected=f'"{word}" alone')
        pairs.insert(0, (known[0], first))
    given: dict[str, Any] = {}
    for name, value in pairs:
        if name not in known:
            raise UnknownName.among(f"{what}: field of {word}", name, known)
        if name in given:
            raise InputError(f"{what}.{name}", given="two values", expected="one")
        given[name] = _plain(value.strip())
    due = [field.name for field in fields(law) if field.default is MISSING]
    if missing := [name for name in due if name not in given]:
        usage = " ".join([word, f"<{known[0]}>", *(f"{name}=<{name}>" for name in due if name != known[0])])
        raise InputError(what, given=f"{text.strip()!r} without {', '.join(missing)}", expected=usage)
    return given


def read_numbers(text: str, what: str) -> list[float]:
    """Numbers with commas between them; ``14x8`` is fourteen times 8.

    >>> read_numbers("7,2x8,7", "stage_layers")
    [7, 8, 8, 7]

    Errors: ``InputError``.
    """
    found: list[float] = []
    for part in text.split(","):
        times, x, number = part.strip().rpartition("x")
        value = _plain(number.strip())
        if isinstance(value, str) or (x and not times.strip().isdigit()):
            raise InputError(what, given=repr(text), expected="a list of numbers, such as 7,14x8,7")
        found += [value] * (int(times) if x else 1)
    return found


def spell(value: object) -> str:
    """A field's value as text that reads back to the same value."""
    if isinstance(value, pint.Quantity):
        return f"{spell(value.m)} {value.u:D}".replace(" / ", "/").replace("second", "s")
    if isinstance(value, bool):
        return str(value).lower()
    return value if isinstance(value, str) else repr(value).removesuffix(".0")


def _plain(text: str) -> float | str:
    """A bare number as a number, true and false as such; anything else is left to the field to read."""
    if text in ("true", "false"):
        return text == "true"
    try:
        number = float(text)
    except ValueError:
        return text
    return int(number) if number.is_integer() and abs(number) < 2**53 else number
