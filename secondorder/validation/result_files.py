"""Results of load generators, request by request: where each keeps its times, and in which unit.

Known: ``vllm bench serve --save-detailed``, GuideLLM, AIPerf's ``profile_export.jsonl``, inference-perf's requests,
BLIS TraceV2, and CSV files whose columns are named. A summary without requests is refused.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from secondorder.errors import FileError
from secondorder.files import read_text
from secondorder.workloads.trace_rows import Rows, read_rows

if TYPE_CHECKING:
    import pandas as pd

TIMES = ("arrival", "ttft", "tpot", "e2el")
COLUMNS = ("arrival", "input_tokens", "output_tokens", "ttft", "tpot", "e2el")
UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
SLOWEST_TOKEN = 1.0
"""Seconds a token, beyond which a median is believed to be in another unit."""
FASTEST_TOKEN = 2e-5
"""Seconds a token, below which it is."""
AGREES = 0.02
"""Relative difference up to which an end-to-end time is that of its first token and its tokens."""
LARGEST = 1 << 30
"""Bytes of a result at most."""
LOST = 0.1
"""Share of requests without an answer, above which those with one are no picture of the load."""


@dataclass(frozen=True, kw_only=True)
class Records:
    """``frame`` with a row a request and the columns of ``COLUMNS`` (s); ``facts`` of the engine; ``model`` by name;
    ``lost``: requests without an answer, which have no row."""

    frame: "pd.DataFrame"
    facts: Mapping[str, Any] = field(default_factory=dict)
    model: str = ""
    lost: int = 0


def read_records(
    path: Path, *, columns: Mapping[str, str] | None = None, unit: str | None = None, benchmark: int | None = None
) -> Records:
    """The requests of a result file that succeeded. Errors: ``FileError``."""
    document = document_of(path)
    if isinstance(document, dict):
        found = _of_document(path, document, benchmark)
    elif document:
        found = _of_lines(path, document)
    else:
        found = _of_table(read_rows(path), columns, unit)
    return replace(found, frame=checked(found.frame, str(path)))


def without_result(folder: Path, name: str) -> FileError:
    """For a folder that is no measured run."""
    return FileError(str(folder), given=f"no {name}", expected="trace.jsonl, measured.csv and meta.json")


def checked(frame: "pd.DataFrame", where: str) -> "pd.DataFrame":
    """The same frame. ``FileError`` for values that are absent, not positive, contradictory or in another unit."""
    for name in COLUMNS:
        if name not in frame or (name == "tpot" and bool((frame["output_tokens"] == 1).all())):
            continue
        values = frame[name].to_numpy(float)
        single = (frame["output_tokens"] == 1).to_numpy() & (name == "tpot")
        bad = ~single & ~(np.isfinite(values) & (values >= 0))
        if bad.any():
            row = int(bad.argmax())
            given = f"{values[row]} in row {row + 1}"
            raise FileError(f"{where}, {name}", given=given, expected="a number of at least 0")
    for name in ("input_tokens", "output_tokens"):
        values = frame[name].to_numpy(float)
        if (bad := (values < 1) | (values % 1 != 0)).any():
            row = int(bad.argmax())
            given = f"{values[row]:g} in row {row + 1}"
            raise FileError(f"{where}, {name}", given=given, expected="a whole number of at least 1")
    many = (frame["output_tokens"] > 1).to_numpy()
    tokens = frame["tpot"].to_numpy(float)[many]
    if tokens.size and not FASTEST_TOKEN < np.median(tokens) < SLOWEST_TOKEN:
        given = f"a median of {np.median(tokens):.3g} s per output token"
        raise FileError(f"{where}, tpot", given=given, expected="seconds", remedy="state the unit: unit='ms'")
    later = (frame["output_tokens"].to_numpy() - 1) * np.nan_to_num(frame["tpot"].to_numpy(float))
    end = frame["ttft"].to_numpy() + later
    apart = np.abs(frame["e2el"].to_numpy() - end) > AGREES * end + 1e-3
    if apart.mean() > 0.5:
        given = f"{frame['e2el'].iloc[0]:.4g} s end to end and {end[0]:.4g} s for its tokens in row 1"
        raise FileError(where, given=given, expected="times in one unit that add up", remedy="state the unit")
    return frame


def document_of(path: Path) -> object:
    """One JSON value, a list of JSON objects by line, or nothing for another form."""
    try:
        text = read_text(path, encoding="utf-8-sig", most=LARGEST).strip()
    except (OSError, UnicodeDecodeError) as error:
        given = getattr(error, "strerror", None) or "bytes that are not UTF-8 text"
        raise FileError(str(path), given=given, expected="the result of a load generator") from None
    if not text.startswith(("{", "[")):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        return [json.loads(line) for line in text.splitlines() if line.strip()]
    except (ValueError, RecursionError):
        raise FileError(str(path), given="broken JSON", expected="the result of a load generator") from None


def _of_document(path: Path, document: dict[str, Any], benchmark: int | None) -> Records:
    if "input_lens" in document:
        return _vllm(path, document)
    if "benchmarks" in document:
        return _guidellm(path, document["benchmarks"], benchmark)
    if "tput_per_gpu" in document or "median_ttft" in document:
        raise FileError(
            str(path),
            given="a summary without requests",
            expected="one row a request",
            remedy="save the requests (--save-detailed)",
        )
    return _of_lines(path, [document])


def _vllm(path: Path, result: dict[str, Any]) -> Records:
    """Of ``vllm bench serve``; a request without output has failed."""
    for name in ("start_times", "ttfts", "itls"):
        if not isinstance(result.get(name), list):
            remedy = "run it with --save-result --save-detailed on vLLM 0.11 or later"
            raise FileError(str(path), given=f"no {name}", expected="the times of each request", remedy=remedy)
    names = ("start_times", "input_lens", "output_lens", "ttfts")
    lists = [*(_listed(path, name, result.get(name), object) for name in names)]
    lists.append(_listed(path, "itls", result["itls"], list))
    if len({len(each) for each in lists}) != 1:
        raise FileError(str(path), given="lists of different length", expected="one value for each request")
    rows = [
        (start, inputs, outputs, first, _number(first) + sum(map(_number, gaps)))
        for start, inputs, outputs, first, gaps in zip(*lists, strict=True)
        if outputs
    ]
    lost = _lost(path, len(lists[0]), len(rows))
    _check_chunks(path, [(len(gaps) + 1, outputs) for outputs, gaps in zip(lists[2], lists[4], strict=True) if outputs])
    _check_duration(path, result.get("duration"), rows)
    return Records(frame=_frame(path, rows), facts=result, model=str(result.get("model_id", "")), lost=lost)


def _listed(path: Path, name: str, value: object, kind: type) -> list[Any]:
    """A list of ``kind``. ``FileError`` for anything else."""
    whole = "a list of objects" if kind is dict else "a list of lists" if kind is list else "a list"
    if not isinstance(value, list):
        raise FileError(f"{path}, {name}", given=type(value).__name__, expected=whole)
    for row, each in enumerate(value, 1):
        if not isinstance(each, kind):
            raise FileError(f"{path}, {name}", given=f"{type(each).__name__} in row {row}", expected=whole)
    return value


def _lost(path: Path, offered: int, answered: int) -> int:
    """Requests without an answer. ``FileError`` for so many that the rest would be replayed under too little load."""
    if offered and answered and offered - answered > LOST * offered:
        given = f"{offered - answered} of {offered} requests without an answer"
        raise FileError(str(path), given=given, expected=f"at most {LOST:.0%}, as they are left out of a replay")
    return offered - answered


def _check_chunks(path: Path, counts: Sequence[tuple[int, Any]]) -> None:
    """``FileError`` where (chunks, tokens) of requests say that rows of two lists are not of the same request."""
    more = sum(chunks > _number(tokens) + 1 for chunks, tokens in counts)
    if more > LOST * len(counts):
        given = f"{more} of {len(counts)} requests with more chunks than tokens"
        raise FileError(str(path), given=given, expected="times and lengths of the same requests, in the same order")


def _check_duration(path: Path, duration: object, rows: Sequence[tuple[Any, ...]]) -> None:
    """``FileError`` where requests end after the run that the file states: their times are in another unit."""
    starts, ends = (np.array([_number(row[place]) for row in rows]) for place in (0, 4))
    if not rows or not np.isfinite(most := _number(duration)):
        return
    if (last := float((starts - starts.min() + ends).max())) > 2 * most + 1:
        given = f"a request that ends {last:.4g} s after the first began, in a run of {most:.4g} s"
        raise FileError(f"{path}, ttfts", given=given, expected="times in seconds")


def _guidellm(path: Path, document: object, chosen: int | None) -> Records:
    benchmarks = _listed(path, "benchmarks", document, dict)
    if not benchmarks or (len(benchmarks) > 1 and chosen is None) or not 0 <= (chosen or 0) < len(benchmarks):
        expected = f"the number of one of them, 0 to {len(benchmarks) - 1}"
        remedy = "give benchmark=0 for the first"
        raise FileError(str(path), given=f"{len(benchmarks)} benchmarks", expected=expected, remedy=remedy)
    run = benchmarks[chosen or 0]
    good, *others = (
        _listed(path, kind, _inside(run, "requests", kind) or [], dict)
        for kind in ("successful", "errored", "incomplete")
    )
    lost = _lost(path, len(good) + sum(map(len, others)), len(good))
    rows = [_of_guidellm(row) for row in good]
    model = _inside(run, "config", "backend", "model") or _inside(run, "args", "model") or ""
    return Records(frame=_frame(path, rows), model=str(model), lost=lost)


def _of_guidellm(row: dict[str, Any]) -> tuple[Any, ...]:
    """The last token's time where the file has it, else the end of the request."""
    start = _number(row.get("request_start_time", row.get("start_time")))
    end = _inside(row, "info", "timings", "last_token_iteration") or row.get("request_end_time", row.get("end_time"))
    return (
        start,
        row.get("prompt_tokens", _inside(row, "input_metrics", "total_tokens")),
        row.get("output_tokens", _inside(row, "output_metrics", "total_tokens")),
        _number(row.get("time_to_first_token_ms")) * 1e-3,
        _number(end) - start,
    )


