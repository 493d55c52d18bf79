"""Plans with values of the wrong kind in any field: refused in one line, never with a traceback."""

import math
from dataclasses import fields
from typing import Any

import pytest

from secondorder.cli.flags import flags_of, nested
from secondorder.errors import SecondOrderError
from secondorder.plans.fields import shown_fields
from secondorder.plans.tables import Tables
from secondorder.scenarios.kinds import FAMILIES
from secondorder.systems.registry import SYSTEMS

JUNK: tuple[Any, ...] = (
    3,
    -1,
    0,
    math.nan,
    10**400,
    True,
    "",
    "h100_sxm",
    "3",
    "1e999 s",
    "exponential",
    "kind",
    "\x1b[31m",
    "x" * 10_000,
    [],
    [1],
    [["a"]],
    [{}],
    {},
    {"kind": "x"},
    {"kind": 3},
    {"like": "x"},
    {"like": []},
    {"a": {"b": [1]}},
    {"": ""},
)


@pytest.mark.parametrize("word", SYSTEMS)
def test_a_plan_with_junk_in_a_field_is_read_or_refused_in_one_line(word: str) -> None:
    system = SYSTEMS[word]
    table = nested(list(flags_of(system.type)), system.example_values)
    refused = 0
    for name in shown_fields(system.type):
        for value in JUNK:
            refused += _is_refused(system.type, {**table, name: value})
    assert refused > len(JUNK)


KINDS = [(kind.word, kind.type) for family in FAMILIES for kind in family.kinds if kind.word != "trace"]


@pytest.mark.parametrize("kind", [type for _, type in KINDS], ids=[word for word, _ in KINDS])
def test_a_kind_with_junk_in_a_field_is_read_or_refused_in_one_line(kind: type) -> None:
    for field in fields(kind):
        for value in JUNK:
            _is_refused(kind, dict.fromkeys([each.name for each in fields(kind)], "1") | {field.name: value})


def _is_refused(kind: type, table: dict[str, Any]) -> bool:
    try:
        Tables().build(kind, table)
    except SecondOrderError as error:
        refusal = error
    else:
        return False
    assert str(refusal).isprintable(), "in one line, and no escapes for the terminal"
    assert len(str(refusal)) < 2_000
    assert refusal.exit_code > 1
    return True
