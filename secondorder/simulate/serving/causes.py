"""What a request's time goes to: the causes that a latency is split into."""

from enum import IntEnum


class Cause(IntEnum):
    """The causes of latency; the value of each is the column of its part.

    A request waits for the end of the step under way, then for a slot (``max_num_seqs``), for blocks of the cache, or
    for the token budget of a step (``max_num_batched_tokens``). What the first in line waits for, those behind it wait
    for too. A step in which it runs is split in this order: what its own work would take alone, what the sequences
    that decode in it add (the batch's share), and what other prompts in it add. After a preemption it waits again
    (preempted), and all of a step that computes tokens again is recomputation.
    """

    STEP_UNDER_WAY = 0
    SLOTS = 1
    CACHE = 2
    BUDGET = 3
    OWN_PREFILL = 4
    OWN_DECODE = 5
    BATCH = 6
    OTHER_PREFILL = 7
    PREEMPTED = 8
    RECOMPUTED = 9

    @property
    def column(self) -> str:
        """Its column in a frame."""
        return self.name.lower()

    @property
    def words(self) -> str:
        """What it is called in tables and figures."""
        return _WORDS[self]


_WORDS = {
    Cause.STEP_UNDER_WAY: "the step under way",
    Cause.SLOTS: "waiting for a slot",
    Cause.CACHE: "waiting for cache blocks",
    Cause.BUDGET: "waiting for the token budget",
    Cause.OWN_PREFILL: "own prefill",
    Cause.OWN_DECODE: "own decode, alone",
    Cause.BATCH: "the batch's share",
    Cause.OTHER_PREFILL: "prefill of others",
    Cause.PREEMPTED: "preempted",
    Cause.RECOMPUTED: "recomputation",
}
