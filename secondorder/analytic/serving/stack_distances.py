"""The hits of caches of every size on recorded requests: Mattson's stack distances, one pass for all sizes."""

import numpy as np

from secondorder.analytic.arguments import Floats, one_whole
from secondorder.arrays import Integers
from secondorder.errors import InputError
from secondorder.workloads.requests import Requests

NEVER = np.iinfo(np.int64).max
"""The depth of a block that was not seen before."""


def stack_depths(requests: Requests) -> list[Integers]:
    """How many other blocks were used since each whole block of each prompt was last used; ``NEVER`` where it was not.

    A block is found in a cache of ``C`` blocks if its depth is below ``C``, for every ``C`` at once. A request uses
    its blocks when it ends, the first one last, so that the end of a prefix is forgotten before its beginning; the
    blocks of its answer are its own. *Exact* for requests served one after the other; of those served together, the
    running ones hold blocks that the others then lack. *Source*: Mattson, Gecsei, Slutz, Traiger, Evaluation
    techniques for storage hierarchies (1970).

    Errors: ``InputError`` for requests that do not know their prefixes.
    """
    if requests.hash_ids is None:
        raise InputError("requests", given="no hash_ids", expected="requests that know their prefixes")
    size = requests.hash_block
    prompts, outputs = np.asarray(requests.input_tokens), np.asarray(requests.output_tokens)
    used = -(-(prompts + outputs - 1) // size)  # the last token is never cached
    recent = _Recent(int(used.sum()))
    last: dict[int, int] = {}
    found = []
    for hashes, prompt, blocks in zip(requests.hash_ids, prompts.tolist(), used.tolist(), strict=True):
        shared = np.asarray(hashes)[: prompt // size].tolist()
        depths = [recent.since(last[block]) if block in last else NEVER for block in shared]
        found.append(np.array(depths, dtype=np.int64))
        recent.use(blocks - len(shared))
        for block in reversed(shared):
            if block in last:
                recent.forget(last[block])
            last[block] = recent.use(1)
    return found


class _Recent:
    """Uses in order of time, counted by a binary indexed tree (Fenwick 1994)."""

    def __init__(self, size: int) -> None:
        self.tree, self.now, self.total = [0] * (size + 1), 0, 0

    def use(self, count: int) -> int:
        """The uses now, and the time of the last one."""
        for _ in range(count):
            self._add(1, self.now)
            self.now += 1
        self.total += count
        return self.now - 1

    def forget(self, time: int) -> None:
        self._add(-1, time)
        self.total -= 1

    def since(self, time: int) -> int:
        """Uses after ``time`` that are not forgotten."""
        before, at = 0, time + 1
        while at > 0:
            before += self.tree[at]
            at -= at & -at
        return self.total - before

    def _add(self, amount: int, time: int) -> None:
        at = time + 1
        while at < len(self.tree):
            self.tree[at] += amount
            at += at & -at


def hit_tokens(requests: Requests, capacity: int, depths: list[Integers] | None = None) -> Integers:
    """Prompt tokens of each request that a cache of ``capacity`` blocks of ``hash_block`` tokens still holds.

    The leading blocks whose depth is below the capacity, never the last token. ``depths`` where they are known.
    Domain and errors as ``stack_depths``.
    """
    size, limit = requests.hash_block, one_whole("capacity", capacity)
    found = []
    for prompt, depth in zip(np.asarray(requests.input_tokens).tolist(), depths or stack_depths(requests), strict=True):
        missing = np.flatnonzero(depth >= limit)
        leading = int(missing[0]) if len(missing) else len(depth)
        found.append(min(leading, (prompt - 1) // size) * size)
    return np.array(found, dtype=np.int64)


def hit_ratios(requests: Requests, capacities: list[int]) -> Floats:
    """Share of all prompt tokens that is found, for each capacity in blocks of the trace. Domain: ``stack_depths``."""
    depths, total = stack_depths(requests), float(np.sum(requests.input_tokens))
    return np.array([hit_tokens(requests, capacity, depths).sum() / total for capacity in capacities])
