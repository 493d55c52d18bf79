"""Traces: recorded requests, read from the files that the field publishes.

>>> from pathlib import Path
>>> from tempfile import TemporaryDirectory
>>> rows = ["TIMESTAMP,ContextTokens,GeneratedTokens",
...         "2023-11-16 18:17:03.50,4808,10", "2023-11-16 18:17:04.00,3180,8", "2023-11-16 18:17:05.50,110,27"]
>>> with TemporaryDirectory() as folder:
...     path = Path(folder) / "code.csv"
...     _ = path.write_text("\\n".join(rows))
...     trace = read_trace(path)
>>> trace
<trace code: 3 requests at 1 request/s>
>>> trace.at("4 request/s").requests.arrival
array([0.   , 0.125, 0.5  ])

==========  ========================================================================  ===============
format      columns or keys                                                           time
==========  ========================================================================  ===============
azure       TIMESTAMP, ContextTokens, GeneratedTokens (Azure LLM inference traces)    date and time
mooncake    timestamp, input_length, output_length, hash_ids (one JSON object a line) milliseconds
burstgpt    Timestamp, Request tokens, Response tokens (others are not read)          seconds
columns     named by the caller                                                       unit by caller
==========  ========================================================================  ===============

Nothing is repaired in silence. A row that cannot be a request (a token count that is no
integer of at least 1, a time that is no time) is an error naming its line. Two things are
mended, each with a ``TraceWarning`` and a line in ``Trace.notes``: rows out of order are
sorted by time, and BurstGPT's failed requests, which that trace marks by 0 response tokens,
are left out. Zero output tokens in any other format are refused.
"""

import csv
import io
import json
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from secondorder.arrays import Floats, Integers
from secondorder.errors import FileError, InputError, UnknownName
from secondorder.quantities import Duration, Quantity, Rate, Unit, quantity, registry, si
from secondorder.spelling import spell
from secondorder.workloads.arrivals import TraceArrivals
from secondorder.workloads.lengths import Empirical
from secondorder.workloads.requests import Requests


