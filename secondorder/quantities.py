"""Quantities at the door, plain SI floats inside.

A scenario's field takes a string or a quantity and refuses a bare number where a unit is
due. It is kept as a quantity in the field's own unit; ``si`` gives the float that the
models compute with.

>>> quantity("80 GiB", "byte")
<Quantity(8.58993459e+10, 'byte')>
>>> si(quantity("250 ms", "s"))
0.25
>>> quantity(8, "request/s", "rate")
Traceback (most recent call last):
secondorder.errors.UnitError: rate: got 8 without a unit, expected a quantity in request/s; write "8 request/s"
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, Union, get_args, get_origin, get_type_hints

import pint
from annotated_types import Ge, Gt, Le, Lt

from secondorder.errors import InputError, UnitError
from secondorder.families import Members, family_of, fields_of, members_of, read_text

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic_core import CoreSchema

    Quantity: TypeAlias = pint.Quantity[Any]
else:
    Quantity = pint.Quantity

registry: Any = pint.UnitRegistry(str(files("secondorder") / "units.txt"), on_redefinition="raise", cache_folder=None)
registry.formatter.default_format = "~"


LEAST, MOST = 1e-150, 1e150
"""The least of a positive quantity, and the largest of any, in their unit: their squares are still numbers."""
WHOLE = 2**53
"""Integers up to which each has a float of its own."""


def quantity(value: object, unit: str, what: str = "value") -> Quantity:
    """``value`` (a string or a quantity) in ``unit``, or an error that names ``what``.

    Errors: ``UnitError`` for a bare number, an unknown unit or another dimension,
    ``InputError`` for what is not a finite number.
    """
    target = _unit(unit)
    if isinstance(value, pint.Quantity):
        parsed = value if value._REGISTRY is registry else _parse(f"{value.m!r} {value.u}", unit, what)
    elif isinstance(value, str):
        parsed = _parse(value, unit, what)
    else:
        raise UnitError(
            what, given=f"{value!r} without a unit", expected=f"a quantity in {unit}", remedy=f'write "{value} {unit}"'
        )
    try:
        converted = parsed.to(target)
    except pint.DimensionalityError:
        raise UnitError(what, given=f"{value} ({_dimension(parsed)})", expected=f"a quantity in {unit}") from None
    if not math.isfinite(float(converted.m)):
        raise InputError(what, given=value, expected=f"a finite quantity in {unit}")
    if abs(converted.m) > MOST:
        raise InputError(what, given=value, expected=f"a quantity of at most {MOST:g} {unit}".strip())
    return _restore(float(converted.m), unit)


def si(value: Quantity | str) -> float:
    """The magnitude of a field's quantity: fields are kept in base units."""
    assert isinstance(value, pint.Quantity)
    return float(value.magnitude)


def pretty(value: float, unit: str) -> str:
    """``value`` in ``unit``, shown in the unit that it is best read in.

    >>> pretty(0.00481, "s"), pretty(31_557_600.0, "s"), pretty(3.35e12, "byte/s"), pretty(8.0, "request/s")
    ('4.81 ms', '1 year', '3.35 TB/s', '8 request/s')
    >>> pretty(6 / 3600, "job/s"), pretty(2.5e-7, "USD/token")
    ('6 job/h', '0.25 USD/Mtoken')
    """
    if not math.isfinite(value):
        return f"{value} {unit}".strip()
    scale, symbol = readable(value, unit)
    return f"{_digits(value / scale)} {symbol}".strip()


def counted(count: int, noun: str) -> str:
    """A number of things, and their noun.

    >>> counted(1, "step"), counted(2000, "step"), counted(2, "microbatch")
    ('1 step', '2,000 steps', '2 microbatches')
    """
    plural = "es" if noun.endswith("ch") else "s"
    return f"{count:,} {noun}{plural if count != 1 else ''}"


