"""Conditions on figures of the zoo, as ``--where`` spells them, and an order by one.

>>> from secondorder.cli.figures import Entry
>>> from secondorder.fleets.accelerators import accelerators
>>> h200 = Entry("accelerators", "h200", accelerators.h200)
>>> [condition(text).holds(h200) for text in ("memory_capacity > 80 GB", "vendor = AMD", "peak.fp4")]
[True, False, False]
"""

import math
import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from secondorder.cli.figures import Entry, Figure
from secondorder.errors import InputError, UnknownName

_RELATIONS: Mapping[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "=": operator.eq,
    "!=": operator.ne,
}
_SPELT = re.compile(r"\s*([\w.]+)\s*(?:(<=|>=|!=|==|=|<|>)\s*(.*\S)\s*)?")


@dataclass(frozen=True)
class Condition:
    """``figure relation value``; without a relation, that the entry has the figure.

    A number compares in its unit, text without regard to case and from A to Z. An entry that
    lacks the figure does not meet the condition, whatever the relation.
    """

    figure: str
    relation: str = ""
    value: str = ""

    def holds(self, entry: Entry) -> bool:
        """``InputError`` where the value is not of the figure's kind and unit."""
        figure = entry.figures.get(self.figure)
        if figure is None or not self.relation:
            return figure is not None
        theirs, ours = _comparable(figure.value), self._read(figure)
        if isinstance(ours, float) and isinstance(theirs, float) and math.isclose(theirs, ours):
            theirs = ours
        return _RELATIONS[self.relation](theirs, ours)

    def _read(self, figure: Figure) -> str | float:
        """The value in a form that compares with that of the figure."""
        from secondorder.quantities import quantity

        if isinstance(figure.value, (str, bool)):
            return self.value.lower()
        what = f"where: {self.figure}"
        if figure.unit:
            return float(quantity(self.value, figure.unit, what).m)
        try:
            return float(self.value)
        except ValueError:
            raise InputError(what, given=repr(self.value), expected="a number") from None


def _comparable(value: Any) -> str | float:
    return str(value).lower() if isinstance(value, (str, bool)) else float(value)


def condition(text: str) -> Condition:
    """The condition that ``text`` spells.

    >>> condition("peak.bf16 >= 300 TFLOP/s")
    Condition(figure='peak.bf16', relation='>=', value='300 TFLOP/s')
    """
    match = _SPELT.fullmatch(text)
    if match is None:
        expected = 'FIGURE, or FIGURE with <, <=, =, !=, >= or > and a value, such as "memory_capacity > 80 GB"'
        raise InputError("where", given=repr(text), expected=expected)
    figure, relation, value = match.groups()
    return Condition(figure, (relation or "").replace("==", "="), value or "")


def meeting(entries: Sequence[Entry], conditions: Iterable[Condition]) -> list[Entry]:
    """Those that meet all of them. ``UnknownName`` for a figure that none of the entries has."""
    asked = list(conditions)
    for one in asked:
        check_figure("where", one.figure, entries)
    return [entry for entry in entries if all(one.holds(entry) for one in asked)]


def sorted_by(figure: str, entries: Sequence[Entry]) -> list[Entry]:
    """Numbers from the largest, text from A to Z, those that lack the figure last."""

    def place(entry: Entry) -> tuple[int, float, str]:
        if figure not in entry.figures:
            return 2, 0.0, ""
        value = _comparable(entry.figures[figure].value)
        return (1, 0.0, value) if isinstance(value, str) else (0, -value, "")

    return sorted(entries, key=place)


def check_figure(what: str, figure: str, entries: Iterable[Entry]) -> None:
    """``UnknownName``, which names those there are, for a figure that no entry has."""
    known = dict.fromkeys(name for entry in entries for name in entry.figures)
    if figure not in known:
        near = get_close_matches(figure, known, n=3, cutoff=0.5)
        remedy = f"did you mean {' or '.join(near)}?" if near else ""
        raise UnknownName(what, given=repr(figure), expected=f"one of {_listed(known)}", remedy=remedy)


def _listed(names: Iterable[str]) -> str:
    """With those of one figure together: ``peak.fp64``, ``peak.fp32`` as ``peak.fp64|fp32``."""
    parts: dict[str, list[str]] = {}
    for name in names:
        figure, dot, part = name.partition(".")
        parts.setdefault(figure + dot, []).append(part)
    return ", ".join(figure + "|".join(each) for figure, each in parts.items())
