"""One SQLite file that keeps the points of studies as they are finished.

A point is known by its scenario (as a plan), seed, replication, witness, options and the version of secondorder. It is
written in a transaction of its own: a study that is killed loses nothing that was finished. Several processes may
write to one file.
"""

import json
import sqlite3
import stat
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from secondorder import __version__
from secondorder.answers.answer import COLUMNS
from secondorder.errors import FileError, InputError
from secondorder.studies.records import Record, rows_of

if TYPE_CHECKING:
    import pandas as pd

WHOLE = -1
"""The replication of a point that is made of all of them."""
APPLICATION = 0x5ECD0BD
"""Number by which SQLite files of this kind are known."""
BUSY = 30.0
"""Seconds to wait for another process that writes."""
_TABLE = """
CREATE TABLE IF NOT EXISTS points (
    scenario TEXT NOT NULL, seed INTEGER NOT NULL, replication INTEGER NOT NULL, witness TEXT NOT NULL,
    options TEXT NOT NULL, version TEXT NOT NULL, label TEXT NOT NULL, result TEXT NOT NULL, error TEXT NOT NULL,
    PRIMARY KEY (scenario, seed, replication, witness, options, version)
)"""
_KEEP = """
INSERT INTO points VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET label = excluded.label, result = excluded.result, error = excluded.error WHERE error != ''"""
_KEYS = ("scenario", "seed", "replication", "witness", "options", "version")
_WHERE = " AND ".join(f"{name} = ?" for name in _KEYS)


@dataclass(frozen=True, kw_only=True)
class Key:
    """What a point is known by: ``scenario`` is its plan, ``options`` whatever else decides the result, as JSON."""

    scenario: str
    seed: int
    witness: str
    replication: int = WHOLE
    options: str = "{}"
    version: str = __version__


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a point gave: its ``record``, or the error that it ended with; ``label`` says what was varied."""

    record: Record = field(default_factory=dict)
    error: str = ""
    label: Mapping[str, str] = field(default_factory=dict)

    @property
    def varied(self) -> str:
        """The label as text."""
        return ", ".join(f"{name}={value}" for name, value in self.label.items())


class Store:
    """The file of finished points, to be used in a ``with`` statement.

    >>> from tempfile import TemporaryDirectory
    >>> key = Key(scenario="[queue]", seed=0, witness="events")
    >>> with TemporaryDirectory() as folder, Store(f"{folder}/study.db") as store:
    ...     store.keep(key, Found(record={"goodput": 0.9}))
    ...     store.finished([key])[key].record
    {'goodput': 0.9}

    Errors: ``FileError`` for a file that is damaged, of another kind, or cannot be read or written.
    """

    def __init__(self, name: str | PathLike[str], *, new: bool = True) -> None:
        self.name = str(name)
        _check(self.name, new)
        with self._told():
            self._database = sqlite3.connect(self.name, timeout=BUSY, isolation_level=None)
        try:
            with self._told():
                _prepare(self._database)
        except FileError:
            self._database.close()
            raise

    def __enter__(self) -> "Store":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._database.close()

    def keep(self, key: Key, found: Found) -> None:
        """Write a point; a finished one that is there already is left alone, a failed one is replaced."""
        values = (*_values(key), json.dumps(dict(found.label)))
        with self._told():
            self._database.execute(_KEEP, (*values, json.dumps(found.record), found.error))

    def finished(self, keys: Sequence[Key]) -> dict[Key, Found]:
        """Those of the points that the file holds without an error."""
        there = {}
        with self._told():
            for key in keys:
                asked = f"SELECT result, error, label FROM points WHERE error = '' AND {_WHERE}"
                if row := self._database.execute(asked, _values(key)).fetchone():
                    there[key] = _found(*row)
        return there

    def count(self, keys: Iterable[Key]) -> int:
        """How many of the points the file holds without an error."""
        asked = f"SELECT count(*) FROM points WHERE error = '' AND {_WHERE}"
        with self._told():
            return sum(self._database.execute(asked, _values(key)).fetchone()[0] for key in keys)

    def points(self) -> Iterator[tuple[Key, Found]]:
        """All points, in the order of their keys."""
        with self._told(), closing(self._database.cursor()) as cursor:
            order = ", ".join(_KEYS)
            for *key, record, error, label in cursor.execute(
                f"SELECT {order}, result, error, label FROM points ORDER BY {order}"
            ):
                yield Key(**dict(zip(_KEYS, key, strict=True))), _found(record, error, label)

    @property
    def frame(self) -> "pd.DataFrame":
        """One row an estimate of each point, and one for each error, with what the point is known by in front."""
        import pandas as pd

        rows = [row for key, found in self.points() for row in _flat(key, found)]
        return pd.DataFrame(rows, columns=["seed", "replication", "witness", "version", "varied", *COLUMNS, "error"])

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Errors of SQLite as one line about the file."""
        try:
            yield
        except sqlite3.Error as error:
            given, expected, remedy = _reason(error)
            raise FileError(self.name, given=given, expected=expected, remedy=remedy) from None
        except (ValueError, TypeError):
            raise FileError(self.name, given="a damaged file", expected="a store that secondorder wrote") from None


