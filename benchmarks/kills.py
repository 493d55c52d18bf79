"""``kill -9`` at random moments: of a sweep, of its workers, of a dask scheduler and its two workers on loopback.

    python benchmarks/kills.py [sweep] [workers] [cluster] --kills 50 --seed 1

All three if none is named. A sweep that was killed is resumed, and a finished one is compared with an undisturbed
serial run: its file must hold every point once, bit for bit. Ends with 1 if one differs, or ends as it must not.
"""

import argparse
import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

HOUSE = Path(__file__).parents[1]
SWEEP = """
import sys
import secondorder as so
from secondorder.errors import InputError

queue = so.Queue(arrivals="poisson 8 request/s", service="lognormal 100 ms scv=4", servers=2)
grid = {"servers": [2, 3, 4, 5, 6, 8], "arrivals.rate": ["4 request/s", "8 request/s", "12 request/s", "16 request/s"]}
print("begun", flush=True)
try:
    so.sweep(queue, grid, requests=20_000, replications=4, store=sys.argv[1], resume=True, jobs=int(sys.argv[2]),
             cluster=sys.argv[3] if len(sys.argv) > 3 else None)
except InputError as error:
    print(error, file=sys.stderr)
    sys.exit(2)
"""
POINTS = 24
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(HOUSE), "OPENBLAS_NUM_THREADS": "1"}
LOST = ("which was lost", "that were killed", "expected the address of a dask scheduler that runs")
"""What the line of error says where a worker or the scheduler was lost, before or after the sweep reached it."""
PATIENCE = 600.0
"""Seconds that a sweep may take."""


def begun(store: Path, jobs: int, address: str | None = None) -> subprocess.Popen[str]:
    """A sweep in a process of its own, past its imports."""
    words = [sys.executable, "-c", SWEEP, str(store), str(jobs), *([address] if address else [])]
    study = subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT, start_new_session=True
    )
    assert study.stdout is not None
    assert study.stdout.readline() == "begun\n"
    return study


def rows(store: Path) -> list[tuple[object, ...]]:
    """All that a store holds."""
    with sqlite3.connect(store) as file:
        return file.execute("SELECT * FROM points ORDER BY scenario, seed, replication, witness, options").fetchall()


class Trial:
    """Kills of one kind, sweep after sweep, until their number is reached and the last sweep is finished."""

    def __init__(self, folder: Path, kills: int, chance: random.Random, whole: list[tuple[object, ...]]) -> None:
        self.folder, self.left, self.chance, self.whole = folder, kills, chance, whole
        self.finished = self.faults = self.lost = 0
        self.store = folder / "0.db"
        self.before: set[tuple[object, ...]] = set()

    def moment(self, span: float) -> None:
        """Wait for a random moment."""
        time.sleep(self.chance.uniform(0, span))

    def killed(self) -> None:
        """One more; what was finished before must still be there."""
        self.left -= 1
        now = set(rows(self.store)) if self.store.exists() and self.store.stat().st_size else set()
        if not self.before <= now:
            self.fault("a finished point was lost")
        self.before = now

    def ended(self, code: int, told: str) -> None:
        """A sweep has ended by itself."""
        if code == 2 and told.count("\n") == 1 and any(part in told for part in LOST):
            self.lost += 1  # one line says so; the sweep is to be resumed
            return
        if code != 0 or "Traceback" in told:
            self.fault(f"exit code {code}: {told[:1_500]}")
        elif rows(self.store) != self.whole:
            self.fault("the file differs from that of an undisturbed run")
        self.finished += 1
        self.store, self.before = self.folder / f"{self.finished}.db", set()

    def fault(self, how: str) -> None:
        """What must not be."""
        self.faults += 1
        print(f"FAULT: {how}", flush=True)


def kill_sweeps(trial: Trial) -> None:
    """The sweep itself, by one process and by two in turn."""
    jobs = 1
    while trial.left > 0 or trial.before:
        study = begun(trial.store, jobs)
        jobs = 3 - jobs
        if trial.left > 0:
            trial.moment(6.0)
        if trial.left > 0 and study.poll() is None:
            study.kill()
            study.communicate()
            trial.killed()
        else:
            trial.ended(*_outcome(study))


def kill_workers(trial: Trial) -> None:
    """A worker of a sweep by two processes."""
    while trial.left > 0 or trial.before:
        study = begun(trial.store, 2)
        while trial.left > 0 and study.poll() is None:
            trial.moment(4.0)
            if workers := _workers(study.pid):
                _kill(trial.chance.choice(workers))
                trial.killed()
        trial.ended(*_outcome(study))


def _workers(pid: int) -> list[int]:
    try:
        found = [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        return [each for each in found if b"resource_tracker" not in Path(f"/proc/{each}/cmdline").read_bytes()]
    except OSError:
        return []


def _kill(pid: int) -> None:
    with suppress(OSError):
        os.kill(pid, signal.SIGKILL)


def kill_cluster(trial: Trial) -> None:
    """The scheduler of a cluster, or one of its workers."""
    while trial.left > 0 or trial.before:
        with cluster() as (address, processes):
            while trial.left > 0 or trial.before:
                if _round(trial, address, processes):
                    break


def _round(trial: Trial, address: str, processes: list[subprocess.Popen[bytes]]) -> bool:
    """One sweep on the cluster; whether the scheduler was killed."""
    study = begun(trial.store, 1, address)
    while trial.left > 0 and study.poll() is None:
        trial.moment(6.0)
        if study.poll() is not None:
            break
        place = trial.chance.randrange(3)
        processes[place].send_signal(signal.SIGKILL)
        processes[place].wait()
        trial.killed()
        if place == 0:
            trial.ended(*_outcome(study))
            return True
        processes[place] = _worker(address)
    trial.ended(*_outcome(study))
    return False


def _outcome(study: subprocess.Popen[str]) -> tuple[int, str]:
    told = study.communicate(timeout=PATIENCE)[1]
    return study.returncode, told


@contextmanager
def cluster() -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """A scheduler of dask on this machine, and its two workers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"tcp://127.0.0.1:{port}"
    processes = [_started("dask_scheduler", "--host", "127.0.0.1", "--port", str(port))]
    processes += [_worker(address), _worker(address)]
    try:
        from distributed import Client

        with Client(address, timeout="120s", set_as_default=False) as client:
            client.wait_for_workers(2, timeout=120)
        yield address, processes
    finally:
        for process in processes:
            process.kill()
            process.wait()


def _worker(address: str) -> subprocess.Popen[bytes]:
    return _started("dask_worker", address, "--nthreads", "1", "--no-nanny")


def _started(word: str, *words: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", f"distributed.cli.{word}", *words, "--no-dashboard"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=ENVIRONMENT,
    )


KINDS: dict[str, Callable[[Trial], None]] = {"sweep": kill_sweeps, "workers": kill_workers, "cluster": kill_cluster}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="*", choices=[*KINDS, []])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    faults = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        study = begun(folder / "undisturbed.db", 1)
        assert study.wait(PATIENCE) == 0
        whole = rows(folder / "undisturbed.db")
        assert len(whole) == POINTS
        for kind in given.kinds or KINDS:
            (place := folder / kind).mkdir()
            trial = Trial(place, given.kills, random.Random(f"{given.seed} {kind}"), whole)
            began = time.monotonic()
            KINDS[kind](trial)
            print(
                f"{kind}: {given.kills} kills, {trial.finished} sweeps of {POINTS} points finished and compared bit "
                f"for bit, {trial.lost} ended in one line, {trial.faults} faults, {time.monotonic() - began:.0f} s",
                flush=True,
            )
            faults += trial.faults
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
