"""Traces written in the formats that ``read_trace`` reads; what a format declares comes back as it was.

>>> from tempfile import TemporaryDirectory
>>> from secondorder.workloads.traces import Trace, read_trace
>>> trace = Trace(name="two", requests=Requests(arrival=[0.0, 0.5], input_tokens=[300, 20], output_tokens=[7, 9]))
>>> with TemporaryDirectory() as folder:
...     write_trace(trace, Path(folder) / "two.jsonl", "mooncake")
...     read_trace(Path(folder) / "two.jsonl").requests == trace.requests
True
"""

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from secondorder.errors import FileError, InputError, UnknownName
from secondorder.workloads.requests import Requests

if TYPE_CHECKING:
    from secondorder.workloads.traces import Trace

Lines = Iterator[str]


def write_trace(trace: "Trace", path: str | PathLike[str], format: str) -> None:
    """Write a trace in one of the formats that ``read_trace`` reads.

    Errors: ``UnknownName`` for a format; ``InputError`` for prefixes or priorities in a format without,
    ``FileError`` for a file that cannot be written.
    """
    if format not in _WRITERS:
        raise UnknownName.among("format", format, _WRITERS)
    for held, what, without in (
        (trace.requests.hash_ids, "block identities", "hash_ids=None, hash_block=0"),
        (trace.requests.priorities, "priorities", "priorities=None"),
    ):
        if held is not None and format not in _COMPLETE:
            raise InputError(
                "format",
                given=f"{format!r} for a trace with {what}",
                expected=" or ".join(_COMPLETE),
                remedy=f"or drop them: dataclasses.replace(trace.requests, {without})",
            )
    try:
        Path(path).write_text("\n".join(_WRITERS[format](trace.requests)) + "\n", encoding="utf-8")
    except OSError as error:
        raise FileError(str(path), given=error.strerror or "no writable file", expected="a file to write") from None


def _number(value: float) -> str:
    """As short as it can be without loss."""
    return repr(int(value)) if value == int(value) else repr(float(value))


def _csv(header: str, times: Callable[[float], str]) -> Callable[[Requests], Lines]:
    def lines(requests: Requests) -> Lines:
        yield header
        for arrival, inputs, outputs in requests:
            yield f"{times(arrival)},{inputs},{outputs}"

    return lines


def _date(arrival: float) -> str:
    """A day of 2024, this many seconds after midnight, to the microsecond and three digits beyond."""
    whole, rest = divmod(round(arrival * 1e9), 10**9)
    moment = datetime(2024, 1, 1, tzinfo=UTC) + timedelta(seconds=whole)
    return f"{moment:%Y-%m-%d %H:%M:%S}.{rest:09d}+00:00"


def _burstgpt(requests: Requests) -> Lines:
    yield "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type"
    for arrival, inputs, outputs in requests:
        yield f"{_number(arrival)},model,{inputs},{outputs},{inputs + outputs},API log"


def _blis(requests: Requests) -> Lines:
    yield "version: 2"
    yield "request_id,arrival_time_us,input_tokens,output_tokens"
    for number, (arrival, inputs, outputs) in enumerate(requests):
        yield f"{number},{_number(arrival * 1e6)},{inputs},{outputs}"


def _json_lines(scale: float, **more: object) -> Callable[[Requests], Lines]:
    def lines(requests: Requests) -> Lines:
        for row, (arrival, inputs, outputs) in enumerate(requests):
            value: dict[str, object] = {
                "timestamp": _plain(arrival * scale),
                "input_length": inputs,
                "output_length": outputs,
            }
            if requests.hash_ids is not None:
                value["hash_ids"] = np.asarray(requests.hash_ids[row]).tolist()
            if requests.priorities is not None:
                value["priority"] = int(requests.priorities[row])
            yield json.dumps({**{key: row if given is None else given for key, given in more.items()}, **value})

    return lines


def _plain(value: float) -> float | int:
    return int(value) if value == int(value) else value


def _aiperf(requests: Requests) -> Lines:
    for arrival, inputs, outputs in requests:
        metrics = {
            "input_sequence_length": {"value": inputs, "unit": "tokens"},
            "output_sequence_length": {"value": outputs, "unit": "tokens"},
        }
        yield json.dumps({"metadata": {"request_start_ns": round(arrival * 1e9)}, "metrics": metrics, "error": None})


def _dynamo(requests: Requests) -> Lines:
    for number, (arrival, inputs, outputs) in enumerate(requests):
        request = {"request_id": str(number), "request_received_ms": _plain(arrival * 1e3)}
        yield json.dumps({"event": {"request": {**request, "input_tokens": inputs, "output_tokens": outputs}}})


def _vllm(requests: Requests) -> Lines:
    yield json.dumps(
        {
            "num_prompts": len(requests),
            "completed": len(requests),
            "start_times": np.asarray(requests.arrival).tolist(),
            "input_lens": np.asarray(requests.input_tokens).tolist(),
            "output_lens": np.asarray(requests.output_tokens).tolist(),
        }
    )


def _guidellm(requests: Requests) -> Lines:
    rows = [{"request_start_time": a, "prompt_tokens": i, "output_tokens": o} for a, i, o in requests]
    yield json.dumps({"benchmarks": [{"requests": {"successful": rows, "errored": [], "incomplete": []}}]})


def _inference_perf(requests: Requests) -> Lines:
    rows = [{"start_time": a, "info": {"input_tokens": i, "output_tokens": o}, "error": None} for a, i, o in requests]
    yield json.dumps(rows)


_WRITERS: Mapping[str, Callable[[Requests], Lines]] = {
    "azure": _csv("TIMESTAMP,ContextTokens,GeneratedTokens", _date),
    "mooncake": _json_lines(1e3),
    "bailian": _json_lines(1.0, chat_id=None, parent_chat_id=-1, type="text", turn=1),
    "burstgpt": _burstgpt,
    "vidur": _csv("arrived_at,num_prefill_tokens,num_decode_tokens", _number),
    "blis": _blis,
    "vllm": _vllm,
    "guidellm": _guidellm,
    "aiperf": _aiperf,
    "inference-perf": _inference_perf,
    "dynamo": _dynamo,
}
_COMPLETE = ("mooncake", "bailian")
