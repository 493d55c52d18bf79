"""Traces of every form that people bring give the right requests, or a refusal whose advice works."""

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secondorder.errors import FileError, InputError, UnknownName
from secondorder.quantities import si
from secondorder.workloads.requests import Requests
from secondorder.workloads.trace_formats import FORMATS
from secondorder.workloads.trace_writing import write_trace
from secondorder.workloads.traces import Trace, TraceWarning, read_trace
from tests.shared_data import shared


def lines(*rows: dict[str, Any]) -> str:
    return "\n".join(json.dumps(row) for row in rows)


def written(folder: Path, text: str, name: str = "trace.jsonl") -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


SESSIONS = lines(
    {"session_id": "a", "timestamp": 0, "input_length": 300, "output_length": 40},
    {"session_id": "a", "delay": 500, "input_length": 420, "output_length": 60},
    {"session_id": "b", "timestamp": 250, "input_length": 900, "output_length": 30},
)


# Round trips


@pytest.mark.parametrize("format", FORMATS)
@settings(deadline=None, max_examples=25)
@given(data=st.data())
def test_what_a_format_declares_comes_back(
    tmp_path_factory: pytest.TempPathFactory, format: str, data: st.DataObject
) -> None:
    gaps = data.draw(st.lists(st.floats(0.02, 50), min_size=3, max_size=8))
    arrival = np.cumsum([0.0, *gaps])
    inputs = data.draw(st.lists(st.integers(1, 3000), min_size=len(arrival), max_size=len(arrival)))
    outputs = data.draw(st.lists(st.integers(1, 3000), min_size=len(arrival), max_size=len(arrival)))
    block = FORMATS[format].block
    ids = None
    if format in ("mooncake", "bailian") and data.draw(st.booleans()):
        ids = tuple(np.arange(-(-tokens // block)) for tokens in inputs)
    requests = Requests(
        arrival=arrival, input_tokens=inputs, output_tokens=outputs, hash_ids=ids, hash_block=block if ids else 0
    )
    path = tmp_path_factory.mktemp("trace") / "trace"
    write_trace(Trace(name="made", requests=requests), path, format)
    back = read_trace(path).requests
    assert back.arrival == pytest.approx(arrival, abs=1e-8)
    assert (list(back.input_tokens), list(back.output_tokens)) == (inputs, outputs)
    assert back.hash_block == requests.hash_block
    assert back.hash_ids is None if ids is None else [list(a) for a in back.hash_ids or ()] == [list(a) for a in ids]


def test_prefixes_are_not_dropped_in_silence(tmp_path: Path) -> None:
    requests = Requests(arrival=[0], input_tokens=[5], output_tokens=[5], hash_ids=(np.array([1]),), hash_block=512)
    with pytest.raises(InputError, match="mooncake or bailian"):
        write_trace(Trace(name="made", requests=requests), tmp_path / "trace.csv", "azure")
    with pytest.raises(UnknownName, match="azure"):
        write_trace(Trace(name="made", requests=requests), tmp_path / "trace.csv", "azur")


# Files of the field


@pytest.mark.parametrize(
    ("file", "rate", "block"),
    [
        ("bailian_like.jsonl", 2.18, 16),
        ("bailian_like_no_hash.jsonl", 2.18, 0),
        ("azure_2024_like.csv", 2.01, 0),
        ("vidur_like.csv", 1.96, 0),
        ("vllm_bench_result.json", 1.82, 0),
    ],
)
def test_files_of_the_field_have_their_rate(file: str, rate: float, block: int) -> None:
    trace = read_trace(shared("field") / file)
    assert si(trace.rate) == pytest.approx(rate, abs=0.005)
    assert trace.requests.hash_block == block


def test_failed_requests_of_the_field_are_told() -> None:
    with pytest.warns(TraceWarning, match="1 of 4 requests failed"):
        assert len(read_trace(shared("field") / "burstgpt_2_like.csv")) == 3


def test_results_of_load_generators_are_requests() -> None:
    for file in ("aiperf_profile_export.jsonl", "guidellm_result.json"):
        assert list(read_trace(shared("field") / file).requests) == [(0.0, 500, 100)]


# Turns, outputs, images


def test_later_turns_are_refused_and_each_remedy_works(tmp_path: Path) -> None:
    path = written(tmp_path, SESSIONS)
    with pytest.raises(FileError, match=r'line 2: got a later turn.*turns="first".*turns="delays"'):
        read_trace(path)
    with pytest.warns(TraceWarning, match="1 of 3 requests are later turns and were left out"):
        assert list(read_trace(path, turns="first").requests) == [(0.0, 300, 40), (0.25, 900, 30)]
    with pytest.warns(TraceWarning, match="arrive their delay after"):
        assert list(read_trace(path, turns="delays").requests) == [(0.0, 300, 40), (0.25, 900, 30), (0.5, 420, 60)]
    with pytest.raises(InputError, match="turns: got 'all', expected first or delays"):
        read_trace(path, turns="all")


def test_outputs_that_are_not_recorded_are_refused_until_given(tmp_path: Path) -> None:
    path = written(tmp_path, lines(*({"timestamp": 250 * n, "input_length": 300, "hash_ids": [n]} for n in range(4))))
    with pytest.raises(FileError, match=r"4 of 4 requests without output_length.*give output_tokens=100"):
        read_trace(path)
    with pytest.warns(TraceWarning, match="were given 100 tokens"):
        assert read_trace(path, output_tokens=100).lengths.mean_output == 100


def test_images_do_not_vanish_in_silence(tmp_path: Path) -> None:
    text = (
        "TIMESTAMP,NumImages,ContextTokens,GeneratedTokens\n2025-01-01 00:00:00,{},90,5\n2025-01-01 00:00:01,0,80,5\n"
    )
    path = written(tmp_path, text.format(2), "azure.csv")
    with pytest.raises(FileError, match=r"line 2, NumImages: got '2'.*give images=\"ignored\""):
        read_trace(path)
    with pytest.warns(TraceWarning, match="1 of 2 requests have values in NumImages"):
        assert len(read_trace(path, images="ignored")) == 2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(read_trace(written(tmp_path, text.format(0), "none.csv"))) == 2


# Units


def mooncake(scale: float, rate: float, count: int = 40) -> str:
    return lines(*({"timestamp": scale * n / rate, "input_length": 50, "output_length": 5} for n in range(count)))


@pytest.mark.parametrize("rate", [0.7, 2.0, 50.0])
def test_seconds_where_milliseconds_are_usual_are_refused_and_the_remedy_works(tmp_path: Path, rate: float) -> None:
    path = written(tmp_path, mooncake(1.0, rate))
    with pytest.raises(FileError, match='give arrival_unit="s"'):
        read_trace(path)
    assert si(read_trace(path, arrival_unit="s").rate) == pytest.approx(rate)
    assert si(read_trace(written(tmp_path, mooncake(1000.0, rate))).rate) == pytest.approx(rate)


def test_milliseconds_where_seconds_are_usual_are_refused_and_the_remedy_works(tmp_path: Path) -> None:
    rows = "".join(f"{30_000 * n},9,9\n" for n in range(9))
    path = written(tmp_path, "arrived_at,num_prefill_tokens,num_decode_tokens\n" + rows, "vidur.csv")
    with pytest.raises(FileError, match='give arrival_unit="ms"'):
        read_trace(path)
    assert si(read_trace(path, arrival_unit="ms").rate) == pytest.approx(1 / 30)


# Results of load generators


def test_failed_requests_of_a_load_generator_are_left_out_and_told(tmp_path: Path) -> None:
    good = {
        "metadata": {"request_start_ns": 5 * 10**9},
        "metrics": {"input_sequence_length": {"value": 7}, "output_sequence_length": {"value": 9}},
    }
    path = written(tmp_path, lines(good, {"metadata": {}, "metrics": {}, "error": "timeout"}))
    with pytest.warns(TraceWarning, match="1 of 2 requests failed"):
        assert list(read_trace(path).requests) == [(0.0, 7, 9)]
    runs = {"start_times": [1.0, 2.0], "input_lens": [3, 4], "output_lens": [5, 0]}
    with pytest.warns(TraceWarning, match="1 of 2 requests failed"):
        assert list(read_trace(written(tmp_path, json.dumps(runs), "run.json")).requests) == [(0.0, 3, 5)]


def test_a_result_without_times_says_how_to_get_them(tmp_path: Path) -> None:
    path = written(tmp_path, json.dumps({"input_lens": [3], "output_lens": [5]}), "run.json")
    with pytest.raises(FileError, match=r"without start_times.*--save-detailed"):
        read_trace(path)


def test_one_of_several_benchmarks_is_named(tmp_path: Path) -> None:
    runs = [
        {
            "requests": {
                "successful": [{"request_start_time": 1.0, "prompt_tokens": n, "output_tokens": 2}],
                "errored": [{}],
            }
        }
        for n in (3, 4)
    ]
    path = written(tmp_path, json.dumps({"benchmarks": runs}, indent=1), "run.json")
    with pytest.raises(FileError, match=r"got 2 benchmarks.*give benchmark=0"):
        read_trace(path)
    with pytest.warns(TraceWarning, match="1 of 2 requests failed"):
        assert list(read_trace(path, benchmark=1).requests) == [(0.0, 4, 2)]


def test_a_summary_is_no_trace(tmp_path: Path) -> None:
    path = written(tmp_path, json.dumps({"hw": "h200", "tput_per_gpu": 900.0, "conc": 4}), "agg.json")
    with pytest.raises(FileError, match="a summary without requests"):
        read_trace(path)


def test_a_file_s_structure_rules_over_a_format_given(tmp_path: Path) -> None:
    path = written(tmp_path, json.dumps({"start_times": [1.0], "input_lens": [3], "output_lens": [5]}), "run.json")
    with pytest.raises(InputError, match="expected vllm, as the file is built"):
        read_trace(path, "guidellm")


def test_a_nest_of_brackets_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileError):
        read_trace(written(tmp_path, '{"a":' * 100_000))


# Priorities


def test_priorities_of_a_trace_come_back_from_where_they_were_written(tmp_path: Path) -> None:
    requests = Requests(arrival=[0.0, 0.5], input_tokens=[3, 20], output_tokens=[7, 9], priorities=[2, -1])
    trace = Trace(name="two", requests=requests)
    for format in ("mooncake", "bailian"):
        write_trace(trace, tmp_path / "trace.jsonl", format)
        assert read_trace(tmp_path / "trace.jsonl", format=format).requests == requests
    with pytest.raises(InputError, match="priorities"):
        write_trace(trace, tmp_path / "trace.csv", "azure")


def test_a_column_of_priorities_is_read_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_text("at,in,out,tier\n0,3,7,2\n0.5,20,9,0\n")
    columns = {"arrival": "at", "input_tokens": "in", "output_tokens": "out", "priority": "tier"}
    assert read_trace(path, columns=columns, arrival_unit="s").requests.priority.tolist() == [2, 0]
    path.write_text("at,in,out,tier\n0,3,7,2\n0.5,20,9,high\n")
    with pytest.raises(FileError, match="tier"):
        read_trace(path, columns=columns, arrival_unit="s")
    with pytest.raises(FileError, match="also rank"):
        read_trace(path, columns=columns | {"priority": "rank"}, arrival_unit="s")