def readable(value: float, unit: str) -> tuple[float, str]:
    """How many ``unit`` the unit is that ``value`` is best read in, and its symbol.

    Below 1000 s a time takes a prefix (ms, µs), from there on it is told in min, h, day or year, the largest that
    it is at least one of. Data and FLOPs take a prefix from 1000 on, tokens from a million on. What comes less often
    than once in 10 s is told by the hour or the day; what is for a token, for a million of them; energy in Wh to GWh
    and carbon in gCO2e to tCO2e.

    >>> readable(7200.0, "s"), readable(0.02, "s"), readable(2e9, "byte/s")
    ((3600.0, 'h'), (0.001, 'ms'), (1000000000.0, 'GB/s'))
    """
    size = abs(value)
    if not size or not math.isfinite(size):
        return 1.0, unit
    above, slash, below = unit.partition("/")
    if above in _STEPS and (below in ("", "s") or above not in _DATA):
        each, below = (1e-6, "Mtoken") if below == "token" else (1.0, below)
        scale, symbol = _largest(size / each, _LONG if unit == "s" and size >= 1000 * _ROUNDED else _STEPS[above])
        return scale * each, f"{symbol}{slash}{below}"
    if below == "s" and size < _RARE:
        return (1 / 3600, f"{above}/h") if size * 3600 >= _RARE else (1 / 86_400, f"{above}/day")
    return (1e-6, f"{above}/Mtoken") if below == "token" else (1.0, unit)


Scales = tuple[tuple[float, str], ...]


def _prefixed(symbol: str, prefixes: str) -> Scales:
    powers = {"E": 1e18, "P": 1e15, "T": 1e12, "G": 1e9, "M": 1e6, "k": 1e3}
    return (*((powers[prefix], f"{prefix}{symbol}") for prefix in prefixes), (1.0, symbol))


_STEPS: Mapping[str, Scales] = {
    "s": ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns")),
    "byte": _prefixed("B", "EPTGMk"),
    "FLOP": _prefixed("FLOP", "EPTGMk"),
    "token": _prefixed("token", "EPTGM"),
    "kWh": ((1e6, "GWh"), (1e3, "MWh"), (1.0, "kWh"), (1e-3, "Wh")),
    "kgCO2e": ((1e3, "tCO2e"), (1.0, "kgCO2e"), (1e-3, "gCO2e")),
}
"""What a unit's numbers are shown in, the largest first."""
_LONG: Scales = ((365.25 * 86_400.0, "year"), (86_400.0, "day"), (3600.0, "h"), (60.0, "min"))
_DATA = ("s", "byte", "FLOP", "token")
"""Told by themselves or by the second, and as they are where they are for something else."""
_ROUNDED = 0.9995
"""Of a unit, from which on three digits round to one of it."""
_RARE = 0.1 * _ROUNDED
"""Of a second, an hour: what comes less often is given by the next longer time."""


def _largest(size: float, scales: Scales) -> tuple[float, str]:
    """The largest of the scales that ``size`` is at least one of, else the smallest."""
    return next(((scale, symbol) for scale, symbol in scales if size >= scale * _ROUNDED), scales[-1])


def _digits(value: float) -> str:
    """Three significant digits, thousands kept whole."""
    return f"{value:,.0f}" if abs(value) >= 1000 * _ROUNDED else f"{value:.3g}"


@lru_cache(maxsize=256)
def _unit(unit: str) -> Any:
    return registry.Unit(unit)


_QUANTITY = re.compile(
    r"\s*(?P<number>[-+]?(?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|[-+]?(?:nan|inf)(?![a-z]))"
    r"\s*(?P<unit>[A-Za-zµμ%/*^ ·_2-9]{0,40})\s*",
    re.IGNORECASE,
)


