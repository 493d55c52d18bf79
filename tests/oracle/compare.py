"""Our scheduler against vLLM's own, step by step, on random workloads.

With ``PYTHONPATH=tests`` (``make oracle`` runs the first):

    python -m oracle.compare --version 0.33.0 --workloads 10000    how many are identical in every step
    python -m oracle.compare --version 0.33.0 --bisect 4711        the first step that differs, both sides
    python -m oracle.compare --write-golden                        the traces that `make test` holds ours to

The exit code is 1 if any workload differs.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from oracle.golden import COMPARED, GOLDEN, PER_VERSION, fingerprint, first_unlike
from oracle.ours import states
from oracle.workloads import VERSIONS, Workload, workload

HERE = Path(__file__).resolve().parent
HOME = HERE.parents[1] / ".venv-oracle"


class Oracle:
    """The driver as a process: it answers a workload with the states of the real scheduler."""

    def __init__(self, version: str) -> None:
        older = HOME / f"vllm-{version}"
        command = [str(HOME / "bin" / "python"), str(HERE / "driver.py"), *([str(older)] if older.exists() else [])]
        quiet = {"HF_HUB_OFFLINE": "1", "VLLM_LOGGING_LEVEL": "ERROR", "VLLM_NO_USAGE_STATS": "1"}
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | quiet
        )
        found = json.loads(self._line())["version"]
        if found != version:
            raise SystemExit(f"the environment has vllm {found}, not {version}: run `make oracle`")

    def ask(self, workload: Workload) -> dict[str, Any]:
        assert self.process.stdin
        print(json.dumps(workload), file=self.process.stdin, flush=True)
        answer: dict[str, Any] = json.loads(self._line())
        return answer

    def _line(self) -> str:
        assert self.process.stdout
        for line in self.process.stdout:
            if line.startswith("{"):
                return line
        raise SystemExit("the driver ended: its error is above")

    def close(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait()


def first_difference(workload: Workload, version: str, real: dict[str, Any]) -> int | None:
    """The first step whose state differs, from 0; None if there is none."""
    ours, theirs = fingerprint(states(workload, version)), fingerprint(real["states"])
    return first_unlike(ours, theirs)


def differing(version: str, seeds: range) -> Iterator[tuple[int, int, int | None]]:
    """Of each seed: the steps, the preemptions, and the first step that differs."""
    oracle = Oracle(version)
    for seed in seeds:
        work = workload(seed, version)
        real = oracle.ask(work)
        last = real["states"][-1]
        yield len(real["states"]), sum(last["preemptions"]), first_difference(work, version, real)
    oracle.close()


def write_golden() -> None:
    """Fingerprints of the real scheduler's states, by version and seed."""
    found: dict[str, dict[str, str]] = {}
    for version in VERSIONS:
        oracle = Oracle(version)
        answers = {seed: oracle.ask(workload(seed, version)) for seed in range(PER_VERSION)}
        found[version] = {str(seed): fingerprint(real["states"]) for seed, real in answers.items()}
        oracle.close()
    GOLDEN.write_text(json.dumps(found, indent=1) + "\n")


def bisect(version: str, seed: int) -> None:
    """Print the first step that differs, with the step before it."""
    work, oracle = workload(seed, version), Oracle(version)
    real = oracle.ask(work)
    oracle.close()
    step = first_difference(work, version, real)
    for name, value in work.items():
        print(f"{name}: {value}" if name != "requests" else "requests:")
    for index, asked in enumerate(work["requests"]):
        print(f"  {index}: {asked}")
    if step is None:
        print("identical in every step")
        return
    ours = states(work, version)
    for shown in range(max(0, step - 2), step + 1):
        print(f"step {shown}{' differs' if shown == step else ''}")
        for name in ("given", "tokens", *COMPARED):
            for side, steps in (("vllm", real["states"]), ("ours", ours)):
                if shown < len(steps) and name in steps[shown]:
                    print(f"  {name:12} {side}  {steps[shown][name]}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--version", choices=VERSIONS, action="append")
    parser.add_argument("--workloads", type=int, default=300)
    parser.add_argument("--first", type=int, default=0, help="first seed")
    parser.add_argument("--bisect", type=int, metavar="SEED")
    parser.add_argument("--write-golden", action="store_true")
    given = parser.parse_args()
    if given.write_golden:
        write_golden()
        return 0
    worst = 0
    for version in given.version or VERSIONS:
        if given.bisect is not None:
            bisect(version, given.bisect)
            continue
        seeds = range(given.first, given.first + given.workloads)
        results = list(differing(version, seeds))
        bad = [seed for seed, (_, _, step) in zip(seeds, results, strict=True) if step is not None]
        steps, preemptions = (sum(result[i] for result in results) for i in (0, 1))
        print(
            f"vllm {version}: {len(results) - len(bad):,} of {len(results):,} workloads identical in every step "
            f"({steps:,} steps, {preemptions:,} preemptions)"
        )
        for seed in bad[:20]:
            print(f"  differs: --version {version} --bisect {seed}")
        worst |= bool(bad)
    return int(worst)


if __name__ == "__main__":
    sys.exit(main())
