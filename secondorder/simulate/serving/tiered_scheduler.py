"""The scheduler of an engine with tiers below its cache.

The first in line, if its next blocks lie in a lower tier, is sent for them: it leaves the line with the blocks that
they will fill, and those behind it go on. If they are being fetched for another request, it waits for these. Once they
are there it goes before those in line. vLLM's connectors that load asynchronously do the same.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Sequence

from secondorder.simulate.serving.blocks import PrefixBlocks
from secondorder.simulate.serving.causes import Cause
from secondorder.simulate.serving.policies import Candidate
from secondorder.simulate.serving.request import Slot
from secondorder.simulate.serving.scheduler import Scheduler
from secondorder.simulate.serving.step import Draft
from secondorder.simulate.serving.tiers import Tier, TieredBlocks


class TieredScheduler(Scheduler):
    """A scheduler that keeps prefixes; ``put_above`` some tiers before the first request.

    ``sent``: requests that were sent for blocks since the engine looked, each with the time of their arrival in ps.
    """

    def put_above(self, tiers: Sequence[Tier], clock: Callable[[], int]) -> None:
        """Blocks that are reused go to these tiers; ``clock`` tells the time in ps."""
        assert isinstance(self.blocks, PrefixBlocks)
        self.clock = clock
        self.tiered = TieredBlocks(self.blocks.total, self.block_size, self.blocks.queue, tiers, clock)
        self.blocks = self.tiered
        self.fetching: dict[Slot, int] = {}  # sent for blocks, with the number of those that they had before
        self.delayed: dict[Slot, None] = {}  # what they need is being fetched for others
        self.there: dict[Slot, None] = {}  # their blocks have come
        self.sent: list[tuple[Slot, int]] = []

    @property
    def in_line(self) -> int:
        return len(self.waiting) + len(self.there)

    @property
    def not_running(self) -> int:
        return self.in_line + len(self.fetching) + len(self.delayed)

    def land(self, slot: Slot) -> None:
        """The blocks of a request have come."""
        self.tiered.arrive(slot, self.fetching.pop(slot))
        for each in (slot, *self.delayed):
            each.fetch += self.clock() - each.left
            self.there[each] = None
        self.delayed.clear()
        if slot.cancelled:
            self._leave(self.there, slot)
        self.blocked = False

    def cancel(self, slot: Slot) -> bool:
        if slot in self.fetching:
            slot.cancelled = True  # its blocks are free once they have come
            return True
        for line in (self.delayed, self.there):
            if slot in line:
                self._leave(line, slot)
                slot.cancelled = True
                return True
        return super().cancel(slot)

    def _leave(self, line: dict[Slot, None], slot: Slot) -> None:
        del line[slot]
        self.blocks.release(slot)
        self.blocked = False

    # Admission

    def _admit(self, draft: Draft) -> Cause | None:
        """First those whose blocks have come, then those that wait."""
        self.blocked = False
        while self.there and draft.budget > 0:
            slot = next(iter(self.there))
            lacks = self._admit_one(slot, draft)
            if lacks is not None and not (lacks is Cause.CACHE and self._give_back(slot)):
                return lacks
        return Cause.BUDGET if self.there else super()._admit(draft)

    def _give_back(self, slot: Slot) -> bool:
        """Where nothing else can free blocks for a request, another one that is not admitted gives up its own."""
        if self.running or self.fetching:
            return False
        others = [each for each in self.there if each is not slot and each.held]
        for last in others[-1:]:
            self.blocks.release(last)
            last.below = ()
        return bool(others)

    def _admit_one(self, slot: Slot, draft: Draft) -> Cause | None:
        if slot.held or len(self.running) >= self.max_num_seqs:
            return super()._admit_one(slot, draft)
        limit = (slot.length - 1) // self.block_size
        hits = self.blocks.hits(slot, limit)
        if self.tiered.awaits(slot, hits, limit):
            self._take(slot)
            self.delayed[slot], slot.left = None, self.clock()
            return None
        found = self.tiered.below(slot, hits, limit)
        if not found:
            return super()._admit_one(slot, draft)
        if not self.policies.admits(self._candidate(slot, hits, len(found) * self.block_size)):
            self.blocked = self.policies.until_an_end
            return Cause.CACHE
        self._take(slot)
        self._send(slot, hits, found)
        return None

    def _send(self, slot: Slot, hits: int, found: Sequence[tuple[Tier, Hashable]]) -> None:
        """A request leaves the line for blocks of lower tiers."""
        self.blocks.take_hits(slot, hits)
        self.sent.append((slot, self.tiered.fetch(slot, found)))
        self.fetching[slot], slot.left = hits, self.clock()
        if not slot.preemptions:
            counts = Counter(tier.name for tier, _ in found)
            slot.below = tuple((name, count * self.block_size) for name, count in counts.items())

    def _found(self, slot: Slot) -> int:
        return slot.held or super()._found(slot)

    def _take(self, slot: Slot) -> None:
        if slot in self.there:
            del self.there[slot]
        else:
            super()._take(slot)

    def _candidate(self, slot: Slot, hits: int, tokens: int) -> Candidate:
        found = super()._candidate(slot, hits, tokens)
        return found._replace(free=self.blocks.free) if slot.held else found
