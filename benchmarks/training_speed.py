"""How long a simulated training run takes: 54 days on 16,384 accelerators, beside a plain loop over the same run.

    python benchmarks/training_speed.py

Seconds of one run are those of the processor, since machines are shared; those of 1,000 runs on two
processes are of the wall clock. Both are printed beside the time of a fixed pure-Python loop.
"""

import math
import os
import resource
import time

import numpy as np
from timing import loop, seconds

from secondorder.scenarios.training import (
    AsyncCheckpoint,
    Checkpoint,
    Recovery,
    Spares,
    Training,
    TwoLevelCheckpoint,
)
from secondorder.simulate.training import run, runs, simulate_training

MTBF, RESTART, DAYS = 11_135.0, 300.0, 54
BAR_ONE, BAR_ALL = 0.2, 120.0


def training(failures: str = f"exponential {MTBF} s", checkpoint=None, **options) -> Training:
    checkpoint = checkpoint or Checkpoint(interval="900 s", write="45 s")
    recovery = Recovery(restart=f"{RESTART} s")
    return Training(failures=failures, checkpoint=checkpoint, recovery=recovery, duration=f"{DAYS} day", **options)


def nodes(count: int, law: str, shape: str = "", kind: str = "stationary") -> str:
    return f"{kind} {count} {law} {MTBF * count} s {shape}".strip()


SCENARIOS = {
    "Poisson failures": training(),
    "interval 1,800 s": training(checkpoint=Checkpoint(interval="1800 s", write="45 s")),
    "2,048 nodes, Weibull .7": training(nodes(2048, "weibull", "shape=0.7")),
    "16,384 nodes, exponential": training(nodes(16_384, "exponential")),
    "16,384 nodes, Weibull .7": training(nodes(16_384, "weibull", "shape=0.7")),
    "16,384 nodes, lognormal": training(nodes(16_384, "lognormal", "scv=4")),
    "16,384 new nodes, Weibull .7": training(nodes(16_384, "weibull", "shape=0.7", kind="new")),
    "8,192 pairs": training("pairs 8192 lifetime=2000000 s"),
    "asynchronous": training(checkpoint=AsyncCheckpoint(interval="900 s", pause="5 s", drain="45 s")),
    "two levels": training(
        checkpoint=TwoLevelCheckpoint(
            interval="900 s", write="5 s", every=4, durable_write="45 s", light_share=0.8, light_restart="60 s"
        )
    ),
    "steps of 5 s, lognormal": training(step="lognormal 5 s scv=0.01"),
    "spares, one crew": training(spares=Spares(count=16, repair="lognormal 2.5 h scv=4", crews=1)),
}


def plain(tau: float = 900.0, write: float = 45.0, seed: int = 0) -> float:
    """The run with Poisson failures as a loop without events: the goodput."""
    gap = iter(np.random.default_rng(seed).exponential(MTBF, 5000).tolist()).__next__
    end, now, left, kept = DAYS * 86_400.0, 0.0, gap(), 0.0
    while True:
        for phase in (tau, write):
            if now + min(phase, left) >= end:
                return (kept + (end - now if phase is tau else tau)) / end
            if left <= phase:
                break
            now, left = now + phase, left - phase
        else:
            kept += tau
            continue
        now, left = now + left, gap()
        while left <= RESTART:
            now, left = now + left, gap()
        now, left = now + RESTART, left - RESTART
        if now >= end:
            return kept / end


def main() -> None:
    print(f"pure-Python reference loop     {seconds(loop):8.2f} s for 10,000,000 additions")
    bare = seconds(plain, 20)
    lean = seconds(lambda: run(SCENARIOS["Poisson failures"], log=False), 20)
    print(f"plain loop over {DAYS} days        {1000 * bare:8.1f} ms")
    print(f"the same on SimPy              {1000 * lean:8.1f} ms ({lean / bare:.1f} times the plain loop)")
    for name, scenario in SCENARIOS.items():
        took = seconds(lambda s=scenario: run(s, log=False), 3)
        verdict = "met" if took < BAR_ONE else "MISSED"
        print(f"{name:<30} {1000 * took:8.1f} ms a run (bar {1000 * BAR_ONE:.0f} ms: {verdict})")

    heavy = SCENARIOS["16,384 nodes, Weibull .7"]
    for name, scenario in (("Poisson failures", SCENARIOS["Poisson failures"]), ("16,384 nodes, Weibull .7", heavy)):
        start = time.perf_counter()
        answer = simulate_training(scenario, replications=1000, jobs=2)
        took = time.perf_counter() - start
        verdict = "met" if took < BAR_ALL else "MISSED"
        print(
            f"1,000 runs on 2 of {os.cpu_count()} cores, {name}: {took:.1f} s (bar {BAR_ALL:.0f} s: {verdict}); "
            f"goodput {answer.best('goodput')}, failures {answer.best('failures_mean').amount:.1f} "
            f"({answer.best('failures_p5').amount:.0f} to {answer.best('failures_p95').amount:.0f})"
        )

    exact = 900 / (MTBF * math.exp(RESTART / MTBF) * math.expm1(945 / MTBF))
    naive = np.mean([plain(seed=k) for k in range(200)])
    simulated = np.mean([story.goodput for story in runs(SCENARIOS["Poisson failures"], replications=200)])
    print(f"goodput: exact {exact:.4f}, plain loop {naive:.4f}, SimPy {simulated:.4f} (200 runs each)")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MB")


if __name__ == "__main__":
    main()
