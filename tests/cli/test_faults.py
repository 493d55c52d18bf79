"""Faults of the machine and of files end in one line on standard error, and destroy nothing."""

import os
import random
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from secondorder.cli import main
from secondorder.cli.streams import prepare
from secondorder.files import read_text, write_aside

QUEUE = '[queue]\narrivals = "poisson 8 request/s"\nservice = "exponential 100 ms"\n'
MAKE = [sys.executable, "-m", "secondorder"]


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    path = tmp_path / "plan.toml"
    path.write_text(QUEUE)
    return path


def told(shell: str, **environment: str) -> tuple[int, str]:
    """Exit code and standard error of a line of a shell, in which $SO is the command."""
    there = {**os.environ, "SO": " ".join(MAKE), "PYTHONPATH": str(Path(__file__).parents[2]), **environment}
    ended = subprocess.run(["sh", "-c", shell], env=there, capture_output=True, text=True, timeout=120, check=False)
    assert "Traceback" not in ended.stderr, ended.stderr
    return ended.returncode, ended.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_standard_output_that_takes_nothing_is_one_line(plan: Path) -> None:
    for shell in ("$SO --help >/dev/full", f"$SO solve {plan} >/dev/full"):
        code, error = told(shell)
        assert (code, error.count("\n")) == (2, 1)
        assert "standard output: got No space left on device" in error
    code, error = told(f"$SO solve {plan} >&-")
    assert (code, error) == (2, "secondorder: standard output: got a closed one, expected a file that can be written\n")
    assert told(f"$SO solve {plan} >/dev/null 2>&-") == (0, "")


def test_ascii_terminals_odd_widths_and_backends_do_no_harm(plan: Path) -> None:
    for words, environment in (
        (f"solve {plan}", {"PYTHONIOENCODING": "ascii"}),
        ("serve --help", {"COLUMNS": "0", "PYTHONIOENCODING": "latin-1"}),
        ("--help", {"COLUMNS": "nonsense", "MPLBACKEND": "nonsense"}),
    ):
        assert told(f"$SO {words}", **environment) == (0, "")


def test_a_deleted_working_directory_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    code, error = told(f"cd {tmp_path}/gone; rmdir {tmp_path}/gone; $SO solve plan.toml")
    assert (code, error) == (2, "secondorder: plan.toml: got no such file, expected a plan (TOML)\n")


@pytest.mark.parametrize("after", [0.4, 1.0, 2.5])
def test_an_interrupt_at_any_moment_ends_in_one_line(after: float, plan: Path) -> None:
    command = [*MAKE, "simulate", str(plan), "--num-prompts", "9000000", "--replications", "20", "--jobs", "2"]
    there = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    running = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=there, start_new_session=True,
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # a job in the background may ignore it
    )  # fmt: skip
    time.sleep(after + random.Random(after).uniform(0, 0.4))
    os.killpg(running.pid, signal.SIGINT)
    _, error = running.communicate(timeout=30)
    lines = [line for line in error.splitlines() if not line.startswith("simulating")]
    assert (running.returncode, lines) == (130, ["secondorder: interrupted"])


# Files


