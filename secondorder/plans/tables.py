"""Tables of a plan as the dataclasses that they spell.

A table gives a dataclass's fields by name. A field that is itself a dataclass is a table again, or the line of text
that spells it; where several types may stand, the table says which with ``kind``, and with ``like`` an entry of the
zoo to start from. What a value must be is checked in one place, by the dataclass.

>>> from secondorder.scenarios.serving import Serving
>>> table = {"model": "llama_3_1_8b", "accelerator": "h100_sxm", "lengths": "azure_conv_2023"}
>>> Tables().build(Serving, {**table, "arrivals": "poisson 8 request/s"}).arrivals
Poisson(rate=<Quantity(8.0, 'request / second')>)
>>> Tables().build(Serving, {**table, "arrivals": {"kind": "poisson", "rate": 8}})
Traceback (most recent call last):
secondorder.errors.UnitError: arrivals.rate: got 8 without a unit, expected a quantity in request/s; write "8 request/s"
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, is_dataclass, replace
from difflib import get_close_matches
from functools import lru_cache
from os.path import isfile  # unlike Path.is_file, false for a name that no file can have
from pathlib import Path
from types import NoneType
from typing import TypeVar, cast, get_origin, get_type_hints

from secondorder.errors import InputError, UnknownName, naming
from secondorder.families import Members, family_of, fields_of, members_of, read_text
from secondorder.plans.fields import expected_in_plan
from secondorder.plans.text import listed
from secondorder.spelling import read_numbers
from secondorder.workloads.huggingface import from_config
from secondorder.workloads.traces import Trace, read_trace
from secondorder.zoo import Zoo

T = TypeVar("T")
Table = Mapping[str, object]


@dataclass(frozen=True)
class Tables:
    """Reads values as fields ask for them; the files that they name are looked for in ``folder``."""

    folder: Path = Path()

    def build(self, kind: type[T], table: Table) -> T:
        """The dataclass whose fields ``table`` gives. Errors name the field as seen from inside."""
        known = {field.name: field for field in fields_of(kind) if field.name != "sources"}
        check_keys(table, known)
        required = [name for name, field in known.items() if field.default is field.default_factory is MISSING]
        if missing := [name for name in required if name not in table]:
            raise _missing(kind, missing)
        return kind(**{name: self.field(kind, name, value) for name, value in table.items()})

    def field(self, kind: type, name: str, value: object) -> object:
        """A value as the field ``name`` of ``kind`` takes it; what is no text and no table passes as it is."""
        return self.value(name, _hints(kind)[name], value)

    def value(self, name: str, hint: object, value: object) -> object:
        """A value as a field called ``name`` with this annotation takes it."""
        members = members_of(hint)
        if isinstance(value, Mapping):
            return self._table(name, value, members)
        if isinstance(value, str):
            return self._text(name, value, members)
        if (nested := _dataclasses(members)) and not family_of(members) and not isinstance(value, (*nested, NoneType)):
            raise InputError(name, given=repr(value), expected="a table")
        if isinstance(value, list) and any(get_origin(member) is tuple for member in members):
            return _tuple(value)
        if any(get_origin(member) is Mapping for member in members) and len(members) == 1:
            raise InputError(name, given=repr(value), expected="a table")
        return value

    def _text(self, what: str, text: str, members: Members) -> object:
        """A text for a field of these types: a file, a line that their family reads, or a list of numbers."""
        family = family_of(members)
        if family is None:
            lists = len(members) > 1 and any(get_origin(member) is Sequence for member in members)
            return read_numbers(text, what) if lists else text
        if (reader := _FILES.get(family.name)) and text not in (family.zoo or ()) and self._names(text):
            return reader(self.folder / text)
        return text if str in members else read_text(text, members, what)

    def _names(self, text: str) -> bool:
        """Whether a text names a file, or the folder of a model."""
        return is_path(text) or isfile(self.folder / text / "config.json")

    def _table(self, what: str, table: Table, members: Members) -> object:
        """A table for a field of these types."""
        family = family_of(members)
        words = family.words(members) if family else {}
        others = [each for each in _dataclasses(members) if not (words and family and each in family.members)]
        with naming(what):
            if family and family.zoo is not None and "like" in table:
                return self._changed(table, family.zoo)
            if words and ("kind" in table or not others):
                return self._of_kind(table, words, family.default if family else "")
            if family and not words:
                others = [each for each in others if each is family.types[0]]
            return self.build(others[0], table) if len(others) == 1 else table

    def _of_kind(self, table: Table, words: Mapping[str, type], default: str) -> object:
        """The one of ``words`` that the table's ``kind`` names, made of its other keys."""
        given = table.get("kind", default or None)
        if not isinstance(given, str):
            raise InputError("kind", given=_given(given), expected=" or ".join(words))
        word = next((each for each in words if each.replace("-", "_") == given.replace("-", "_")), None)
        if word is None:
            raise UnknownName.among("kind", given, words)
        rest = {key: value for key, value in table.items() if key != "kind"}
        return self._trace(rest) if words[word] is Trace else self.build(words[word], rest)

    def _changed(self, table: Table, zoo: Zoo[object]) -> object:
        """An entry of the zoo with other values in some fields."""
        name = str(table["like"])
        if name not in zoo:
            raise zoo.unknown(name, "like")
        original = zoo[name]
        changes = {key: value for key, value in table.items() if key != "like"}
        check_keys(changes, [field.name for field in fields_of(original) if field.name != "sources"])
        new = {key: self.field(type(original), key, value) for key, value in changes.items()}
        return replace(original, **new)  # type: ignore[type-var]

    def _trace(self, table: Table) -> Trace:
        """A trace by its ``file``, at its own rate unless another is given, and the options of ``read_trace``."""
        check_keys(table, [*_TRACE_OPTIONS, "rate"])
        options = {key: table.get(key) for key in _TRACE_OPTIONS if key in table or key == "file"}
        for key, value in options.items():
            kind, expected = _TRACE_OPTIONS[key]
            if not isinstance(value, kind):
                raise InputError(key, given=_given(value), expected=expected)
        trace: Trace = read_trace(self.folder / str(options.pop("file")), **options)  # type: ignore[arg-type]
        return trace.at(cast(str, table["rate"])) if "rate" in table else trace


