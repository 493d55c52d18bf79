"""Traces are read as they are: what is no request is refused by its line, what is mended is told."""

import pickle
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secondorder.errors import FileError, InputError, UnknownName
from secondorder.quantities import si
from secondorder.workloads.arrivals import Poisson
from secondorder.workloads.requests import Requests
from secondorder.workloads.text_columns import Column
from secondorder.workloads.traces import Trace, TraceWarning, read_trace

DATA = Path(__file__).parents[3] / "shared" / "data"

AZURE = """TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 18:17:03.9799600,4808,10
2023-11-16 18:17:04.0319600,3180,8
2023-11-16 18:17:04.4799600,110,27
"""
MOONCAKE = """{"timestamp": 0, "input_length": 600, "output_length": 5, "hash_ids": [0, 1]}
{"timestamp": 250, "input_length": 1024, "output_length": 7, "hash_ids": [0, 2]}
{"timestamp": 1000, "input_length": 700, "output_length": 1, "hash_ids": [3]}
"""
BURSTGPT = """Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type
5,ChatGPT,472,18,490,Conversation log
45.5,ChatGPT,1087,0,1087,Conversation log
105,GPT-4,417,276,693,API log
"""
PLAIN = "t,in,out,user\n100,5,6,ann\n400,7,8,bob\n"
PLAIN_COLUMNS = {"arrival": "t", "input_tokens": "in", "output_tokens": "out"}


@pytest.fixture
def write(tmp_path):
    def to_file(text, name="trace.csv"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return to_file


def rows(trace):
    return list(trace.requests)


@st.composite
def traces(draw):
    gaps = draw(st.lists(st.floats(0, 100), min_size=1, max_size=30))
    arrival = np.cumsum([0.0, *gaps, 1.0])
    tokens = np.arange(1, len(arrival) + 1)
    return Trace(name="made", requests=Requests(arrival=arrival, input_tokens=tokens, output_tokens=tokens[::-1]))


# Formats


def test_an_azure_trace_is_recognised_and_starts_at_0(write):
    trace = read_trace(write(AZURE))
    assert rows(trace) == [(0.0, 4808, 10), (0.052, 3180, 8), (0.5, 110, 27)]
    assert (trace.name, trace.notes, si(trace.rate)) == ("trace", (), 4.0)


def test_a_mooncake_trace_is_in_milliseconds_and_keeps_its_block_identities(write):
    trace = read_trace(write(MOONCAKE, "m.jsonl"))
    assert rows(trace) == [(0.0, 600, 5), (0.25, 1024, 7), (1.0, 700, 1)]
    assert trace.requests.hash_block == 512
    assert [ids.tolist() for ids in trace.requests.hash_ids] == [[0, 1], [0, 2], [3]]
    assert list(trace.requests.frame.columns) == ["arrival", "input_tokens", "output_tokens", "hash_ids"]


def test_identities_that_do_not_fit_the_block_size_are_refused(write):
    with pytest.raises(FileError, match=r"line 1, hash_ids: got 2 for 600 tokens.*hash_block"):
        read_trace(write(MOONCAKE), hash_block=16)


def test_failed_requests_of_burstgpt_are_left_out_and_told(write):
    with pytest.warns(TraceWarning, match="1 of 3 requests failed"):
        trace = read_trace(write(BURSTGPT))
    assert rows(trace) == [(0.0, 472, 18), (100.0, 417, 276)]
    assert trace.notes == ("1 of 3 requests failed (0 response tokens) and were left out",)
    assert "left out" in repr(trace)


def test_rows_out_of_order_are_sorted_and_told(write):
    text = AZURE.replace("18:17:04.0319600", "18:17:09.0")
    with pytest.warns(TraceWarning, match="sorted by arrival"):
        trace = read_trace(write(text))
    assert [i for _, i, _ in rows(trace)] == [4808, 110, 3180]


def test_requests_at_one_instant_keep_the_order_of_the_file(write):
    text = PLAIN + "100,1,1,x\n400,2,2,y\n"
    with pytest.warns(TraceWarning):
        trace = read_trace(write(text), columns=PLAIN_COLUMNS, arrival_unit="s")
    assert [i for _, i, _ in rows(trace)] == [5, 1, 7, 2]


@pytest.mark.parametrize(("unit", "last"), [("s", 300.0), ("ms", 0.3), ("min", 18000.0)])
def test_any_csv_is_read_by_naming_its_columns_and_unit(write, unit, last):
    trace = read_trace(write(PLAIN), columns=PLAIN_COLUMNS, arrival_unit=unit)
    assert rows(trace) == [(0.0, 5, 6), (pytest.approx(last), 7, 8)]


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"columns": PLAIN_COLUMNS}, InputError, 'arrival_unit="s"'),
        ({"columns": PLAIN_COLUMNS, "arrival_unit": "token"}, InputError, "arrival_unit"),
        ({"columns": {"arrival": "t"}, "arrival_unit": "s"}, InputError, "input_tokens"),
        ({"columns": PLAIN_COLUMNS | {"arrival": "time"}, "arrival_unit": "s"}, FileError, "t, in, out, user"),
        ({"columns": PLAIN_COLUMNS, "arrival_unit": "s", "format": "azure"}, InputError, "no format"),
        ({"arrival_unit": "s"}, FileError, "the columns t, in, out, user"),
        ({"format": "azur"}, UnknownName, "did you mean azure"),
        ({"format": "azure"}, FileError, "also TIMESTAMP, ContextTokens, GeneratedTokens"),
        ({}, FileError, "the columns t, in, out, user"),
    ],
)
def test_arguments_that_do_not_go_with_the_file_are_refused(write, arguments, error, words):
    with pytest.raises(error) as refused:
        read_trace(write(PLAIN), **arguments)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


