"""The fields of a dataclass as a user meets them: what each is, how its value is spelt, whether it is required.

What a field is stands in the docstring of its class, in a list with one item for each: ``- ``field``: text``. The
item ends at the next one or at an empty line, so that formulas, sources and what else is to be said stand below the
list. Its text is shown by ``--help`` and in the JSON schema as it is.

>>> from secondorder.scenarios.footprint import Footprint
>>> one = shown_fields(Footprint)["power_overhead"]
>>> one.text
'Rated power of a server over that of its accelerators (1.8); 1 counts the accelerators alone.'
>>> one.metavar, one.expected, one.required
('FLOAT', 'a number of at least 1', True)
"""

import json
import re
import types
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from functools import lru_cache
from typing import Annotated, Literal, Union, get_args, get_origin, get_type_hints

from annotated_types import Ge, Gt, Le, Lt

from secondorder.families import Family, family_of, members_of
from secondorder.plans.text import listed, plain_value
from secondorder.quantities import Quantity, Unit
from secondorder.scenarios.deployment import Deployment
from secondorder.scenarios.footprint import Profile
from secondorder.scenarios.serving import Serving
from secondorder.spelling import spelled
from secondorder.systems.registry import SYSTEMS
from secondorder.workloads.training import Layout, TrainingJob

TABLES = (Serving, Deployment, TrainingJob, Layout)
"""What a field is spelt by a table alone: a command has a flag for each of its fields."""

_UNITS = {
    "s": "TIME",
    "byte": "SIZE",
    "byte/s": "BANDWIDTH",
    **dict.fromkeys(("request/s", "sample/s", "job/s"), "RATE"),
    "token": "TOKENS",
    **dict.fromkeys(("USD", "USD/hour", "USD/kWh", "USD/s", "USD/token"), "PRICE"),
    "kgCO2e": "CARBON",
}


@dataclass(frozen=True)
class ShownField:
    """A field, its text, and how its value is spelt; ``default`` is None where there is none worth telling."""

    name: str
    text: str
    metavar: str
    expected: str
    choices: tuple[str, ...]
    required: bool
    default: str | None
    table: type | None
    """The class of a field that is spelt by a table alone."""
    truth: bool = False
    """Whether it is true or false."""


@lru_cache
def shown_fields(kind: type) -> Mapping[str, ShownField]:
    """The fields that a user may set, by name, in their order."""
    texts, hints = field_texts(kind), get_type_hints(kind, include_extras=True)
    known = [field for field in fields(kind) if field.init and field.name != "sources"]
    return {field.name: _shown(field, hints[field.name], texts.get(field.name, "")) for field in known}


def field_texts(kind: type) -> dict[str, str]:
    """What the list in the docstring says of each field, in one line, with a capital."""
    items = _ITEM.findall(kind.__doc__ or "")
    lines = {name: " ".join(text.replace("``", "").split()) for name, text in items}
    return {name: line[:1].upper() + line[1:] for name, line in lines.items()}


_ITEM = re.compile(r"^\s*- ``(\w+)``: (.+?)(?=\n\s*(?:- ``|\n|\Z)|\Z)", re.MULTILINE | re.DOTALL)


def _shown(field: Field[object], hint: object, text: str) -> ShownField:
    members = _annotated(hint)
    metavar, expected = _spelling(members, family_of(members_of(hint)))
    literal = next((member for member in members if get_origin(member) is Literal), None)
    return ShownField(
        name=field.name,
        text=text,
        metavar=metavar or field.name.upper(),
        expected=expected,
        choices=tuple(map(str, get_args(literal))),
        required=field.default is field.default_factory is MISSING,
        default=_default(field, family_of(members_of(hint))),
        table=next((member for member in members if member in TABLES), None),
        truth=set(members) == {bool},
    )


def _annotated(hint: object) -> list[object]:
    """The types that a value may be of, with what they are annotated with, None left out."""
    if get_origin(hint) in (Union, types.UnionType):
        return [member for member in get_args(hint) if member is not types.NoneType]
    return [hint]


def _spelling(members: Sequence[object], family: Family | None) -> tuple[str, str]:
    """The word for a value in ``--help`` (none: the field's own name), and what is expected, in words."""
    if family is not None:
        return family.metavar, family.help or family.expected
    plain = [member for member in members if member not in (str, Quantity)]
    kinds = {get_origin(member) or member for member in plain}
    if Profile in plain:
        return "PROFILE", 'hourly values, "flat", or "sinusoid swing=0.6 peak=15"'
    if Mapping in kinds:
        return "TABLE", "a table"
    if Sequence in kinds:
        return "LIST", "a list of numbers"
    if not plain:
        return "NAME", "a name"
    return _single(plain[0]) if len(plain) == 1 else ("", "a line" if str in members else "a value")


def _single(hint: object) -> tuple[str, str]:
    """The same of a single type."""
    if get_origin(hint) is Annotated:
        kind, *extras = get_args(hint)
        unit = next((extra.symbol for extra in extras if isinstance(extra, Unit)), None)
        return (_UNITS.get(unit, unit.upper()), f"a quantity in {unit}") if unit else _number(kind, extras)
    if get_origin(hint) is Literal:
        return "CHOICE", " or ".join(map(str, get_args(hint)))
    return _SINGLE.get(hint, ("", "a value"))


_SINGLE: Mapping[object, tuple[str, str]] = {
    int: ("INT", "an integer"),
    float: ("FLOAT", "a number"),
    bool: ("BOOL", "true or false"),
    **dict.fromkeys(TABLES, ("TABLE", "a table")),
}


def _number(kind: type, bounds: Sequence[object]) -> tuple[str, str]:
    """A number with its bounds; one between 0 and 1 is a share."""
    metavar, expected = _SINGLE[kind]
    limits = []
    for bound in bounds:
        match bound:
            case Ge(ge=least):
                limits.append(f"of at least {least}")
            case Gt(gt=least):
                limits.append(f"above {least}")
            case Le(le=most):
                limits.append(f"at most {most}")
            case Lt(lt=most):
                limits.append(f"below {most}")
    share = kind is float and Le(1) in bounds and (Ge(0) in bounds or Gt(0) in bounds)
    return "SHARE" if share else metavar, f"{expected} {' and '.join(limits)}".strip()


def _default(field: Field[object], family: Family | None) -> str | None:
    """As a user would type it."""
    value = field.default if field.default_factory is MISSING else field.default_factory()
    if value is MISSING or value is None or value == {}:
        return None
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return f"{value:g}"
    kind = next((each for each in family.kinds if each.type is type(value)), None) if family else None
    if kind is not None:
        return kind.word if value == kind.type() else spelled(kind.word, value)
    return None if is_dataclass(value) else str(value)


def expected_in_plan(kind: type, name: str) -> str:
    """What a field takes in a plan, in words, with the value that the example of the kind's command has."""
    one = shown_fields(kind)[name]
    if one.table is not None:
        required = [each.name for each in shown_fields(one.table).values() if each.required]
        return f"a table with {listed(required)}"
    system = next((known for known in SYSTEMS.values() if known.type is kind), None)
    text, expected = system.example_values.get(name) if system else None, one.expected
    if text is None or one.choices or " such as " in expected:
        return expected
    return f"{expected}, such as {json.dumps(plain_value(text), ensure_ascii=False)}"
