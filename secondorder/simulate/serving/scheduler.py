"""The scheduler of a continuous-batching engine: vLLM V1's rules, without a clock.

The rules, in order of a step: running requests get tokens in the order of their admission
until the budget is spent; one that needs a block when none is free takes it from a victim
(the newest), which is preempted and will be computed again; if nobody was preempted, waiting
requests are admitted (first come, first served) while the budget, the sequence slots and the
blocks allow. A token comes out at the end of the step that computes a request's last
uncomputed token. What stands in brackets is a policy: see ``policies``.

State is kept incrementally. Requests that decode advance together, one token a step: they
are *in step*, and a step touches them only as sums (how many, how many tokens of context,
how many reach a block's border). A request that prefills is *apart* and handled one by one.
"""

import heapq
from collections.abc import Iterator

from secondorder.simulate.serving.blocks import Blocks, CountedBlocks, PrefixBlocks
from secondorder.simulate.serving.cadence import Cadence
from secondorder.simulate.serving.causes import Cause
from secondorder.simulate.serving.policies import DEFAULT, NO_CAP, Candidate, Holding, Policies, Running
from secondorder.simulate.serving.request import Ask, Slot
from secondorder.simulate.serving.step import Draft, Step


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
        prefill_schedule_interval: int = 1,
        ahead: bool = False,
        policies: Policies = DEFAULT,
    ) -> None:
        self.blocks: Blocks = CountedBlocks(blocks, block_size)
        if prefix_caching:
            self.blocks = PrefixBlocks(blocks, block_size, policies.free_blocks(blocks))
        self.policies = policies
        self.block_size = block_size
        self.max_num_seqs = max_num_seqs
        self.budget = max_num_batched_tokens
        self.threshold = long_prefill_token_threshold
        self.cap = NO_CAP  # tokens that this step may take of one request
        self.chunked_prefill = chunked_prefill
        self.cadence = Cadence(prefill_schedule_interval) if prefill_schedule_interval > 1 else None
        self.held = False  # whether this step computes no prefill
        self.names_late = ahead and prefix_caching  # a decoded token is known one step after it is scheduled
        self.passed_over = 0  # requests that this step passes over because a victim stood before them
        self.waiting = policies.waiting()
        self.running: Running = {}
        self.admissions = 0
        self.blocked = False  # the head of the queue cannot be admitted before a running request ends
        self.void: Draft | None = None  # the last decision, if it came to nothing: who lost their blocks in it
        self.apart: dict[Slot, None] = {}
        # The requests in step, as sums:
        self.step = 0  # steps scheduled so far
        self.decodes = 0  # how many they are
        self.context = 0  # tokens of context that their next step reads
        self.borders: list[dict[Slot, None]] = [{} for _ in range(block_size)]  # who needs a block, by step
        self.finishes: list[tuple[int, int, Slot]] = []  # heap of last steps; entries may be out of date

    # What the engine calls

    @property
    def in_line(self) -> int:
        """Requests that wait for their admission."""
        return len(self.waiting)

    @property
    def slots_taken(self) -> int:
        """Sequences that run."""
        return len(self.running)

    @property
    def not_running(self) -> int:
        """Requests that are here and do not run."""
        return len(self.waiting)

    def submit(self, ask: Ask, emitted: int = 0) -> Slot:
        """A request arrives, with ``emitted`` tokens where it comes from elsewhere; its slot."""
        slot = Slot(ask, emitted)
        self.waiting.add(slot)
        if self.waiting.head() is slot:
            self.blocked = False
        return slot

    def cancel(self, slot: Slot) -> bool:
        """A request gives up: its blocks are free at once. False if it has finished or was cancelled before."""
        if slot in self.running:
            self._remove(slot)
        elif slot in self.waiting:
            self.waiting.remove(slot)
        else:
            return False
        slot.cancelled, self.blocked = True, False
        return True

    def schedule(self, *, beside: bool = False) -> Step | None:
        """The next step, or None when there is nothing to compute; ``beside``: while one is computed."""
        draft = self._draft(self.void)
        while draft.empty and draft.preempted and not beside:  # the first in order was its own victim: now the others
            draft = self._draft(draft)
        self.void = draft if draft.empty else None
        if draft.empty:
            return None
        self._advance(draft)
        return draft.step()

    def complete(self, finishing: list[Slot]) -> None:
        """A step has ended: those that finish in it leave, and their blocks are free."""
        for slot in finishing:
            if slot in self.running:  # not preempted while its last token was computed
                del self.running[slot]
                self._name(slot)
                self.blocks.release(slot)
            self.blocked = False

    def steady_steps(self) -> int:
        """For how many steps, if nothing arrives, the same requests decode and nothing else happens.

        The last of them is the one in which the next request finishes; 0 if the next step may
        bring anything else: a prefill, an admission, a preemption.
        """
        if self.apart or not self.decodes or (self.in_line and (self.cadence or not self.blocked)):
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

    def decode(self, steps: int) -> list[Slot]:
        """Let the requests in step decode this many steady steps; returns those that finish in the last."""
        for _ in range(steps):
            self._grow_in_step()
            self._fill_in_step()
            self.context += self.decodes
            self.step += 1
        if self.cadence:
            self.cadence.saturated = False  # nobody waits
        return self._finish_in_step()

    def _draft(self, before: Draft | None) -> Draft:
        draft = Draft(self.budget, before)
        self._limit()
        if self._all_can_run():
            self._run_all(draft)
        else:
            self._run_one_by_one(draft)
        if self.in_line:
            draft.held_up = Cause.CACHE if draft.preempted else self._admit(draft)
        if self.cadence and not self.held and not draft.preempted:
            self.cadence.saturated = bool(self.in_line)
        return draft

    def _limit(self) -> None:
        """How much of a prompt this step may take."""
        if self.threshold is not None:
            self.cap = self.policies.cap(self.threshold, self.budget, len(self.running) + len(self.waiting))
        if self.cadence:
            self.held = self.cadence.holds(self.step) and any(not slot.chunked for slot in self.running)

    # Running requests

    # The budget leaves nobody out but the newest: whoever ran in the last step asks for no more
    # now than it got then, except a prompt that the end of the budget cut, and after that one
    # nobody was admitted. So only blocks decide whether the order of service matters, unless
    # prompts that were held back ask for their part again.

    def _all_can_run(self) -> bool:
        """Whether there are blocks for every running request, and the order of service does not matter."""
        blocks, budget = len(self.borders[self.step % self.block_size]), self.budget - self.decodes
        for slot in self._apart_in_order():
            wanted = self._wanted(slot)
            if self.cadence and wanted > budget:
                return False
            tokens = min(wanted, budget)
            budget -= tokens
            blocks += self._blocks_for(slot.computed + tokens) - slot.held
        return blocks <= self.blocks.free

    def _run_all(self, draft: Draft) -> None:
        draft.decode_all(self.decodes, self.context)
        self._grow_in_step()
        for slot in self._apart_in_order():
            if tokens := min(self._wanted(slot), draft.budget):
                self._compute(slot, tokens, draft)

    def _apart_in_order(self) -> list[Slot]:
        return sorted(self.apart, key=_admission) if len(self.apart) > 1 else list(self.apart)

    def _run_one_by_one(self, draft: Draft) -> None:
        """Go by the rules one request at a time, for a step in which not all can run."""
        order = list(self.running)
        self.passed_over = 0
        for place, slot in enumerate(order):
            if slot not in self.running:
                continue  # preempted by now
            if self.passed_over:
                self.passed_over -= 1
                draft.stalled += self._stall([slot])
            elif slot.joined < 0 and slot not in self.apart:
                continue  # its last token is in the step under way
            elif not draft.budget or not self._run_one(slot, draft):
                draft.stalled += self._stall(order[place:])
                return

    def _run_one(self, slot: Slot, draft: Draft) -> bool:
        """Give a running request its tokens; False if there are none for it, and hence none for those after it."""
        in_step = slot.joined >= 0
        if in_step:
            self._synchronise(slot)
        tokens = min(self._wanted(slot), draft.budget)
        if not tokens:
            return True  # held back
        if not self._make_room(slot, slot.computed + tokens, draft):
            return self.policies.goes_on
        if in_step:
            self._name(slot)
            self.blocks.grow(slot, self._blocks_for(slot.computed + 1))
            draft.decode(slot, slot.computed + 1)
        else:
            self._compute(slot, tokens, draft)
        return True

    def _stall(self, slots: list[Slot]) -> list[Slot]:
        """Take requests that get nothing out of step."""
        stalled = [slot for slot in slots if slot.joined >= 0]
        for slot in stalled:
            self._leave_step(slot)
            self._name(slot)
            self.apart[slot] = None
        return stalled

    def _make_room(self, slot: Slot, tokens: int, draft: Draft) -> bool:
        """Free blocks for a running request at the cost of others; False if it is the victim itself."""
        while self._blocks_for(tokens) - slot.held > self.blocks.free:
            victim = self.policies.victim(self.running)
            if self.policies.passes_over and victim.admission < slot.admission and victim not in draft.given:
                self.passed_over += 1
            self._preempt(victim, draft)
            draft.preempted = True
            if victim is slot:
                return False
        return True

    def _preempt(self, victim: Slot, draft: Draft) -> None:
        in_step, work = victim.joined >= 0, draft.take_back(victim)
        self._remove(victim, more=work.decodes if in_step else 0)
        if work.brings_a_token and not in_step:
            victim.emitted -= 1
        victim.preemptions += 1
        if not victim.done:  # else its last token is in the step under way
            victim.computed = 0
            if not self.policies.keeps_output:
                victim.emitted = 0
            self.waiting.put_back(victim)
            draft.victims.append(victim)

    def _remove(self, slot: Slot, more: int = 0) -> None:
        """A running request leaves, with the blocks of ``more`` tokens that it was given in this step."""
        if slot.joined >= 0:
            self._leave_step(slot)
            slot.held = self._blocks_for(slot.computed + more)
        self.apart.pop(slot, None)
        del self.running[slot]
        self.blocks.release(slot)
        self.blocked = False

    # Waiting requests

    def _admit(self, draft: Draft) -> Cause | None:
        """Admit those that wait, in order; returns what the first of the rest waits for."""
        self.blocked = False
        while self.waiting and draft.budget > 0:
            if (lacks := self._admit_one(self.waiting.head(), draft)) is not None:
                return lacks
        return Cause.BUDGET if self.waiting else None

    def _admit_one(self, slot: Slot, draft: Draft) -> Cause | None:
        """Admit the first in line; returns what it has to wait for, if it has."""
        if self.slots_taken >= self.max_num_seqs:
            self.blocked = True
            return Cause.SLOTS
        hits = self._found(slot)
        tokens = slot.length - hits * self.block_size
        if self.held and tokens > 1:
            return Cause.BUDGET
        tokens = min(tokens, self.cap)
        if not self.chunked_prefill and tokens > draft.budget:
            return Cause.BUDGET
        tokens = min(tokens, draft.budget)
        if not self.policies.admits(self._candidate(slot, hits, tokens)):
            self.blocked = self.policies.until_an_end
            return Cause.CACHE
        self._take(slot)
        self._start(slot, hits, draft)
        draft.prefilled |= slot.length - slot.computed > 1
        self._compute(slot, tokens, draft)
        return None

    def _found(self, slot: Slot) -> int:
        """Leading blocks of a request that need not be computed."""
        return self.blocks.hits(slot, (slot.length - 1) // self.block_size)

    def _take(self, slot: Slot) -> None:
        """The first in line waits no more."""
        self.waiting.take()

    def _candidate(self, slot: Slot, hits: int, tokens: int) -> Candidate:
        return Candidate(
            fresh=self._blocks_for(slot.length) - hits,
            fresh_now=self._blocks_for(hits * self.block_size + tokens) - hits,
            free=self.blocks.free - self.blocks.free_hits(slot, hits),
            total=self.blocks.total,
            running=len(self.running),
            prompt=slot.ask.prompt,
            block_size=self.block_size,
            own=Holding(slot.length, slot.ask.prompt + slot.ask.output - 1),
            residents=self._residents,
        )

    def _residents(self) -> Iterator[Holding]:
        """What each running request holds in the step that is being decided."""
        return map(self._holding, self.running)

    def _holding(self, slot: Slot) -> Holding:
        decoded = slot.computed + self.step - slot.joined + 1 if slot.joined >= 0 else slot.computed
        return Holding(max(decoded, slot.ask.prompt), slot.ask.prompt + slot.ask.output - 1)

    def _start(self, slot: Slot, hits: int, draft: Draft) -> None:
        self.blocks.take_hits(slot, hits)
        slot.computed, slot.chunked = hits * self.block_size, False
        if not slot.preemptions:
            slot.cached = slot.computed
        slot.admission = self.admissions
        self.admissions += 1
        self.running[slot] = None
        draft.admitted.append(slot)

    # Requests apart

    def _wanted(self, slot: Slot) -> int:
        if self.held and slot.chunked:
            return 0
        return min(slot.length - slot.computed, self.cap)

    def _blocks_for(self, tokens: int) -> int:
        return -(-tokens // self.block_size)

    def _compute(self, slot: Slot, tokens: int, draft: Draft) -> None:
        """Compute this many tokens of a request apart; once its last token is computed, it emits one."""
        before, after, length = slot.computed, slot.computed + tokens, slot.length
        self.blocks.grow(slot, self._blocks_for(after))
        self.blocks.fill(slot, before, after)
        slot.computed = after
        draft.prefilled |= slot.chunked
        slot.chunked = after < length
        if slot.emitted and before == length - 1:
            draft.decode(slot, after)
        else:
            draft.prefill(slot, before, after, ends=after == length)
        if after < length:
            self.apart[slot] = None
            return
        self.apart.pop(slot, None)
        slot.emitted += 1
        if slot.emitted == 1:
            draft.first.append(slot)
        (draft.finishing if slot.done else draft.joining).append(slot)

    # Requests in step

    def _advance(self, draft: Draft) -> None:
        """Carry out the decision: requests in step move on by one token or finish, and new ones join."""
        self._fill_in_step()
        self.context += self.decodes
        self.step += 1
        if self.cadence and draft.prefilled:
            self.cadence.last = self.step
        draft.finishing += self._finish_in_step()
        draft.finishing.sort(key=_admission)
        for slot in draft.joining:
            self._join_step(slot)

    def _grow_in_step(self) -> None:
        """Give a fresh block to each request in step whose block is full."""
        at_border = self.borders[self.step % self.block_size]
        if isinstance(self.blocks, CountedBlocks):
            self.blocks.free -= len(at_border)
        else:
            for slot in at_border:
                if self.names_late:
                    computed = slot.computed + self.step - slot.joined
                    self.blocks.fill(slot, computed - 1, computed)
                self.blocks.grow(slot, slot.held + 1)

    def _fill_in_step(self) -> None:
        """Requests in step whose token fills a block give it its identity."""
        if isinstance(self.blocks, PrefixBlocks) and not self.names_late:
            for slot in self.borders[(self.step + 1) % self.block_size]:
                computed = slot.computed + self.step - slot.joined
                self.blocks.fill(slot, computed, computed + 1)

    def _name(self, slot: Slot) -> None:
        """Name a block that the last token filled: the token is known by now."""
        if self.names_late:
            self.blocks.fill(slot, slot.computed - 1, slot.computed)

    def _finish_in_step(self) -> list[Slot]:
        finished = []
        while self.finishes and self.finishes[0][0] < self.step:
            entry = heapq.heappop(self.finishes)
            if self._is_due(*entry):
                self._leave_step(entry[2])
                finished.append(entry[2])
        return finished

    def _is_due(self, last: int, admission: int, slot: Slot) -> bool:
        """Whether an entry of the heap still tells the request's last step."""
        current = slot.joined >= 0 and slot.admission == admission
        return current and slot.joined + slot.ask.output - slot.emitted - 1 == last

    def _join_step(self, slot: Slot) -> None:
        slot.joined = self.step
        self.decodes += 1
        self.context += slot.computed + 1
        self.borders[(self.step - slot.computed) % self.block_size][slot] = None
        last = self.step + slot.ask.output - slot.emitted - 1
        heapq.heappush(self.finishes, (last, slot.admission, slot))

    def _leave_step(self, slot: Slot) -> None:
        self._synchronise(slot)
        del self.borders[(slot.joined - slot.computed) % self.block_size][slot]
        self.decodes -= 1
        self.context -= slot.computed + 1
        slot.joined = -1

    def _synchronise(self, slot: Slot) -> None:
        """Bring the request's own counters up to the steps decided so far."""
        done = self.step - slot.joined
        slot.computed += done
        slot.emitted += done
        slot.joined = self.step
        slot.held = self._blocks_for(slot.computed)


def _admission(slot: Slot) -> int:
    return slot.admission