# Files that are no traces

BAD_AZURE = {
    "a negative count": ("3180,8", "-3180,8", "line 3, ContextTokens: got '-3180'"),
    "no output tokens": ("3180,8", "3180,0", "line 3, GeneratedTokens: got '0', expected an integer of at least 1"),
    "half a token": ("3180,8", "3180,8.5", "line 3, GeneratedTokens: got '8.5'"),
    "a count that is not a number": ("3180,8", "nan,8", "line 3, ContextTokens: got 'nan'"),
    "an empty count": ("3180,8", ",8", "line 3, ContextTokens: got ''"),
    "a word": ("3180,8", "many,8", "line 3, ContextTokens: got 'many'"),
    "an endless count": ("3180,8", "inf,8", "line 3, ContextTokens: got 'inf'"),
    "no time": ("2023-11-16 18:17:04.0319600", "", "line 3, TIMESTAMP: got ''"),
    "no date": ("2023-11-16 18:17:04.0319600", "noon", "line 3, TIMESTAMP: got 'noon', expected a date and time"),
    "NaN for a time": ("2023-11-16 18:17:04.0319600", "NaN", "line 3, TIMESTAMP: got 'NaN'"),
    "a row too short": ("3180,8", "3180", "line 3: got 2 values, expected 3"),
    "a row too long": ("3180,8", "3180,8,9", "line 3: got 4 values, expected 3"),
    "a blank line": ("4808,10\n", "4808,10\n\n", "line 3: got 0 values"),
    "a column missing": ("GeneratedTokens", "Generated", "the columns TIMESTAMP, ContextTokens, Generated"),
    "a column twice": ("GeneratedTokens", "ContextTokens", "each column once"),
}


@pytest.mark.parametrize("case", BAD_AZURE)
def test_a_bad_row_is_refused_by_its_line(write, case):
    old, new, words = BAD_AZURE[case]
    path = write(AZURE.replace(old, new, 1))
    with pytest.raises(FileError) as refused:
        read_trace(path)
    assert words in str(refused.value)
    assert str(path) in str(refused.value)
    assert "\n" not in str(refused.value)


BAD_MOONCAKE = {
    "broken JSON": ('"output_length": 7', '"output_length": ', "line 2: got"),
    "a number alone": (MOONCAKE.splitlines()[1], "7", "line 2: got '7', expected a JSON object"),
    "NaN": ("250", "NaN", "line 2, timestamp: got nan"),
    "null": ("250", "null", "line 2, timestamp: got None"),
    "a truth": ("1024", "true", "line 2, input_length: got True"),
    "text among numbers": ("1024", '"many"', "line 2, input_length: got 'many'"),
    "zero": ('"output_length": 7', '"output_length": 0', "line 2, output_length: got 0"),
    "a key missing": ('"output_length": 7, ', "", "line 2: got the keys timestamp, input_length, hash_ids"),
    "identities missing": (', "hash_ids": [0, 2]', "", "line 2: got the keys"),
    "identities of text": ("[0, 2]", '["a", "b"]', "line 2, hash_ids"),
    "an immense time": ("250", "1" + "0" * 400, "line 2, timestamp"),
}


