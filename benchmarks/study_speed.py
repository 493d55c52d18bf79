"""How long studies take: 1,000 runs of 54 days on 16,384 accelerators at every point, on two cores.

    python benchmarks/study_speed.py [interval] [spares] [scaling] [recovery]

All the studies if none is named. Seconds of the wall clock and of the processors; machines are shared, so that the
first may be longer than it need be. The kernels are compiled before.
"""

import os
import resource
import sys
import time
from collections.abc import Callable
from functools import partial

from secondorder.scenarios.training import Checkpoint, Recovery, Spares, Training
from secondorder.simulate.training import runs
from secondorder.studies.interval import interval_study
from secondorder.studies.recovery import recovery_study
from secondorder.studies.scaling import scaling_study
from secondorder.studies.spares import spares_study

RUNS, JOBS, BAR = 1_000, 2, 20.0
PLAIN = Training(
    failures="exponential 11135 s",
    checkpoint=Checkpoint(interval="1000 s", write="45 s"),
    recovery=Recovery(restart="300 s", replacement="60 s"),
    duration="54 day",
)
SPARED = Training(
    failures=PLAIN.failures,
    checkpoint=PLAIN.checkpoint,
    recovery=PLAIN.recovery,
    spares=Spares(count=2, repair="exponential 8 h"),
    duration="54 day",
)
STUDIES: dict[str, Callable[..., object]] = {
    "one point": partial(runs, PLAIN),
    "one point with spares": partial(runs, SPARED),
    "interval": partial(interval_study, PLAIN),
    "spares": partial(spares_study, SPARED),
    "scaling": partial(scaling_study, PLAIN, accelerators=16_384),
    "recovery": partial(recovery_study, PLAIN),
}


def processor() -> float:
    """Seconds of the processor by this process and the workers that have ended."""
    return sum(
        used.ru_utime + used.ru_stime
        for used in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def main() -> None:
    runs(PLAIN, replications=2)
    print(f"{RUNS:,} runs of 54 days at every point, {JOBS} processes, {os.cpu_count()} cores")
    for name in sys.argv[1:] or STUDIES:
        start, before = time.perf_counter(), processor()
        STUDIES[name](replications=RUNS, jobs=JOBS)
        took, used = time.perf_counter() - start, processor() - before
        verdict = "met" if took < BAR else "MISSED"
        print(f"{name:<24} {took:7.1f} s, {used:7.1f} s here (bar {BAR:.0f} s: {verdict})", flush=True)


if __name__ == "__main__":
    main()
