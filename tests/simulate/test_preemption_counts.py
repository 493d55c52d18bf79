"""Preemptions counted by a real engine on a GPU, met to the integer.

*Source*: StaticCore (MIT), vLLM 0.24.0, asynchronous: 320 prompts of 17 to 22 tokens at once, 650 tokens out each,
blocks of 16 tokens (one of them is the null block), 256 slots, a budget of 8,192 tokens, no prefix cache. The first
step sees the first request alone.
"""

from collections.abc import Callable
from random import Random

import pytest

from secondorder.simulate.serving.policies import Candidate, Policies, Watermark, whole_length
from secondorder.simulate.serving.request import Ask, Slot
from secondorder.simulate.serving.scheduler import Scheduler

OUTPUT = 650
BASE = (19, 20, 19, 18, 18, 19, 22, 17, 19, 17)
VARIANTS, SHORTER = 32, 10
BLOCK = 16
CELLS = {"150 s0": (150, 0), "200": (200, None), "300 s0": (300, 0), "300 s1": (300, 1), "300 s2": (300, 2)}


def reserve(alpha: float) -> Callable[[Candidate], bool]:
    """Blocks for the prompt and a share ``alpha`` of the output are free, or those of what is computed now."""

    def admits(candidate: Candidate) -> bool:
        promised = -(-(candidate.prompt + int(alpha * OUTPUT)) // BLOCK)
        return max(promised, candidate.fresh) <= candidate.free

    return admits


def prompts(seed: int | None) -> list[int]:
    lengths = [base - (variant < SHORTER) for base in BASE for variant in range(VARIANTS)]
    if seed is not None:
        Random(seed).shuffle(lengths)
    return lengths


def preemptions(cell: str, policies: Policies) -> int:
    blocks, seed = CELLS[cell]
    scheduler = Scheduler(
        blocks=blocks - 1,
        block_size=BLOCK,
        max_num_seqs=256,
        max_num_batched_tokens=8192,
        ahead=True,
        policies=policies,
    )
    asks = [Ask(index=index, prompt=prompt, output=OUTPUT) for index, prompt in enumerate(prompts(seed))]
    slots: list[Slot] = [scheduler.submit(asks[0])]
    step = scheduler.schedule()
    slots += [scheduler.submit(ask) for ask in asks[1:]]
    while step is not None:
        following = scheduler.schedule(beside=True)
        scheduler.complete(step.finishing)
        step = following or scheduler.schedule()
    return sum(slot.preemptions for slot in slots)


COUNTED = {
    "stock": (whole_length, (1869, 1840, 1739, 1751, 1753)),
    "watermark .05": (Watermark(share=0.05), (1372, 1217, 1027, 1032, 1059)),
    "watermark .15": (Watermark(share=0.15), (798, 692, 619)),
    "reserve .5": (reserve(0.5), (951, 999, 1038, 1022, 1022)),
    "reserve 1": (reserve(1), (566, 632, 688)),
}


@pytest.mark.parametrize("rule", COUNTED)
def test_preemptions_are_those_of_the_real_engine(rule: str) -> None:
    admits, counted = COUNTED[rule]
    assert tuple(preemptions(cell, Policies(admits=admits)) for cell in list(CELLS)[: len(counted)]) == counted
