"""The decisions in which engines differ, as four small policies.

- The order of waiting: a ``Waiting`` collection (``FirstCome``, ``MostUrgent``; ``SmallestVolumeFirst`` and
  ``ShortestPredictedFirst`` in ``orders``).
- The victim of a preemption: a function of the running requests (``newest``, ``least_urgent``).
- The block that is used again: a ``FreeBlocks`` collection (``LeastRecentlyReleased``).
- The admission: a function of a ``Candidate`` (``whole_length``, ``first_chunk``, ``Watermark``; ``peak_reserved`` and
  ``look_ahead`` in ``admissions``).

``Policies`` holds one of each; the defaults are those of vLLM V1.
"""

import heapq
from abc import ABC, abstractmethod
from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator
from dataclasses import dataclass
from sys import maxsize
from typing import Annotated, NamedTuple, Protocol

from annotated_types import Ge, Lt

from secondorder.quantities import Checked
from secondorder.simulate.serving.request import Slot

# The order of waiting


class Waiting(Collection[Slot], Protocol):
    """Requests that wait for admission, in some order."""

    def add(self, slot: Slot) -> None:
        """A request arrives."""

    def put_back(self, slot: Slot) -> None:
        """A request was preempted."""

    def head(self) -> Slot:
        """The one that is next; there must be one."""
        ...

    def take(self) -> Slot:
        """The same, and it waits no more."""
        ...

    def remove(self, slot: Slot, /) -> None:
        """A request gives up."""


class FirstCome(deque[Slot]):
    """In the order of arrival, after those that were preempted: the latest victim is the first."""

    def add(self, slot: Slot) -> None:
        self.append(slot)

    def put_back(self, slot: Slot) -> None:
        self.appendleft(slot)

    def head(self) -> Slot:
        return self[0]

    def take(self) -> Slot:
        return self.popleft()


Rank = tuple[float, int, int]
"""The smaller, the sooner; no two requests of an engine have the same."""


class Ranked(ABC):
    """The smallest ``rank`` first; preempted requests like the others."""

    def __init__(self) -> None:
        self.heap: list[tuple[Rank, Slot]] = []

    @abstractmethod
    def rank(self, slot: Slot) -> Rank:
        """The smaller, the sooner; it does not change while the request waits."""

    def __len__(self) -> int:
        return len(self.heap)

    def __iter__(self) -> Iterator[Slot]:
        return (slot for _, slot in sorted(self.heap, key=_rank_of_entry))

    def __contains__(self, slot: object) -> bool:
        return any(each is slot for _, each in self.heap)

    def add(self, slot: Slot) -> None:
        heapq.heappush(self.heap, (self.rank(slot), slot))

    put_back = add

    def head(self) -> Slot:
        return self.heap[0][1]

    def take(self) -> Slot:
        return heapq.heappop(self.heap)[1]

    def remove(self, slot: Slot) -> None:
        self.heap.remove((self.rank(slot), slot))
        heapq.heapify(self.heap)


class MostUrgent(Ranked):
    """The lowest ``priority`` first; among equal ones, the earliest arrival."""

    def rank(self, slot: Slot) -> Rank:
        return urgency(slot)


def urgency(slot: Slot) -> Rank:
    """The smaller, the more urgent: by priority, then arrival."""
    ask = slot.ask
    return ask.priority, ask.arrival, ask.index


def _rank_of_entry(entry: tuple[Rank, Slot]) -> Rank:
    return entry[0]


# The victim of a preemption

Running = dict[Slot, None]
"""The running requests in the order of their admission."""


def newest(running: Running) -> Slot:
    """The one admitted last."""
    return next(reversed(running))


def least_urgent(running: Running) -> Slot:
    """The one with the highest ``priority``; among equal ones, the latest arrival."""
    return max(running, key=urgency)


# The block that is used again


