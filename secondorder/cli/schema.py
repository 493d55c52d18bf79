"""``secondorder schema``: what a plan file may hold, as a JSON schema for editors and checkers."""

import json
import types
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from annotated_types import Ge, Gt, Le
from cyclopts import Parameter

from secondorder.cli.options import OUTPUT, Output
from secondorder.cli.output import check_output, write

EXAMPLE = """\
Examples:

  secondorder schema --output plan.schema.json

  secondorder schema --table training
"""


def schema(
    *,
    table: Annotated[str | None, Parameter(help="Only the schema of this table.")] = None,
    output: Annotated[str | None, Parameter(group=OUTPUT, help="File to write instead of standard output.")] = None,
) -> None:
    """Print the JSON schema of plan files."""
    from secondorder.errors import UnknownName
    from secondorder.scenarios.scenario import SYSTEMS

    out = Output(output=output)
    check_output(out)
    if table is not None and table not in SYSTEMS:
        raise UnknownName.among("table", table, SYSTEMS)
    found = plan_schema() if table is None else table_schema(SYSTEMS[table])
    write(json.dumps(found, indent=2, ensure_ascii=False) + "\n", out)


def plan_schema() -> dict[str, Any]:
    """Of a whole plan: a table, or an array of tables, for each kind of scenario."""
    from secondorder.scenarios.scenario import SYSTEMS

    definitions = {word: _with_assertions(table_schema(kind)) for word, kind in SYSTEMS.items()}
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


def _with_assertions(table: dict[str, Any]) -> dict[str, Any]:
    return {**table, "properties": {**table["properties"], "assert": _ASSERT}}


def table_schema(kind: type) -> dict[str, Any]:
    """Of the table that gives a dataclass's fields."""
    hints = get_type_hints(kind, include_extras=True)
    known = [field for field in fields(kind) if field.init and field.name != "sources"]
    texts = field_texts(kind)
    due = [field.name for field in known if field.default is field.default_factory is MISSING]
    properties = {}
    for field in known:
        described = {"description": texts[field.name]} if field.name in texts else {}
        properties[field.name] = {**_value(hints[field.name]), **described}
    summary = (kind.__doc__ or "").strip().splitlines()
    return {
        "type": "object",
        **({"description": summary[0]} if summary else {}),
        "properties": properties,
        "required": due,
        "additionalProperties": False,
    }


def field_texts(kind: type) -> dict[str, str]:
    """What the docstring says of each field: in its list (``- ``name``: text``), or in a clause that names it."""
    import re

    found: dict[str, str] = {}
    whole = kind.__doc__ or ""
    items = re.split(r"^\s*- (?=``)", whole, flags=re.MULTILINE)[1:]
    for item in items:
        head, _, text = item.partition(":")
        words = " ".join(re.split(r"\n\s*\n", text)[0].split()).replace("``", "")
        for name in re.findall(r"``(\w+)``", head):
            found[name] = words
    clauses = re.split(r"(?<=[a-z)0-9`\"])[.;:] |\n\s*\n", " ".join(whole.split()))
    for field in fields(kind):
        if field.name not in found:
            told = next((clause for clause in clauses if f"``{field.name}``" in clause), None)
            if told is not None:
                found[field.name] = told.replace("``", "").lstrip("- ").strip()
    return found


def _value(hint: Any) -> dict[str, Any]:
    """Of the values that a field of this type takes in a plan."""
    from secondorder.quantities import Quantity, Unit

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
        unlike += [{"type": "string"}] * texts
        return unlike[0] if len(unlike) == 1 else {"anyOf": _unique(unlike)}
    if get_origin(hint) is Literal:
        return {"enum": list(get_args(hint))}
    if hint in _PLAIN:
        return {"type": _PLAIN[hint]}
    if isinstance(hint, type) and is_dataclass(hint):
        return {"anyOf": [{"type": "string"}, {"type": "object"}]}
    if get_origin(hint) in (Mapping, dict):
        return {"type": "object"}
    if get_origin(hint) in (tuple, list, Sequence):
        return {"type": "array"}
    return {}


_PLAIN = {int: "integer", float: "number", bool: "boolean", str: "string"}


def _bounds(extras: Sequence[Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for extra in extras:
        match extra:
            case Ge():
                found["minimum"] = extra.ge
            case Gt():
                found["exclusiveMinimum"] = extra.gt
            case Le():
                found["maximum"] = extra.le
    return found


def _unique(values: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [value for place, value in enumerate(values) if value not in values[:place]]
