"""Calibrations of made-up engines whose constants are known: do they settle, and do the intervals hold the truth?

python benchmarks/made_up_engines.py [ENGINES [FIRST SEED]]
"""

import sys
from dataclasses import replace
from typing import Any

import numpy as np

import secondorder as so
from secondorder.simulate.serving import draw, run
from secondorder.validation.calibrate import CONSTANTS, Fit, calibrate
from secondorder.validation.measured import MeasuredRun
from secondorder.workloads.traces import Trace

NOISE = 0.01
"""Relative scatter of each measured time of a request."""
SETTINGS: dict[str, Any] = {
    "max_num_seqs": 256,
    "max_num_batched_tokens": 2048,
    "enable_prefix_caching": False,
    "async_scheduling": False,
}
"""Of every engine."""


def engine(seed: int) -> tuple[MeasuredRun, dict[str, float]]:
    """A run of 80 requests on an engine with constants drawn at random, and these constants."""
    rng = np.random.default_rng(np.random.SeedSequence(seed))
    memory, arithmetic, attention = rng.uniform(0.5, 0.9, 3)
    sequence, prefill, front = rng.uniform(1e-5, 1e-4), rng.uniform(1e-3, 4e-3), rng.uniform(5e-3, 2e-2)
    model = so.models.llama_3_1_8b
    step_time = so.MeasuredRoofline(
        memory_efficiency=memory,
        bf16_efficiency=arithmetic,
        attention_memory_efficiency=attention,
        per_sequence=f"{sequence!r} s",
        prefill_floor=f"{prefill / model.layers!r} s",
    )
    scenario = so.Serving(
        model=model,
        accelerator=so.accelerators.h100_sxm,
        arrivals=so.Poisson("12 request/s"),
        lengths=so.Lengths(input=so.LogNormal(1500, cv=1.0, maximum=8000), output=so.Uniform(20, high=160)),
        step_time=step_time,
        **SETTINGS,
    )
    offered = draw(scenario, 80, seed=seed)
    trace = Trace(name=f"engine {seed}", requests=replace(offered, arrival=offered.arrival - offered.arrival[0]))
    settings = {"precision": "bf16", **SETTINGS}
    known = replace(scenario, arrivals=trace, lengths=None)
    served = run(known, draw(known, 80)).requests
    decoding = (served["e2el"] - served["ttft"]) * np.exp(NOISE * rng.standard_normal(80))
    wait = served["scheduled"] - served["arrival"]
    ttft = wait + (served["ttft"] - wait + front) * np.exp(NOISE * rng.standard_normal(80))
    frame = served.assign(ttft=ttft, e2el=ttft + decoding, tpot=decoding / (served["output_tokens"] - 1))
    truth = (1 / memory, 1 / arithmetic, 1 / attention, sequence, prefill, front)
    measured = MeasuredRun(name=trace.name, trace=trace, requests=frame, settings=settings)
    return measured, dict(zip(CONSTANTS, truth, strict=True))


def fitted(seed: int) -> tuple[Fit, dict[str, float]]:
    measured, truth = engine(seed)
    return calibrate(measured, model=so.models.llama_3_1_8b, accelerator=so.accelerators.h100_sxm), truth


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 50
    first = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    held, misses, settled = dict.fromkeys(CONSTANTS, 0), {name: [0.0] for name in CONSTANTS}, 0
    for seed in range(first, first + count):
        fit, truth = fitted(seed)
        settled += fit.settled
        for name, value in truth.items():
            low, high = fit.intervals[name]
            held[name] += low <= value <= high
            misses[name].append(abs(fit.constants[name] / value - 1))
    share = sum(held.values()) / (count * len(CONSTANTS))
    print(
        f"{settled} of {count} settled, the others said that they did not; intervals of 95 % hold the truth {share:.1%}"
    )
    for name, hits in held.items():
        print(f"  {name:<13} held {hits / count:6.1%}  median error {np.median(misses[name][1:]):6.1%}")


if __name__ == "__main__":
    main()