def _of_lines(path: Path, lines: object) -> Records:
    """AIPerf and inference-perf: one object a request."""
    rows = [row for row in lines if isinstance(row, dict)] if isinstance(lines, list) else []
    rows = [row for row in rows if _inside(row, "metadata", "benchmark_phase") in (None, "profiling")]
    good = [row for row in rows if not row.get("error") and not _inside(row, "metadata", "was_cancelled")]
    lost = _lost(path, len(rows), len(good))
    if good and "metrics" in good[0] and "metadata" in good[0]:
        return Records(frame=_frame(path, [_aiperf(row) for row in good]), model=_aiperf_model(path), lost=lost)
    if good and "info" in good[0] and "start_time" in good[0]:
        if adapter := next((found for row in good if (found := _inside(row, "info", "lora_adapter"))), None):
            raise FileError(f"{path}, lora_adapter", given=repr(adapter), expected="none: a replay cannot have it")
        _check_chunks(path, [(len(_token_times(row)), _answer(row).get("output_tokens")) for row in good])
        frame = _frame(path, [_inference_perf(row) for row in good])
        return Records(frame=frame, model=_inference_perf_model(good[0]), lost=lost)
    expected = "a result of vLLM bench, GuideLLM, AIPerf, inference-perf or BLIS, or a CSV file"
    raise FileError(str(path), given="JSON without the times of requests", expected=expected)


