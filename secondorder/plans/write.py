"""Scenarios as plan files: TOML that ``read_plan`` reads back to equal scenarios.

A field that has its default is left out, an entry of a zoo is called by its name, and a value is a line of text where
that reads back to it, else a table.

>>> import secondorder as so
>>> print(so.write_plan(so.Queue(arrivals="poisson 8 request/s", service="lognormal 100 ms scv=4", servers=2)), end="")
[queue]
arrivals = "poisson 8 request/s"
service = "lognormal 0.1 s scv=4"
servers = 2
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import is_dataclass
from os import PathLike
from types import NoneType
from typing import Annotated, get_args, get_origin, get_type_hints

import numpy as np
import pint

from secondorder.errors import InputError, naming
from secondorder.families import Family, family_of, fields_of, members_of
from secondorder.files import write_aside
from secondorder.quantities import Unit, quantity, readable
from secondorder.scenarios.scenario import Scenario
from secondorder.spelling import Spelled, is_default, spell, spelled
from secondorder.systems.registry import system_of
from secondorder.workloads.lengths import Empirical
from secondorder.workloads.traces import Trace


def write_plan(scenario: Scenario, *others: Scenario, file: str | PathLike[str] | None = None) -> str:
    """The plan of one or several scenarios, which is also written to ``file`` if given.

    Errors: ``InputError`` for a value that no plan can spell, such as recorded times in memory; scenarios need names
    of their own.
    """
    scenarios = (scenario, *others)
    names = [each.name for each in scenarios]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise InputError("name", given=f"two scenarios {twice!r}", expected="a different name for each")
    words = [system_of(each).word for each in scenarios]
    text = "\n".join(
        "\n".join(_lines(_headed(word, words.count(word) > 1), word, _table(each)))
        for word, each in sorted(zip(words, scenarios, strict=True), key=lambda one: words.index(one[0]))
    )
    if file is not None:
        with write_aside(file) as aside:
            aside.write_text(text + "\n", encoding="utf-8")
    return text + "\n"


def _headed(word: str, several: bool) -> str:
    return f"[[{word}]]" if several else f"[{word}]"


# Values as TOML has them


def _table(owner: object, **first: object) -> dict[str, object]:
    """The fields of a dataclass that do not have their defaults, as values of TOML."""
    hints = get_type_hints(type(owner), include_extras=True)
    table = dict(first)
    for field in fields_of(owner):
        value = getattr(owner, field.name)
        if not field.init or field.name == "sources" or value is None:
            continue
        with naming(field.name):
            if field.name in getattr(owner, "_shapes", ()):
                table[field.name] = _factor(value)
            elif isinstance(value, np.ndarray) or not is_default(field, value):
                table[field.name] = _value(value, hints[field.name])
    return table


def _value(value: object, hint: object) -> object:
    """A field's value as TOML has it: a text, a number, a list or a table."""
    if isinstance(value, pint.Quantity):
        unit = _unit(hint)
        return _quantity(value.m, unit.symbol) if unit else spell(value)
    if isinstance(value, (str, bool, int, float)):
        return value
    if isinstance(value, Mapping):
        return {_key(key): _value(each, hint) for key, each in value.items()}
    family = family_of(members_of(hint)) or family_of(frozenset({type(value)}))
    if is_dataclass(value):
        return _entry(value, family) or _line(value, family) or _as_table(value, hint, family)
    if isinstance(value, Sequence):
        return [_value(each, type(each)) for each in value]
    raise InputError("value", given=f"a {type(value).__name__}", expected="a value that a plan can spell")


def _entry(value: object, family: Family | None) -> str | None:
    """The name of an entry of the family's zoo that is equal to the value."""
    zoo = family.zoo if family else None
    return next((name for name, entry in zoo.items() if entry == value), None) if zoo is not None else None


def _line(value: object, family: Family | None) -> str | None:
    """The line that spells the value, if it has one that reads back to it."""
    if family is None:
        return None
    word = next((kind.word for kind in family.kinds if kind.type is type(value)), "")
    if not word and {type(value)}.isdisjoint(family.types):
        return None
    try:
        line = str(value) if isinstance(value, Spelled) else spelled(word, value).strip()
        return line if family.value(line, "value") == value else None
    except (InputError, TypeError):  # nothing that a line can say
        return None


def _as_table(value: object, hint: object, family: Family | None) -> dict[str, object]:
    """A value as a table of its fields, with the word of its kind where there are several."""
    if isinstance(value, Trace):
        return _trace(value)
    kinds = family.kinds if family else ()
    word = next((kind.word for kind in kinds if kind.type is type(value)), None)
    known = [each for each in members_of(hint) if isinstance(each, type) and not getattr(each, "_is_protocol", False)]
    if isinstance(value, Empirical) or (word is None and (type(value) not in known or _holds_arrays(value))):
        given = f"a {type(value).__name__} in memory"
        remedy = "keep recorded values in a file, and read them with read_trace" if _holds_arrays(value) else ""
        raise InputError("value", given=given, expected=family.expected if family else "fields", remedy=remedy)
    return _table(value, kind=word) if word else _table(value)


def _holds_arrays(value: object) -> bool:
    return any(isinstance(getattr(value, field.name), np.ndarray) for field in fields_of(value))


def _trace(trace: Trace) -> dict[str, object]:
    """A trace by the file that it was read from."""
    if trace.origin is None:
        raise InputError(
            "trace",
            given="a trace in memory, or a part of one",
            expected="the whole of a file",
            remedy="write its requests to a file, and read them with read_trace",
        )
    return {"kind": "trace", **trace.origin}


def _unit(hint: object) -> Unit | None:
    """The unit of a field."""
    if get_origin(hint) is Annotated:
        return next((extra for extra in get_args(hint)[1:] if isinstance(extra, Unit)), None)
    return next((unit for each in get_args(hint) if each is not NoneType and (unit := _unit(each))), None)


def _key(key: object) -> str:
    """A key of a table; of a link the two ranks."""
    return "-".join(map(str, key)) if isinstance(key, tuple) else str(key)


def _quantity(value: float, unit: str) -> str:
    """A quantity in the unit that it is best read in, where that reads back to it exactly; else in its own."""
    scale, symbol = readable(value, unit)
    short = f"{value / scale:.6g} {symbol}".strip()
    try:
        return short if quantity(short, unit).m == value else f"{spell(float(value))} {unit}".strip()
    except InputError:
        return f"{spell(float(value))} {unit}".strip()


def _factor(law: object) -> str:
    """A law of mean 1 that is a factor, without its mean."""
    if not isinstance(law, Spelled):
        raise InputError("value", given=f"a {type(law).__name__} in memory", expected="a law without its mean")
    word, _, _, *shape = str(law).split(" ")  # the mean is a number and its unit
    return " ".join([word, *shape])


# Lines of TOML


def _lines(head: str, path: str, table: Mapping[str, object]) -> Iterator[str]:
    """A table: its plain values first, then the tables in it."""
    yield head
    inner = {key: value for key, value in table.items() if isinstance(value, Mapping)}
    for key, value in table.items():
        if key not in inner:
            yield f"{_bare(key)} = {_toml(value)}"
    for key, value in inner.items():
        place = f"{path}.{_bare(key)}"
        yield ""
        yield from _lines(f"[{place}]", place, value)


def _toml(value: object) -> str:
    """A value on one line."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_bare(key)} = {_toml(each)}" for key, each in value.items()) + " }"
    assert isinstance(value, Sequence)
    return f"[{', '.join(map(_toml, value))}]"


def _bare(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _toml(key)
