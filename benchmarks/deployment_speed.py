"""How fast the kernel serves requests over several replicas, and how that grows with their number.

    python benchmarks/deployment_speed.py

Agents with 200 long prompts of their own at 10 request/s a replica, with caches that hold about a third of them.
Seconds are those of the processor, since machines are shared; the kernel's are those of its run alone.
"""

from timing import loop, seconds

import secondorder as so
from secondorder.simulate import serving
from secondorder.simulate.deployment import run
from secondorder.simulate.deployment.compiled import rule_for
from secondorder.simulate.kernels.deployment.run import record_fleet
from secondorder.simulate.serving.asks import clocked
from secondorder.simulate.streams import stream

A_REPLICA = 10.0
"""Requests of each replica in a second."""


def deployment(replicas: int, router: str) -> so.Deployment:
    agents = so.Serving(
        model="llama_3_1_8b",
        accelerator="h100_sxm",
        arrivals=f"poisson {A_REPLICA * replicas!r} request/s",
        lengths="input=2048 output=geometric 128",
        prefixes="200 tokens=1792 exponent=0.5",
        enable_prefix_caching=True,
        num_gpu_blocks=9_000,
    )
    return so.Deployment(serving=agents, replicas=replicas, router=router)


def kernel(replicas: int, router: str, count: int) -> float:
    """Seconds of a run without the drawing of its requests."""
    scenario = deployment(replicas, router)
    drawn = serving.draw(scenario.serving, count, 1)
    arrivals, rule = clocked(drawn), rule_for(scenario, drawn, stream(1, 0, "routing"))
    action = lambda: record_fleet(scenario.serving, drawn, arrivals, rule, replicas=replicas, records=False)  # noqa: E731
    return seconds(action, repeats=1)


def main() -> None:
    print(f"pure-Python reference loop {seconds(loop):8.2f} s for 10,000,000 additions")
    kernel(2, "prefix-aware 50", 100)
    for router in ("prefix-aware 50", "least-outstanding", "round-robin"):
        print(f"1,000,000 requests, 8 replicas, {router:<18}{kernel(8, router, 1_000_000):8.1f} s", flush=True)
    few = deployment(8, "prefix-aware 50")
    drawn = serving.draw(few.serving, 2_000, 1)
    print(
        f"2,000 requests, 8 replicas, on SimPy          {seconds(lambda: run(few, drawn), repeats=1):8.1f} s",
        flush=True,
    )
    for router in ("prefix-aware 50", "least-outstanding", "round-robin"):
        for replicas in (1, 4, 16, 64, 256):
            took = kernel(replicas, router, 1_000 * replicas)
            print(f"{replicas:>4} replicas, 1,000 requests each, {router:<18}{1e3 * took / replicas:8.1f} ms a replica")


if __name__ == "__main__":
    main()
