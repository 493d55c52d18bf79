"""How many requests the compiled engine serves in a second of one core, beside three ways to do it without a compiler.

    python benchmarks/kernel_speed.py

On SimPy: the engine of ``secondorder``, which gives the same integers; SimPy's own ``Resource`` idiom, a process a
request and an event a token; and a plain loop over steps that touches every sequence in each. The last two do without
prompts' chunks, blocks and prefixes. Seconds are those of the processor, since machines are shared.
"""

from collections import deque
from dataclasses import replace
from pathlib import Path

import numpy as np
import simpy
from timing import loop, seconds

import secondorder as so
from secondorder.analytic.serving.saturation import saturation
from secondorder.scenarios.serving import Serving
from secondorder.simulate import serving
from secondorder.simulate.kernels import queues
from secondorder.simulate.kernels.serving.run import record
from secondorder.simulate.queues import run as run_queue
from secondorder.workloads.requests import Requests

CONVERSATIONS = Serving(
    model=so.models.llama_3_1_8b,
    accelerator=so.accelerators.h100_sxm,
    arrivals=so.Poisson("10 request/s"),
    lengths=so.lengths.azure_conv_2023,
    max_num_seqs=256,
    max_num_batched_tokens=2048,
    enable_prefix_caching=False,
    async_scheduling=False,
)
MOONCAKE = Path(__file__).parents[2] / "shared" / "data" / "mooncake_conversation.jsonl"
"""Trace with prefixes, where it is at hand."""
MANY, FEW = 1_000_000, 2_000
"""Requests of the kernel, and of the others."""


def services() -> dict[str, Serving]:
    busy = so.Poisson(f"{0.9 * saturation(CONVERSATIONS).rate:.4g} request/s")
    return {
        "conversations, 10/s": CONVERSATIONS,
        "conversations, 90 % load": replace(CONVERSATIONS, arrivals=busy),
        "the same, asynchronous": replace(CONVERSATIONS, arrivals=busy, async_scheduling=True),
        "the same, cache-bound": replace(CONVERSATIONS, arrivals=busy, num_gpu_blocks=2600, max_model_len=20_000),
        "the same, prefix cache": replace(CONVERSATIONS, arrivals=busy, enable_prefix_caching=True),
        "512 in, 256 out, 8/s": replace(
            CONVERSATIONS, arrivals=so.Poisson("8 request/s"), lengths=so.Lengths(input=512, output=256)
        ),
    }


def textbook(scenario: Serving, requests: Requests) -> None:
    """As SimPy's manual would have it: a process a request, a Resource of sequence slots, an event a token."""
    env = simpy.Environment()
    slots, step = simpy.Resource(env, scenario.settings.max_num_seqs), scenario.step_seconds

    def visit(prompt: int, output: int):
        with slots.request() as turn:
            yield turn
            yield env.timeout(step(prompt, 0, prompt, slots.count, 0, 1))
            for emitted in range(1, output):
                yield env.timeout(step(0, 0, 0, slots.count, slots.count * (prompt + emitted), slots.count))

    def arrive():
        for arrival, prompt, output in requests:
            yield env.timeout(max(arrival - env.now, 0.0))
            env.process(visit(prompt, output))

    env.process(arrive())
    env.run()


def plain_loop(scenario: Serving, requests: Requests) -> None:
    """One step after another, every sequence in each."""
    arriving, running, now = deque(requests), [], 0.0
    while arriving or running:
        if not running:
            now = max(now, arriving[0][0])
        prompts = 0
        while arriving and arriving[0][0] <= now and len(running) < scenario.settings.max_num_seqs:
            _, prompt, output = arriving.popleft()
            running.append([prompt, output])
            prompts += prompt
        context = 0
        for sequence in running:
            sequence[0] += 1
            sequence[1] -= 1
            context += sequence[0]
        now += scenario.step_seconds(prompts, 0, prompts, len(running), context, len(running))
        running = [sequence for sequence in running if sequence[1] > 0]


def compare(name: str, scenario: Serving, many: Requests, few: Requests) -> None:
    ways = {
        "kernel": (lambda: record(scenario, many, records=False), many),
        "SimPy": (lambda: serving.record(scenario, few), few),
        "Resource idiom": (lambda: textbook(scenario, few), few),
        "plain loop": (lambda: plain_loop(scenario, few), few),
    }
    record(scenario, few)
    rates = {
        way: len(asked) / seconds(action, repeats=5 if way == "kernel" else 2) for way, (action, asked) in ways.items()
    }
    print(f"{name:<26}" + "".join(f"{rate:>16,.0f}" for rate in rates.values()), flush=True)


def engines() -> None:
    print(f"{'requests/s of one core':<26}{'kernel':>16}{'SimPy engine':>16}{'Resource idiom':>16}{'plain loop':>16}")
    for name, scenario in services().items():
        compare(name, scenario, serving.draw(scenario, MANY, 1), serving.draw(scenario, FEW, 1))
    if MOONCAKE.exists():
        trace = so.read_trace(str(MOONCAKE))
        scenario = replace(
            CONVERSATIONS,
            arrivals=trace,
            lengths=None,
            enable_prefix_caching=True,
            tensor_parallel_size=4,
            max_num_batched_tokens=8192,
        )
        compare("Mooncake, prefix cache", scenario, trace.requests, trace.head(FEW).requests)


def lines() -> None:
    rng = np.random.default_rng(1)
    gaps, work = rng.exponential(size=(2, 2_000_000))
    arrival = np.cumsum(gaps)
    for name, kernel, options in (
        ("M/M/1", lambda s: queues.first_come(arrival, s, 1), {"servers": 1}),
        ("M/M/8", lambda s: queues.first_come(arrival, s, 8), {"servers": 8}),
        ("M/M/1-PS", lambda s: queues.sharing(arrival, s, 1, None), {"discipline": so.ProcessorSharing()}),
    ):
        servers = options.get("servers", 1)
        rate = len(arrival) / seconds(lambda k=kernel, s=servers: k(0.8 * s * work))
        queue = so.Queue(arrivals=f"poisson {0.8 * servers} request/s", service="exponential 1 s", **options)
        path = "events" if "servers" in options else None
        events = 50_000 / seconds(lambda q=queue, p=path: run_queue(q, 50_000, path=p), repeats=2)
        print(f"{name:<26}{rate:>16,.0f}{events:>16,.0f} customers/s, kernel and SimPy")


def main() -> None:
    print(f"pure-Python reference loop {seconds(loop):8.2f} s for 10,000,000 additions")
    engines()
    lines()


if __name__ == "__main__":
    main()
