"""The store: a study that is killed, starved or crowded loses nothing that was finished, and repeats none of it."""

import math
import os
import random
import resource
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

import secondorder as so
import secondorder.studies.sweep as sweep_module
from secondorder.answers.answer import Answer
from secondorder.cli import main
from secondorder.errors import FileError, InputError, UnknownName
from secondorder.studies.points import Keeping, Point, work_out
from secondorder.studies.refine import refined_points
from secondorder.studies.store import Found, Key, Store, differences

KILLS = int(os.environ.get("SECONDORDER_KILLS", "2"))
"""Moments at which the sweep, and one of its workers, are killed; many more by `benchmarks/kills.py`."""
POINTS = 24
STUDY = f"""
import sys, time
import secondorder as so
import secondorder.studies.sweep as module

solve = module.solve
def slowly(scenario):
    time.sleep(0.05)
    return solve(scenario)
module.solve = slowly
queue = so.Queue(arrivals="poisson 8 request/s", service="exponential 100 ms")
grid = {{"servers": list(range(1, {POINTS} + 1))}}
print("begun", flush=True)
so.sweep(queue, grid, simulated=False, store=sys.argv[1], resume=True, jobs=int(sys.argv[2]))
"""
QUEUE = so.Queue(arrivals="poisson 8 request/s", service="exponential 100 ms", servers=2)
GRID = {"servers": list(range(1, POINTS + 1))}


