"""Mooncake's conversation trace over eight replicas: what a router that knows prefixes gains.

    python benchmarks/prefix_routing.py

Hit rate and time to first token of the whole hour, with 95 % intervals over its tenths (batches of consecutive
requests, the first left out while caches fill), and the difference to round robin in the same tenths.
"""

from pathlib import Path

import numpy as np

import secondorder as so
from secondorder.simulate.deployment import DeploymentRun, serve
from secondorder.simulate.statistics.intervals import Interval, student

TRACE = Path(__file__).parents[2] / "shared" / "data" / "mooncake_conversation.jsonl"
ROUTERS = ("round-robin", "least-outstanding", "session 32", "prefix-aware 50", "prefix-aware 500", "prefix-aware 2000")
REPLICAS, TENTHS = 8, 10


def deployment(trace: so.Trace, router: str, replicas: int = REPLICAS, **changes: object) -> so.Deployment:
    service = so.Serving(
        model="llama_3_1_8b",
        accelerator="h100_sxm",
        arrivals=trace,
        max_num_seqs=256,
        enable_prefix_caching=True,
        **changes,
    )
    return so.Deployment(serving=service, replicas=replicas, router=router)


def tenths(found: DeploymentRun) -> dict[str, np.ndarray]:
    """Of each tenth but the first: share of prompt tokens found, and p99 of the time to first token."""
    parts = np.array_split(np.arange(len(found.requests)), TENTHS)[1:]
    rows = [found.requests.iloc[part] for part in parts]
    return {
        "hits": np.array([row["cached_tokens"].sum() / row["input_tokens"].sum() for row in rows]),
        "p99": np.array([row["ttft"].quantile(0.99) for row in rows]),
    }


def shown(interval: Interval, scale: float = 1.0) -> str:
    assert interval.high is not None
    return f"{scale * interval.mean:7.2f} +- {scale * (interval.high - interval.mean):5.2f}"


def main() -> None:
    if not TRACE.exists():
        print(f"no {TRACE}: nothing to replay")
        return
    trace = so.read_trace(str(TRACE))
    whole = {router: serve(deployment(trace, router), trace.requests, seed=1) for router in ROUTERS}
    base = tenths(whole["round-robin"])
    print(f"{'router':<18}{'hits %':>8}{'by tenths':>18}{'TTFT p99 s':>12}{'by tenths':>18}")
    for router, run in whole.items():
        kept, each = run.requests, tenths(run)
        hits = kept["cached_tokens"].sum() / kept["input_tokens"].sum()
        p99 = kept["ttft"].quantile(0.99)
        intervals = shown(student(list(each["hits"])), 100), shown(student(list(each["p99"])))
        print(f"{router:<18}{100 * hits:>8.1f}{intervals[0]:>18}{p99:>12.2f}{intervals[1]:>18}", flush=True)
    print("difference to round robin, tenth by tenth")
    for router in ROUTERS[1:]:
        each = tenths(whole[router])
        hits = student(list(100 * (each["hits"] - base["hits"])))
        p99 = student(list(each["p99"] - base["p99"]))
        print(f"{router:<18}{'':>8}{shown(hits):>18}{'':>12}{shown(p99):>18}")
    endless = deployment(trace, "round-robin", replicas=1, num_gpu_blocks=12_000_000)
    alone = serve(endless, trace.requests).requests
    print(f"one replica, endless cache: {100 * alone['cached_tokens'].sum() / alone['input_tokens'].sum():.1f} % hits")


if __name__ == "__main__":
    main()