def test_what_is_no_plan_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "nested.toml").write_text("a=" + "[" * 4_000_000)
    (tmp_path / "large.toml").write_text("a=" + "[" * 12_000_000)
    for name, given in (
        (tmp_path / "pipe", "a pipe that brings nothing"),
        (Path("/dev/zero"), "a device"),
        (tmp_path, "a directory"),
        (tmp_path / "nested.toml", "too many brackets within brackets"),
        (tmp_path / "large.toml", "more than 10 MB"),
        (tmp_path / ("x" * 300), "File name too long"),
    ):
        assert main(["solve", str(name)]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert f"got {given}, expected a plan (TOML)" in error


def test_a_plan_with_a_byte_order_mark_and_one_from_a_pipe_are_read(plan: Path) -> None:
    plan.write_bytes(b"\xef\xbb\xbf" + QUEUE.replace("\n", "\r\n").encode())
    assert main(["solve", str(plan)]) == 0
    assert told(f"cat {plan} | $SO solve /dev/stdin")[0] == 0


def test_a_name_that_is_too_long_is_refused_before_the_work(plan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["solve", str(plan), "--output", "x" * 300]) == 2
    assert "too long" in capsys.readouterr().err


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "answer.json"
    path.write_text("old")
    path.chmod(0o640)

    def interrupted() -> None:
        with write_aside(path) as aside:
            aside.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [path.read_text(), *(each.name for each in tmp_path.iterdir())] == ["old", "answer.json"]
    with write_aside(path) as aside:
        aside.write_text("new")
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("new", 0o640)


def test_a_full_disk_keeps_the_old_answer(plan: Path, tmp_path: Path) -> None:
    """The limit on the size of a file stands for a disk that is full."""
    answer = tmp_path / "answer.json"
    answer.write_text("old")
    limited = f"trap '' XFSZ; ulimit -f 1; $SO solve {plan} --format json --output {answer}"
    code, error = told(limited)
    assert code == 2
    assert error.splitlines()[-1].endswith("answer.json: got File too large, expected a file that can be written")
    assert answer.read_text() == "old"
    assert {each.name for each in tmp_path.iterdir()} == {"answer.json", "plan.toml"}


def test_a_pipe_is_read_to_its_end_and_waits_for_nobody(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.write(writer, b"text")
    os.close(writer)
    assert read_text(f"/dev/fd/{reader}") == "text"
    os.close(reader)


# Sizes


@pytest.mark.parametrize(
    ("line", "given"),
    [
        ("queue --arrivals 8/s --service 1s --servers 1000000000", "servers: got 1000000000"),
        ("queue --arrivals 8/s --service 1s --room 1000000000", "room: got 1000000000"),
        ("collective --operation all_reduce --algorithm ring --size 1GB --link L --ranks 1000000000", "ranks: got"),
        ("collective --operation all_reduce --algorithm ring --size 1GB --link L --ranks 100000", "ranks: got 100,000"),
        ("pipeline --stages 1000000000 --microbatches 8 --forward 1s --backward 1s", "stages: got 1000000000"),
        ("pipeline --stages 99999 --microbatches 99999 --forward 1s --backward 1s", "stages: got 19,999,600,002"),
        ("expert-routing --experts 8 --top-k 2 --expert-parallel 8 --tokens 1e300", "tokens: got 1e+300"),
        ("expert-routing --experts 8 --top-k 2 --expert-parallel 8 --tokens 10000000", "tokens: got 10000000"),
        ("queue --arrivals 8/s --service 10ms --num-prompts 1000000000000", "requests: got 1,000,000,000,000"),
    ],
)
def test_a_giant_size_is_refused_before_memory_is_taken(
    line: str, given: str, capsys: pytest.CaptureFixture[str]
) -> None:
    spelt = {"8/s": "poisson 8 request/s", "1s": "exponential 1 s", "10ms": "10 ms", "1GB": "1 GB"}
    words = [spelt.get(word, word) for word in line.split()]
    words = ["50 GB/s latency=5 us" if word == "L" else word for word in words]
    if words[0] == "pipeline":
        words = ["1 s" if word == "exponential 1 s" else word for word in words]
    began = time.monotonic()
    assert main(words) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert given in error
    assert time.monotonic() - began < 30


def test_a_long_value_is_quoted_to_sixty_characters(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["queue", "--arrivals", "x" * 10_000, "--service", "1 s"]) == 2
    error = capsys.readouterr().err
    assert "(10,0" in error
    assert len(error) < 400


def test_streams_are_left_as_they_are_where_they_are_fit() -> None:
    before = (sys.stdout, sys.stderr)
    prepare()
    assert (sys.stdout, sys.stderr) == before
