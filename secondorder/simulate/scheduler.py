"""The scheduler of a continuous-batching engine: vLLM V1's rules, without a clock.

The rules, in order of a step: running requests get tokens in the order of their admission
until the budget is spent; one that needs a block when none is free takes it from the newest
request, which is preempted and will be computed again; if nobody was preempted, waiting
requests are admitted first come, first served, while the budget, the sequence slots and the
blocks allow. A token comes out at the end of the step that computes a request's last
uncomputed token.

State is kept incrementally. Requests that decode advance together, one token a step: they
are *in step*, and a step touches them only as sums (how many, how many tokens of context,
how many reach a block's border). A request that prefills is *apart* and handled one by one.
"""

import heapq
from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import NamedTuple

from secondorder.simulate.blocks import Blocks, CountedBlocks, PrefixBlocks


@dataclass(slots=True, eq=False)
class Request:
    """One request and how far it is. ``emitted`` counts tokens of steps already scheduled."""

    index: int
    prompt: int
    output: int
    prefix: tuple[Hashable, ...] = ()
    emitted: int = 0
    computed: int = 0
    held: int = 0
    blocks: list[int] = field(default_factory=list)
    admission: int = -1
    """Order of admission, anew after each preemption."""
    joined: int = -1
    """The step since which it is in step with the others; -1: it is apart."""
    cached: int = 0
    preemptions: int = 0

    def identity(self, index: int) -> Hashable:
        """What the block at this place holds; past the prefix nobody else's block can be equal."""
        return self.prefix[index] if index < len(self.prefix) else (self, index)


class Step(NamedTuple):
    """What one step computes (the letters of ``scenarios.steptime``), and who gets what of it."""

    prefill_tokens: int
    prefill_pairs: int
    prefill_context: int
    decodes: int
    decode_context: int
    rows: int
    admitted: list[Request]
    first: list[Request]
    finishing: list[Request]


class _Draft:
    """A step while it is put together."""

    __slots__ = (
        "admitted", "budget", "context", "decode_context", "decodes", "finishing", "first", "joining", "pairs",
        "preempted", "prefills_ended", "tokens",
    )  # fmt: skip

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self.tokens = self.pairs = self.context = self.prefills_ended = 0
        self.decodes = self.decode_context = 0
        self.preempted = False
        self.admitted: list[Request] = []
        self.first: list[Request] = []
        self.finishing: list[Request] = []
        self.joining: list[Request] = []


