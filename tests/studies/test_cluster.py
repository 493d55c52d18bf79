"""A cluster of dask: the same bits as here; lost workers are replaced, and a lost scheduler loses nothing finished."""

import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

import secondorder as so
from secondorder.errors import InputError
from secondorder.executor import as_they_come, of_ours
from secondorder.studies.store import Store

pytest.importorskip("distributed", reason='dask.distributed is not installed: pip install "secondorder[cluster]"')

QUEUE = so.Queue(arrivals="poisson 8 request/s", service="exponential 100 ms", servers=2)
GRID = {"servers": list(range(1, 9))}


def started(*words: str) -> subprocess.Popen[bytes]:
    """A process of dask that ends with this one's group."""
    return subprocess.Popen(
        [sys.executable, "-m", "distributed.cli." + words[0], *words[1:], "--no-dashboard"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])},
    )


@pytest.fixture
def cluster() -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """The address of a scheduler on this machine; it and its two workers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"tcp://127.0.0.1:{port}"
    processes = [started("dask_scheduler", "--host", "127.0.0.1", "--port", str(port))]
    processes += [started("dask_worker", address, "--nthreads", "1", "--no-nanny") for _ in range(2)]
    try:
        yield address, processes
    finally:
        for process in processes:
            process.kill()
            process.wait()


def reached(address: str) -> str:
    """The address, once its workers are there."""
    from distributed import Client

    with Client(address, timeout="60s", set_as_default=False) as client:
        client.wait_for_workers(2, timeout=60)
    return address


def test_a_cluster_gives_the_same_bits_and_a_lost_scheduler_loses_nothing_finished(cluster, tmp_path: Path) -> None:
    address, processes = reached(cluster[0]), cluster[1]
    here = so.sweep(QUEUE, GRID, requests=500, replications=2)
    there = so.sweep(QUEUE, GRID, requests=500, replications=2, cluster=address, store=tmp_path / "a.db")
    pd.testing.assert_frame_equal(here, there, check_exact=True)
    with Store(tmp_path / "a.db") as store:
        assert len(list(store.points())) == len(GRID["servers"])

    def slow(item: int) -> int:
        time.sleep(0.3)
        return item

    found = []
    for _, result in as_they_come(slow, range(10), cluster=address):
        found.append(result)
        if len(found) == 2:
            processes[1].send_signal(signal.SIGKILL)
    assert sorted(found) == list(range(10))
    work = as_they_come(slow, range(20), cluster=address)
    next(work)
    processes[0].send_signal(signal.SIGKILL)
    with pytest.raises(InputError, match="which was lost, expected a scheduler and workers that keep running"):
        list(work)


def test_a_cluster_that_does_not_answer_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("secondorder.executor.REACH", "1s")
    for address in ("tcp://127.0.0.1:1", "nonsense://x"):
        with pytest.raises(InputError, match=f"cluster: got {address}, expected the address of a dask scheduler"):
            list(as_they_come(abs, [1], cluster=address))


def test_what_the_tasks_of_a_lost_cluster_leave_behind_is_not_printed() -> None:
    from distributed.comm.core import CommClosedError

    def record(error: Exception) -> logging.LogRecord:
        return logging.LogRecord("asyncio", logging.ERROR, "", 0, "never retrieved", (), (type(error), error, None))

    assert not of_ours(record(CommClosedError("closed")))
    assert of_ours(record(ValueError("ours")))
