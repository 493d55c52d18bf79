"""How long studies take: 1,000 runs of 54 days on 16,384 accelerators at every point.

    python benchmarks/study_speed.py [interval] [spares] [scaling] [recovery]

All the studies if none is named. Each is worked out by one process: the seconds of its processor are half as many on
two. Machines are shared, so that those of the wall clock may be more. The kernels are compiled before.
"""

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

RUNS, CORES, BAR = 1_000, 2, 20.0
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


def main() -> None:
    runs(PLAIN, replications=2)
    print(f"{RUNS:,} runs of 54 days at every point")
    for name in sys.argv[1:] or STUDIES:
        own, wall = time.process_time(), time.perf_counter()
        STUDIES[name](replications=RUNS, jobs=1)
        used, took = time.process_time() - own, time.perf_counter() - wall
        verdict = "met" if used / CORES < BAR else "MISSED"
        told = f"(bar {BAR:.0f} s on {CORES}: {verdict}), {took:.1f} s on the wall"
        print(f"{name:<24} {used:7.1f} s of one processor {told}", flush=True)


if __name__ == "__main__":
    main()
