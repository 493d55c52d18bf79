"""Memory of large inputs: a ring of 16,384 ranks, and traces of a million rows; each in a process of its own.

    python benchmarks/memory.py

Peak memory is that of the whole process, as the system counts it; seconds are those of the processor.
"""

import argparse
import datetime
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import secondorder as so
from secondorder.fleets.clusters import Link
from secondorder.simulate.collectives import operations

ROWS, RANKS = 1_000_000, 16_384
MOST_RING, MOST_TRACE = 1_000.0, 300.0
"""MB that each may take."""


def ring(ranks: str, jitter: str) -> None:
    link = Link(bandwidth="50 GB/s", latency="5 us")
    scenario = so.Collective(ranks=int(ranks), size="1 GB", link=link, jitter=jitter or None)
    so.solve(scenario)
    operations(scenario, runs=1)


def trace(name: str) -> None:
    columns = {each: each for each in ("arrival", "input_tokens", "output_tokens")}
    options = {"columns": columns, "arrival_unit": "s"} if "columns" in name else {}
    assert len(so.read_trace(name, **options)) == ROWS


TASKS: dict[str, Callable[..., None]] = {"ring": ring, "trace": trace}


def measured(*words: str) -> tuple[float, float]:
    """Seconds and MB of a task in a process of its own."""
    told = subprocess.run([sys.executable, __file__, "--task", *words], capture_output=True, text=True, check=True)
    seconds, most = told.stdout.split()
    return float(seconds), float(most)


def write_traces(folder: Path) -> list[Path]:
    """The same million requests as Azure writes them, as a table with columns of its own, and as Mooncake's lines."""
    rng = np.random.default_rng(1)
    times = np.cumsum(rng.exponential(0.05, ROWS))
    tokens = rng.integers(1, 8_000, (ROWS, 2)).tolist()
    began = datetime.datetime(2024, 5, 10)
    azure, columns, lines = folder / "azure.csv", folder / "columns.csv", folder / "mooncake.jsonl"
    with azure.open("w") as file:
        file.write("TIMESTAMP,ContextTokens,GeneratedTokens\n")
        for at, (asked, given) in zip(times.tolist(), tokens, strict=True):
            file.write(f"{began + datetime.timedelta(seconds=at)},{asked},{given}\n")
    with columns.open("w") as file:
        file.write("arrival,input_tokens,output_tokens\n")
        file.writelines(f"{at:.6f},{a},{b}\n" for at, (a, b) in zip(times.tolist(), tokens, strict=True))
    with lines.open("w") as file:
        for at, (asked, given) in zip(times.tolist(), tokens, strict=True):
            file.write(f'{{"timestamp": {round(1000 * at)}, "input_length": {asked}, "output_length": {given}}}\n')
    return [azure, columns, lines]


def line(what: str, found: tuple[float, float], bar: float) -> None:
    seconds, most = found
    verdict = "met" if most < bar else "MISSED"
    print(f"{what:<46} {seconds:7.2f} s {most:8.0f} MB (bar {bar:,.0f} MB: {verdict})", flush=True)


def main() -> None:
    smaller = measured("ring", str(RANKS // 4), "lognormal scv=0.04")
    whole = measured("ring", str(RANKS), "lognormal scv=0.04")
    line(f"ring, {RANKS // 4:,} ranks, jitter", smaller, MOST_RING)
    line(f"ring, {RANKS:,} ranks, jitter", whole, MOST_RING)
    print(f"{'':<46} {whole[0] / smaller[0]:.1f} times the seconds for 16 times the ranks times stages")
    line(f"ring, {RANKS:,} ranks", measured("ring", str(RANKS), ""), MOST_RING)
    with tempfile.TemporaryDirectory() as folder:
        for path in write_traces(Path(folder)):
            line(f"trace of {ROWS:,} rows, {path.stem}", measured("trace", str(path)), MOST_TRACE)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--task", nargs="+")
    if task := parser.parse_args().task:
        began = time.process_time()
        TASKS[task[0]](*task[1:])
        print(time.process_time() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    else:
        main()
