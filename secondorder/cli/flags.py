"""Flags made of the fields of dataclasses: their names, texts, kinds of value and defaults are typed nowhere else.

A flag takes what a plan takes: a quantity with its unit, a name of the zoo, a line, or a TOML table. The fields of a
field that is itself a scenario or a job are flags like the others, under their own names.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, make_dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from cyclopts import Group, Parameter

from secondorder.cli.options import REQUIRED, margin_of, run_of
from secondorder.errors import FileError, InputError
from secondorder.systems.system import System

if TYPE_CHECKING:
    from secondorder.plans.fields import ShownField

OPTIONAL = Group("Optional", sort_key=2)
INNER = {
    "Serving": Group("Service (as in vLLM)", sort_key=3),
    "Deployment": Group("Replicas", sort_key=2),
    "TrainingJob": Group("Job", sort_key=3),
    "Layout": Group("Layout", sort_key=4),
}
"""Groups of the flags that are not required: the fields of a field are together."""

T = TypeVar("T")
Path = tuple[str, ...]
Given = Mapping[str, str | bool]
"""What flags were given, by their names."""


@dataclass(frozen=True)
class Flag:
    """A flag, and the place of its field: ``("serving", "model")``."""

    field: "ShownField"
    path: Path
    group: Group
    shown: bool = True

    @property
    def name(self) -> str:
        """As in Python, with underscores."""
        return self.field.name

    def optional(self) -> "Flag":
        """The same flag where it need not be given."""
        return replace(self, field=replace(self.field, required=False))

    @property
    def member(self) -> tuple[str, object] | tuple[str, object, object]:
        """Of the dataclass that holds a command's flags; without a default where the flag is required."""
        one = self.field
        help = Parameter(
            group=REQUIRED if one.required else self.group,
            allow_leading_hyphen=not one.truth,
            help=one.text,
            metavar=None if one.choices or one.truth else one.metavar,
            choices=one.choices or None,
            show_default=one.default or False,
            show=self.shown,
        )
        kind = bool if one.truth else str
        if one.required:
            return one.name, Annotated[kind, help]
        return one.name, Annotated[kind | None, help], field(default=None)


def flags_of(kind: type, group: Group = OPTIONAL, path: Path = (), taken: Set[str] = frozenset()) -> Iterator[Flag]:
    """A flag for each field; a field that is spelt by a table only is replaced by the flags of its own fields.

    Where the outer one has a field of that name too, the inner one has its place before it: serving_kv_precision.
    """
    from secondorder.plans.fields import shown_fields

    known = shown_fields(kind)
    for one in known.values():
        if one.table is not None:
            inner = INNER[one.table.__name__]
            yield from flags_of(one.table, inner, (*path, one.name), taken | known.keys())
        elif not (path and one.name == "name"):
            shown = replace(one, name=f"{path[-1]}_{one.name}") if path and one.name in taken else one
            yield Flag(shown, (*path, one.name), group)


def flag_of(kind: type, field: str, path: Path, group: Group, name: str = "") -> Flag:
    """An optional flag for one field of ``kind``, which may have another name."""
    from secondorder.plans.fields import shown_fields

    one = shown_fields(kind)[field]
    return Flag(replace(one, name=name or field, required=False), path, group)


def attach(command: Callable[..., None], flags: Sequence[Flag], system: System) -> Callable[..., None]:
    """The command, whose parameter ``values`` holds these flags; margin and run have the defaults of the system."""
    space = {"__module__": __name__}  # else it passes for a type of the standard library
    members = [flag.member for flag in flags]
    made = make_dataclass(f"{command.__name__}_flags", members, frozen=True, kw_only=True, namespace=space)
    command.__annotations__["values"] = Parameter(name="*")(made)
    defaults = dict(command.__kwdefaults__ or {})
    if not any(flag.field.required for flag in flags):
        defaults["values"] = made()
    if "run" in command.__annotations__:
        command.__annotations__ |= {"margin": margin_of(system), "run": run_of(system)}
        defaults["run"] = command.__annotations__["run"]()
    command.__kwdefaults__ = defaults
    return command


def given_in(values: object, flags: Iterable[Flag]) -> dict[str, str | bool]:
    """The flags that were given, by name."""
    return {flag.name: value for flag in flags if (value := getattr(values, flag.name)) is not None}


def nested(flags: Iterable[Flag], given: Given) -> dict[str, Any]:
    """The tables that a plan would have for the flags that were given."""
    from secondorder.plans.text import plain_value

    table: dict[str, Any] = {}
    for flag in flags:
        if flag.name in given:
            inner, value = table, given[flag.name]
            for name in flag.path[:-1]:
                inner = inner.setdefault(name, {})
            inner[flag.path[-1]] = plain_value(value) if isinstance(value, str) else value
    return table


def build(kind: type[T], table: Mapping[str, object], flags: Iterable[Flag]) -> T:
    """The scenario that a table spells. Errors name the flag rather than the field's place."""
    from secondorder.plans.tables import Tables

    try:
        return Tables().build(kind, table)
    except FileError:
        raise
    except InputError as error:
        raise by_flag(error, flags) from None


def by_flag(error: InputError, flags: Iterable[Flag]) -> InputError:
    """The same error, with the flag's name in the place of its field's."""
    places = {".".join(flag.path): flag.name for flag in flags}
    for place in sorted(places, key=len, reverse=True):
        if match := re.fullmatch(rf"{re.escape(place)}(\W.*)?", error.what):
            error.what = places[place] + (match[1] or "")
            return error
    for outer in sorted({place.rpartition(".")[0] for place in places}, key=len, reverse=True):
        if outer and error.what.startswith(f"{outer}."):
            error.what = error.what.removeprefix(f"{outer}.")
            return error
    return error
