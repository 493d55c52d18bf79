"""Named entries with their sources: ``so.models.llama_3_1_8b``, complete on Tab.

An entry is a table of a TOML file beside the type it makes. Its figures are covered by the
entry's ``source`` (a key of the file's ``[sources]``), except those that its ``sources``
table gives one of their own. A figure without a source is refused when the file is read.
"""

import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from typing import Any, Generic, TypeVar

from secondorder.errors import InputError, UnknownName

Entry = TypeVar("Entry", covariant=True)


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where a figure comes from: what, by whom, of when, and when it was last checked."""

    title: str
    date: str
    url: str = ""
    checked: str = ""
    note: str = ""

    def __str__(self) -> str:
        return f"{self.title} ({self.date})"


class Zoo(Generic[Entry]):
    """A read-only collection of named entries, loaded when first asked."""

    def __init__(self, noun: str, load: Callable[[], Mapping[str, Entry]]) -> None:
        self._noun, self._load = noun, load

    @cached_property
    def _entries(self) -> Mapping[str, Entry]:
        return self._load()

    def __getattr__(self, name: str) -> Entry:
        if name.startswith("_"):
            raise AttributeError(name)
        return self[name]

    def __getitem__(self, name: str) -> Entry:
        try:
            return self._entries[name]
        except KeyError:
            raise self.unknown(name) from None

    def unknown(self, name: str, what: str = "") -> UnknownName:
        """The error for a name that is not here: the near ones, or else where all are listed."""
        error = UnknownName.among(what or self._noun, name, self._entries)
        error.remedy = error.remedy or f'"secondorder zoo {self._noun.replace(" ", "_")}" lists them'
        return error

    def __dir__(self) -> list[str]:
        return list(self._entries)

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def items(self) -> list[tuple[str, Entry]]:
        return list(self._entries.items())

    def __repr__(self) -> str:
        return f"<{len(self)} of {self._noun}: {', '.join(self)}>"


def read_entries(package: str, file: str) -> dict[str, tuple[dict[str, Any], dict[str, Source]]]:
    """The entries of a TOML file: for each its fields, and the source of each figure."""
    tables = tomllib.loads((files(package) / file).read_text(encoding="utf-8"))
    sources = {key: Source(**fields) for key, fields in tables.pop("sources").items()}
    return {name: _sourced(f"{file}: {name}", table, sources) for name, table in tables.items()}


def _sourced(
    where: str, table: dict[str, Any], sources: Mapping[str, Source]
) -> tuple[dict[str, Any], dict[str, Source]]:
    default, own = table.pop("source", None), table.pop("sources", {})
    figures = [key for key in table if key not in ("name", "note")]
    for key in {default, *own.values()} - {None}:
        if key not in sources:
            raise UnknownName.among(f"{where}: source", key, sources)
    if stray := set(own) - set(figures):
        raise InputError(f"{where}: sources", given=sorted(stray), expected=f"fields among {figures}")
    if missing := [key for key in figures if default is None and key not in own]:
        raise InputError(where, given=f"{missing} without a source", expected="a source for every figure")
    return table, {key: sources[own.get(key, default)] for key in figures}
