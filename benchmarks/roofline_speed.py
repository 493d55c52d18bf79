"""How fast the roofline is: one call, a million points, and the first import of the package.

    python benchmarks/roofline_speed.py

The bars: a call under 50 microseconds after the first, a million points under a second, the first
``import secondorder`` under 0.2 s. Times are the least of several; machines differ and are shared.
"""

import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np

import secondorder as so
from secondorder.scenarios.inference import Inference


def seconds(action: Callable[[], object], *, calls: int = 1, repeats: int = 5) -> float:
    """Of one call: the least of several means."""
    action()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        for _ in range(calls):
            action()
        times.append((time.perf_counter() - start) / calls)
    return min(times)


def judged(what: str, found: float, bar: float, unit: str, scale: float) -> None:
    verdict = "met" if found < bar else "MISSED"
    print(f"{what:<58} {found * scale:8.3g} {unit}  (bar {bar * scale:g} {unit}: {verdict})")


def answered(**options: object) -> object:
    """Every figure of a sweep of ResNet-50, or of Llama 3.1 8B decoding."""
    answer = so.roofline(**options)  # type: ignore[arg-type]
    return answer.latency, answer.throughput, answer.bottleneck, answer.intensity, answer.mfu, answer.energy


def main() -> None:
    code = "import time; start = time.perf_counter(); import secondorder; print(time.perf_counter() - start)"
    imports = [float(subprocess.check_output([sys.executable, "-c", code])) for _ in range(5)]
    judged("import secondorder", min(imports), 0.2, "s", 1)

    resnet = {"model": so.models.resnet50, "accelerator": so.accelerators.a100_80gb}
    decode = {"model": so.models.llama_3_1_8b, "accelerator": so.accelerators.h100_sxm, "input_tokens": 1}
    judged("one call, ResNet-50", seconds(lambda: so.roofline(**resnet), calls=2_000), 50e-6, "us", 1e6)
    judged("one call, a decode step", seconds(lambda: so.roofline(**decode), calls=2_000), 50e-6, "us", 1e6)

    batches = np.arange(1, 1_000_001)
    judged("a million batch sizes, ResNet-50", seconds(lambda: answered(batch_size=batches, **resnet)), 1, "s", 1)
    contexts = np.arange(1_000_000) % 100_000
    judged("a million contexts, a decode step", seconds(lambda: answered(context_tokens=contexts, **decode)), 1, "s", 1)

    scenario = Inference(launch="exponential 5 us", jitter="lognormal scv=0.04", **resnet)
    print(f"{'the twin: 50,000 steps of 50 kernels':<58} {twin(scenario):8.3g} s")


def twin(scenario: Inference) -> float:
    from secondorder.simulate.inference import simulate_inference

    return seconds(lambda: simulate_inference(scenario), repeats=2)


if __name__ == "__main__":
    main()
