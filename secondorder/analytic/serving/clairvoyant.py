"""The hits of a cache that knows the future: the most that any rule of eviction can have."""

import heapq

import numpy as np

from secondorder.analytic.arguments import one_whole
from secondorder.arrays import Integers
from secondorder.errors import InputError
from secondorder.workloads.requests import Requests


def clairvoyant_hit_tokens(requests: Requests, capacity: int) -> Integers:
    """Prompt tokens of each request that a cache of ``capacity`` blocks finds if it keeps what is used again soonest.

    After each request the blocks with the nearest next use are kept; of those used again by one request, the ones
    nearer to its beginning. Whoever uses a block uses all blocks before it too, so these are leading blocks, and no
    other rule finds more of them. *Bound* from above for every cache of this size that serves the requests in their
    order, several tiers of this size together included. Blocks of ``hash_block`` tokens; the last token of a prompt is
    never found.

    Errors: ``InputError`` for requests that do not know their prefixes. *Source*: Belady, A study of replacement
    algorithms for a virtual-storage computer, IBM Systems Journal 5 (1966); with the choice not to keep a block,
    Carlisle and Lloyd, On the k-coloring of intervals (1995): the greedy rule is optimal.

    >>> three = Requests(arrival=[0, 1, 2], input_tokens=[3, 3, 3], output_tokens=[1, 1, 1],
    ...     hash_ids=(np.array([7]), np.array([8]), np.array([7])), hash_block=2)
    >>> clairvoyant_hit_tokens(three, 1).tolist()                                  # 8 is never used again
    [0, 0, 2]
    """
    if requests.hash_ids is None:
        raise InputError("requests", given="no hash_ids", expected="requests that know their prefixes")
    room, size = one_whole("capacity", capacity), requests.hash_block
    prompts = np.asarray(requests.input_tokens).tolist()
    blocks = [ids[: prompt // size].tolist() for ids, prompt in zip(requests.hash_ids, prompts, strict=True)]
    limits = [(prompt - 1) // size for prompt in prompts]
    after = _next_uses(blocks, limits)
    kept: dict[int, tuple[int, int]] = {}  # block: minus its next use, minus its place there
    farthest: list[tuple[tuple[int, int], int]] = []
    found = []
    for asked, limit, nexts in zip(blocks, limits, after, strict=True):
        found.append(sum(block in kept for block in asked[:limit]) * size)
        for place, (block, at) in enumerate(zip(asked, nexts, strict=True)):
            kept.pop(block, None)
            if at >= 0:
                kept[block] = (-at, -place)
                heapq.heappush(farthest, (kept[block], block))
        while len(kept) > room:
            key, block = heapq.heappop(farthest)
            if kept.get(block) == key:
                del kept[block]
    return np.array(found, dtype=np.int64)


def _next_uses(blocks: list[list[int]], limits: list[int]) -> list[list[int]]:
    """The next request that can find each block of each request; -1 where there is none."""
    coming: dict[int, int] = {}
    after: list[list[int]] = []
    for index in range(len(blocks) - 1, -1, -1):
        after.append([coming.get(block, -1) for block in blocks[index]])
        coming |= dict.fromkeys(blocks[index][: limits[index]], index)
    return after[::-1]
