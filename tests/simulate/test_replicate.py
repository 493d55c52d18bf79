"""Work shared among processes: same results, no more workers than work, and none that outlives its parent."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import secondorder as so
from secondorder.errors import InputError
from secondorder.executor import run_each
from secondorder.simulate.replicate import replicated

PARENT = """
import os, pathlib, sys, time
from secondorder.executor import run_each

def work(k):
    (pathlib.Path(sys.argv[1]) / str(os.getpid())).touch()
    time.sleep(120)

list(run_each(work, range(4), jobs=2))
"""


def runs(pid: int) -> bool:
    """Whether a process exists and has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def until(condition, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not (met := condition()) and time.monotonic() < end:
        time.sleep(0.1)
    return met


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="one core: there are no workers")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_workers_end_when_their_parent_is_killed(how: signal.Signals, tmp_path: Path) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path)], stderr=subprocess.DEVNULL)
    try:
        assert until(lambda: len(list(tmp_path.iterdir())) == 2, 60)
        workers = [int(path.name) for path in tmp_path.iterdir()]
        assert parent.pid not in workers
    finally:
        parent.send_signal(how)
        parent.wait()
    assert until(lambda: not any(map(runs, workers)), 20)


def test_results_come_in_the_order_of_the_items_whatever_the_number_of_processes() -> None:
    one, two = ([k**2 for k in range(7)], list(run_each(lambda k: k**2, range(7), jobs=2)))
    assert one == two == list(run_each(lambda k: k**2, range(7)))
    assert replicated(lambda k: k, 3, jobs=2, first=5) == [5, 6, 7]


def test_one_item_needs_no_worker() -> None:
    assert list(run_each(lambda _: os.getpid(), [0], jobs=64)) == [os.getpid()]
    assert list(run_each(abs, [], jobs=2)) == []


@pytest.mark.parametrize("jobs", [0, -1])
def test_fewer_processes_than_one_are_refused(jobs: int) -> None:
    with pytest.raises(InputError, match=f"jobs: got {jobs}, expected at least 1"):
        run_each(abs, [1], jobs)
    queue = so.Queue(arrivals="poisson 8 request/s", service="exponential 100 ms")
    with pytest.raises(InputError, match=f"jobs: got {jobs}"):
        so.simulate(queue, requests=1_000, jobs=jobs)


def test_too_few_replications_are_refused() -> None:
    with pytest.raises(InputError, match="replications: got 1, expected at least 2, for an interval"):
        replicated(abs, 1, least=2)
    with pytest.raises(InputError, match="replications: got 0, expected at least 1"):
        replicated(abs, 0)