@pytest.mark.parametrize("case", BAD_MOONCAKE)
def test_a_bad_object_is_refused_by_its_line(write, case):
    old, new, words = BAD_MOONCAKE[case]
    with pytest.raises(FileError) as refused:
        read_trace(write(MOONCAKE.replace(old, new, 1)))
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "an empty file"),
        ("\n\n", "an empty file"),
        (AZURE.splitlines()[0], "a header without rows"),
        (b"\xff\xfe\x00PK", "not UTF-8"),
        ("Timestamp,Request tokens,Response tokens\n1,5,0\n", "only failed requests"),
    ],
)
def test_a_file_without_requests_is_refused(write, text, words):
    with pytest.raises(FileError, match=words):
        read_trace(write(text))


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(FileError, match="No such file"):
        read_trace(tmp_path / "none.csv")
    with pytest.raises(FileError, match="directory"):
        read_trace(tmp_path)


def test_windows_line_ends_and_a_byte_order_mark_are_no_obstacle(write):
    assert read_trace(write(b"\xef\xbb\xbf" + AZURE.replace("\n", "\r\n").encode())) == read_trace(write(AZURE))


# Traces


@given(trace=traces(), rate=st.floats(1e-3, 1e3))
def test_rescaling_keeps_order_counts_and_lengths(trace, rate):
    moved = trace.at(f"{rate} request/s")
    assert si(moved.rate) == pytest.approx(rate, rel=1e-9)
    assert len(moved) == len(trace)
    assert np.all(np.diff(moved.requests.arrival) >= 0)
    assert np.array_equal(moved.requests.input_tokens, trace.requests.input_tokens)
    assert moved.arrivals.scv == pytest.approx(trace.arrivals.scv, rel=1e-6, abs=1e-9)


@given(trace=traces(), cut=st.floats(0.001, 1000))
def test_two_windows_that_meet_hold_every_request_once(trace, cut):
    parts = []
    for start, end in ((0.0, cut), (cut, 1e6)):
        if np.any((trace.requests.arrival >= start) & (trace.requests.arrival < end)):
            part = trace.window(f"{start} s", f"{end} s")
            assert part.requests.arrival[0] == 0
            parts += part.requests.input_tokens.tolist()
    assert parts == trace.requests.input_tokens.tolist()


def test_a_trace_gives_its_arrivals_and_its_lengths(write):
    trace = read_trace(write(AZURE))
    assert trace.arrivals.times(3, np.random.default_rng()).tolist() == [0.0, 0.052, 0.5]
    assert trace.lengths.mean_input == pytest.approx((4808 + 3180 + 110) / 3)
    assert len(trace.head(2)) == 2
    assert pickle.loads(pickle.dumps(trace)) == trace
    assert hash(read_trace(write(AZURE))) == hash(trace)


def test_a_window_takes_its_start_and_not_its_end_and_refuses_emptiness(write):
    trace = read_trace(write(AZURE))
    assert rows(trace.window("0.052 s", "0.5 s")) == [(0.0, 3180, 8)]
    with pytest.raises(InputError, match=r"a part of 0 s to 0\.5 s"):
        trace.window("2 s", "3 s")
    with pytest.raises(InputError, match="without a unit"):
        trace.window(0, "3 s")


def test_requests_are_checked_and_cannot_be_changed():
    requests = Requests(arrival=[0, 1], input_tokens=[1, 2], output_tokens=[3, 4])
    assert requests == Requests(arrival=[0.0, 1.0], input_tokens=[1, 2], output_tokens=[3, 4])
    with pytest.raises(ValueError, match="read-only"):
        requests.arrival[0] = 5
    for wrong in (
        {"arrival": [1, 0]},
        {"arrival": [-1, 0]},
        {"arrival": [0, float("nan")]},
        {"arrival": [0]},
        {"input_tokens": [0, 1]},
        {"output_tokens": [1.5, 1]},
        {"output_tokens": ["1", "2"]},
        {"output_tokens": [1]},
        {"hash_ids": ((1,), (2,))},
        {"hash_block": 16},
        {"hash_ids": ((1,),), "hash_block": 16},
    ):
        with pytest.raises(InputError):
            Requests(**({"arrival": [0, 1], "input_tokens": [1, 2], "output_tokens": [3, 4]} | wrong))


