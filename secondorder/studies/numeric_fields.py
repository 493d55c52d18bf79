"""The numbers that a scenario is made of, by dotted path."""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Protocol, TypeVar

import pint

from secondorder.errors import UnknownName
from secondorder.quantities import registry


@dataclass(frozen=True, kw_only=True)
class Skipped:
    """A field that was not varied, and why."""

    path: str
    reason: str


@dataclass(frozen=True)
class Found:
    """A numeric field: its value as a plain number, its unit, and whether it is whole."""

    path: str
    value: float
    unit: str
    whole: bool

    def at(self, value: float) -> object:
        """A value of this field's kind."""
        if self.whole:
            return round(value)
        return registry.Quantity(value, self.unit) if self.unit else value


def numeric_fields(scenario: object) -> tuple[list[Found], list[Skipped]]:
    """All numbers that a scenario is made of, by dotted path, and its other fields with why they cannot vary.

    >>> from secondorder.workloads.arrivals import Poisson
    >>> numeric_fields(Poisson("8 request/s"))
    ([Found(path='rate', value=8.0, unit='request / second', whole=False)], [])
    """
    found: list[Found] = []
    skipped: list[Skipped] = []
    for path, value in _leaves(scenario, ""):
        match value:
            case pint.Quantity() if value.m != 0:
                found.append(Found(path, float(value.m), f"{value.u:D}", False))
            case bool() | str():
                skipped.append(Skipped(path=path, reason="text or a choice"))
            case int() | float() if value != 0 and math.isfinite(value):
                found.append(Found(path, float(value), "", isinstance(value, int)))
            case pint.Quantity() | int() | float():
                skipped.append(Skipped(path=path, reason="0, and a share of 0 is 0"))
            case None:
                skipped.append(Skipped(path=path, reason="not given"))
            case _ if is_dataclass(value):
                skipped.append(Skipped(path=path, reason="a choice without numbers"))
            case _:
                skipped.append(Skipped(path=path, reason="a list of values"))
    return found, skipped


def _leaves(value: object, path: str) -> Iterator[tuple[str, object]]:
    """What is no dataclass itself, with its dotted path; what a thing is called, and since when, is no field of it."""
    assert is_dataclass(value)
    for field in fields(value):
        if not field.init or field.name in _ABOUT:
            continue
        inner, place = getattr(value, field.name), f"{path}.{field.name}".lstrip(".")
        if inner is None:  # what an engine chooses can vary too
            inner = getattr(getattr(value, "settings", None), field.name, None)
        if is_dataclass(inner) and not isinstance(inner, type) and fields(inner):
            yield from _leaves(inner, place)
        else:
            yield place, inner


_ABOUT = ("name", "note", "vendor", "released", "year", "source", "sources")


def chosen_fields(scenario: object, wanted: Sequence[str] | None) -> tuple[list[Found], list[Skipped]]:
    """The numeric fields that are wanted, and those of the wanted that cannot vary. Errors: ``UnknownName``."""
    found, skipped = numeric_fields(scenario)
    if wanted is None:
        return found, skipped
    known = {one.path: one for one in found}
    reasons = {one.path: one for one in skipped}
    for path in wanted:
        if path not in known and path not in reasons:
            raise UnknownName.among("fields", path, [*known, *reasons])
    return [known[path] for path in wanted if path in known], [reasons[path] for path in wanted if path in reasons]


class _HasPath(Protocol):
    @property
    def path(self) -> str: ...


Row = TypeVar("Row", bound=_HasPath)


def at_path(rows: Sequence[Row], path: str) -> Row:
    """What was found about the field at ``path``. Errors: ``UnknownName``."""
    for row in rows:
        if row.path == path:
            return row
    raise UnknownName.among("field", path, [row.path for row in rows])


def short_unit(unit: str) -> str:
    """A unit as tables write it.

    >>> short_unit("kgCO2e / kilowatt_hour"), short_unit("request / second")
    ('kgCO2e/kWh', 'request/s')
    """
    return re.sub(r"\w+", lambda word: _SHORT.get(word[0], word[0]), unit).replace(" ", "")


_SHORT = {"second": "s", "watt": "W", "watt_hour": "Wh", "kilowatt_hour": "kWh", "joule": "J", "liter": "L"}
