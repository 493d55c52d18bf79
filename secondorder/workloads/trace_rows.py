"""The rows of a trace file by column: CSV, JSON lines, or the result of a load generator in one JSON document."""

import csv
import json
import math
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from secondorder.arrays import Floats
from secondorder.errors import FileError
from secondorder.files import read_text
from secondorder.workloads.text_columns import PIECE, Column, Places, lines_of, pieces_of

if TYPE_CHECKING:
    from _csv import Reader

Values = Sequence[object]


@dataclass(frozen=True)
class Rows:
    """The values of a file by column, each with the line (or the place) it stands at.

    ``kind`` is the format where the document's structure alone tells it; ``failed`` counts requests that it marks so.
    """

    path: Path
    columns: Mapping[str, Values]
    places: Sequence[str]
    kind: str = ""
    failed: int = 0
    partial: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.places)

    def bad(self, row: int, column: str, expected: str, remedy: str = "", given: str = "") -> FileError:
        where, value = f"{self.path}, {self.places[row]}, {column}", repr(self.columns[column][row])
        return FileError(where, given=given or value, expected=expected, remedy=remedy)

    def numbers(self, column: str, expected: str) -> Floats:
        """The values, all text or all numbers, as finite floats."""
        found: Floats = np.concatenate([np.empty(0), *map(_floats, pieces_of(self.columns[column]))])
        if not np.isfinite(found).all():
            raise self.bad(int((~np.isfinite(found)).argmax()), column, expected)
        return found


def _floats(values: Values) -> Floats:
    """The values as floats, not-a-number for what is none."""
    try:
        found = np.array(values if _alike(values) else [], dtype=np.float64)
    except (ValueError, OverflowError):
        found = np.empty(0)
    return found if len(found) == len(values) else np.array([_number(value) for value in values])


def _alike(values: Values) -> bool:
    return (kinds := set(map(type, values))) == {str} or kinds <= {int, float}


def _number(value: object) -> float:
    """``value`` as a float, or not-a-number for what is none."""
    try:
        return float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else math.nan
    except (ValueError, OverflowError):
        return math.nan


MOST = 1 << 31
"""Bytes of a file of requests."""


def read_rows(path: Path, benchmark: int | None = None) -> Rows:
    """The rows of a file, whatever its form. Errors: ``FileError``."""
    text = _text(path)
    if not text.startswith(("{", "[")):
        try:
            return _csv(path, text)
        except csv.Error as error:
            given = f"malformed CSV ({str(error).partition(' - ')[0]})"
            raise FileError(str(path), given=given, expected="a trace (CSV or JSON lines)") from None
    document = _document(text)
    return _json_lines(path, text) if document is None else _result(path, document, benchmark)


def _text(path: Path) -> str:
    expected = "a trace (CSV or JSON lines)"
    try:
        text = read_text(path, encoding="utf-8-sig", most=MOST).rstrip()
    except UnicodeDecodeError:
        raise FileError(str(path), given="bytes that are not UTF-8 text", expected=expected) from None
    except OSError as error:
        raise FileError(str(path), given=error.strerror or "an unreadable file", expected=expected) from None
    if not text:
        raise FileError(str(path), given="an empty file", expected=expected)
    return text.replace("\r\n", "\n")


def _csv(path: Path, text: str) -> Rows:
    skipped = _yaml_head(text)
    reader = csv.reader(islice(lines_of(text), skipped, None))
    header = [name.strip() for name in next(reader)]
    if len(header) == 1 and (mark := next((each for each in (";", "\t") if each in header[0]), "")):
        given, remedy = f"columns between {mark!r}", "write commas between columns, and points in numbers"
        raise FileError(str(path), given=given, expected="columns between commas", remedy=remedy)
    lines = array("q")
    columns = [Column() for _ in header]
    while rows := list(islice(_rows(path, reader, len(header), skipped, lines), PIECE)):
        for column, cells in zip(columns, zip(*rows, strict=True), strict=True):
            column.add(cells)
    if not lines:
        raise FileError(str(path), given="a header without rows", expected="at least one request")
    if len(set(header)) != len(header):
        raise FileError(str(path), given=f"the columns {', '.join(header)}", expected="each column once")
    return Rows(path, dict(zip(header, columns, strict=True)), Places("line", lines))


def _rows(path: Path, reader: "Reader", width: int, skipped: int, lines: "array[int]") -> Iterator[list[str]]:
    """The rows of a table; the line of each is noted. Errors: ``FileError`` for one of another width."""
    for row in reader:
        line = reader.line_num + skipped
        if len(row) != width:
            expected = f"{width}, as in the header"
            raise FileError(f"{path}, line {line}", given=f"{len(row)} values", expected=expected)
        lines.append(line)
        yield row


