"""How fast the simulator is, how much memory it takes, and how fast the package is imported.

    python benchmarks/speed.py

Speeds are of one core. They are printed beside the time of a fixed pure-Python loop in the
same run, since machines differ and are shared.
"""

import resource
import subprocess
import sys
from dataclasses import replace

from timing import loop, seconds

import secondorder as so
from secondorder.simulate.serving import draw, run


def conversations(rate: str) -> so.Serving:
    return so.Serving(
        model=so.models.llama_3_1_8b,
        accelerator=so.accelerators.h100_sxm,
        arrivals=so.Poisson(rate),
        lengths=so.lengths.azure_conv_2023,
        max_num_seqs=256,
        max_num_batched_tokens=2048,
        enable_prefix_caching=False,
        async_scheduling=False,
    )


def served_per_second(scenario: so.Serving, count: int = 20_000) -> float:
    requests = draw(scenario, count)
    return count / seconds(lambda: run(scenario, requests))


def main() -> None:
    reference = seconds(loop)
    print(f"pure-Python reference loop   {reference:8.2f} s for 10,000,000 additions")
    for rate in ("2 request/s", "10 request/s", "25 request/s"):
        served = served_per_second(conversations(rate))
        print(f"Azure conversations {rate:>12} {served:8,.0f} requests/s ({20_000 / served / reference:.2f} loops)")
    served = served_per_second(replace(conversations("10 request/s"), enable_prefix_caching=True))
    print(f"the same with prefix caching     {served:8,.0f} requests/s ({20_000 / served / reference:.2f} loops)")

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    scenario = conversations("10 request/s")
    run(scenario, draw(scenario, 60_000))
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"60,000 requests: peak memory of the process {after / 1024:,.0f} MB ({(after - before) / 1024:+,.0f} MB)")

    code = "import time; start = time.perf_counter(); import secondorder; print(time.perf_counter() - start)"
    imported = min(float(subprocess.check_output([sys.executable, "-c", code])) for _ in range(3))
    print(f"import secondorder {imported:.3f} s")


if __name__ == "__main__":
    main()
