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
from secondorder.workloads.requests import Requests

A_REPLICA = 10.0
"""Requests of each replica in a second."""
ROUTERS = ("round-robin", "least-outstanding", "least-tokens", "power-of-d 2", "prefix-aware 50")
FEW, MANY = 8, 256


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


def kernel(replicas: int, router: str, drawn: Requests, repeats: int = 1) -> float:
    """Seconds of a run without the drawing of its requests."""
    scenario = deployment(replicas, router)
    arrivals, rule = clocked(drawn), rule_for(scenario, drawn, stream(1, 0, "routing"))
    action = lambda: record_fleet(scenario.serving, drawn, arrivals, rule, replicas=replicas, records=False)  # noqa: E731
    return seconds(action, repeats=repeats)


def drawn_for(replicas: int, count: int) -> Requests:
    return serving.draw(deployment(replicas, "random").serving, count, 1)


def growth() -> None:
    """What a replica costs among few and among many, with as many requests each."""
    each = 1_000
    drawn = {replicas: drawn_for(replicas, each * replicas) for replicas in (FEW, 64, MANY)}
    print(f"\nms a replica of {each:,} requests" + "".join(f"{each:>4} replicas" for each in drawn) + "  growth")
    for router in ROUTERS:
        took = {replicas: kernel(replicas, router, drawn[replicas], repeats=3) / replicas for replicas in drawn}
        figures = "".join(f"{1e3 * one:13.2f}" for one in took.values())
        print(f"{router:<29}{figures}{took[MANY] / took[FEW]:8.2f}", flush=True)


def main() -> None:
    print(f"pure-Python reference loop {seconds(loop):8.2f} s for 10,000,000 additions")
    kernel(2, "prefix-aware 50", drawn_for(2, 100))
    million = drawn_for(FEW, 1_000_000)
    for router in ("prefix-aware 50", "least-outstanding", "round-robin"):
        print(f"1,000,000 requests, 8 replicas, {router:<18}{kernel(FEW, router, million):8.1f} s", flush=True)
    few = deployment(FEW, "prefix-aware 50")
    drawn = serving.draw(few.serving, 2_000, 1)
    print(
        f"2,000 requests, 8 replicas, on SimPy          {seconds(lambda: run(few, drawn), repeats=1):8.1f} s",
        flush=True,
    )
    growth()


if __name__ == "__main__":
    main()
