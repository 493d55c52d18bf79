"""What a store adds to each point of a study, and what a second worker gives.

    python benchmarks/store_speed.py

Points that wait for a second instead of computing show what the executor costs on a machine that others use too;
points that compute for a second need two quiet cores. What two quiet cores would give is also told by processor time,
which others do not lengthen: that of one process, over that of the busier worker and of the process that shares out.
"""

import os
import tempfile
import time
from pathlib import Path

from secondorder.studies.points import Keeping, Point, work_out
from secondorder.studies.store import Key

POINTS, MOST = 10_000, 5.0
"""Points, and the ms that each may add."""
WORKED, LEAST = 24, 1.8
"""Points of a second, and how many times as fast two workers must be."""


def points(count: int) -> list[Point[int]]:
    return [Point(item=k, key=Key(scenario=f"[queue] # {k}", seed=0, witness="x")) for k in range(count)]


def record(item: int) -> dict[str, object]:
    """As large as that of a comparison: some 40 estimates."""
    return {"estimates": [{"metric": "wait_mean", "amount": item / 7, "note": "x" * 80} for _ in range(40)]}


def wait(item: int) -> dict[str, object]:
    time.sleep(1.0)
    return {"value": item}


def compute(item: int) -> dict[str, object]:
    began = time.process_time()
    while time.process_time() < began + 1.0:
        pass
    return {"worker": os.getpid(), "began": began, "ended": time.process_time()}


def by_processor(jobs: int, *, started: bool) -> float:
    """How many times as fast as one process ``jobs`` of them are, by processor time.

    Workers that had not ``started`` before also load what they need.
    """
    own = time.process_time()
    records = [each.record for each in work_out(points(WORKED), compute, Keeping(jobs=jobs))]
    own = time.process_time() - own
    spent: dict[int, list[float]] = {}
    for each in records:
        spent.setdefault(each["worker"], []).extend((each["began"], each["ended"]))
    busiest = max(max(times) - (min(times) if started else 0.0) for times in spent.values())
    return sum(each["ended"] - each["began"] for each in records) / (busiest + own)


def took(action: object, count: int, keeping: Keeping) -> tuple[float, float]:
    """Seconds of the wall clock, and of this process."""
    wall, own = time.perf_counter(), time.process_time()
    work_out(points(count), action, keeping)  # type: ignore[arg-type]
    return time.perf_counter() - wall, time.process_time() - own


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        store = Path(name) / "a.db"
        bare, _ = took(record, POINTS, Keeping())
        for what, keeping in (("written", Keeping(store=store)), ("taken over", Keeping(store=store, resume=True))):
            wall, own = took(record, POINTS, keeping)
            each = 1000 * (wall - bare) / POINTS
            verdict = "met" if each < MOST else "MISSED"
            print(f"{POINTS:,} points {what:<10} {each:6.2f} ms each, {1000 * own / POINTS:.2f} of the processor "
                  f"(bar {MOST:g} ms: {verdict})", flush=True)  # fmt: skip
    for started in (False, True):
        ratio = by_processor(2, started=started)
        verdict = "met" if ratio >= LEAST else "MISSED"
        told = "that run already" if started else "that start and load"
        print(f"{WORKED} points of a second, by processor time: two workers {told} {ratio:.2f} times one ({verdict})",
              flush=True)  # fmt: skip
    for what, action in (("wait", wait), ("compute", compute)):
        took(wait, 2, Keeping(jobs=2))  # the workers have started
        one, two = (took(action, WORKED, Keeping(jobs=jobs))[0] for jobs in (1, 2))
        verdict = "met" if one / two >= LEAST else "MISSED"
        print(f"{WORKED} points that {what} a second: two workers {one / two:.2f} times one ({verdict})", flush=True)


if __name__ == "__main__":
    main()
