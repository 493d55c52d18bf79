"""How right and how fast the questions of a deployment are answered.

    python benchmarks/questions.py [SEEDS]

The highest rate of the demo's service against a dense sweep; the search over 200 layouts; and its winner, found with
SEEDS (20) seeds, against long runs of the winner and of the winner with one replica fewer.
"""

import sys
from dataclasses import replace
from time import process_time

import numpy as np

import secondorder as so

DEMO = so.Serving(
    name="demo",
    model="llama_3_1_8b",
    accelerator="h100_sxm",
    arrivals="poisson 8 request/s",
    lengths="azure_conv_2023",
    max_num_seqs=256,
)
CARDS = 25
"""Accelerators of the search, the first of the zoo; each at a made-up price."""


def dense(limit: float, middle: float) -> float:
    """The highest rate that keeps the limit on a grid of 0.5 % around ``middle``, 2.5 million requests each."""
    rates = (middle * np.exp(np.arange(-6, 7) * 0.005)).tolist()
    p99 = []
    for rate in rates:
        service = replace(DEMO, arrivals=f"poisson {rate!r} request/s")
        p99.append(so.simulate(service, seed=77, replications=10, requests=250_000).best("ttft_p99").amount)
        print(f"  {rate:.3f} request/s: p99 {1000 * p99[-1]:.0f} ms", flush=True)
    return float(np.interp(np.log(limit), np.log(p99), rates))


def max_rate() -> None:
    before = process_time()
    question = so.MaxRate(deployment=so.Deployment(serving=DEMO, replicas=1), ttft_p99="500 ms")
    found = so.simulate(question, seed=1)
    rate, took = found.best("max_rate"), process_time() - before
    print(f"max_rate {rate.amount:.3f} [{rate.low:.3f}, {rate.high:.3f}] request/s in {took:.0f} s of a processor")
    swept = dense(0.5, rate.amount)
    print(f"dense sweep {swept:.3f} request/s: {100 * (rate.amount / swept - 1):+.2f} %")


def layouts() -> None:
    rentals = {card: f"{1 + 0.1 * place:.2f} USD/hour" for place, card in enumerate(sorted(so.accelerators)[:CARDS])}
    before = process_time()
    found = so.search(
        DEMO,
        rate="100 request/s",
        ttft_p99="500 ms",
        tpot_p99="50 ms",
        rentals=rentals,
        tensor_parallel_sizes=(1, 2, 4, 8),
        precisions=("bf16", "fp8"),
    )
    count = len(found.candidates) + len(found.refused)
    print(f"search over {count} layouts: {process_time() - before:.0f} s of one processor")
    print(found.best)


def winner(seeds: int) -> None:
    """How often a long run confirms that the winner keeps its objectives, and that one replica fewer does not."""
    rentals = {"h100_sxm": "3 USD/hour", "a100_80gb": "1.5 USD/hour", "l40s": "1 USD/hour"}
    asked = {"rate": "300 request/s", "ttft_p99": "300 ms", "tpot_p99": "50 ms"}
    whole = replace(DEMO, arrivals="poisson 300 request/s")
    confirmed, seen = 0, {}
    for seed in range(seeds):
        best = so.search(DEMO, **asked, rentals=rentals, tensor_parallel_sizes=(1, 2), contenders=2, seed=seed).best
        key = (best.accelerator, best.tensor_parallel_size, best.replicas)
        if key not in seen:
            at = replace(whole, accelerator=best.accelerator, tensor_parallel_size=best.tensor_parallel_size)
            seen[key] = keeps(at, best.replicas) and not keeps(at, best.replicas - 1)
        confirmed += seen[key]
        print(f"  seed {seed}: {best}, {'confirmed' if seen[key] else 'not confirmed'}", flush=True)
    print(f"confirmed in {confirmed} of {seeds} seeds")


def keeps(service: so.Serving, replicas: int) -> bool:
    """Whether a long run keeps the objectives."""
    if replicas == 0:
        return False
    try:
        long = so.simulate(so.Deployment(serving=service, replicas=replicas), seed=9, replications=10, requests=100_000)
    except so.Unstable:
        return False
    return long.best("ttft_p99").amount <= 0.3 and long.best("tpot_p99").amount <= 0.05


def main() -> None:
    max_rate()
    layouts()
    winner(int(sys.argv[1]) if len(sys.argv) > 1 else 20)


if __name__ == "__main__":
    main()