def _parse(text: str, unit: str, what: str) -> Quantity:
    expected = f"a quantity in {unit}" if unit else "a number"
    match = _QUANTITY.fullmatch(text)
    if match is None:
        point = re.sub(r"(?<=\d),(?=\d)", ".", text)
        remedy = f'decimals follow a point: write "{point}"' if point != text and _QUANTITY.fullmatch(point) else ""
        raise InputError(what, given=repr(text), expected=expected, remedy=remedy)
    number, symbol = float(match["number"]), match["unit"].strip().replace("%", "percent").replace("·", "*")
    if not symbol and unit:
        remedy = f'write "{text} {unit}"' if 0 <= number < math.inf else ""
        raise UnitError(what, given=f"{text} without a unit", expected=expected, remedy=remedy)
    try:
        parsed: Quantity = registry.Quantity(number, registry.parse_units(symbol))
        return parsed
    except Exception:  # pint's parser raises a dozen types for a malformed unit
        raise UnitError(what, given=repr(text), expected=expected, remedy=f"{symbol!r} is not a unit") from None


def _dimension(value: Quantity) -> str:
    return " ".join(str(value.dimensionality).replace("[", "").replace("]", "").split())


def _restore(value: float, unit: str) -> Quantity:
    made: Quantity = registry.Quantity(value, _unit(unit))
    return made


def _reduce(self: Quantity) -> tuple[object, ...]:
    return _restore, (self.m, f"{self.u:D}")


registry.Quantity.__reduce__ = _reduce


@dataclass(frozen=True)
class Unit:
    """The unit of a dataclass field: ``rate: Annotated[Quantity | str, Unit("request/s")]``."""

    symbol: str
    positive: bool = False

    def read(self, value: object, what: str) -> Quantity:
        read = quantity(value, self.symbol, what)
        if read.m < 0 or (self.positive and read.m == 0):
            kind = "a positive" if self.positive else "a non-negative"
            raise InputError(what, given=value, expected=f"{kind} quantity in {self.symbol}")
        if self.positive and read.m < LEAST:
            raise InputError(what, given=value, expected=f"a quantity of at least {LEAST:g} {self.symbol}")
        return read

    def __get_pydantic_core_schema__(self, source: object, handler: "GetCoreSchemaHandler") -> "CoreSchema":
        from pydantic_core import core_schema

        return core_schema.any_schema()

    def __get_pydantic_json_schema__(self, schema: "CoreSchema", handler: "GetJsonSchemaHandler") -> dict[str, Any]:
        return {"type": "string", "description": f"a quantity in {self.symbol}", "examples": [f"1 {self.symbol}"]}


Duration = Annotated[Quantity | str, Unit("s")]
Rate = Annotated[Quantity | str, Unit("request/s", positive=True)]
SampleRate = Annotated[Quantity | str, Unit("sample/s", positive=True)]
JobRate = Annotated[Quantity | str, Unit("job/s", positive=True)]
DataSize = Annotated[Quantity | str, Unit("byte")]
Bandwidth = Annotated[Quantity | str, Unit("byte/s", positive=True)]
ComputeRate = Annotated[Quantity | str, Unit("FLOP/s", positive=True)]
Computation = Annotated[Quantity | str, Unit("FLOP")]
Power = Annotated[Quantity | str, Unit("W")]
Count = Annotated[int, Ge(1)]
Positive = Annotated[float, Gt(0)]
NonNegative = Annotated[float, Ge(0)]
Scv = Annotated[float, Gt(0), Le(1e15)]
"""A squared coefficient of variation; of a larger one, sums lose what is common."""
Efficiency = Annotated[float, Gt(0), Le(1)]


class Checked:
    """A frozen dataclass whose fields are checked, and given their unit, when it is made.

    A text becomes the value that it spells where the family of the field's types reads it (see ``families``).
    """

    def __post_init__(self) -> None:
        for rule in _rules(type(self)):  # type: ignore[arg-type]
            if (value := getattr(self, rule.name)) is not None or not rule.optional:
                object.__setattr__(self, rule.name, rule.checked(value))


