"""What the partition of latencies costs the compiled engine, and whether its parts add up.

    python benchmarks/partition.py

Seconds are those of the processor. The second half draws a hundred small services with every feature of the engine
crossed at random, a thousand requests each, and counts the picoseconds that no cause explains; the parts of the first
hundred requests of each are held against those of the engine on SimPy.
"""

import numpy as np
from kernel_speed import MANY, services
from timing import seconds

import secondorder as so
from secondorder.scenarios.closed_loop import ClosedLoop
from secondorder.scenarios.serving import Serving
from secondorder.simulate import serving
from secondorder.simulate.closed_loop import partition_of_loop
from secondorder.simulate.kernels.serving.run import record
from secondorder.simulate.serving.causes import Cause
from secondorder.simulate.serving.partition import Partition, partition_of
from secondorder.workloads.requests import Requests

SERVICES, REQUESTS, CHECKED = 100, 1_000, 100


def cost() -> None:
    print(f"{'requests/s of one core':<28}{'plain':>12}{'with parts':>12}{'ratio':>8}")
    for name, scenario in services().items():
        asked = serving.draw(scenario, MANY, 1)
        partition_of(scenario, serving.draw(scenario, 2_000, 1), witness="kernel")
        plain = split = np.inf
        for _ in range(5):  # in turn, as the machine's speed changes
            plain = min(plain, seconds(lambda s=scenario, a=asked: record(s, a, records=False), repeats=1))
            split = min(split, seconds(lambda s=scenario, a=asked: partition_of(s, a, witness="kernel"), repeats=1))
        print(f"{name:<28}{MANY / plain:>12,.0f}{MANY / split:>12,.0f}{plain / split:>8.2f}", flush=True)


def random_service(rng: np.random.Generator) -> tuple[Serving, Requests]:
    """A service under pressure and what it is asked; features by coin."""
    prompts, outputs = rng.integers(1, 200, REQUESTS), rng.integers(1, 60, REQUESTS)
    longest, block, chunked = int((prompts + outputs).max()), int(rng.choice([1, 8, 16])), rng.random() < 0.8
    engine = str(rng.choice(["vllm 0.19", "vllm 0.24", "vllm 0.33"]))
    scenario = Serving(
        model="llama_3_1_8b",
        accelerator="h100_sxm",
        arrivals="poisson 1 request/s",
        lengths="input=100 output=30",
        block_size=block,
        num_gpu_blocks=-(-longest // block) * int(rng.choice([1, 2, 12])) + 2,
        max_num_seqs=int(rng.choice([1, 4, 16, 256])),
        max_num_batched_tokens=int(rng.choice([32, 128, 512])) if chunked else longest,
        max_model_len=longest,
        long_prefill_token_threshold=int(rng.integers(8, 64)) if rng.random() < 0.5 else None,
        enable_chunked_prefill=chunked,
        prefill_schedule_interval=int(rng.choice([1, 2, 5])) if engine == "vllm 0.33" else 1,
        enable_prefix_caching=bool(rng.integers(2)),
        async_scheduling=bool(rng.integers(2)),
        engine=engine,
        watermark=0.0 if engine == "vllm 0.19" else float(rng.choice([0.0, 0.1])),
        scheduler_reserve_full_isl=bool(rng.integers(2)),
        step_time=so.Affine(per_step=2.4e-4, per_prefill_token=1.4e-5, per_decode=2.8e-6, per_context_token=7.7e-8),
    )
    shared = scenario.settings.enable_prefix_caching and rng.random() < 0.7
    requests = Requests(
        arrival=np.cumsum(rng.exponential(rng.choice([1e-3, 4e-3, 2e-2]), REQUESTS)),
        input_tokens=prompts,
        output_tokens=outputs,
        hash_ids=tuple(np.arange(prompt // 8) + 1000 * rng.integers(3) for prompt in prompts) if shared else None,
        hash_block=8 if shared else 0,
    )
    return scenario, requests


def split(scenario: Serving | ClosedLoop, asked: Requests, think: np.ndarray, witness: str) -> Partition:
    if isinstance(scenario, ClosedLoop):
        return partition_of_loop(scenario, asked, think, witness=witness)
    return partition_of(scenario, asked, witness=witness)


def first(asked: Requests) -> Requests:
    return Requests(
        arrival=asked.arrival[:CHECKED],
        input_tokens=asked.input_tokens[:CHECKED],
        output_tokens=asked.output_tokens[:CHECKED],
        hash_ids=asked.hash_ids and asked.hash_ids[:CHECKED],
        hash_block=asked.hash_block,
    )


def residues() -> None:
    rng = np.random.default_rng(2026)
    left = differ = loops = 0
    used = np.zeros(len(Cause))
    for _ in range(SERVICES):
        scenario, asked = random_service(rng)
        kind, think = rng.choice(["open", "open", "offered", "at once", "thinking"]), np.zeros(2 * REQUESTS, np.int64)
        if kind != "open":
            loops += 1
            how = {"think_time": "10 ms"} if kind == "thinking" else {"offered": kind == "offered"}
            scenario = ClosedLoop(serving=scenario, max_concurrency=int(rng.integers(1, 40)), **how)
            if kind == "thinking":
                think = np.rint(rng.exponential(1e10, 2 * REQUESTS)).astype(np.int64)
        parts = split(scenario, asked, think, "kernel")
        for latency, of in ((parts.ttft, parts.first_token), (parts.e2el, parts.finish)):
            left += int(np.abs(latency - of.sum(axis=1)).sum())
        used += parts.finish.sum(axis=0)
        few = first(asked)
        one, other = (split(scenario, few, think, witness) for witness in ("kernel", "events"))
        differ += int((one.finish != other.finish).sum() + (one.first_token != other.first_token).sum())
    total = SERVICES * REQUESTS
    print(f"{SERVICES} services ({loops} closed loops), {total:,} requests: {left} ps without a cause")
    print(f"{SERVICES * CHECKED:,} requests by the kernel and on SimPy: {differ} parts differ")
    print("share of the time: " + ", ".join(f"{c.column} {used[c] / used.sum():.1%}" for c in Cause))


if __name__ == "__main__":
    cost()
    residues()