class Scheduler:
    """Decides what each step computes. ``submit``, then ``schedule`` and ``complete`` in turn."""

    def __init__(
        self,
        *,
        blocks: int,
        block_size: int,
        max_num_seqs: int,
        max_num_batched_tokens: int,
        long_prefill_token_threshold: int | None = None,
        chunked_prefill: bool = True,
        prefix_caching: bool = False,
    ) -> None:
        self.blocks: Blocks = (PrefixBlocks if prefix_caching else CountedBlocks)(blocks, block_size)
        self.block_size = block_size
        self.max_num_seqs = max_num_seqs
        self.budget = max_num_batched_tokens
        self.threshold = long_prefill_token_threshold
        self.chunked_prefill = chunked_prefill
        self.waiting: deque[Request] = deque()
        self.running: dict[Request, None] = {}  # in order of admission
        self.admissions = 0
        self.blocked = False  # the head of the queue cannot be admitted before a running request ends
        self.apart: dict[Request, None] = {}
        # The requests in step, as sums:
        self.step = 0  # steps scheduled so far
        self.decodes = 0  # how many they are
        self.context = 0  # tokens of context that their next step reads
        self.borders: list[dict[Request, None]] = [{} for _ in range(block_size)]  # who needs a block, by step
        self.finishes: list[tuple[int, int, Request]] = []  # heap of last steps; entries may be out of date

    # What the engine calls

    def submit(self, request: Request) -> None:
        """A request arrives."""
        self.waiting.append(request)

    def schedule(self) -> Step | None:
        """The next step, or None when there is nothing to compute."""
        draft = _Draft(self.budget)
        if self._all_can_run():
            self._run_all(draft)
        else:
            self._run_one_by_one(draft)
        if self.waiting and not draft.preempted:
            self._admit(draft)
        if not draft.tokens and not draft.decodes:
            return None
        self._advance(draft)
        return Step(
            draft.tokens,
            draft.pairs,
            draft.context,
            draft.decodes,
            draft.decode_context,
            draft.decodes + draft.prefills_ended,
            draft.admitted,
            draft.first,
            draft.finishing,
        )

    def complete(self, finishing: list[Request]) -> None:
        """A step has ended: those that finish in it leave, and their blocks are free."""
        for request in finishing:
            if request in self.running:  # not preempted while its last token was computed
                del self.running[request]
                self.blocks.release(request)
            self.blocked = False

    def steady_steps(self) -> int:
        """For how many steps, if nothing arrives, the same requests decode and nothing else happens.

        The last of them is the one in which the next request finishes; 0 if the next step may
        bring anything else: a prefill, an admission, a preemption.
        """
        if self.apart or not self.decodes or (self.waiting and not self.blocked):
            return 0
        while not self._is_due(*self.finishes[0]):
            heapq.heappop(self.finishes)
        steps = self.finishes[0][0] - self.step + 1
        free = self.blocks.free
        if -(-steps // self.block_size) * self.decodes <= free:
            return steps
        for done in range(steps):
            free -= len(self.borders[(self.step + done) % self.block_size])
            if free < 0:
                return done
        return steps

    def decode(self, steps: int) -> list[Request]:
        """Let the requests in step decode so many steady steps; returns those that finish in the last."""
        for _ in range(steps):
            self._grow_in_step()
            self._fill_in_step()
            self.context += self.decodes
            self.step += 1
        return self._finish_in_step()

    # Running requests

    # The budget leaves nobody out but the newest: whoever ran in the last step asks for no more
    # now than it got then, except a prompt that the end of the budget cut, and after that one
    # nobody was admitted. So only blocks decide whether the order of service matters.

    def _all_can_run(self) -> bool:
        """Whether there are blocks for every running request."""
        blocks, budget = len(self.borders[self.step % self.block_size]), self.budget - self.decodes
        for request in self._apart_in_order():
            tokens = min(self._wanted(request), budget)
            budget -= tokens
            blocks += self._blocks_for(request.computed + tokens) - request.held
        return blocks <= self.blocks.free

    def _run_all(self, draft: _Draft) -> None:
        draft.decodes, draft.decode_context = self.decodes, self.context
        draft.budget -= self.decodes
        self._grow_in_step()
        for request in self._apart_in_order():
            if tokens := min(self._wanted(request), draft.budget):
                self._compute(request, tokens, draft)

    def _apart_in_order(self) -> list[Request]:
        return sorted(self.apart, key=_admission) if len(self.apart) > 1 else list(self.apart)

    def _run_one_by_one(self, draft: _Draft) -> None:
        """The rules to the letter, for a step in which somebody is preempted."""
        for request in list(self.running):
            in_step = request.joined >= 0
            if request not in self.running or not (in_step or request in self.apart):
                continue  # preempted by now, or its last token is in the step under way
            if in_step:
                self._synchronise(request)
            tokens = min(self._wanted(request), draft.budget)
            if not tokens:
                break
            if not self._make_room(request, request.computed + tokens, draft):
                break
            if in_step:
                self.blocks.grow(request, self._blocks_for(request.computed + 1))
                draft.budget -= 1
                draft.decodes += 1
                draft.decode_context += request.computed + 1
            else:
                self._compute(request, tokens, draft)

    def _make_room(self, request: Request, tokens: int, draft: _Draft) -> bool:
        """Free blocks for a running request at the cost of the newest; False if that is itself."""
        while self._blocks_for(tokens) - request.held > self.blocks.free:
            victim = next(reversed(self.running))
            self._preempt(victim)
            draft.preempted = True
            if victim is request:
                return False
        return True

    def _preempt(self, victim: Request) -> None:
        if victim.joined >= 0:
            self._leave_step(victim)
        self.apart.pop(victim, None)
        del self.running[victim]
        self.blocks.release(victim)
        self.blocked = False
        if victim.emitted < victim.output:  # else its last token is in the step under way
            victim.computed = 0
            victim.preemptions += 1
            self.waiting.appendleft(victim)

    # Waiting requests

    def _admit(self, draft: _Draft) -> None:
        self.blocked = False
        while self.waiting and draft.budget > 0:
            request = self.waiting[0]
            if len(self.running) >= self.max_num_seqs:
                self.blocked = True
                return
            length = request.prompt + request.emitted
            hits = self.blocks.hits(request, (length - 1) // self.block_size)
            tokens = length - hits * self.block_size
            if self.threshold is not None:
                tokens = min(tokens, self.threshold)
            if not self.chunked_prefill and tokens > draft.budget:
                return
            fresh = self._blocks_for(length) - hits
            if fresh + self.blocks.free_hits(request, hits) > self.blocks.free:
                self.blocked = True
                return
            self.waiting.popleft()
            self._start(request, hits, draft)
            self._compute(request, min(tokens, draft.budget), draft)

    def _start(self, request: Request, hits: int, draft: _Draft) -> None:
        self.blocks.take_hits(request, hits)
        request.computed = hits * self.block_size
        if not request.preemptions:
            request.cached = request.computed
        request.admission = self.admissions
        self.admissions += 1
        self.running[request] = None
        draft.admitted.append(request)

    # Requests apart

    def _wanted(self, request: Request) -> int:
        wanted = request.prompt + request.emitted - request.computed
        return wanted if self.threshold is None else min(wanted, self.threshold)

    def _blocks_for(self, tokens: int) -> int:
        return -(-tokens // self.block_size)

    def _compute(self, request: Request, tokens: int, draft: _Draft) -> None:
        """Compute so many tokens of a request that is apart; its last one brings a token out."""
        before, after = request.computed, request.computed + tokens
        length = request.prompt + request.emitted
        self.blocks.grow(request, self._blocks_for(after))
        self.blocks.fill(request, before, after)
        request.computed = after
        draft.budget -= tokens
        if request.emitted and before == length - 1:
            draft.decodes += 1
            draft.decode_context += after
        else:
            draft.tokens += tokens
            draft.pairs += tokens * before + tokens * (tokens + 1) // 2
            draft.context += after
            draft.prefills_ended += after == length
        if after < length:
            self.apart[request] = None
            return
        self.apart.pop(request, None)
        request.emitted += 1
        if request.emitted == 1:
            draft.first.append(request)
        (draft.joining if request.emitted < request.output else draft.finishing).append(request)

    # Requests in step

    def _advance(self, draft: _Draft) -> None:
        """The step is decided: requests in step go one token on, finish, and new ones join."""
        self._fill_in_step()
        self.context += self.decodes
        self.step += 1
        draft.finishing += self._finish_in_step()
        draft.finishing.sort(key=_admission)
        for request in draft.joining:
            self._join_step(request)

    def _grow_in_step(self) -> None:
        """Requests in step that stand at a block's border get a fresh block each."""
        at_border = self.borders[self.step % self.block_size]
        if isinstance(self.blocks, CountedBlocks):
            self.blocks.free -= len(at_border)
        else:
            for request in at_border:
                self.blocks.grow(request, request.held + 1)

    def _fill_in_step(self) -> None:
        """Requests in step whose token fills a block give it its identity."""
        if isinstance(self.blocks, PrefixBlocks):
            for request in self.borders[(self.step + 1) % self.block_size]:
                computed = request.computed + self.step - request.joined
                self.blocks.fill(request, computed, computed + 1)

    def _finish_in_step(self) -> list[Request]:
        finished = []
        while self.finishes and self.finishes[0][0] < self.step:
            entry = heapq.heappop(self.finishes)
            if self._is_due(*entry):
                self._leave_step(entry[2])
                finished.append(entry[2])
        return finished

    def _is_due(self, last: int, admission: int, request: Request) -> bool:
        """Whether an entry of the heap still tells the request's last step."""
        current = request.joined >= 0 and request.admission == admission
        return current and request.joined + request.output - request.emitted - 1 == last

    def _join_step(self, request: Request) -> None:
        request.joined = self.step
        self.decodes += 1
        self.context += request.computed + 1
        self.borders[(self.step - request.computed) % self.block_size][request] = None
        last = self.step + request.output - request.emitted - 1
        heapq.heappush(self.finishes, (last, request.admission, request))

    def _leave_step(self, request: Request) -> None:
        self._synchronise(request)
        del self.borders[(request.joined - request.computed) % self.block_size][request]
        self.decodes -= 1
        self.context -= request.computed + 1
        request.joined = -1

    def _synchronise(self, request: Request) -> None:
        """Make the request's own counters true, as of the steps decided so far."""
        done = self.step - request.joined
        request.computed += done
        request.emitted += done
        request.joined = self.step
        request.held = self._blocks_for(request.computed)


def _admission(request: Request) -> int:
    return request.admission
