"""Formats of traces: which columns hold a request, in which unit, and what must not vanish in silence."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from secondorder.arrays import Floats, Integers
from secondorder.errors import FileError, InputError, UnknownName
from secondorder.quantities import quantity, si
from secondorder.workloads.requests import Requests
from secondorder.workloads.text_columns import pieces_of
from secondorder.workloads.trace_rows import Rows

Seconds = Callable[[Rows, str], Floats]

ROLES = ("arrival", "input_tokens", "output_tokens")
PRIORITY = "priority"
"""A fourth column, which need not be there."""


@dataclass(frozen=True)
class Format:
    """Where a format keeps its three columns, how it writes times, and by which other columns it is known.

    ``unit`` is that of the times, ``date`` for dates; ``block`` the tokens of one block identity; ``failures``: 0
    output tokens mark a request that failed; ``priority``: the column of priorities, where it has one.
    """

    name: str
    arrival: str
    input_tokens: str
    output_tokens: str
    unit: str
    marks: tuple[str, ...] = ()
    block: int = 512
    failures: bool = False
    told: bool = False
    priority: str = ""

    @property
    def columns(self) -> tuple[str, str, str]:
        return self.arrival, self.input_tokens, self.output_tokens


_TOKENS = ("arrival", "input_tokens", "output_tokens")

FORMATS: Mapping[str, Format] = {
    format.name: format
    for format in (
        Format("azure", "TIMESTAMP", "ContextTokens", "GeneratedTokens", "date"),
        Format(
            "bailian",
            "timestamp",
            "input_length",
            "output_length",
            "s",
            marks=("chat_id",),
            block=16,
            priority=PRIORITY,
        ),
        Format("mooncake", "timestamp", "input_length", "output_length", "ms", priority=PRIORITY),
        Format("burstgpt", "Timestamp", "Request tokens", "Response tokens", "s", failures=True),
        Format("vidur", "arrived_at", "num_prefill_tokens", "num_decode_tokens", "s"),
        Format("blis", "arrival_time_us", "input_tokens", "output_tokens", "us"),
        Format("vllm", *_TOKENS, "s"),
        Format("guidellm", *_TOKENS, "s"),
        Format("aiperf", *_TOKENS, "ns"),
        Format("inference-perf", *_TOKENS, "s"),
        Format("dynamo", *_TOKENS, "ms"),
    )
}

_RESULTS = ("vllm", "guidellm", "aiperf", "inference-perf", "dynamo")
"""Formats known by the structure of their document alone."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the caller of ``read_trace`` says beyond the file; see there."""

    arrival_unit: str | None = None
    hash_block: int | None = None
    output_tokens: int | None = None
    turns: str | None = None
    images: str | None = None
    benchmark: int | None = None

    def __post_init__(self) -> None:
        if self.turns not in (None, "first", "delays"):
            raise InputError("turns", given=repr(self.turns), expected="first or delays")
        if self.images not in (None, "ignored"):
            raise InputError("images", given=repr(self.images), expected="ignored")
        for what, value in (("output_tokens", self.output_tokens), ("hash_block", self.hash_block)):
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                raise InputError(what, given=repr(value), expected="an integer of at least 1")

    def named_columns(self, format: str | None, columns: Mapping[str, str] | None) -> Format | None:
        """The format that ``columns`` spells; nothing where there are none."""
        if columns is None:
            return None
        if format not in (None, "columns"):
            raise InputError("format", given=repr(format), expected="no format with columns")
        if set(columns) - {PRIORITY} != set(ROLES) or not all(isinstance(name, str) for name in columns.values()):
            given, roles = sorted(map(str, columns)), ", ".join(ROLES)
            raise InputError(
                "columns", given=given, expected=f"a column name for each of {roles}, and perhaps of priority"
            )
        if self.arrival_unit is None:
            expected = "the unit of the arrival column with columns"
            raise InputError("arrival_unit", given="nothing", expected=expected, remedy='give arrival_unit="s"')
        arrival, inputs, outputs = (columns[role] for role in ROLES)
        return Format(
            "columns", arrival, inputs, outputs, unit=self.arrival_unit, told=True, priority=columns.get(PRIORITY, "")
        )


def format_of(rows: Rows, format: str | None) -> Format:
    """The format of a file: as told, or by its structure and its columns."""
    if format is not None and format not in FORMATS:
        raise UnknownName.among("format", format, FORMATS)
    if rows.kind:
        if format not in (None, rows.kind):
            raise InputError("format", given=repr(format), expected=f"{rows.kind}, as the file is built")
        return FORMATS[rows.kind]
    if format is not None:
        return FORMATS[format]
    for known in FORMATS.values():
        needed = {known.arrival, known.input_tokens, *known.marks}
        if known.name not in _RESULTS and needed <= set(rows.columns) and _has_outputs(rows, known):
            return known
    raise FileError(
        str(rows.path),
        given=f"the columns {', '.join(rows.columns)}",
        expected="; or ".join(
            f"{', '.join(known.columns)} ({word})" for word, known in FORMATS.items() if word not in _RESULTS
        ),
        remedy="name them with columns= and arrival_unit=",
    )