class TraceWarning(UserWarning):
    """A trace was mended while it was read; ``Trace.notes`` says how."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Trace:
    """Recorded requests under a name; the first arrives at 0.

    ``notes`` tells what was mended when the trace was read; ``origin`` is what a plan writes to read it again: its
    ``file`` and the options, none for a part of a file or a trace made in memory.
    """

    name: str
    requests: Requests
    notes: tuple[str, ...] = field(default=(), compare=False)
    origin: Mapping[str, object] | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if not len(self.requests):
            raise InputError("requests", given="no request", expected="at least one")
        if self.requests.arrival[0] != 0:
            given = f"a first arrival at {self.requests.arrival[0]} s"
            raise InputError("requests", given=given, expected="one at 0", remedy="subtract it from all")

    def __len__(self) -> int:
        return len(self.requests)

    def __repr__(self) -> str:
        rate = f" at {self.requests.rate:.3g} request/s" if self.requests.arrival[-1] > 0 else ""
        return f"<trace {self.name}: {len(self)} requests{rate}{''.join(f'; {note}' for note in self.notes)}>"

    @property
    def rate(self) -> Quantity:
        """Mean rate, ``(n - 1) / (last - first)``."""
        return registry.Quantity(self.requests.rate, "request/s")  # type: ignore[no-any-return]

    @property
    def duration(self) -> Quantity:
        """From the first arrival to the last."""
        return registry.Quantity(float(self.requests.arrival[-1]), "s")  # type: ignore[no-any-return]

    @cached_property
    def arrivals(self) -> TraceArrivals:
        """The arrival times, to be replayed."""
        return TraceArrivals(self.requests.arrival)

    @cached_property
    def lengths(self) -> Empirical:
        """The pairs of lengths, each request as likely as any other; their order in time is lost."""
        return Empirical(self.requests.input_tokens, self.requests.output_tokens, name=self.name)

    def head(self, n: int) -> "Trace":
        """The first ``n`` requests (all, where there are fewer)."""
        if n < 1:
            raise InputError("n", given=n, expected="an integer of at least 1")
        return self if n >= len(self) else replace(self, requests=self.requests[:n], origin=None)

    def window(self, start: Duration, end: Duration) -> "Trace":
        """The requests that arrive from ``start`` on and before ``end``; the first of them moves to 0."""
        first, last = (si(Unit("s").read(value, what)) for value, what in ((start, "start"), (end, "end")))
        low, high = np.searchsorted(self.requests.arrival, [first, last])
        if low >= high:
            given = f"{start} to {end}, with no arrival in it"
            raise InputError("window", given=given, expected=f"a part of 0 s to {si(self.duration):.6g} s")
        return replace(self, requests=_from_zero(self.requests[low:high]), origin=None)

    def at(self, rate: Rate) -> "Trace":
        """The same requests in stretched time, at another mean rate."""
        new = spell(Unit("request/s", positive=True).read(rate, "rate"))
        origin = None if self.origin is None else {**self.origin, "rate": new}
        return replace(self, requests=replace(self.requests, arrival=self.arrivals.at(rate).recorded), origin=origin)


def _from_zero(requests: Requests) -> Requests:
    arrival = np.asarray(requests.arrival)
    return replace(requests, arrival=arrival - arrival[0])


# Reading

Columns = Mapping[str, Sequence[Any]]


@dataclass(frozen=True)
class _Format:
    """Where a format keeps its three columns, and how it writes times."""

    arrival: str
    input_tokens: str
    output_tokens: str
    seconds: Callable[["_File", str, Sequence[Any]], Floats]
    failures: bool = False

    @property
    def names(self) -> tuple[str, str, str]:
        return self.arrival, self.input_tokens, self.output_tokens


@dataclass(frozen=True)
class _File:
    """The rows of a file by column, each with the line it stands on."""

    path: Path
    columns: Columns
    lines: Sequence[int]

    def bad(self, row: int, column: str, expected: str, remedy: str = "") -> FileError:
        where, given = f"{self.path}, line {self.lines[row]}, {column}", repr(self.columns[column][row])
        return FileError(where, given=given, expected=expected, remedy=remedy)

    def numbers(self, column: str, values: Sequence[Any], expected: str) -> Floats:
        """The values, all text or all numbers, as finite floats."""
        try:
            array = np.array(values if _alike(values) else [], dtype=np.float64)
        except (ValueError, OverflowError):
            array = np.empty(0)
        if len(array) != len(values):
            array = np.array([_number(value) for value in values])
        if not np.isfinite(array).all():
            raise self.bad(int((~np.isfinite(array)).argmax()), column, expected)
        return array


def _alike(values: Sequence[Any]) -> bool:
    return (kinds := set(map(type, values))) == {str} or kinds <= {int, float}


def _number(value: Any) -> float:
    """``value`` as a float, or not-a-number for what is none."""
    try:
        return float(value) if type(value) in (int, float, str) else math.nan
    except (ValueError, OverflowError):
        return math.nan


def _by_unit(unit: str) -> Callable[[_File, str, Sequence[Any]], Floats]:
    """Times that are numbers of ``unit``."""
    per_second = 1 / si(quantity(f"1 {unit}", "s", "arrival_unit"))

    def seconds(file: _File, column: str, values: Sequence[Any]) -> Floats:
        return file.numbers(column, values, f"a number ({unit})") / per_second

    return seconds


def _by_date(file: _File, column: str, values: Sequence[Any]) -> Floats:
    """Times that are dates; seconds from the earliest, exact to the nanosecond."""
    import pandas as pd

    dates = pd.to_datetime(pd.Series(values), format="ISO8601", utc=True, errors="coerce")
    if dates.isna().any():
        row = int(dates.isna().to_numpy().argmax())
        raise file.bad(row, column, "a date and time", 'for numbers give columns and arrival_unit="s"')
    since = (dates - dates.min()).to_numpy().astype("timedelta64[ns]")
    return np.asarray(since.astype(np.int64) / 1e9)


_FORMATS = {
    "azure": _Format("TIMESTAMP", "ContextTokens", "GeneratedTokens", _by_date),
    "mooncake": _Format("timestamp", "input_length", "output_length", _by_unit("ms")),
    "burstgpt": _Format("Timestamp", "Request tokens", "Response tokens", _by_unit("s"), failures=True),
}


_HASH_BLOCK = 512
"""Tokens that one of Mooncake's own identities stands for."""


