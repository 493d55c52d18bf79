"""Splits each request's time into causes while an engine runs, in whole picoseconds and without a residue.

A request that waits or decodes is not touched in each step. Its part is the difference of two readings of a running
total: time spent holding up the queue by cause, delay of decodes by prompts, and number of steps. Only a request that
prefills is settled step by step.
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from secondorder.arrays import Integers
from secondorder.scenarios.steptime import StepSeconds, picoseconds
from secondorder.simulate.serving.causes import Cause
from secondorder.simulate.serving.request import Slot
from secondorder.simulate.serving.step import Step, Work

QUEUED = (Cause.SLOTS, Cause.CACHE, Cause.BUDGET)
"""Causes for which the first in line waits."""


@dataclass(slots=True)
class Account:
    """One request at one engine: its ``parts``, settled up to ``since``, and readings of the totals at that time."""

    since: int
    parts: list[int] = field(default_factory=lambda: [0] * len(Cause))
    decodes: bool = False
    preempted: bool = False
    context: int = 0
    """Tokens computed."""
    mark: int = 0
    """Tokens computed before the last preemption."""
    waited: tuple[int, ...] = ()
    steps: int = 0
    delay: int = 0


class Accounts:
    """The requests of one engine. The engine tells what happens, in the order in which it happens.

    ``first_token`` and ``finish`` hold the parts of each request, ``count`` rows and a column a cause.
    """

    def __init__(self, count: int, seconds: StepSeconds, contexts: tuple[int, int]) -> None:
        self.seconds = seconds
        self.first_token, self.finish = (np.zeros((count, len(Cause)), np.int64) for _ in range(2))
        self.lowest, self.alone = contexts[0], _decoding_alone(seconds, *contexts)
        self.accounts: dict[Slot, Account] = {}
        self.apart: dict[Slot, None] = {}  # those that run and do not decode in step
        self.unseen: list[Slot] = []  # arrived since the last step was decided
        self.decided: deque[tuple[list[Slot], Cause | None]] = deque()
        # The running totals:
        self.waited = [0] * len(QUEUED)
        self.delay = 0  # of decodes, by prompts in their steps
        self.steps = 0
        self.holding: Cause | None = None  # what the first in line waits for in the step under way
        self.begun = 0

    # What the engine tells

    def arrive(self, slot: Slot, now: int) -> None:
        """A request arrives."""
        self.accounts[slot] = Account(now)
        self.unseen.append(slot)

    def decide(self, step: Step) -> None:
        """A step is decided, and will be computed after those decided before."""
        self.decided.append((self.unseen, step.held_up))
        self.unseen = []

    def begin(self, step: Step, now: int) -> None:
        """A step begins to be computed."""
        seen, self.holding = self.decided.popleft()
        self.begun = now
        for slot in seen:
            if slot in self.accounts:
                self._see(self.accounts[slot], now, self.waited)
        for slot in filter(self.accounts.__contains__, step.stalled):
            self._leave_step(self.accounts[slot], now)
            self.apart[slot] = None
        for slot in filter(self.accounts.__contains__, step.victims):
            self._preempt(slot, now)
        for slot in filter(self.accounts.__contains__, step.admitted):
            self._admit(slot, now)

    def end(self, step: Step, now: int) -> None:
        """It has been computed."""
        lasts, decoding = now - self.begun, now - self.begun
        if step.prefill_tokens:
            decoding = self._duration(0, 0, 0, step.decodes, step.decode_context, step.decodes) if step.decodes else 0
            self.delay += lasts - decoding
        self._hold(lasts)
        self.steps += 1
        for slot in list(self.apart):
            if work := step.given.get(slot):
                self._compute(self.accounts[slot], work, step, lasts, decoding)
            else:  # it runs, but there is nothing for it in this step
                self.accounts[slot].parts[Cause.CACHE if step.victims else Cause.BUDGET] += lasts
            self.accounts[slot].since = now
        for slot in filter(self.apart.__contains__, step.joining):
            self._join_step(slot)
        for slot in filter(self.accounts.__contains__, step.first):
            self.first_token[slot.ask.index] = self.accounts[slot].parts
        self._finish(step.finishing, now)

    def begin_leap(self, now: int) -> None:
        """Steps begin in which the same requests decode; who has arrived waits behind others."""
        for slot in self.unseen:
            self._see(self.accounts[slot], now, self.waited)
        self.unseen = []

    def leap(self, start: int, ends: Sequence[int], finishing: Sequence[Slot]) -> None:
        """They were computed: they began at ``start`` and ended at ``ends``."""
        for slot in list(self.unseen):
            account = self.accounts[slot]
            seen = ends[bisect_left(ends, account.since)]
            if seen < ends[-1]:  # behind others that wait; else the next decision sees it
                ahead = [seen - start if self.holding == cause else 0 for cause in QUEUED]
                self._see(account, seen, [total + more for total, more in zip(self.waited, ahead, strict=True)])
                self.unseen.remove(slot)
        self._hold(ends[-1] - start)
        self.steps += len(ends)
        self._finish(finishing, ends[-1])

    def cancel(self, slot: Slot) -> None:
        """A request gives up; it has no parts."""
        self.accounts.pop(slot, None)
        self.apart.pop(slot, None)
        if slot in self.unseen:
            self.unseen.remove(slot)

    # Waiting

    def _hold(self, lasts: int) -> None:
        if self.holding is not None:
            self.waited[QUEUED.index(self.holding)] += lasts

    def _see(self, account: Account, now: int, waited: Sequence[int]) -> None:
        """The step under way when it arrived has ended."""
        account.parts[Cause.STEP_UNDER_WAY] += now - account.since
        account.since, account.waited = now, tuple(waited)

    def _admit(self, slot: Slot, now: int) -> None:
        account = self.accounts[slot]
        if account.preempted:
            account.parts[Cause.PREEMPTED] += now - account.since
        else:
            for cause, before, total in zip(QUEUED, account.waited, self.waited, strict=True):
                account.parts[cause] += total - before
        account.since, account.preempted = now, False
        self.apart[slot] = None

    def _preempt(self, slot: Slot, now: int) -> None:
        account = self.accounts[slot]
        self._leave_step(account, now)
        self.apart.pop(slot, None)
        account.mark, account.preempted = max(account.mark, account.context), True

    # Running

    def _compute(self, account: Account, work: Work, step: Step, lasts: int, decoding: int) -> None:
        """A step of a request that is apart."""
        parts = account.parts
        account.context = work.context or work.decode_context
        if account.context - (work.tokens or 1) < account.mark:
            parts[Cause.RECOMPUTED] += lasts
            return
        if work.decodes:
            own, shared = self._alone(account.context - 1, 1), decoding
            parts[Cause.OWN_DECODE] += own
        else:
            own = self._duration(work.tokens, work.pairs, work.context, 0, 0, work.prompts_ended)
            shared = self._shared(work, step, lasts)
            parts[Cause.OWN_PREFILL] += own
        parts[Cause.BATCH] += shared - own
        parts[Cause.OTHER_PREFILL] += lasts - shared

    def _shared(self, work: Work, step: Step, lasts: int) -> int:
        """How long a step would last with this prompt as the only one."""
        if work.tokens == step.prefill_tokens:
            return lasts
        rows = step.decodes + work.prompts_ended
        return self._duration(work.tokens, work.pairs, work.context, step.decodes, step.decode_context, rows)

    def _join_step(self, slot: Slot) -> None:
        """From now on it decodes in each step."""
        account = self.accounts[slot]
        del self.apart[slot]
        account.decodes, account.steps, account.delay = True, self.steps, self.delay

    def _leave_step(self, account: Account, now: int) -> None:
        """Settle the steps in which it decoded."""
        if account.decodes:
            steps, delay = self.steps - account.steps, self.delay - account.delay
            own = self._alone(account.context, steps)
            account.parts[Cause.OWN_DECODE] += own
            account.parts[Cause.OTHER_PREFILL] += delay
            account.parts[Cause.BATCH] += now - account.since - delay - own
            account.context += steps
        account.since, account.decodes = now, False

    def _finish(self, slots: Sequence[Slot], now: int) -> None:
        for slot in filter(self.accounts.__contains__, slots):
            self._leave_step(self.accounts[slot], now)
            self.apart.pop(slot, None)
            self.finish[slot.ask.index] = self.accounts.pop(slot).parts

    # Durations

    def _alone(self, context: int, steps: int) -> int:
        """A number of decoding steps alone, after ``context`` tokens."""
        first = context + 1 - self.lowest
        return int(self.alone[first + steps] - self.alone[first])

    def _duration(self, *load: int) -> int:
        return picoseconds(self.seconds(*load))


def _decoding_alone(seconds: StepSeconds, lowest: int, highest: int) -> Integers:
    """Sums of the times of steps in which one sequence decodes, for contexts from ``lowest`` to ``highest``."""
    contexts = range(lowest, highest + 1)
    return np.array([0, *np.cumsum([picoseconds(seconds(0, 0, 0, 1, context, 1)) for context in contexts])], np.int64)
