"""One step of an engine: what it computes, and who gets what of it."""

from collections.abc import Iterable
from typing import NamedTuple

from secondorder.simulate.serving.causes import Cause
from secondorder.simulate.serving.request import Slot


class Work(NamedTuple):
    """What a step computes for one request, or for several: the sums of a ``Step``."""

    tokens: int = 0
    pairs: int = 0
    context: int = 0
    prompts_ended: int = 0
    decodes: int = 0
    decode_context: int = 0

    @property
    def brings_a_token(self) -> bool:
        """Whether a token comes out."""
        return bool(self.prompts_ended or self.decodes)


NOTHING = Work()


class Step(NamedTuple):
    """What one step computes (the letters of ``scenarios.steptime``), and who gets what of it.

    ``given`` is what the requests get that are handled one by one; those in step decode one token each. ``joining``
    are in step after it, ``stalled`` no longer are, ``victims`` were preempted for it. ``held_up`` is what the first
    in line waits for, if anybody waits.
    """

    prefill_tokens: int
    prefill_pairs: int
    prefill_context: int
    decodes: int
    decode_context: int
    rows: int
    admitted: list[Slot]
    first: list[Slot]
    finishing: list[Slot]
    joining: list[Slot]
    given: dict[Slot, Work]
    victims: list[Slot]
    stalled: list[Slot]
    held_up: Cause | None

    @property
    def load(self) -> tuple[int, int, int, int, int, int]:
        """What the step time depends on: ``P, A, C, D, K, S``."""
        return self[:6]


class Draft:
    """A step while it is put together; what a preempted request was given can be taken back.

    It goes on from the one ``before`` that came to nothing.
    """

    def __init__(self, budget: int, before: "Draft | None" = None) -> None:
        self.budget = budget
        self.tokens = self.pairs = self.context = self.prompts_ended = 0
        self.decodes = self.decode_context = 0
        self.preempted = False
        self.prefilled = False
        self.admitted: list[Slot] = []
        self.first: list[Slot] = []
        self.finishing: list[Slot] = []
        self.joining: list[Slot] = []
        self.given: dict[Slot, Work] = {}
        self.victims: list[Slot] = before.victims if before else []
        self.stalled: list[Slot] = before.stalled if before else []
        self.held_up: Cause | None = None

    @property
    def empty(self) -> bool:
        """Whether nothing is computed."""
        return not self.tokens and not self.decodes

    def prefill(self, slot: Slot, before: int, after: int, *, ends: bool) -> None:
        """Tokens ``before`` to ``after`` of a prompt; ``ends``: its last one is among them."""
        tokens = after - before
        pairs = tokens * before + tokens * (tokens + 1) // 2
        self.given[slot] = Work(tokens, pairs, after, int(ends))
        self.budget -= tokens
        self.tokens += tokens
        self.pairs += pairs
        self.context += after
        self.prompts_ended += ends

    def decode(self, slot: Slot, context: int) -> None:
        """One token after ``context - 1`` others."""
        self.given[slot] = Work(decodes=1, decode_context=context)
        self.budget -= 1
        self.decodes += 1
        self.decode_context += context

    def decode_all(self, decodes: int, context: int) -> None:
        """One token of each request in step; none of them can be taken back."""
        self.budget -= decodes
        self.decodes, self.decode_context = decodes, context

    def take_back(self, slot: Slot) -> Work:
        """What a request was given goes back to the budget."""
        work = self.given.pop(slot, NOTHING)
        self.budget += work.tokens + work.decodes
        self.tokens -= work.tokens
        self.pairs -= work.pairs
        self.context -= work.context
        self.prompts_ended -= work.prompts_ended
        self.decodes -= work.decodes
        self.decode_context -= work.decode_context
        for given in (self.first, self.joining, self.finishing):
            if slot in given:
                given.remove(slot)
        return work

    def step(self) -> Step:
        """The step as decided."""
        rows = self.decodes + self.prompts_ended
        load = self.tokens, self.pairs, self.context, self.decodes, self.decode_context, rows
        ends = self.first, self.finishing, self.joining
        return Step(*load, self.admitted, *ends, self.given, self.victims, self.stalled, self.held_up)


def alive(slots: Iterable[Slot]) -> list[Slot]:
    """Those that nobody has cancelled."""
    return [slot for slot in slots if not slot.cancelled]