def test_the_rate_counts_gaps_not_requests():
    requests = Requests(arrival=[3, 5, 7], input_tokens=[1] * 3, output_tokens=[1] * 3)
    assert requests.rate == 0.5
    with pytest.raises(InputError, match="two different times"):
        _ = requests[:1].rate


def test_importing_traces_does_not_import_pandas():
    code = "import sys, secondorder.workloads.traces; sys.exit('pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("file", "hash_block", "requests", "mean_input", "seconds"),
    [
        ("azure_llm_2023_conv.csv", 512, 19_366, 1154.6974, 3501.721937),
        ("azure_llm_2023_code.csv", 512, 8_819, 2047.8483, 3435.948056),
        ("mooncake_conversation.jsonl", 512, 12_031, 12035.0613, 3536.999),
        ("vllm_rtxpro6000_llama31_8b/trace.jsonl", 16, 300, None, 29.121193),
    ],
)
def test_the_real_traces_are_read_whole(file, hash_block, requests, mean_input, seconds):
    if not (DATA / file).exists():
        pytest.skip(f"the trace {file} is not here")
    trace = read_trace(DATA / file, hash_block=hash_block)
    assert (len(trace), trace.notes) == (requests, ())
    assert si(trace.duration) == pytest.approx(seconds, abs=1e-9)
    assert mean_input is None or trace.lengths.mean_input == pytest.approx(mean_input, abs=1e-4)


@pytest.mark.parametrize("mark", [";", "\t"])
def test_columns_between_other_marks_are_named(mark: str, tmp_path) -> None:
    path = tmp_path / "trace.csv"
    path.write_text(f"TIMESTAMP{mark}ContextTokens{mark}GeneratedTokens\n0,5{mark}10{mark}20\n")
    with pytest.raises(FileError, match="expected columns between commas; write commas between columns, and points"):
        read_trace(path)


def test_a_decimal_comma_is_answered_with_a_point() -> None:
    with pytest.raises(InputError, match=r'write "1\.5 request/s"'):
        Poisson("1,5 request/s")


# Long files


def test_a_long_table_takes_less_than_300_bytes_a_row(write) -> None:
    count = 100_000
    text = AZURE.splitlines()[0] + "\n" + "2023-11-16 18:17:03.979960,4808,10\n" * count
    path = write(text)
    read_trace(write(AZURE, "small.csv"))  # imports
    tracemalloc.start()
    assert len(read_trace(path)) == count
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak / count < 220  # 80 MB of 300 are the interpreter and its libraries


def test_json_lines_take_less_than_300_bytes_a_row_too(write) -> None:
    line = '{"timestamp": %d, "input_length": 600, "output_length": 5}\n'
    few, many = 40_000, 80_000

    def peak(count: int) -> int:
        path = write("".join(line % (50 * row) for row in range(count)), f"{count}.jsonl")
        tracemalloc.start()
        assert len(read_trace(path)) == count
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    assert (peak(many) - peak(few)) / (many - few) < 220


def test_a_bad_row_far_down_is_named_by_its_line_and_text(write) -> None:
    good = 'note,t,in,out\n"two\nlines",0,5,6\n' + "x,1,5,6\n" * 40_000
    with pytest.raises(FileError, match=r"line 40004, in: got 'five', expected an integer of at least 1"):
        read_trace(write(good + "x,2,five,6\n"), columns=PLAIN_COLUMNS, arrival_unit="s")
    with pytest.raises(FileError, match=r"line 40004: got 3 values, expected 4, as in the header"):
        read_trace(write(good + "x,2,5\n"), columns=PLAIN_COLUMNS, arrival_unit="s")


values = st.text(max_size=5) | st.integers() | st.floats(allow_nan=False) | st.booleans() | st.none()


@given(st.lists(values, min_size=1, max_size=9), st.integers(1, 4))
def test_a_column_holds_any_value_as_it_was(cells, size) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("secondorder.workloads.text_columns.PIECE", size)
        column = Column()
        for start in range(0, len(cells), size):
            column.add(cells[start : start + size])
        assert list(column) == cells == [column[row] for row in range(len(cells))]
        assert list(map(type, column)) == list(map(type, cells))
        assert column[-1] == cells[-1]
        assert list(column[1:3]) == cells[1:3]
