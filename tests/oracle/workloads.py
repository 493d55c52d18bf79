"""Random workloads for the differential test of the scheduler: settings of the engine and requests, from a seed.

An arrival is a number of steps: the request is there once so many steps have ended.
"""

from random import Random
from typing import Any

Workload = dict[str, Any]
VERSIONS = ("0.19.0", "0.24.0", "0.33.0")


def workload(seed: int, version: str) -> Workload:
    """The workload of a seed in the domain of a version."""
    random = Random(seed)
    size = random.choice([1, 2, 4, 8, 16, 16, 32])
    requests = _requests(random, size)
    longest = max(asked["prompt"] + asked["output"] for asked in requests)
    slots = random.choice([1, 2, 3, 4, 8, 16, 64])
    chunked = random.random() < 0.8
    budget = max(slots, random.choice([16, 32, 64, 100, 256, 2048]))
    threshold = random.choice([None, None, 7, 32, 100])
    settings = {
        "async_scheduling": random.random() < 0.5,
        "enable_prefix_caching": random.random() < 0.6,
        "enable_chunked_prefill": chunked,
        "block_size": size,
        "blocks": 1 + _usable(random, requests, size),
        "max_num_seqs": slots,
        "max_num_batched_tokens": budget if chunked else max(budget, longest, threshold or 0),
        "long_prefill_token_threshold": threshold,
        "policy": "priority" if random.random() < 0.25 else "fcfs",
        "scheduler_reserve_full_isl": random.random() < 0.7,
        "requests": requests,
    }
    adaptive, watermark, interval = random.random() < 0.5, random.choice([0, 0, 0.05, 0.2]), random.choice([1, 1, 2, 5])
    if version >= "0.24":
        settings["watermark"] = watermark
    if version >= "0.33":
        settings["long_prefill_token_threshold_adaptive"] = adaptive and threshold is not None
        settings["prefill_schedule_interval"] = interval
    return settings


def _requests(random: Random, size: int) -> list[dict[str, int]]:
    count, gap = random.choice([3, 6, 12, 24]), random.choice([0, 0, 1, 4, 20])
    longest_prompt, longest_output = random.choice([20, 60, 200]), random.choice([4, 20, 60])
    groups = [random.randint(0, longest_prompt) for _ in range(random.choice([1, 2, 4]))]
    requests, arrival = [], 0
    for _ in range(count):
        arrival += random.randint(0, gap)
        prompt, group = random.randint(1, longest_prompt), random.randrange(len(groups))
        shared = min(groups[group], prompt) if random.random() < 0.7 else 0
        priority = random.choice([0, 0, 1, 2])
        output = random.randint(1, longest_output)
        asked = {"arrival": arrival, "prompt": prompt, "output": output, "priority": priority}
        requests.append(asked | {"group": group, "shared": shared // size * size})
    return requests


def _usable(random: Random, requests: list[dict[str, int]], size: int) -> int:
    """From just enough for the largest request to plenty."""
    each = [-(-(asked["prompt"] + asked["output"] - 1) // size) for asked in requests]
    return max(each) + int(random.choice([0, 0, 0.05, 0.1, 0.3, 1.5]) * sum(each))