def _has_outputs(rows: Rows, format: Format) -> bool:
    return format.output_tokens in rows.columns or format.name in ("mooncake", "bailian")


def read_requests(rows: Rows, format: Format, options: Options) -> tuple[Requests, list[str]]:
    """The rows as requests in order of time, and what had to be mended."""
    notes = [f"{rows.failed} of {rows.failed + len(rows)} requests failed and were left out"] if rows.failed else []
    rows, more = _turns(rows, format, options)
    rows, outputs_note = _outputs(rows, format, options)
    notes += more + outputs_note + _images(rows, options)
    _check_columns(rows, format)
    seconds = _seconds(rows, format, options)
    inputs = _tokens(rows, format.input_tokens, least=1)
    outputs = _tokens(rows, format.output_tokens, least=0 if format.failures else 1)
    served = outputs > 0
    if not served.any():
        raise FileError(str(rows.path), given="only failed requests (0 response tokens)", expected="one that succeeded")
    if failed := int((~served).sum()):
        notes.append(f"{failed} of {len(outputs)} requests failed (0 response tokens) and were left out")
    ids = rows.columns.get("hash_ids")
    block = options.hash_block or format.block
    arrays = None if ids is None else _hash_ids(rows, ids, inputs, block)
    order = np.flatnonzero(served)
    if (late := int((np.diff(seconds[order]) < 0).sum())) > 0:
        order = order[np.argsort(seconds[order], kind="stable")]
        notes.append(f"rows were out of order in {late} places and were sorted by arrival")
    return Requests(
        arrival=seconds[order] - seconds[order[0]],
        input_tokens=inputs[order],
        output_tokens=outputs[order],
        hash_ids=None if arrays is None else tuple(arrays[row] for row in order),
        hash_block=0 if arrays is None else block,
        priorities=_priorities(rows, format)[order] if format.priority in rows.columns else None,
    ), notes


def _turns(rows: Rows, format: Format, options: Options) -> tuple[Rows, list[str]]:
    """Later turns, which have a delay and no time, as ``turns`` says."""
    times = rows.columns.get(format.arrival, ())
    if "delay" not in rows.columns or all(time is not None for time in times):
        return rows, []
    later = sum(time is None for time in times)
    if options.turns is None:
        row = next(row for row, time in enumerate(times) if time is None)
        raise FileError(
            f"{rows.path}, {rows.places[row]}",
            given="a later turn, which starts a delay after the turn before it has ended",
            expected="a time for each request",
            remedy='give turns="first" to leave later turns out, or turns="delays" to start each after its delay',
        )
    if options.turns == "first":
        keep = [row for row, time in enumerate(times) if time is not None]
        return _kept(rows, keep), [f"{later} of {len(rows)} requests are later turns and were left out"]
    moved = _after_delays(rows, format.arrival)
    changed = replace(rows, columns={**rows.columns, format.arrival: moved})
    return changed, [f"{later} of {len(rows)} requests are later turns and arrive their delay after the turn before"]


def _after_delays(rows: Rows, arrival: str) -> list[object]:
    """Times of all turns: each session's first, plus the delays of those after it."""
    sessions = rows.columns.get("session_id", [None] * len(rows))
    last: dict[object, float] = {}
    found: list[object] = []
    for row, (session, time, delay) in enumerate(
        zip(sessions, rows.columns[arrival], rows.columns["delay"], strict=True)
    ):
        if time is None:
            if session not in last or not isinstance(delay, int | float):
                raise rows.bad(row, "delay", "a number, after a first turn of the same session_id")
            time = last[session] + delay
        if not isinstance(time, int | float) or isinstance(time, bool):
            raise rows.bad(row, arrival, "a number")
        last[session] = float(time)
        found.append(time)
    return found


def _kept(rows: Rows, keep: Sequence[int]) -> Rows:
    columns = {name: [values[row] for row in keep] for name, values in rows.columns.items()}
    return replace(rows, columns=columns, places=[rows.places[row] for row in keep])


def _outputs(rows: Rows, format: Format, options: Options) -> tuple[Rows, list[str]]:
    """Outputs that are not recorded, as ``output_tokens`` says."""
    column = rows.columns.get(format.output_tokens)
    if format.name not in ("mooncake", "bailian") or (column is not None and all(one is not None for one in column)):
        return rows, []
    missing = len(rows) if column is None else sum(one is None for one in column)
    if options.output_tokens is None:
        raise FileError(
            str(rows.path),
            given=f"{missing} of {len(rows)} requests without {format.output_tokens}",
            expected="the output tokens of each",
            remedy="give output_tokens=100, or as many as your service writes",
        )
    values = [None] * len(rows) if column is None else column
    filled = [options.output_tokens if one is None else one for one in values]
    note = f"{missing} of {len(rows)} requests have no recorded output and were given {options.output_tokens} tokens"
    return replace(rows, columns={**rows.columns, format.output_tokens: filled}), [note]


