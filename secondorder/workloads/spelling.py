"""A law in one line: its word, its first field, the others as ``name=value``.

``str`` of a ``Spelled`` law gives what ``read`` reads back to an equal law.
"""

import re
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, ClassVar, TypeVar

import pint

from secondorder.errors import InputError, UnknownName
from secondorder.quantities import Checked


class Spelled(Checked):
    """A frozen dataclass with a spelling."""

    word: ClassVar[str]

    def __str__(self) -> str:
        first, *others = fields(self)  # type: ignore[arg-type]
        spelt = [f"{field.name}={_spell(getattr(self, field.name))}" for field in others]
        return " ".join([self.word, _spell(getattr(self, first.name)), *spelt])


L = TypeVar("L", bound=Spelled)


def read(text: str, laws: Mapping[str, type[L]], *, what: str, example: str) -> L:
    """The one of ``laws`` (by word) that ``text`` spells; ``what`` names it in errors.

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
    given = _given(law, rest, what)
    try:
        return law(**given)
    except InputError as error:
        raise error.within(what) from None


def _given(law: type[Spelled], text: str, what: str) -> dict[str, Any]:
    """The fields of ``law`` that ``text`` gives, each a string, or a float where it is a bare number."""
    known = [field.name for field in fields(law)]  # type: ignore[arg-type]
    first, *rest = re.split(r"(?<!\S)(\w+)\s*=", text)
    pairs = list(zip(rest[::2], rest[1::2], strict=True))
    if first.strip():
        pairs.insert(0, (known[0], first))
    given: dict[str, Any] = {}
    for name, value in pairs:
        if name not in known:
            raise UnknownName.among(f"{what}: field of {law.word}", name, known)
        if name in given:
            raise InputError(f"{what}.{name}", given="two values", expected="one")
        given[name] = _plain(value.strip())
    if missing := [name for name in known if name not in given]:
        usage = " ".join([law.word, f"<{known[0]}>", *(f"{name}=<{name}>" for name in known[1:])])
        raise InputError(what, given=f"{text.strip()!r} without {', '.join(missing)}", expected=usage)
    return given


def _spell(value: object) -> str:
    """A field's value as text that reads back to the same value."""
    if isinstance(value, pint.Quantity):
        return f"{_spell(value.m)} {value.u:D}".replace(" / ", "/").replace("second", "s")
    return repr(value).removesuffix(".0")


def _plain(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text