def _yaml_head(text: str) -> int:
    """Lines of settings before the table, as BLIS writes them."""
    for number, line in enumerate(islice(lines_of(text), 200)):
        if "arrival_time_us" in line and "," in line:
            return number
    return 0


def _document(text: str) -> object:
    """The one JSON value that a file is; none where it has several lines of them."""
    first = text.split("\n", 1)[0]
    try:
        json.loads(first)
        alone = "\n" not in text
    except (ValueError, RecursionError):
        alone = True
    try:
        return json.loads(text) if alone else None
    except (ValueError, RecursionError):
        return None


def _json_lines(path: Path, text: str) -> Rows:
    objects = _objects(path, text)
    first = next(objects)
    places = Places("line", range(1, text.count("\n") + 2))
    nested = any(isinstance(value, dict) for value in first.values())
    if nested or "request_received_ms" in first:
        rows = [first, *objects]
        return _known(path, rows) or _alike_keys(path, rows, places)
    return _alike_keys(path, chain([first], objects), places)


def _objects(path: Path, text: str) -> Iterator[dict[str, object]]:
    """The JSON object of each line. Errors: ``FileError`` for a line that is none."""
    for number, line in enumerate(lines_of(text), start=1):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict):
            raise FileError(f"{path}, line {number}", given=repr(line.rstrip("\n")[:60]), expected="a JSON object")
        yield row


_OPTIONAL = ("timestamp", "delay", "output_length", "session_id")
"""Keys that some rows of a trace of turns lack."""


def _alike_keys(path: Path, rows: Iterable[Mapping[str, object]], places: Sequence[str]) -> Rows:
    """The keys of the first object as columns; every object must have them, but those of turns."""
    columns, shapes = _columns(rows)
    first = next(iter(shapes))
    turns = any("delay" in shape for shape in shapes) or not any("output_length" in shape for shape in shapes)
    loose = set(_OPTIONAL) if turns and "input_length" in first else set()
    keys = [key for key in first if key not in loose]
    others = [(row, shape) for shape, (row, _) in shapes.items() if set(shape) - loose != set(keys)]
    if others:
        row, shape = min(others)
        given, expected = f"the keys {', '.join(shape)}", f"those of the first line, {', '.join(first)}"
        raise FileError(f"{path}, {places[row]}", given=given, expected=expected)
    partial = {key: sum(count for shape, (_, count) in shapes.items() if key in shape) for key in loose}
    keys += [key for key, count in partial.items() if count]
    return Rows(path, {key: columns[key] for key in keys}, places, partial=partial)


def _columns(
    rows: Iterable[Mapping[str, object]],
) -> tuple[dict[str, Column], dict[tuple[str, ...], tuple[int, int]]]:
    """The values by key; and each list of keys that an object has, with the first row and the number of such."""
    columns: dict[str, Column] = {}
    shapes: dict[tuple[str, ...], tuple[int, int]] = {}
    each, seen = iter(rows), 0
    while piece := list(islice(each, PIECE)):
        columns = columns or {key: Column() for key in dict.fromkeys([*piece[0], *_OPTIONAL])}
        for number, row in enumerate(piece, start=seen):
            first, count = shapes.get(tuple(row), (number, 0))
            shapes[tuple(row)] = first, count + 1
        for key, column in columns.items():
            column.add([row.get(key) for row in piece])
        seen += len(piece)
    return columns, shapes


# Results of load generators


def _result(path: Path, document: object, benchmark: int | None) -> Rows:
    """The requests of a result in one JSON document."""
    if isinstance(document, dict):
        if "input_lens" in document and "output_lens" in document:
            return _vllm(path, document)
        if "benchmarks" in document:
            return _guidellm(path, document["benchmarks"], benchmark)
        rows = [document]
    else:
        rows = [row for row in document if isinstance(row, dict)] if isinstance(document, list) else []
    places = [f"request {number}" for number in range(1, len(rows) + 1)]
    if not rows:
        raise FileError(str(path), given="a JSON document without requests", expected="one object for each request")
    return _known(path, rows) or _alike_keys(path, rows, ["line 1"] if len(rows) == 1 else places)


