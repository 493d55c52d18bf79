"""The same workloads by our scheduler, with the same states written down."""

from collections import deque
from typing import Any

from oracle.workloads import Workload

from secondorder.scenarios.engines import ENGINES
from secondorder.simulate.serving.engine_policies import policies_for
from secondorder.simulate.serving.request import Ask, Slot
from secondorder.simulate.serving.scheduler import Scheduler


def states(workload: Workload, version: str) -> list[dict[str, Any]]:
    """What the scheduler's state is after each step."""
    scheduler, ahead = _scheduler(workload, version), workload["async_scheduling"]
    asks = deque(_ask(workload, index) for index in range(len(workload["requests"])))
    slots: list[Slot] = []
    finished: list[int] = []
    under_way, found, done = deque(), [], 0
    while True:
        while asks and asks[0].arrival <= done:
            slots.append(scheduler.submit(asks.popleft()))
        step = scheduler.schedule(beside=bool(under_way))
        if step is not None:
            under_way.append(step)
            if ahead and len(under_way) < 2:
                continue
        if under_way:
            finishing = under_way.popleft().finishing
            scheduler.complete(finishing)
            finished += [slot.ask.index for slot in finishing]
            done += 1
            found.append(_state(scheduler, slots, finished))
        elif asks:
            done = asks[0].arrival
        else:
            return found


def _scheduler(workload: Workload, version: str) -> Scheduler:
    names = ("block_size", "max_num_seqs", "max_num_batched_tokens", "long_prefill_token_threshold")
    return Scheduler(
        **{name: workload[name] for name in names},
        blocks=workload["blocks"] - 1,
        chunked_prefill=workload["enable_chunked_prefill"],
        prefix_caching=workload["enable_prefix_caching"],
        prefill_schedule_interval=workload.get("prefill_schedule_interval", 1),
        ahead=workload["async_scheduling"],
        policies=policies_for(
            ENGINES[f"vllm {version[:4]}"],
            priority=workload["policy"] == "priority",
            adaptive=workload.get("long_prefill_token_threshold_adaptive", False),
            whole=workload["scheduler_reserve_full_isl"],
            watermark=workload.get("watermark", 0),
        ),
    )


def _ask(workload: Workload, index: int) -> Ask:
    asked = workload["requests"][index]
    prefix = tuple((asked["group"], place) for place in range(asked["shared"] // workload["block_size"]))
    return Ask(
        index=index,
        prompt=asked["prompt"],
        output=asked["output"],
        arrival=asked["arrival"],
        prefix=prefix,
        priority=asked["priority"],
    )


def _state(scheduler: Scheduler, slots: list[Slot], finished: list[int]) -> dict[str, Any]:
    return {
        "running": [[slot.ask.index, _computed(scheduler, slot)] for slot in scheduler.running],
        "waiting": [slot.ask.index for slot in scheduler.waiting],
        "free": scheduler.blocks.free,
        "preemptions": [slot.preemptions for slot in slots],
        "finished": sorted(finished),
    }


def _computed(scheduler: Scheduler, slot: Slot) -> int:
    return slot.computed + (scheduler.step - slot.joined if slot.joined >= 0 else 0)
