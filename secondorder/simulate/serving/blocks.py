"""The paged cache: blocks of tokens, counted or kept with their identity.

Two kinds with the same methods. ``CountedBlocks`` knows only how many blocks are free, which
is all that scheduling needs without prefix caching. ``PrefixBlocks`` knows each block: what
it holds, who uses it, and in which order the free ones will be reused.

A request holds ``request.held`` blocks, always ``ceil(computed / block_size)``.
"""

from collections.abc import Hashable
from typing import Protocol

from secondorder.simulate.serving.policies import FreeBlocks


class Holder(Protocol):
    """The part of a request that blocks are given to."""

    held: int
    blocks: list[int]

    def identity(self, index: int) -> Hashable:
        """What the block at this place of the request holds, its whole prefix included."""
        ...


class CountedBlocks:
    """Free blocks as a number."""

    def __init__(self, count: int, block_size: int) -> None:
        self.total = self.free = count
        self.block_size = block_size

    def hits(self, request: Holder, limit: int) -> int:
        """Leading blocks of the request, at most ``limit``, that are cached."""
        return 0

    def free_hits(self, request: Holder, hits: int) -> int:
        """How many of those are among the free ones."""
        return 0

    def take_hits(self, request: Holder, hits: int) -> None:
        """Give the request its cached blocks."""

    def grow(self, request: Holder, held: int) -> None:
        """Give the request fresh blocks until it holds ``held``."""
        self.free -= held - request.held
        request.held = held

    def fill(self, request: Holder, before: int, after: int) -> None:
        """The request's tokens ``before`` to ``after`` are computed: full blocks get their identity."""

    def release(self, request: Holder) -> None:
        """Take back all the blocks of the request."""
        self.free += request.held
        request.held = 0


class PrefixBlocks:
    """Blocks with identity; ``queue`` holds the free ones and says which is used again next.

    A fresh block comes from the queue, and what it held is forgotten. A hit on a
    free block takes it out of the queue. A request releases its blocks last one first, so
    that the end of a prefix is forgotten before its beginning. Two requests that compute the
    same prefix at the same time fill two blocks with one identity; both are kept.
    """

    def __init__(self, count: int, block_size: int, queue: FreeBlocks) -> None:
        self.total = count
        self.block_size = block_size
        self.queue = queue
        self.users = [0] * count
        self.content: list[Hashable | None] = [None] * count
        self.cached: dict[Hashable, list[int]] = {}

    @property
    def free(self) -> int:
        return len(self.queue)

    def hits(self, request: Holder, limit: int) -> int:
        cached, identity, hits = self.cached, request.identity, 0
        while hits < limit and identity(hits) in cached:
            hits += 1
        return hits

    def free_hits(self, request: Holder, hits: int) -> int:
        return sum(not self.users[self.cached[request.identity(index)][0]] for index in range(hits))

    def take_hits(self, request: Holder, hits: int) -> None:
        for index in range(hits):
            block = self.cached[request.identity(index)][0]
            if not self.users[block]:
                self.queue.remove(block)
            self.users[block] += 1
            request.blocks.append(block)
        request.held = hits

    def grow(self, request: Holder, held: int) -> None:
        for _ in range(held - request.held):
            block = self.queue.take()
            self._forget(block)
            self.users[block] = 1
            request.blocks.append(block)
        request.held = held

    def fill(self, request: Holder, before: int, after: int) -> None:
        for index in range(before // self.block_size, after // self.block_size):
            block, identity = request.blocks[index], request.identity(index)
            if self.content[block] is not None:
                continue
            self.content[block] = identity
            self.cached.setdefault(identity, []).append(block)

    def release(self, request: Holder) -> None:
        for block in reversed(request.blocks):
            self.users[block] -= 1
            if not self.users[block]:
                self.queue.add(block, self.content[block])
        request.blocks.clear()
        request.held = 0

    def _forget(self, block: int) -> None:
        identity = self.content[block]
        if identity is None:
            return
        self.content[block] = None
        same = self.cached[identity]
        same.remove(block)
        if not same:
            del self.cached[identity]


Blocks = CountedBlocks | PrefixBlocks