def _images(rows: Rows, options: Options) -> list[str]:
    """A column of images is work that no token count shows."""
    for column in rows.columns:
        if not any(word in column.lower() for word in ("image", "video", "audio")):
            continue
        shown = [str(value) for value in rows.columns[column]]
        some = [row for row, value in enumerate(shown) if value.strip() not in ("", "0", "0.0", "None", "[]")]
        if some and options.images is None:
            remedy = 'give images="ignored" to count the tokens alone'
            raise rows.bad(some[0], column, "no work beside the tokens", remedy)
        if some:
            return [f"{len(some)} of {len(rows)} requests have values in {column}, which are not counted"]
    return []


def _check_columns(rows: Rows, format: Format) -> None:
    named = (*format.columns, format.priority) if format.told and format.priority else format.columns
    if missing := [name for name in named if name not in rows.columns]:
        given = f"the columns {', '.join(rows.columns)}"
        raise FileError(str(rows.path), given=given, expected=f"also {', '.join(missing)}")


SLOWEST, FASTEST = 1e-4, 500.0
"""Requests a second between which a mean rate is believed."""


def _seconds(rows: Rows, format: Format, options: Options) -> Floats:
    """Arrivals in seconds; a unit that is not given and that makes no plausible rate is refused."""
    unit = options.arrival_unit or format.unit
    if unit == "date":
        return _dates(rows, format.arrival)
    try:
        per_second = 1 / si(quantity(f"1 {unit}", "s", "arrival_unit"))
    except InputError as error:
        if format.told or options.arrival_unit is None:
            raise
        raise InputError("arrival_unit", given=repr(unit), expected=error.expected) from None
    values = rows.numbers(format.arrival, f"a number ({unit})")
    if options.arrival_unit is None and not format.told:
        _plausible(rows, format, values, unit)
    return values / per_second


def _plausible(rows: Rows, format: Format, values: Floats, unit: str) -> None:
    """Refuse times that look as if they were in another unit."""
    span = float(values.max() - values.min())
    if len(values) < 4 or span <= 0 or unit not in ("s", "ms"):
        return
    rate = (len(values) - 1) / span * (1000 if unit == "ms" else 1)
    other = "s" if unit == "ms" else "ms"
    fractional = unit == "ms" and bool((values != np.floor(values)).any())
    changed = rate / 1000 if unit == "ms" else rate * 1000
    if (fractional and rate > 100) or (rate > FASTEST and unit == "ms") or (rate < SLOWEST and unit == "s"):
        raise FileError(
            f"{rows.path}, {format.arrival}",
            given=f"times that make {rate:.3g} request/s if they are in {unit} and {changed:.3g} request/s in {other}",
            expected=f"{format.name}'s own {unit}, at {SLOWEST:g} to {FASTEST:g} request/s",
            remedy=f'give arrival_unit="{other}" or arrival_unit="{unit}"',
        )


def _dates(rows: Rows, column: str) -> Floats:
    """Times that are dates; seconds from the earliest, exact to the nanosecond."""
    import pandas as pd

    pieces = [
        pd.to_datetime(pd.Series([str(value) for value in piece]), format="ISO8601", utc=True, errors="coerce")
        for piece in pieces_of(rows.columns[column])
    ]
    missing = np.concatenate([dates.isna().to_numpy() for dates in pieces])
    if missing.any():
        raise rows.bad(
            int(missing.argmax()), column, "a date and time", 'for numbers give columns and arrival_unit="s"'
        )
    first = min(dates.min() for dates in pieces)
    since = [(dates - first).to_numpy().astype("timedelta64[ns]").astype(np.int64) for dates in pieces]
    return np.asarray(np.concatenate(since) / 1e9)


def _tokens(rows: Rows, column: str, least: int) -> Integers:
    expected = f"an integer of at least {least}"
    counts = rows.numbers(column, expected)
    bad = (counts < least) | (counts != np.floor(counts)) | (counts >= 2.0**53)
    if bad.any():
        raise rows.bad(int(bad.argmax()), column, expected)
    return counts.astype(np.int64)


def _priorities(rows: Rows, format: Format) -> Integers:
    """Whole numbers, the lower the more urgent."""
    found = rows.numbers(format.priority, "an integer")
    bad = (found != np.floor(found)) | (np.abs(found) >= 2.0**53)
    if bad.any():
        raise rows.bad(int(bad.argmax()), format.priority, "an integer")
    return found.astype(np.int64)


def _hash_ids(rows: Rows, ids: Sequence[object], inputs: Integers, block: int) -> list[Integers]:
    """The identities as arrays, one for each full block and perhaps one for the rest of the prompt."""
    arrays = []
    for row, (listed, tokens) in enumerate(zip(ids, inputs, strict=True)):
        if not isinstance(listed, list) or not all(type(one) is int for one in listed):
            raise rows.bad(row, "hash_ids", "a list of integers, in every row or in none")
        if not tokens // block <= len(listed) <= -(-tokens // block):
            given, expected = f"{len(listed)} for {tokens} tokens", f"one for each {block} tokens"
            raise rows.bad(row, "hash_ids", expected, "give the file's own hash_block", given)
        arrays.append(np.array(listed, dtype=np.int64))
    return arrays