@dataclass(frozen=True)
class _Rule:
    """What the annotation of a field asks for: its unit, bounds, plain type, and whether None is allowed."""

    name: str
    unit: Unit | None
    bounds: tuple[Any, ...]
    kind: Any
    optional: bool
    members: Members

    def checked(self, value: object) -> object:
        """The value as the field keeps it."""
        if self.unit is not None:
            return self.unit.read(value, self.name)
        if self.kind in (int, float):
            return _number(self.name, value, self.kind, self.bounds)
        if self.kind is str and isinstance(value, str) and not value.isprintable():
            raise InputError(self.name, given=repr(value), expected="text without control characters")
        if isinstance(value, str) and self.kind is not str:
            value = read_text(value, self.members, self.name)
        if not _is_a(value, self.kind):
            family = family_of(self.members)
            expected = family.expected if family else _kind_name(self.kind)
            raise InputError(self.name, given=repr(value), expected=expected)
        return value


@lru_cache(maxsize=256)
def _rules(cls: type) -> list[_Rule]:
    hints = get_type_hints(cls, include_extras=True)
    known = [field.name for field in fields_of(cls) if field.init]
    return [_Rule(name, *_rule(hints[name]), members_of(hints[name])) for name in known]


def _rule(hint: Any) -> tuple[Unit | None, tuple[Any, ...], Any, bool]:
    """The unit, bounds and plain type that a field's annotation asks for."""
    if get_origin(hint) in (Union, UnionType):
        members = [member for member in get_args(hint) if member is not NoneType]
        if len(members) == 1:
            return (*_rule(members[0])[:3], True)
        return None, (), hint, NoneType in get_args(hint)
    if get_origin(hint) is Annotated:
        kind, *extras = get_args(hint)
        unit = next((extra for extra in extras if isinstance(extra, Unit)), None)
        return unit, tuple(extra for extra in extras if isinstance(extra, (Ge, Gt, Le, Lt))), kind, False
    return None, (), hint, False


def _is_a(value: object, kind: Any) -> bool:
    if get_origin(kind) in (Union, UnionType):
        return any(_is_a(value, member) for member in get_args(kind))
    plain = get_origin(kind) or kind
    if not isinstance(plain, type) or getattr(plain, "_is_protocol", False):
        return True
    return isinstance(value, plain)


def _kind_name(kind: Any) -> str:
    if kind in (bool, str):
        return "true or false" if kind is bool else "a string"
    members = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    plain = [get_origin(member) or member for member in members if member is not NoneType]
    return " or ".join(dict.fromkeys(_WORDS.get(each, str(getattr(each, "__name__", each))) for each in plain))


_WORDS: Mapping[Any, str] = {Mapping: "a table", Sequence: "a list of numbers", tuple: "a list", str: "a line of text"}
"""What a user writes, for the types that are not named by what they are."""


def _number(name: str, value: object, kind: type, bounds: tuple[Any, ...]) -> int | float:
    expected = "an integer" if kind is int else "a number"
    for bound in bounds:
        match bound:
            case Ge():
                expected += f" of at least {bound.ge}"
            case Gt():
                expected += f" above {bound.gt}"
            case Le():
                expected += f" and at most {bound.le:.7g}"
            case Lt():
                expected += f" and below {bound.lt:.7g}"
    good = isinstance(value, (int, float)) or hasattr(value, "__index__") or hasattr(value, "__float__")
    good = good and not isinstance(value, (bool, str))
    if not good or not _finite(value) or (kind is int and value != int(value)):  # type: ignore[call-overload]
        raise InputError(name, given=repr(value), expected=expected)
    number: int | float = kind(value)
    if kind is int and abs(number) > WHOLE:
        raise InputError(name, given=repr(value), expected=f"{expected}, no larger than 2^53")
    for bound in bounds:
        if not _holds(bound, number):
            raise InputError(name, given=repr(value), expected=expected)
    return number


def _finite(value: Any) -> bool:
    try:
        return math.isfinite(value)
    except (OverflowError, TypeError, ValueError):  # an integer beyond all floats; an array
        return False


def _holds(bound: Any, number: float) -> bool:
    if hasattr(bound, "lt"):
        return bool(number < bound.lt)
    match bound:
        case Ge():
            return number >= float(bound.ge)  # type: ignore[arg-type]
        case Gt():
            return number > float(bound.gt)  # type: ignore[arg-type]
        case _:
            return bool(number <= bound.le)
