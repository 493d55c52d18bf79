"""What a plan file may hold, as a JSON schema for editors and checkers."""

import types
from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass
from typing import Annotated, Any, Literal, TypeAlias, Union, get_args, get_origin, get_type_hints

from annotated_types import Ge, Gt, Le, Lt

from secondorder.plans.fields import ShownField, shown_fields
from secondorder.plans.text import plain_value
from secondorder.quantities import Quantity, Unit
from secondorder.systems.registry import SYSTEMS

Schema: TypeAlias = dict[str, Any]


def plan_schema() -> Schema:
    """Of a whole plan: a table, or an array of tables, for each kind of scenario."""
    definitions = {word: _with_assertions(table_schema(system.type)) for word, system in SYSTEMS.items()}
    tables = {
        word: {"anyOf": [{"$ref": f"#/$defs/{word}"}, {"type": "array", "items": {"$ref": f"#/$defs/{word}"}}]}
        for word in SYSTEMS
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "secondorder plan",
        "type": "object",
        "properties": {"assert": _ASSERT, **tables},
        "additionalProperties": False,
        "minProperties": 1,
        "$defs": definitions,
    }


_ASSERT = {
    "description": "what must hold, checked by secondorder check",
    "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
    "examples": [["ttft_p99 < 500 ms"]],
}


def _with_assertions(table: Schema) -> Schema:
    return {**table, "properties": {**table["properties"], "assert": _ASSERT}}


def table_schema(kind: type) -> Schema:
    """Of the table that gives a dataclass's fields."""
    hints, known = get_type_hints(kind, include_extras=True), shown_fields(kind)
    properties: Schema = {}
    for name, one in known.items():
        value = table_schema(one.table) if one.table is not None else _value(hints[name])
        properties[name] = {**value, **({"description": one.text} if one.text else {}), **_default(one)}
    summary = (kind.__doc__ or "").strip().splitlines()
    return {
        "type": "object",
        **({"description": summary[0].replace("``", "")} if summary else {}),
        "properties": properties,
        "required": [name for name, one in known.items() if one.required],
        "additionalProperties": False,
    }


def _default(one: ShownField) -> Schema:
    return {} if one.default is None else {"default": plain_value(one.default)}


def _value(hint: object) -> Schema:
    """Of the values that a field of this type takes in a plan."""
    if get_origin(hint) is Annotated:
        kind, *extras = get_args(hint)
        unit = next((extra for extra in extras if isinstance(extra, Unit)), None)
        if unit is not None:
            return {"type": "string", "description": f"a quantity in {unit.symbol}", "examples": [f"1 {unit.symbol}"]}
        return {**_value(kind), **_bounds(extras)}
    if get_origin(hint) in (Union, types.UnionType):
        members = [member for member in get_args(hint) if member not in (type(None), Quantity)]
        found = [_value(member) for member in members]
        texts = {"type": "string"} in found
        unlike = [each for each in found if not (texts and each == {"type": "string"})]
        unlike = _unique([*unlike, *[{"type": "string"}] * texts])
        return unlike[0] if len(unlike) == 1 else {"anyOf": unlike}
    if get_origin(hint) is Literal:
        return {"enum": list(get_args(hint))}
    if hint in _PLAIN:
        return {"type": _PLAIN[hint]}
    if isinstance(hint, type) and is_dataclass(hint):
        return {"anyOf": [{"type": "string"}, {"type": "object"}]}
    if get_origin(hint) in (Mapping, dict):
        return {"type": "object"}
    if get_origin(hint) in (tuple, list, Sequence):
        return {"type": ["array", "string"]}
    return {}


_PLAIN = {int: "integer", float: "number", bool: "boolean", str: "string"}


def _bounds(extras: Sequence[object]) -> Schema:
    found: Schema = {}
    for extra in extras:
        match extra:
            case Ge():
                found["minimum"] = extra.ge
            case Gt():
                found["exclusiveMinimum"] = extra.gt
            case Le():
                found["maximum"] = extra.le
            case Lt():
                found["exclusiveMaximum"] = extra.lt
    return found


def _unique(values: Sequence[Schema]) -> list[Schema]:
    return [value for place, value in enumerate(values) if value not in values[:place]]