def _vllm(path: Path, result: Mapping[str, object]) -> Rows:
    """Of ``vllm bench serve``: the lists that --save-detailed adds; a request without output has failed."""
    lists = [result.get(key) for key in ("start_times", "input_lens", "output_lens")]
    if not isinstance(lists[0], list):
        remedy = (
            "run it with --save-detailed on vLLM 0.11 or later, or give the load as a law and the lengths as a trace"
        )
        raise FileError(
            str(path), given="a result without start_times", expected="the time of each request", remedy=remedy
        )
    if len({len(each) if isinstance(each, list) else -1 for each in lists}) != 1:
        raise FileError(str(path), given="lists of different length", expected="one value for each request")
    starts, inputs, outputs = (list(each) for each in lists if isinstance(each, list))
    good = [row for row, tokens in enumerate(outputs) if tokens]
    return _triples(path, "vllm", [(starts[row], inputs[row], outputs[row]) for row in good], len(starts) - len(good))


def _triples(path: Path, kind: str, rows: Sequence[tuple[object, object, object]], failed: int) -> Rows:
    if not rows:
        raise FileError(str(path), given="no request that succeeded", expected="at least one")
    arrival, inputs, outputs = (list(each) for each in zip(*rows, strict=True))
    columns = {"arrival": arrival, "input_tokens": inputs, "output_tokens": outputs}
    return Rows(path, columns, [f"request {number}" for number in range(1, len(rows) + 1)], kind, failed)


def _guidellm(path: Path, benchmarks: object, chosen: int | None) -> Rows:
    """Of GuideLLM: the successful requests of one benchmark; the others failed or were cut off."""
    runs = benchmarks if isinstance(benchmarks, list) else []
    if not runs or (len(runs) > 1 and chosen is None) or (chosen is not None and not 0 <= chosen < len(runs)):
        expected = f"the number of one of them, 0 to {len(runs) - 1}" if runs else "at least one benchmark"
        remedy = "give benchmark=0 for the first" if runs else ""
        raise FileError(str(path), given=f"{len(runs)} benchmarks", expected=expected, remedy=remedy)
    requests = runs[chosen or 0].get("requests") if isinstance(runs[chosen or 0], dict) else None
    groups = requests if isinstance(requests, dict) else {}
    failed = sum(len(groups.get(key) or []) for key in ("errored", "incomplete"))
    rows = []
    for request in groups.get("successful") or []:
        inputs = request.get("prompt_tokens", _inside(request, "input_metrics", "total_tokens"))
        outputs = request.get("output_tokens", _inside(request, "output_metrics", "total_tokens"))
        rows.append((request.get("request_start_time", request.get("start_time")), inputs, outputs))
    return _triples(path, "guidellm", rows, failed)


def _inside(row: Mapping[str, object], *keys: str) -> object:
    value: object = row
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _known(path: Path, rows: Sequence[Mapping[str, object]]) -> Rows | None:
    """Rows of AIPerf, inference-perf or Dynamo, by what they nest; nothing for any other."""
    first = rows[0]
    if "metadata" in first and "metrics" in first:
        good = [row for row in rows if not row.get("error")]
        take = [
            (
                _inside(row, "metadata", "request_start_ns"),
                _inside(row, "metrics", "input_sequence_length", "value"),
                _inside(row, "metrics", "output_sequence_length", "value"),
            )
            for row in good
        ]
        return _triples(path, "aiperf", take, len(rows) - len(good))
    if "info" in first and "start_time" in first:
        good = [row for row in rows if not row.get("error")]
        take = [
            (row.get("start_time"), _inside(row, "info", "input_tokens"), _inside(row, "info", "output_tokens"))
            for row in good
        ]
        return _triples(path, "inference-perf", take, len(rows) - len(good))
    if (found := _deep(first, "request_received_ms")) is not None:
        holders = [_deep(row, "request_received_ms") or {} for row in rows]
        inputs = "input_tokens" if "input_tokens" in found else "input_length"
        outputs = "output_tokens" if "output_tokens" in found else "output_length"
        take = [(row.get("request_received_ms"), row.get(inputs), row.get(outputs)) for row in holders]
        return _triples(path, "dynamo", take, 0)
    if "hw" in first and "tput_per_gpu" in first:
        raise FileError(
            str(path),
            given="a summary without requests",
            expected="one object for each request",
            remedy="compare with its medians, or give the load as laws: arrivals and lengths",
        )
    return None


def _deep(value: object, key: str) -> Mapping[str, object] | None:
    """The innermost object that has ``key``."""
    if not isinstance(value, Mapping):
        return None
    if key in value:
        return value
    return next((found for part in value.values() if (found := _deep(part, key)) is not None), None)