_FILES: Mapping[str, Callable[[Path], object]] = {
    "language model": from_config,
    "network": from_config,
    "arrivals": read_trace,
    "lengths": lambda path: read_trace(path).lengths,
}
"""What a file stands for in a field of each family; of a trace as lengths, pairs are drawn."""

_TRACE_OPTIONS: Mapping[str, tuple[type, str]] = {
    "file": (str, "the file of a trace"),
    "format": (str, "a format such as azure, mooncake or vllm"),
    "columns": (Mapping, "a table with the column of each of arrival, input_tokens and output_tokens"),
    "arrival_unit": (str, '"s" or "ms"'),
    "hash_block": (int, "an integer of at least 1"),
    "output_tokens": (int, "an integer of at least 1"),
    "turns": (str, "first or delays"),
    "images": (str, "ignored"),
    "benchmark": (int, "the number of a run, from 0 on"),
    "name": (str, "a name"),
}
"""The type that each option of ``read_trace`` has in a table, and what to write."""


def is_path(text: str) -> bool:
    """Whether a text names a file: it has a file's ending, or a folder before it."""
    path = Path(text)
    return " " not in text and (path.suffix in (".json", ".jsonl", ".csv") or len(path.parts) > 1)


def check_keys(table: Table, known: Iterable[str]) -> None:
    """Refuse the first key that is not known, with the near ones."""
    names = list(known)
    for key in table:
        if key not in names:
            near = get_close_matches(key.lower().replace("-", "_"), names, n=3, cutoff=0.5)
            remedy = f"did you mean {' or '.join(near)}?" if near else ""
            few = ", ".join(names) if len(names) <= 8 else f"one of {len(names)} keys"
            raise UnknownName(key, given="an unknown key", expected=few, remedy=remedy)


def check_field(owner: object, name: str, where: str) -> None:
    """Refuse a name that is no field of ``owner``, which stands at ``where``."""
    if not is_dataclass(owner) or isinstance(owner, type):
        raise InputError(f"field {where}.{name}", given="a value without fields before it", expected="a field's path")
    names = [field.name for field in fields_of(owner)]
    if name not in names:
        raise UnknownName.among(f"field of {type(owner).__name__}", name, names)


def _missing(kind: type, names: list[str]) -> InputError:
    """The error for fields that are required: what the first of them is, and which the others are."""
    first, *others = names
    remedy = f"{listed(others)} {'is' if len(others) == 1 else 'are'} missing too" if others else ""
    family = family_of(members_of(_hints(kind)[first]))
    expected = family.expected if family else expected_in_plan(kind, first)
    return InputError(first, given="nothing", expected=expected, remedy=remedy)


def _tuple(values: list[object]) -> tuple[object, ...]:
    """A list of TOML, and the lists in it, for a field that keeps them."""
    return tuple(_tuple(each) if isinstance(each, list) else each for each in values)


def _dataclasses(members: Members) -> list[type]:
    return [each for each in members if isinstance(each, type) and is_dataclass(each)]


def _given(value: object) -> str:
    return "nothing" if value is None else repr(value)


@lru_cache
def _hints(kind: type) -> dict[str, object]:
    return get_type_hints(kind)