def read_trace(
    path: str | PathLike[str],
    format: str | None = None,
    columns: Mapping[str, str] | None = None,
    *,
    arrival_unit: str | None = None,
    hash_block: int = _HASH_BLOCK,
    name: str | None = None,
) -> Trace:
    """The trace in a file; its format is recognised by its header unless given.

    ``format`` is ``azure``, ``mooncake`` or ``burstgpt``. For any other CSV file ``columns``
    names the column of each of ``arrival``, ``input_tokens`` and ``output_tokens``, and
    ``arrival_unit`` the unit of its times (``"s"``, ``"ms"``). ``hash_block`` is the number of
    tokens that one of Mooncake's ``hash_ids`` stands for: 512 in Mooncake's own traces; a
    file whose identities do not fit it is refused.

    Errors: ``FileError`` for a file that is missing, empty, or has a row that is no request;
    ``InputError`` for arguments that do not go together.
    """
    if arrival_unit is not None and columns is None:
        raise InputError("arrival_unit", given=repr(arrival_unit), expected="columns beside it")
    named = None if columns is None else _named_columns(format, columns, arrival_unit)
    where = Path(path)
    file = _read(where)
    chosen = named or _recognised(file, format)
    _check_columns(file, chosen)
    requests, notes = _requests(file, chosen, hash_block)
    for note in notes:
        warnings.warn(f"{where}: {note}", TraceWarning, stacklevel=2)
    options = {"format": format, "columns": columns, "arrival_unit": arrival_unit, "name": name}
    origin: dict[str, object] = {"file": str(where.absolute())}
    origin |= {key: value for key, value in options.items() if value is not None}
    origin |= {"hash_block": hash_block} if hash_block != _HASH_BLOCK else {}
    return Trace(name=name or where.stem, requests=requests, notes=tuple(notes), origin=origin)


def _named_columns(format: str | None, columns: Mapping[str, str], arrival_unit: str | None) -> _Format:
    roles = ("arrival", "input_tokens", "output_tokens")
    if format not in (None, "columns"):
        raise InputError("format", given=repr(format), expected="no format beside columns")
    if not all(isinstance(name, str) for name in columns.values()):
        raise InputError("columns", given=repr(dict(columns)), expected="the names of columns, as text")
    if set(columns) != set(roles):
        raise InputError("columns", given=sorted(columns), expected=f"a column name for each of {', '.join(roles)}")
    if arrival_unit is None:
        expected = "the unit of the arrival column beside columns"
        raise InputError("arrival_unit", given="nothing", expected=expected, remedy='give arrival_unit="s"')
    arrival, inputs, outputs = (columns[role] for role in roles)
    return _Format(arrival, inputs, outputs, _by_unit(arrival_unit))


def _recognised(file: _File, format: str | None) -> _Format:
    if format is not None:
        if format not in _FORMATS:
            raise UnknownName.among("format", format, _FORMATS)
        return _FORMATS[format]
    for known in _FORMATS.values():
        if set(known.names) <= set(file.columns):
            return known
    raise FileError(
        str(file.path),
        given=f"the columns {', '.join(file.columns)}",
        expected="; or ".join(f"{', '.join(known.names)} ({word})" for word, known in _FORMATS.items()),
        remedy="name them with columns= and arrival_unit=",
    )


def _check_columns(file: _File, format: _Format) -> None:
    if missing := [name for name in format.names if name not in file.columns]:
        given = f"the columns {', '.join(file.columns)}"
        raise FileError(str(file.path), given=given, expected=f"also {', '.join(missing)}")


def _requests(file: _File, format: _Format, hash_block: int) -> tuple[Requests, list[str]]:
    """The rows as requests in order of time, and what had to be mended."""
    seconds = format.seconds(file, format.arrival, file.columns[format.arrival])
    inputs = _tokens(file, format.input_tokens, least=1)
    outputs = _tokens(file, format.output_tokens, least=0 if format.failures else 1)
    notes = []
    served = outputs > 0
    if not served.any():
        raise FileError(str(file.path), given="only failed requests (0 response tokens)", expected="one that succeeded")
    if failed := int((~served).sum()):
        notes.append(f"{failed} of {len(outputs)} requests failed (0 response tokens) and were left out")
    ids = file.columns.get("hash_ids")
    if ids is not None:
        ids = _hash_ids(file, ids, inputs, hash_block)
    order = np.flatnonzero(served)
    if (late := int((np.diff(seconds[order]) < 0).sum())) > 0:
        order = order[np.argsort(seconds[order], kind="stable")]
        notes.append(f"rows were out of order in {late} places and were sorted by arrival")
    return Requests(
        arrival=seconds[order] - seconds[order[0]],
        input_tokens=inputs[order],
        output_tokens=outputs[order],
        hash_ids=None if ids is None else tuple(ids[row] for row in order),
        hash_block=0 if ids is None else hash_block,
    ), notes


