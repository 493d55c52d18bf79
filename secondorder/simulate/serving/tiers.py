"""Tiers below the engine's cache: stores of blocks, the links to them, and a cache that writes to them and fetches.

A block that the engine reuses goes to the first tier, a block that a tier has no room for to the next one, and from the
last it is gone. Each tier forgets the least recently used first.
"""

from array import array
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence

from secondorder.quantities import si
from secondorder.scenarios.cache_tiers import CacheTier
from secondorder.scenarios.serving import Serving
from secondorder.scenarios.steptime import picoseconds
from secondorder.simulate.serving.blocks import Holder, PrefixBlocks
from secondorder.simulate.serving.policies import FreeBlocks


class Link:
    """Carries blocks one after the other, in the order in which they are sent; times in ps.

    ``starts`` and ``ends`` are the spans in which it was busy.
    """

    def __init__(self, block_seconds: float, latency: float) -> None:
        self.block_seconds, self.latency = block_seconds, picoseconds(latency)
        self.free = 0
        self.starts, self.ends = array("q"), array("q")

    def carry(self, blocks: int, now: int) -> int:
        """When blocks that are sent now have arrived."""
        start = max(now, self.free)
        self.free = start + picoseconds(blocks * self.block_seconds)
        if self.ends and self.ends[-1] == start:
            self.ends[-1] = self.free
        else:
            self.starts.append(start)
            self.ends.append(self.free)
        return self.free + self.latency


class Tier:
    """The blocks of one tier, the most recently used last, each with the time at which it was written."""

    def __init__(self, kind: CacheTier, blocks: int, block_bytes: float) -> None:
        self.name, self.room, self.keeps = kind.name, blocks, kind.shared
        seconds, latency = kind.block_seconds(block_bytes), si(kind.latency)
        self.reads = Link(seconds, latency)
        self.writes = Link(seconds, latency) if kind.duplex else self.reads
        self.held: OrderedDict[Hashable, int] = OrderedDict()

    def put(self, block: Hashable, now: int) -> Hashable | None:
        """A block comes from above; returns the one that has to go for it."""
        if block in self.held:
            self.held.move_to_end(block)
            return None
        self.held[block] = self.writes.carry(1, now)
        return self.held.popitem(last=False)[0] if len(self.held) > self.room else None

    def hand_out(self, blocks: Sequence[Hashable], now: int) -> int:
        """When blocks that are fetched now have arrived: not before they were written."""
        written = now
        for block in reversed(blocks):  # the end of a prefix is forgotten before its beginning
            written = max(written, self.held[block])
            if self.keeps:
                self.held.move_to_end(block)
            else:
                del self.held[block]
        return self.reads.carry(len(blocks), written)

    def forget(self, block: Hashable) -> None:
        """A block was computed again, above."""
        if not self.keeps:
            self.held.pop(block, None)


class TieredBlocks(PrefixBlocks):
    """The engine's cache above ``tiers``; ``clock`` tells the time in ps."""

    def __init__(
        self, count: int, block_size: int, queue: FreeBlocks, tiers: Sequence[Tier], clock: Callable[[], int]
    ) -> None:
        super().__init__(count, block_size, queue)
        self.tiers, self.clock = tiers, clock
        self.coming: set[Hashable] = set()  # blocks that are being fetched

    def below(self, slot: Holder, hits: int, limit: int) -> list[tuple[Tier, Hashable]]:
        """Where the blocks of a request lie that follow its ``hits`` own ones, as far as they are found."""
        found: list[tuple[Tier, Hashable]] = []
        for index in range(hits, limit):
            block = slot.identity(index)
            tier = next((tier for tier in self.tiers if block in tier.held), None)
            if tier is None:
                break
            found.append((tier, block))
        return found

    def awaits(self, slot: Holder, hits: int, limit: int) -> bool:
        """Whether the block that follows its hits is being fetched for another request."""
        return hits < limit and slot.identity(hits) in self.coming

    def take_hits(self, request: Holder, hits: int) -> None:
        if not request.held:  # those that came are its own already
            super().take_hits(request, hits)

    def fetch(self, slot: Holder, found: Sequence[tuple[Tier, Hashable]]) -> int:
        """Send for blocks, and give the request those that they will fill; returns when they have all arrived."""
        now = self.clock()
        arrival = now
        for tier in self.tiers:
            if wanted := [block for place, block in found if place is tier]:
                arrival = max(arrival, tier.hand_out(wanted, now))
        self.coming.update(block for _, block in found)
        self.grow(slot, slot.held + len(found))
        return arrival

    def arrive(self, slot: Holder, before: int) -> None:
        """The blocks of a request past the ``before`` first ones have come."""
        self.coming.difference_update(slot.identity(index) for index in range(before, slot.held))
        self.fill(slot, before * self.block_size, slot.held * self.block_size)

    def fill(self, request: Holder, before: int, after: int) -> None:
        super().fill(request, before, after)
        for index in range(before // self.block_size, after // self.block_size):
            block = request.identity(index)
            for tier in self.tiers:
                tier.forget(block)

    def _forget(self, block: int) -> None:
        identity = self.content[block]
        super()._forget(block)
        if identity is not None and identity not in self.cached:
            self._put(identity, self.clock())

    def _put(self, gone: Hashable | None, now: int) -> None:
        """Hand a block down from tier to tier until one has room for it."""
        for tier in self.tiers:
            if gone is None:
                return
            gone = tier.put(gone, now)


def tiers_of(scenario: Serving, shared: Mapping[str, Tier] | None = None) -> list[Tier]:
    """The tiers of one replica, empty; those in ``shared`` are there already."""
    kinds = scenario.cache_tiers.tiers if scenario.cache_tiers else ()
    made = zip(kinds, scenario.tier_blocks, strict=True)
    return [(shared or {}).get(kind.name) or Tier(kind, blocks, scenario.block_bytes) for kind, blocks in made]


def shared_tiers(scenario: Serving) -> dict[str, Tier]:
    """The tiers that all replicas share, by name."""
    kinds = scenario.cache_tiers.tiers if scenario.cache_tiers else ()
    made = zip(kinds, scenario.tier_blocks, strict=True)
    return {kind.name: Tier(kind, blocks, scenario.block_bytes) for kind, blocks in made if kind.shared}