class FreeBlocks(Protocol):
    """Blocks that nobody uses, in the order in which they are used again."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[int]: ...

    def add(self, block: int, content: Hashable | None) -> None:
        """A block is released; ``content`` is the identity of what it holds, None where nothing can be found again."""

    def take(self) -> int:
        """The block that is used again next; what it held is forgotten."""
        ...

    def remove(self, block: int) -> None:
        """A block is used by a request that found its content."""


class LeastRecentlyReleased:
    """The block that was released longest ago goes first."""

    def __init__(self, count: int) -> None:
        self.queue: OrderedDict[int, None] = OrderedDict.fromkeys(range(count))

    def __len__(self) -> int:
        return len(self.queue)

    def __iter__(self) -> Iterator[int]:
        return iter(self.queue)

    def add(self, block: int, content: Hashable | None) -> None:
        self.queue[block] = None

    def take(self) -> int:
        return self.queue.popitem(last=False)[0]

    def remove(self, block: int) -> None:
        del self.queue[block]


class UnnamedFirst(LeastRecentlyReleased):
    """A block without an identity is used again first; the others in the order of their release (vLLM from 0.24 on)."""

    def add(self, block: int, content: Hashable | None) -> None:
        self.queue[block] = None
        if content is None:
            self.queue.move_to_end(block, last=False)


# The part of a prompt that one step may take

NO_CAP = maxsize
"""Tokens; more than any request has."""


def fixed_cap(threshold: int, budget: int, requests: int) -> int:
    """The threshold, whatever other requests there are."""
    return threshold


def cap_beside_others(threshold: int, budget: int, requests: int) -> int:
    """The threshold, but no limit for a request that is alone (vLLM 0.33)."""
    return threshold if requests > 1 else NO_CAP


def adaptive_cap(threshold: int, budget: int, requests: int) -> int:
    """At least an even share of the budget, and no limit for a request that is alone (vLLM 0.33)."""
    return max(threshold, budget // requests) if requests > 1 else NO_CAP


# The admission


class Holding(NamedTuple):
    """Tokens that a request holds in this step (at least its whole prompt), and in its last step.

    It holds one more with each step.
    """

    now: int
    last: int


class Candidate(NamedTuple):
    """The request that is to be admitted next, of ``prompt`` tokens.

    Blocks of its whole length (``fresh``) and of what it would compute now (``fresh_now``) beyond those found in the
    cache; ``free`` blocks left beside the ones found; ``total`` blocks of ``block_size`` tokens; requests ``running``.
    ``own``: what it will hold; ``residents``: makes the same of those that run.
    """

    fresh: int
    fresh_now: int
    free: int
    total: int
    running: int
    prompt: int = 0
    block_size: int = 1
    own: Holding = Holding(0, 0)
    residents: Callable[[], Iterable[Holding]] = tuple


def whole_length(candidate: Candidate) -> bool:
    """Whether there are blocks for all tokens that the request has to compute."""
    return candidate.fresh <= candidate.free


def first_chunk(candidate: Candidate) -> bool:
    """Whether there are blocks for the tokens that the request would compute now."""
    return candidate.fresh_now <= candidate.free


@dataclass(frozen=True, kw_only=True)
class Watermark(Checked):
    """As ``rule`` says, and while others run, a ``share`` of all blocks (null block too), rounded down, stays free."""

    share: Annotated[float, Ge(0), Lt(1)]
    rule: Callable[[Candidate], bool] = whole_length

    def __call__(self, candidate: Candidate) -> bool:
        kept = int(self.share * (candidate.total + 1)) if candidate.running else 0
        return self.rule(candidate._replace(free=candidate.free - kept))


@dataclass(frozen=True, kw_only=True)
class Policies:
    """One of each. ``waiting`` and ``free_blocks`` make the collections of one engine.

    ``goes_on``: whether those after a request that was its own victim still run in that step. ``passes_over``: whether
    a victim that stood before the request in need, and had got nothing in that step, costs the next one its turn.
    ``keeps_output``: whether a victim keeps the tokens that came out; else it begins with its prompt. ``until_an_end``:
    whether a request that is not admitted has to wait until a running one ends, and the steps until then can be summed.
    """

    waiting: Callable[[], Waiting] = FirstCome
    victim: Callable[[Running], Slot] = newest
    goes_on: bool = False
    passes_over: bool = False
    cap: Callable[[int, int, int], int] = fixed_cap
    free_blocks: Callable[[int], FreeBlocks] = LeastRecentlyReleased
    admits: Callable[[Candidate], bool] = whole_length
    keeps_output: bool = True
    until_an_end: bool = True


DEFAULT = Policies()
URGENT_FIRST = Policies(waiting=MostUrgent, victim=least_urgent)
"""Policies of an engine that heeds priorities."""