def _tokens(file: _File, column: str, least: int) -> Integers:
    expected = f"an integer of at least {least}"
    counts = file.numbers(column, file.columns[column], expected)
    bad = (counts < least) | (counts != np.floor(counts)) | (counts >= 2.0**53)
    if bad.any():
        raise file.bad(int(bad.argmax()), column, expected)
    return counts.astype(np.int64)


def _hash_ids(file: _File, ids: Sequence[Any], inputs: Integers, block: int) -> list[Any]:
    """The identities as arrays, one for each full block and perhaps one for the rest of the prompt."""
    if block < 1:
        raise InputError("hash_block", given=block, expected="an integer of at least 1")
    arrays = []
    for row, (listed, tokens) in enumerate(zip(ids, inputs, strict=True)):
        if not isinstance(listed, list) or not all(type(one) is int for one in listed):
            raise file.bad(row, "hash_ids", "a list of integers, in every row or in none")
        if not tokens // block <= len(listed) <= -(-tokens // block):
            where = f"{file.path}, line {file.lines[row]}, hash_ids"
            given, expected = f"{len(listed)} for {tokens} tokens", f"one for each {block} tokens"
            raise FileError(where, given=given, expected=expected, remedy="give the file's own hash_block")
        arrays.append(np.array(listed, dtype=np.int64))
    return arrays


def _text(path: Path) -> str:
    expected = "a trace (CSV or JSON lines)"
    try:
        text = path.read_text(encoding="utf-8-sig").rstrip()
    except UnicodeDecodeError:
        raise FileError(str(path), given="bytes that are not UTF-8 text", expected=expected) from None
    except OSError as error:
        raise FileError(str(path), given=error.strerror or "an unreadable file", expected=expected) from None
    if not text:
        raise FileError(str(path), given="an empty file", expected=expected)
    return text


def _read(path: Path) -> _File:
    text = _text(path)
    try:
        return _read_json_lines(path, text) if text.startswith("{") else _read_csv(path, text)
    except csv.Error as error:
        raise FileError(str(path), given=f"malformed CSV ({error})", expected="a trace (CSV or JSON lines)") from None


def _read_csv(path: Path, text: str) -> _File:
    """All columns as text. Every row must be as long as the header."""
    reader = csv.reader(io.StringIO(text, newline=""))
    header, rows, lines = [name.strip() for name in next(reader)], [], []
    for row in reader:
        if len(row) != len(header):
            where = f"{path}, line {reader.line_num}"
            raise FileError(where, given=f"{len(row)} values", expected=f"{len(header)}, as in the header")
        rows.append(row)
        lines.append(reader.line_num)
    if not rows:
        raise FileError(str(path), given="a header without rows", expected="at least one request")
    if len(set(header)) != len(header):
        raise FileError(str(path), given=f"the columns {', '.join(header)}", expected="each column once")
    return _File(path, dict(zip(header, zip(*rows, strict=True), strict=True)), lines)


def _read_json_lines(path: Path, text: str) -> _File:
    """The keys of the first object as columns; every object must have them."""
    rows = []
    for number, line in enumerate(text.split("\n"), start=1):
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        if not isinstance(row, dict):
            raise FileError(f"{path}, line {number}", given=repr(line[:60]), expected="a JSON object")
        rows.append(row)
    keys = list(rows[0])
    for number, row in enumerate(rows, start=1):
        if set(row) != set(keys):
            given, expected = f"the keys {', '.join(row)}", f"those of the first line, {', '.join(keys)}"
            raise FileError(f"{path}, line {number}", given=given, expected=expected)
    return _File(path, {key: [row[key] for row in rows] for key in keys}, range(1, len(rows) + 1))