def differences(one: Store, other: Store) -> list[tuple[Key, str, str]]:
    """The points in which two stores differ, what was varied, and how they differ."""
    left, right = dict(one.points()), dict(other.points())
    told = []
    for key in [*left, *(key for key in right if key not in left)]:
        if key not in right or key not in left:
            found, name = (left[key], one.name) if key in left else (right[key], other.name)
            told.append((key, found.varied, f"only in {name}"))
        elif left[key] != right[key]:
            told.append((key, left[key].varied, "another result"))
    return told


def _values(key: Key) -> list[str | int]:
    return [getattr(key, name) for name in _KEYS]


def _flat(key: Key, found: Found) -> list[dict[str, object]]:
    replication = None if key.replication == WHOLE else key.replication
    head = {"seed": key.seed, "replication": replication, "witness": key.witness, "version": key.version}
    return [
        {**head, "varied": found.varied, "error": found.error, **row} for row in list(rows_of(found.record)) or [{}]
    ]


def _found(record: str, error: str, label: str) -> Found:
    return Found(record=json.loads(record), error=error, label=json.loads(label))


# The file


def _check(name: str, new: bool) -> None:
    """Refuse what is no file, and a missing one unless it may be made."""
    path = Path(name)
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        if new:
            return
        raise FileError(name, given="no such file", expected="a store of a study, as --store writes it") from None
    except (OSError, ValueError) as error:
        given = getattr(error, "strerror", None) or "no name of a file"
        raise FileError(name, given=given, expected="a file that can be written") from None
    if not stat.S_ISREG(mode):
        given = "a directory" if stat.S_ISDIR(mode) else "a device or a pipe"
        raise FileError(name, given=given, expected="a store of a study, as --store writes it")


def _prepare(database: sqlite3.Connection) -> None:
    """Make the table in a new file; refuse a file of another kind; let several processes write."""
    (application,) = database.execute("PRAGMA application_id").fetchone()
    tables = database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if application != APPLICATION and tables:
        raise sqlite3.DatabaseError("file is not a database of this kind")
    if application == APPLICATION and tables:
        database.execute("PRAGMA synchronous = NORMAL")
        return
    _patiently(database, "PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = NORMAL")
    database.execute("BEGIN IMMEDIATE")
    database.execute(_TABLE)
    database.execute(f"PRAGMA application_id = {APPLICATION}")
    database.execute("COMMIT")


def _patiently(database: sqlite3.Connection, statement: str) -> None:
    """SQLite does not wait by itself for another process that is changing the journal."""
    end = time.monotonic() + BUSY
    while True:
        try:
            database.execute(statement)
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > end:
                raise
            time.sleep(0.05)


_REASONS = (
    ("locked", "a file that another process holds", "one that it lets go of"),
    ("disk is full", "a full disk", "room for the results"),
    ("disk i/o", "a disk that does not take or give data", "room for the results, on a disk that works"),
    ("readonly", "a place without permission to write", "a file that can be written"),
    ("unable to open", "a place that cannot be written", "a file in a folder that can be written"),
)


def _reason(error: sqlite3.Error) -> tuple[str, str, str]:
    """What was given, what was expected, and what to do about it."""
    text = str(error).lower()
    for part, given, expected in _REASONS:
        if part in text:
            kept = "disk" in part
            return given, expected, "what is finished is kept: make room and add --resume" if kept else ""
    return "a damaged file, or one of another kind", "a store that secondorder wrote", "name a new file"


def refuse_resumed(name: str, there: int, of: int) -> InputError:
    """The error for a file that has some of the points already."""
    remedy = "add --resume (in Python resume=True) to take them over"
    return InputError("store", given=f"{name} with {there} of {of} points already", expected="none", remedy=remedy)