def _aiperf(row: dict[str, Any]) -> tuple[Any, ...]:
    metrics, start = row.get("metrics"), _number(_inside(row, "metadata", "request_start_ns")) * 1e-9
    end = _number(_inside(row, "metadata", "request_end_ns")) * 1e-9
    first = _inside(metrics, "time_to_first_token")
    in_seconds = UNITS.get(str(_inside(first, "unit")), float("nan"))
    return (
        start, _inside(metrics, "input_sequence_length", "value"), _inside(metrics, "output_sequence_length", "value"),
        _number(_inside(first, "value")) * in_seconds, end - start,
    )  # fmt: skip


def _aiperf_model(path: Path) -> str:
    """Of the summary that AIPerf writes beside its requests; without it, nothing."""
    try:
        summary = json.loads((path.parent / "profile_export_aiperf.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    names = _inside(summary, "input_config", "models", "items") or [{}]
    return str(_inside(names[0], "name") or "") if len(names) == 1 else ""


def _inference_perf(row: dict[str, Any]) -> tuple[Any, ...]:
    start, times, answer = _number(row.get("start_time")), _token_times(row), _answer(row)
    end = times[-1] if len(times) > 1 else row.get("end_time")
    inputs, outputs = _inside(row, "info", "input_tokens"), answer.get("output_tokens")
    return start, inputs, outputs, _number(times[0]) - start, _number(end) - start


def _answer(row: dict[str, Any]) -> Mapping[str, Any]:
    """What inference-perf keeps of a request's answer: apart in newer versions, among the rest in older ones."""
    info = row.get("info")
    found = _inside(info, "response_metrics") or info
    return found if isinstance(found, Mapping) else {}


def _token_times(row: dict[str, Any]) -> list[Any]:
    times = _answer(row).get("output_token_times")
    return times if isinstance(times, list) and times else [row.get("first_token_time")]


def _inference_perf_model(row: dict[str, Any]) -> str:
    """Of the request as it was sent; without it, nothing."""
    try:
        return str(_inside(json.loads(row.get("request") or "{}"), "model") or "")
    except (TypeError, ValueError):
        return ""


def _of_table(rows: Rows, columns: Mapping[str, str] | None, unit: str | None) -> Records:
    """A CSV file, BLIS's among them."""
    if "send_time_us" in rows.columns and columns is None:
        return _blis(rows)
    import pandas as pd

    frame = pd.DataFrame({name: rows.numbers(column, "a number") for name, column in _named(rows, columns)})
    for name, column in _named(rows, columns):
        if name in TIMES:
            frame[name] *= _unit(rows, column, unit)
    if missing := [name for name in ("arrival", "input_tokens", "output_tokens", "ttft") if name not in frame]:
        given = f"the columns {', '.join(rows.columns)}"
        raise FileError(
            str(rows.path), given=given, expected=f"also {', '.join(missing)}", remedy="name them: columns="
        )
    later = frame["output_tokens"] - 1
    if "e2el" not in frame and "tpot" not in frame:
        given = f"the columns {', '.join(rows.columns)}"
        raise FileError(str(rows.path), given=given, expected="tpot or e2el too", remedy="name it: columns=")
    if "e2el" not in frame:
        frame["e2el"] = frame["ttft"] + (later * frame["tpot"]).where(later > 0, 0.0)
    if "tpot" not in frame:
        frame["tpot"] = ((frame["e2el"] - frame["ttft"]) / later).where(later > 0)
    return Records(frame=frame)


def _named(rows: Rows, columns: Mapping[str, str] | None) -> Iterator[tuple[str, str]]:
    """Our name and the file's of each column that it has."""
    columns = columns or {}
    for name in COLUMNS:
        if name in columns:
            if columns[name] not in rows.columns:
                given = f"no column {columns[name]!r}"
                raise FileError(str(rows.path), given=given, expected=f"one of {', '.join(rows.columns)}")
            yield name, columns[name]
            continue
        known = [name, *(f"{name}_{unit}" for unit in UNITS)] if name in TIMES else [name]
        if found := [column for column in known if column in rows.columns]:
            yield name, found[0]


def _unit(rows: Rows, column: str, unit: str | None) -> float:
    """Seconds of the unit that a column's name ends in, else of the one given."""
    ending = re.search(r"_(s|ms|us|µs|ns)$", column)
    word = ending.group(1) if ending else unit
    if word is None:
        given, remedy = "no unit", "give unit='s' or unit='ms', or name it ttft_ms"
        raise FileError(f"{rows.path}, {column}", given=given, expected="that of its times", remedy=remedy)
    if word not in UNITS:
        raise FileError(f"{rows.path}, {column}", given=repr(word), expected=f"one of {', '.join(UNITS)}")
    return UNITS[word]


def _blis(rows: Rows) -> Records:
    """BLIS TraceV2: microseconds on the client's clock; rows whose status is not ok have failed.

    The engine's facts stand in a header of YAML, above the rows or in a file beside them.
    """
    status = rows.columns.get("status", ["ok"] * len(rows))
    good = [place for place, word in enumerate(status) if str(word) in ("ok", "")]
    lost = _lost(rows.path, len(rows), len(good))
    _check_blis(rows)
    names = ("send_time_us", "input_tokens", "output_tokens", "first_chunk_time_us", "last_chunk_time_us")
    sent, inputs, outputs, first, last = (rows.numbers(name, "a number")[good] for name in names)
    if "server_input_tokens" in rows.columns:
        counted = rows.numbers("server_input_tokens", "a number")[good]
        inputs = np.where(counted > 0, counted, inputs)
    table = zip(sent * 1e-6, inputs, outputs, (first - sent) * 1e-6, (last - sent) * 1e-6, strict=True)
    found = dict(re.findall(r"^\s*(\w+):\s*(\S+)\s*$", _blis_header(rows.path), re.MULTILINE))
    facts = {"tensor_parallel_size" if name == "tensor_parallel" else name: value for name, value in found.items()}
    return Records(frame=_frame(rows.path, list(table)), facts=facts, model=found.get("model", ""), lost=lost)


def _blis_header(data: Path) -> str:
    """What stands above the rows, and in the file beside them: ``x.yaml``, or ``x_header.yaml`` of ``x_data.csv``."""
    above = data.read_text(encoding="utf-8-sig").split("request_id")[0]
    beside = (data.with_suffix(".yaml"), data.with_name(f"{data.stem.removesuffix('_data')}_header.yaml"))
    return above + "".join(path.read_text(encoding="utf-8") for path in beside if path.is_file())


def _check_blis(rows: Rows) -> None:
    """``FileError`` for what a replay of the rows would have to ignore."""
    off = ("0", "0.0", "", "nan", "None")
    for name, why in (("prefix_length", "shared prefixes"), ("priority", "priorities")):
        if stated := [word for word in map(str, rows.columns.get(name, [])) if word not in off]:
            expected = f"none, as a replay has no {why}"
            raise FileError(f"{rows.path}, {name}", given=f"{stated[0]} in {len(stated)} rows", expected=expected)
    if any(str(word).lower() == "false" for word in rows.columns.get("streaming", [])):
        expected = "true, as an answer that is not streamed has no first token"
        raise FileError(f"{rows.path}, streaming", given="false", expected=expected)


def _frame(path: Path, rows: Sequence[tuple[Any, ...]]) -> "pd.DataFrame":
    """From (start, prompt, output, time to first token, end to end)."""
    import pandas as pd

    if not rows:
        raise FileError(str(path), given="no request that succeeded", expected="at least one")
    names = ("arrival", "input_tokens", "output_tokens", "ttft", "e2el")
    frame = pd.DataFrame([[_number(value) for value in row] for row in rows], columns=list(names))
    later = frame["output_tokens"] - 1
    frame["tpot"] = ((frame["e2el"] - frame["ttft"]) / later).where(later > 0)
    return frame


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else float("nan")


def _inside(row: object, *keys: str) -> Any:
    for key in keys:
        row = row.get(key) if isinstance(row, Mapping) else None
    return row
