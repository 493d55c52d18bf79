"""Plan files: one or more scenarios, each with what must hold of it.

A plan is a TOML file with one table a scenario, whose keys are the fields of the dataclass::

    [serving]
    model = "llama_3_1_8b"
    accelerator = "h100_sxm"
    lengths = "azure_conv_2023"
    assert = ["ttft_p99 < 500 ms", "tpot_p99 < 60 ms"]

    [serving.arrivals]
    kind = "poisson"
    rate = "8 request/s"

The ``kind`` of the arrivals may also be gamma, deterministic, markov, or trace with its ``file``;
``arrivals = "poisson 8 request/s"`` says the same in one line. Several scenarios of a kind are
``[[serving]]`` tables, each with a ``name``. ``assert`` above all tables constrains sums over the scenarios:
``assert = ["sum cost_total < 3e6 USD"]``. Files are looked for from the plan's own folder.
"""

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from secondorder.errors import FileError, InputError, UnknownName, naming
from secondorder.files import read_text
from secondorder.plans.constraints import Constraint, read_constraint
from secondorder.plans.tables import Tables
from secondorder.scenarios.scenario import Scenario
from secondorder.systems.registry import SYSTEMS

MOST = 10_000_000
"""Bytes of a plan."""


@dataclass(frozen=True)
class Planned:
    """A scenario of a plan, and what must hold of it."""

    scenario: Scenario
    constraints: tuple[Constraint, ...] = ()


@dataclass(frozen=True)
class PlanFile:
    """The scenarios of a plan, and what must hold of all together."""

    name: str
    planned: tuple[Planned, ...]
    constraints: tuple[Constraint, ...] = ()

    def chosen(self, name: str | None) -> tuple[Planned, ...]:
        """All scenarios, or the one of that name."""
        if name is None:
            return self.planned
        found = tuple(each for each in self.planned if each.scenario.name == name)
        if not found:
            raise UnknownName.among("scenario", name, [each.scenario.name for each in self.planned])
        return found

    def one(self, name: str | None = None) -> Scenario:
        """The only scenario, or the one of that name."""
        found = self.chosen(name)
        if len(found) > 1:
            names = ", ".join(each.scenario.name for each in found)
            raise InputError(
                f"{self.name}: scenario", given=f"{len(found)}: {names}", expected="one of them, --scenario"
            )
        return found[0].scenario


def read_plan(name: str | PathLike[str]) -> PlanFile:
    """The scenarios of a plan file, and what must hold of them.

    Errors: ``FileError`` for a file that is not TOML, ``InputError``, which names the file and the key, for what no
    scenario can have.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder) / "plan.toml"
    ...     _ = path.write_text('queue = { arrivals = "poisson 8 request/s", service = "100 ms" }')
    ...     read_plan(path).one().rate
    8.0
    """
    name = str(name)
    tables = _tables(name)
    with naming(name):
        overall = _constraints(tables.pop("assert", []))
    if bare := next((each for each in overall if not each.summed), None):
        raise InputError(f"{name}: assert", given=f"{bare} above all tables", expected=f"sum {bare}, or in a table")
    for word in tables:
        if word not in SYSTEMS:
            raise UnknownName.among(f"{name}: table", word, SYSTEMS)
    if not tables:
        raise FileError(
            name,
            given="an empty plan",
            expected="a table [serving], [training]...",
            remedy='"secondorder schema" prints all tables',
        )
    planned = tuple(each for word, value in tables.items() for each in _planned(name, word, value))
    names = [each.scenario.name for each in planned]
    if twice := next((each for each in names if names.count(each) > 1), None):
        raise InputError(f"{name}: name", given=f"two scenarios {twice!r}", expected="a different name for each")
    return PlanFile(name, planned, overall)


def _planned(name: str, word: str, value: object) -> Iterator[Planned]:
    """The scenarios of a table, or of an array of tables."""
    tables: list[object] = value if isinstance(value, list) else [value]
    for place, table in enumerate(tables):
        where = f"{name}: {word}" + (f"[{place}]" if tables is value else "")
        if not isinstance(table, dict):
            raise InputError(where, given=repr(table), expected=f"a table [{word}]")
        table = dict(table)
        with naming(where):
            constraints = _constraints(table.pop("assert", []))
            yield Planned(Tables(Path(name).parent).build(SYSTEMS[word].type, table), constraints)


def _constraints(given: object) -> tuple[Constraint, ...]:
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list):
        raise InputError("assert", given=repr(given), expected='a list such as ["ttft_p99 < 500 ms"]')
    return tuple(map(read_constraint, texts))


def _tables(name: str) -> dict[str, object]:
    expected = "a plan (TOML)"
    try:
        return tomllib.loads(read_text(name, encoding="utf-8-sig", most=MOST).replace("\r\n", "\n"))
    except OSError as error:
        reasons = {FileNotFoundError: "no such file", IsADirectoryError: "a directory"}
        given = reasons.get(type(error), error.strerror or "an unreadable file")
        raise FileError(name, given=given, expected=expected) from None
    except RecursionError:
        raise FileError(name, given="too many brackets within brackets", expected=expected) from None
    except ValueError as error:  # not TOML, or not even text
        raise FileError(name, given=f"text that is not TOML ({error})", expected=expected) from None
