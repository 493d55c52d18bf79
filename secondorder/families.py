"""Families of types: what may stand in a field, and how a line of text spells it.

A field is annotated with types: ``checkpoint: CheckpointPolicy`` takes one of four dataclasses. The family that has
most of these types reads a text for the field, wherever the field is declared and however its union is written.
``scenarios.kinds`` lists the families; it is loaded when the first text has to be read.

>>> from secondorder.scenarios.training import AsyncCheckpoint, Checkpoint
>>> family = family_of(frozenset({Checkpoint, AsyncCheckpoint, type(None)}))
>>> family.name, family.value("blocking 30 min write=60 s", "checkpoint") == Checkpoint(interval="1800 s", write="60 s")
('checkpoint', True)
"""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import Field, dataclass, fields
from functools import lru_cache
from importlib import import_module
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Union, cast, get_args, get_origin

from secondorder.errors import InputError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from secondorder.zoo import Zoo

Members = frozenset[Hashable]
"""The types of a field, one by one; a generic alias such as ``tuple[float, ...]`` counts as a type."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A type of a family by its ``word`` in texts and tables, with an ``example`` of a line where it has one."""

    word: str
    type: type
    example: str = ""


@dataclass(frozen=True, kw_only=True)
class Family:
    """Types that may stand in a field beside one another.

    - ``name``: what the family is called.
    - ``example``: line of text that spells one of them.
    - ``read``: function of a text and the field's name that returns the value.
    - ``expected``: what errors say is expected in a plan.
    - ``kinds``: types that have a word.
    - ``types``: types without a word; a table without a kind spells the first of them.
    - ``zoo``: collection whose entries are called by name.
    - ``default``: word of a table without a kind.
    - ``metavar``: word for a value in the help.
    - ``help``: what the help says is expected; ``expected`` if not given.
    """

    name: str
    example: str
    read: Callable[[str, str], object]
    expected: str
    kinds: tuple[Kind, ...] = ()
    types: tuple[Hashable, ...] = ()
    zoo: "Zoo[object] | None" = None
    default: str = ""
    metavar: str = "LINE"
    help: str = ""

    @property
    def members(self) -> Members:
        """All types of the family."""
        return frozenset(kind.type for kind in self.kinds) | frozenset(self.types)

    def words(self, members: Members) -> Mapping[str, type]:
        """The types by word that a field of these types takes; all of them where it is annotated with a protocol."""
        fitting = {kind.word: kind.type for kind in self.kinds if kind.type in members}
        return fitting or {kind.word: kind.type for kind in self.kinds}

    def value(self, text: str, what: str) -> object:
        """The value that a text spells. Errors: ``InputError``, which names ``what``."""
        return self.read(text, what)


def fields_of(owner: object) -> "tuple[Field[object], ...]":
    """The fields of a dataclass, or of a value of one."""
    found: tuple[Field[object], ...] = fields(cast("type[DataclassInstance]", owner))
    return found


def members_of(hint: object) -> Members:
    """The types that an annotation names, None included.

    >>> sorted(each.__name__ for each in members_of(int | Annotated[str, "a unit"] | None))
    ['NoneType', 'int', 'str']
    """
    if get_origin(hint) in (Union, UnionType):
        return frozenset().union(*map(members_of, get_args(hint)))
    if get_origin(hint) is Annotated:
        return members_of(get_args(hint)[0])
    return frozenset({hint}) if isinstance(hint, Hashable) else frozenset()


@lru_cache(maxsize=512)
def family_of(members: Members) -> Family | None:
    """The family that has most of these types; of two that have equally many, the smaller one."""
    found = [(len(family.members & members), -len(family.members), family) for family in families()]
    best = max(found, key=lambda one: one[:2], default=(0, 0, None))
    return best[2] if best[0] else None


@lru_cache(maxsize=1)
def families() -> tuple[Family, ...]:
    """All families. They are named where all their types are known, which is above this module."""
    listed: tuple[Family, ...] = import_module("secondorder.scenarios.kinds").FAMILIES
    return listed


def read_text(text: str, members: Members, what: str) -> object:
    """The value that a text spells for a field of these types; the text itself where no family reads it.

    Errors: ``InputError`` also for a value that the field does not take.
    """
    family = family_of(members)
    if family is None:
        return text
    value = family.value(text, what)
    plain = tuple(each for each in members if isinstance(each, type) and each is not NoneType)
    if any(getattr(each, "_is_protocol", False) for each in plain) or isinstance(value, plain):
        return value
    raise InputError(what, given=repr(text), expected=family.expected)