def forked(store: Path) -> int:
    """A sweep in a copy of this process, which needs no imports: its number."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        os.setsid()
        solve = sweep_module.solve

        def slowly(scenario: so.Queue) -> Answer:
            time.sleep(0.05)
            return solve(scenario)

        sweep_module.solve = slowly
        so.sweep(QUEUE, GRID, simulated=False, store=store, resume=True)
        code = 0
    finally:
        os._exit(code)


def ended(pid: int) -> int:
    """The exit code of a copy."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def begun(store: Path, jobs: int) -> subprocess.Popen[str]:
    """A sweep in a process of its own, past its imports: workers cannot be those of a copy."""
    study = subprocess.Popen(
        [sys.executable, "-c", STUDY, str(store), str(jobs)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    assert study.stdout is not None
    assert study.stdout.readline() == "begun\n"
    return study


def undisturbed(folder: Path) -> Path:
    store = folder / "undisturbed.db"
    so.sweep(QUEUE, GRID, simulated=False, store=store)
    return store


def same(one: Path, other: Path) -> bool:
    """Whether two stores hold the same points, each once and bit for bit."""
    with sqlite3.connect(one) as left, sqlite3.connect(other) as right:
        asked = "SELECT * FROM points ORDER BY scenario"
        rows = left.execute(asked).fetchall()
        return len(rows) == POINTS and rows == right.execute(asked).fetchall()


def test_a_sweep_killed_at_random_moments_ends_as_an_undisturbed_one(tmp_path: Path) -> None:
    store, chance = tmp_path / "killed.db", random.Random(1)
    ends = []
    for _ in range(KILLS):
        study = forked(store)
        time.sleep(chance.uniform(0, 1.0))
        os.kill(study, signal.SIGKILL)
        ends.append(ended(study))
    assert ends[0] == -signal.SIGKILL  # later ones find most points in the store, and may end before they are killed
    assert set(ends) <= {-signal.SIGKILL, 0}
    assert ended(forked(store)) == 0
    assert same(store, undisturbed(tmp_path))


def test_a_sweep_with_workers_killed_at_random_moments_ends_as_an_undisturbed_one(tmp_path: Path) -> None:
    store, chance = tmp_path / "killed.db", random.Random(2)
    for _ in range(KILLS // 2):
        study = begun(store, 2)
        time.sleep(chance.uniform(0, 2.0))
        study.kill()
        study.wait()
    study = begun(store, 2)
    assert study.wait(120) == 0
    assert same(store, undisturbed(tmp_path))


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks for processes in /proc")
@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="one core: there are no workers")
def test_a_sweep_outlives_its_workers(tmp_path: Path) -> None:
    store, chance = tmp_path / "workers.db", random.Random(3)
    study = begun(store, 2)
    killed = 0
    while killed < KILLS and study.poll() is None:
        time.sleep(chance.uniform(0.1, 2.0))
        try:
            workers = [pid for pid in children(study.pid) if b"resource_tracker" not in _command(pid)]
            os.kill(chance.choice(workers), signal.SIGKILL)
            killed += 1
        except (OSError, IndexError):
            continue
    assert study.wait(120) == 0
    assert same(store, undisturbed(tmp_path))


def _command(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def test_two_processes_share_one_store(tmp_path: Path) -> None:
    store = tmp_path / "shared.db"
    both = [forked(store), forked(store)]
    assert [ended(study) for study in both] == [0, 0]
    assert same(store, undisturbed(tmp_path))


def test_a_stored_sweep_is_the_sweep_itself_and_is_resumed_without_work(tmp_path: Path, monkeypatch) -> None:
    store = tmp_path / "study.db"
    grid, options = {"servers": [1, 2]}, {"requests": 500, "replications": 2}
    plain = so.sweep(QUEUE, grid, **options)
    pd.testing.assert_frame_equal(plain, so.sweep(QUEUE, grid, store=store, **options), check_exact=True)
    with pytest.raises(InputError, match=r"2 of 3 points already, expected none; add --resume"):
        so.sweep(QUEUE, {"servers": [1, 2, 3]}, store=store, **options)

    def never(*_: object, **__: object) -> None:
        raise AssertionError("a point that is kept is not worked out again")

    monkeypatch.setattr("secondorder.studies.sweep.compare", never)
    again = so.sweep(QUEUE, grid, store=store, resume=True, **options)
    pd.testing.assert_frame_equal(plain, again, check_exact=True)


def test_a_failed_point_keeps_its_error_and_is_tried_again(tmp_path: Path) -> None:
    points = [Point(item=k, key=Key(scenario=f"[a{k}]", seed=0, witness="x"), label={"k": str(k)}) for k in range(3)]
    store = tmp_path / "failed.db"

    def fails(item: int) -> dict[str, float]:
        if item == 1:
            raise InputError("k", given=1, expected="another")
        return {"goodput": 1 / (item - 0.1)}

    found = work_out(points, fails, Keeping(store=store))
    assert [bool(each.error) for each in found] == [False, True, False]
    with Store(store) as kept:
        assert [found.error for _, found in kept.points()] == ["", "k: got 1, expected another", ""]
    again = work_out(points, lambda k: {"goodput": 0.5}, Keeping(store=store, resume=True))
    assert [each.record["goodput"] for each in again] == [1 / -0.1, 0.5, 1 / 1.9]


def test_a_bug_at_one_point_does_not_lose_the_others(tmp_path: Path) -> None:
    points = [Point(item=k, key=Key(scenario=f"[a{k}]", seed=0, witness="x")) for k in range(2)]
    found = work_out(points, lambda k: {"goodput": 1 / k}, Keeping())
    assert found[0].error == "a bug in secondorder: ZeroDivisionError: division by zero"
    assert found[1].record == {"goodput": 1.0}


# Files that are not as they should be


@pytest.mark.parametrize("content", [b"not a database, " * 100, b"SQLite format 3\x00" + b"\xff" * 5_000])
def test_a_damaged_file_is_one_line_and_stays_as_it_is(content: bytes, tmp_path: Path) -> None:
    store = tmp_path / "damaged.db"
    store.write_bytes(content)
    with pytest.raises(FileError, match=r"damaged\.db: got a damaged file, or one of another kind"):
        so.sweep(QUEUE, GRID, simulated=False, store=store)
    assert store.read_bytes() == content


def test_a_database_of_another_program_is_refused(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "other.db") as other:
        other.execute("CREATE TABLE points (x)")
    with pytest.raises(FileError, match="of another kind"):
        Store(tmp_path / "other.db")


def test_places_that_take_no_file_are_one_line(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name, given in (
        (tmp_path, "a directory"),
        (tmp_path / "pipe", "a device or a pipe"),
        ("/dev/zero", "a device or a pipe"),
        (tmp_path / "none" / "x.db", "a place that cannot be written"),
        (tmp_path / ("x" * 300), "File name too long"),
    ):
        with pytest.raises(FileError, match=given):
            Store(name)


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is closed to root")
def test_a_read_only_folder_is_one_line(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(FileError, match="a place that cannot be written"):
        Store(tmp_path / "x.db")


def large(count: int) -> list[Point[int]]:
    return [Point(item=k, key=Key(scenario=f"[a{k:03}]", seed=0, witness="x")) for k in range(count)]


def test_a_full_disk_is_one_line_and_keeps_what_was_finished(tmp_path: Path) -> None:
    """The limit on the size of a file stands for a disk that is full."""
    store = tmp_path / "full.db"

    def starved() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))

    code = f"""
from secondorder.studies.points import Keeping, Point, work_out
from secondorder.studies.store import Key
points = [Point(item=k, key=Key(scenario=f"[a{{k:03}}]", seed=0, witness="x")) for k in range(40)]
work_out(points, lambda k: {{"how": str(k) * 20_000}}, Keeping(store={str(store)!r}))
"""
    ended = subprocess.run(
        [sys.executable, "-c", code], preexec_fn=starved, capture_output=True, text=True, check=False
    )
    assert "FileError" in ended.stderr.splitlines()[-1]
    assert "disk" in ended.stderr.splitlines()[-1]
    with Store(store) as kept:
        finished = list(kept.points())
    assert len(finished) > 3
    again = work_out(large(40), lambda k: {"how": str(k) * 20_000}, Keeping(store=store, resume=True))
    assert [each.record["how"] for each in again] == [str(k) * 20_000 for k in range(40)]


# The command


def test_the_command_lists_exports_and_compares(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, other, table = tmp_path / "one.db", tmp_path / "other.db", tmp_path / "table.csv"
    so.sweep(QUEUE, {"servers": [1, 2]}, simulated=False, store=one)
    so.sweep(QUEUE, {"servers": [1, 2, 3]}, simulated=False, store=other)
    assert main(["store", str(one)]) == 0
    assert capsys.readouterr().out.splitlines()[-1].split() == ["queue", "solve", "0", so.__version__, "2", "0"]
    assert main(["store", str(one), "--export", str(table)]) == 0
    assert set(pd.read_csv(table)["varied"]) == {"servers=1", "servers=2"}
    assert main(["store", str(one), str(one)]) == 0
    assert main(["store", str(one), str(other)]) == 4
    assert "servers=3" in capsys.readouterr().out
    assert main(["store", str(tmp_path / "none.db")]) == 2
    assert "no such file" in capsys.readouterr().err


def test_differences_see_one_changed_value(tmp_path: Path) -> None:
    key = Key(scenario="[a]", seed=0, witness="x")
    with Store(tmp_path / "a.db") as one, Store(tmp_path / "b.db") as other:
        one.keep(key, Found(record={"goodput": 0.1}))
        other.keep(key, Found(record={"goodput": 0.1 + 1e-18}))
        assert differences(one, other) == []
        with Store(tmp_path / "c.db") as third:
            third.keep(key, Found(record={"goodput": math.nextafter(0.1, 1)}))
            assert [how for _, _, how in differences(one, third)] == ["another result"]


def test_a_sweep_with_a_failed_point_prints_the_others_and_exits_with_its_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch
) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text(so.write_plan(QUEUE))
    solve = so.solve

    def fails(scenario):
        if scenario.servers == 2:
            raise InputError("servers", given=2, expected="another")
        return solve(scenario)

    monkeypatch.setattr("secondorder.studies.sweep.solve", fails)
    code = main(["sweep", str(plan), "--vary", "servers=1,2,3", "--no-simulate", "--metric", "wait_mean"])
    printed = capsys.readouterr()
    assert code == 2
    assert (
        "sweep: got 1 of 3 points that failed, expected none; servers=2: servers: got 2, expected another"
        in printed.err
    )
    assert "400" in printed.out


def test_a_sweep_keeps_its_points_in_a_file_of_the_users_and_resumes_from_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    plan = tmp_path / "plan.toml"
    plan.write_text(so.write_plan(QUEUE))
    words = ["sweep", str(plan), "--vary", "servers=1,2", "--no-simulate", "--format", "csv"]
    assert main(words) == 0
    first = capsys.readouterr().out
    assert main(words) == 0  # again, without a word about what is there
    assert capsys.readouterr().out == first
    with Store(tmp_path / "cache" / "secondorder" / "sweeps.db") as store:
        assert len(list(store.points())) == 2
    monkeypatch.setattr("secondorder.studies.sweep.solve", None)
    assert main([*words, "--resume"]) == 0
    assert capsys.readouterr().out == first


def test_a_sweep_without_a_place_for_its_points_says_so_and_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    plan = tmp_path / "plan.toml"
    plan.write_text(so.write_plan(QUEUE))
    assert main(["sweep", str(plan), "--vary", "servers=1,2", "--no-simulate"]) == 0
    assert "finished points are not kept" in capsys.readouterr().err


# Replications where intervals are widest

RUN = so.Training(
    failures="exponential 8240 s", checkpoint="blocking 955 s write=60 s", recovery="300 s", duration="20 day"
)
INTERVALS = {"checkpoint.interval": ["300 s", "3 h"]}


def test_replications_go_where_the_intervals_are_widest(tmp_path: Path) -> None:
    store = Keeping(store=tmp_path / "s.db")
    known = {"target": 0.02, "metrics": ["goodput"], "replications": 4}
    found = refined_points(RUN, INTERVALS, keeping=store, **known)
    assert found.ended == "target"
    assert max(found.widths) <= 0.02
    assert found.replications[1] > found.replications[0] >= 4  # rare checkpoints make the goodput vary
    again = refined_points(RUN, INTERVALS, keeping=replace(store, resume=True), **known)
    for one, other in zip(found.points, again.points, strict=True):
        pd.testing.assert_frame_equal(one.frame, other.frame, check_exact=True)
    rare = {"checkpoint.interval": ["3 h"]}
    whole = so.sweep(RUN, rare, replications=found.replications[1])
    pd.testing.assert_frame_equal(found.points[1].frame, whole, check_exact=True)


def test_a_spent_budget_ends_a_sweep_and_says_what_was_reached() -> None:
    known = {"metrics": ["goodput"], "replications": 4}
    found = refined_points(RUN, INTERVALS, target=1e-6, budget=0.0, **known)
    assert found.ended == "budget"
    assert found.how.startswith("4 replications a point, the widest interval is ±")
    assert found.how.endswith("the budget is spent")
    with pytest.raises(UnknownName, match="goodptu"):
        refined_points(RUN, INTERVALS, target=0.1, metrics=["goodptu"], replications=4)


def test_the_command_adds_replications_to_a_precision(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text(so.write_plan(RUN))
    words = ["sweep", str(plan), "--vary", "checkpoint.interval=3 h", "--precision", "0.02", "--store"]
    assert main([*words, str(tmp_path / "a.db"), "--metric", "goodput"]) == 0
    assert "replications a point, the widest interval is ±" in capsys.readouterr().err
    assert main([*words, str(tmp_path / "b.db")]) == 2
    assert "--metric beside a precision" in capsys.readouterr().err
