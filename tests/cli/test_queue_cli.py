"""``secondorder queue``: its examples run, what it prints, what it refuses, and its picture."""

import json
import re
import shlex
from pathlib import Path

import pytest

from secondorder.cli import main
from secondorder.cli.queue import EXAMPLE

ASK = ["queue", "--arrivals", "poisson 8 request/s", "--service", "exponential 100 ms"]
SHORT = ["--num-prompts", "2000", "--replications", "2"]
OF = ["queue", "--arrivals", "poisson 8 request/s"]

# What is refused: arguments, exit code, and what the one line on standard error says

REFUSED = {
    "no arrivals": (["queue", "--service", "exponential 1 s"], 2, "arrivals: got nothing", "expected"),
    "no service": (OF, 2, "service: got none", "expected a law"),
    "a misspelt law": ([*OF, "--service", "lognormol 1 s scv=4"], 2, "got 'lognormol'", "did you mean lognormal"),
    "a law without its shape": ([*OF, "--service", "lognormal 1 s"], 2, "scv", "expected"),
    "a service without a unit": ([*OF, "--service", "exponential 100"], 2, "got 100 without a unit", "in s"),
    "arrivals of nothing": (["queue", "--arrivals", "poisn 8 request/s"], 2, "got 'poisn'", "did you mean poisson"),
    "a rate without a unit": (
        ["queue", "--arrivals", "poisson 8", "--service", "exponential 1 s"],
        2,
        "without a unit",
        "request/s",
    ),
    "a queue that grows": (
        ["queue", "--arrivals", "poisson 12 request/s", "--service", "exponential 100 ms"],
        3,
        "utilisation 1.2 of 1 server",
        "use at least 2 servers or an arrival rate below 10 request/s",
    ),
    "no servers": ([*ASK, "--servers", "0"], 2, "servers: got 0", "an integer of at least 1"),
    "servers that are no number": ([*ASK, "--servers", "few"], 2, "servers: got 'few'", "an integer"),
    "too little room": ([*ASK, "--servers", "4", "--room", "2"], 2, "room: got 2", "at least the 4 servers"),
    "a discipline that does not exist": ([*ASK, "--discipline", "lifo"], 2, "got 'lifo'", "fcfs"),
    "a routing that does not exist": ([*ASK, "--routing", "rando"], 2, "got 'rando'", "did you mean random"),
    "more looks than servers": ([*ASK, "--routing", "jsq d=3"], 2, "routing.d: got 3", "at most the 1 servers"),
    "shares that are not all": (
        [*ASK, "--discipline", "priorities 0.2,0.2"],
        2,
        "shares",
        "positive shares that sum to 1",
    ),
    "a set-up at two servers": ([*ASK, "--servers", "2", "--setup", "1 s"], 2, "servers with a set-up", "expected"),
    "patience in a room": ([*ASK, "--room", "5", "--patience", "1 s"], 2, "with patience", "servers"),
    "a metric that it does not have": ([*ASK, *SHORT, "--metric", "wait_p98"], 2, "got 'wait_p98'", "wait_p99"),
    "a misspelt flag": ([*ASK, "--sevice", "x"], 2, "option: got '--sevice'", "did you mean --service"),
    "one replication": ([*ASK, "--replications", "1"], 2, "replications: got 1", "at least 2"),
    "a picture of no kind": ([*ASK, "--plot", "queue.xyz"], 2, "queue.xyz", "expected"),
    "a picture of a closed population": (
        ["queue", "--arrivals", "closed 20 exponential 10 s", "--service", "exponential 1 s", "--plot", "q.png"],
        2,
        "plot: got a closed population",
        "a rate to change",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_mistake_is_told_in_one_line(
    case: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments, code, given, expected = REFUSED[case]
    assert main(arguments) == code
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("secondorder: ")
    assert printed.err.count("\n") == 1
    assert given in printed.err
    assert expected in printed.err


def examples() -> list[list[str]]:
    """The commands of the help, a line each."""
    text = re.sub(r"\n    --", " --", EXAMPLE)
    return [shlex.split(line)[1:] for line in text.splitlines() if line.startswith("  secondorder ")]


@pytest.mark.parametrize("arguments", examples(), ids=lambda arguments: " ".join(arguments[1:5]))
def test_the_examples_of_the_help_run(
    arguments: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([*arguments, *SHORT]) == 0
    printed = capsys.readouterr().out
    assert "wait" in printed
    assert max(map(len, printed.splitlines())) <= 80


@pytest.mark.parametrize(
    "options",
    [
        ["--discipline", "ps"],
        ["--discipline", "priorities 0.2,0.8"],
        ["--servers", "3", "--routing", "jsq d=2"],
        ["--servers", "2", "--routing", "fork-join"],
        ["--servers", "2", "--room", "5"],
        ["--setup", "exponential 1 s"],
        ["--patience", "5 s retries=3"],
    ],
    ids=" ".join,
)
def test_tables_keep_to_80_columns_whatever_the_rules(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*ASK, *options, *SHORT]) == 0
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 80
    assert "response_mean" in printed


def test_a_batch_server_brings_its_own_times(capsys: pytest.CaptureFixture[str]) -> None:
    batch = ["--discipline", "batch per_batch=50ms per_item=10ms most=32", "--no-simulate", "--format", "json"]
    assert main([*OF, *batch]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {"response_mean", "batch_mean"} <= {row["metric"] for row in rows}


def test_only_the_metric_that_was_asked_for_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*ASK, *SHORT, "--metric", "wait_p99", "--format", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["metric"] for row in rows} == {"wait_p99"}
    best = [row["value"] for row in rows if row["order"] == 2]
    assert best == [pytest.approx(2.191013, rel=1e-6)]  # ln(100 rho)/(mu - lambda)
    assert any(row["source"] == "simulated" for row in rows)


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_a_picture_is_written_and_the_payload_is_as_without(
    suffix: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / f"queue.{suffix}"
    assert main([*ASK, "--no-simulate"]) == 0
    plain = capsys.readouterr().out
    assert main([*ASK, "--no-simulate", "--plot", str(file)]) == 0
    printed = capsys.readouterr()
    assert printed.out == plain
    assert str(file) in printed.err
    start = file.read_bytes()[:5]
    assert start.startswith({"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF-"}[suffix])


def test_a_picture_with_simulated_dots_is_written(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "queue.svg"
    assert main([*ASK, *SHORT, "--metric", "wait_mean", "--witness", "events", "--plot", str(file)]) == 0
    assert "wait_mean" in capsys.readouterr().out
    assert file.stat().st_size > 5_000
