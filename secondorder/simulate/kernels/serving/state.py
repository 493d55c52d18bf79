"""The state of the compiled engine: whole numbers in flat arrays, so that a run can pause and go on.

The words are those of ``simulate.serving.scheduler``: requests that decode advance together and are *in step*, those
that prefill are *apart*. A request keeps its slot from its first admission to its end.
"""

from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from secondorder.arrays import Integers
from secondorder.simulate.kernels.records import Int32

Small: TypeAlias = npt.NDArray[np.int32]

NEVER = 2**62
"""Time later than any other, and length longer than any other."""
PICO = 1e-12
"""Seconds in a tick of the clock."""
NONE, AGAIN = -1, -3
"""Index of nothing; no step yet, but perhaps when asked once more."""
NAMELESS, DOUBLE = -2, -3
"""What stands for a block without identity, and for the first double; for the next doubles, the numbers below it."""
CHUNKED, STALLED = 1, 2
"""Why a request is apart."""
DONE, PAUSED, FULL, OUTSIDE, CROWDED = range(5)
"""Why the engine stopped: all served, as many arrived as asked for, series full, no time for a step, or no slot."""


class Engine:
    """The numbers of the one engine."""

    # Settings
    block_size: int
    blocks: int
    max_num_seqs: int
    budget: int
    threshold: int
    adaptive: int
    cap_alone: int
    cap: int
    """Tokens that this step may take of one request."""
    kept: int
    """Blocks that an admission leaves free while others run."""
    whole: int
    unnamed_first: int
    chunked: int
    prefix_caching: int
    ahead: int
    leaps: int
    urgent: int
    """Whether the most urgent requests go first."""
    goes_on: int
    passes_over: int
    interval: int
    """Steps from one step with prefill to the next."""
    # The prefill cadence, where the interval is more than a step
    last_prefill: int
    """The last step that computed prefill."""
    saturated: int
    """Whether requests waited after the last admission."""
    held: int
    """Whether this step computes no prefill."""
    # Clock and arrivals
    now: int
    requests: int
    arrived: int
    next_arrival: int
    queued: int
    """The first request that was never admitted; where the most urgent go first, the most urgent one that waits."""
    taken: int
    """Requests that have been admitted."""
    # A closed loop
    places: int
    """Requests that are sent and not yet answered, at most; 0 where arrivals do not depend on answers."""
    thinks: int
    """Whether users think before they send."""
    thinking: int
    """Users who think now."""
    thoughts: int
    """Think times that have begun."""
    # Sequences
    step: int
    decodes: int
    context: int
    admissions: int
    blocked: int
    preempted: int
    """Preempted requests that wait, at the front of the queue."""
    running: int
    oldest: int
    newest: int
    apart: int
    finishes: int
    slots: int
    enough: int
    """Slots that it can need, at most."""
    unused: int
    """Slots without a request."""
    current: int
    following: int
    """Whether the step after the one under way is scheduled."""
    # Blocks
    free: int
    head: int
    tail: int
    width: int
    """Blocks that a request may hold, at most."""
    own: int
    """The first identity of the slots' own blocks."""
    doubles: int
    """Lines of ``doubles`` that were ever used."""
    spare: int
    """One more than the first of those that are unused again, which are a chain."""
    # What is recorded
    steps: int
    rows: int
    completed: int
    completed_prompts: int
    """Prompt tokens of the requests that are completed."""
    preemptions: int
    hits: int
    # A step outside the grids of a table
    failed: int
    failed_tokens: int
    failed_decodes: int
    failed_context: int
    # Accounts
    accounts: int
    """Whether times are split into causes."""
    seen: int
    """Requests for which a step has begun since they arrived."""
    holding: int
    """The cause for which the first in line waits."""
    for_slots: int
    for_cache: int
    for_budget: int
    """Picoseconds for which the first in line has waited for each of the three."""
    delay: int
    """Picoseconds that prompts have added to steps."""
    crowded: int
    """Picoseconds of the steps in which a request was preempted."""
    # Where the most urgent go first
    drafted: int
    """Drafts so far."""
    passed_over: int
    """Requests that this step passes over because a victim stood before them."""


class Slot:
    """A request that has been admitted, and how far it is."""

    index: int
    prompt: int
    output: int
    emitted: int
    computed: int
    held: int
    admission: int
    joined: int
    last: int
    """The step in which it finishes, while it is in step."""
    place: int
    """Its place in the heap of finishes."""
    apart: int
    """CHUNKED: its last step left a rest of its prompt, or of what is computed again. STALLED: it was in step and got
    nothing. Else 0."""
    in_running: int
    older: int
    newer: int
    border: int
    before: int
    after: int
    """Its neighbours among those that need a block in the same steps."""
    preemptions: int
    cached: int
    prefix: int
    filled: int
    # Its account, which counts steps once they are computed
    since: int
    """Time up to which its parts are counted."""
    context: int
    """Tokens computed."""
    mark: int
    """Tokens computed before the last preemption."""
    account: int
    from_step: int
    delay: int
    crowded: int
    """Readings of the engine's totals when its parts were counted."""


class Draft:
    """A step while it is put together, and what it computes."""

    budget: int
    preempted: int
    prefilled: int
    tokens: int
    pairs: int
    context: int
    ended: int
    decodes: int
    decode_context: int
    admitted: int
    first: int
    finishing: int
    joining: int
    # For accounts
    seen: int
    holding: int
    works: int
    victims: int
    stalled: int


class Workload(NamedTuple):
    """What is asked, one place per request: arrivals in picoseconds, tokens, and the identities of prompts.

    In a closed loop ``arrival`` becomes the time at which each request is sent; ``think`` has the think times in
    order, and ``wake`` the times at which users who think now will send, the next one last. ``starts[i]`` to
    ``starts[i + 1]`` are the places of request ``i`` in ``identities``: for each block of the trace (``hash_block``
    tokens), the identity of the first block of the engine that ends in it. ``behind`` is the request that stands
    behind each one in its queue; without places it is the next one. Where requests have a ``priority`` (the lower, the
    more urgent), those that wait are a heap with the branches ``behind`` and ``beside``, one for each engine; ``slot``
    has the slots of preempted requests, and ``sooner`` the next request that is more urgent than each one.
    """

    arrival: Integers
    prompt: Integers
    output: Integers
    starts: Integers
    identities: Integers
    hash_block: int
    behind: Integers
    think: Integers
    wake: Integers
    priority: Integers
    beside: Integers
    slot: Integers
    sooner: Integers


class Results(NamedTuple):
    """What came of each request, in picoseconds and counts; empty arrays are not kept."""

    first_token: Integers
    finish: Integers
    scheduled: Integers
    preemptions: Small
    cached: Small
    found: Small
    """Requests that each one finds in the system on arrival; one that leaves at that very instant still counts."""
    series: Integers
    """A row for each span of time: its end, running, waiting, twice the blocks in use."""
    first_parts: Integers
    parts: Integers
    """A row per request, a column per cause (``simulate.serving.causes``): up to its first token, up to its end."""
    alone: Integers
    """Sums of the times of decoding steps alone, by context."""
    ends: Integers
    """When each step of a leap ends."""


class Entry:
    """A line of the engine's lists; each list has as many lines as there are slots."""

    apart: int
    """Slots apart, in order of admission."""
    waiting: int
    """Slots of preempted requests, the next one last."""
    unused: int
    heap: int
    """Slots in step, as a heap by their last step."""
    joining: int


class Outcome:
    """A line of the lists of one draft: slots that are admitted, get a first token, or finish.

    For accounts: slots that are preempted, leave step, or are computed one by one; the last with the tokens before,
    and what follows.
    """

    admitted: int
    first: int
    finishing: int
    victim: int
    stalled: int
    worked: int
    before: int
    tokens: int
    ended: int
    decodes: int
    answers: int
    joins: int


class Given:
    """What a slot was given in a draft, where any request may be the victim."""

    draft: int
    computed: int
    """Its computed tokens before the draft."""
    decode: int
    """Whether it was a decode."""


class Border:
    """The slots in step that need a block in the same steps: how many, the first and the last."""

    count: int
    first: int
    last: int


class Double:
    """A block with the same content as another one that was filled before it.

    ``place``: in the queue of free blocks, NONE while a request uses it. ``after``: the next double of this identity.
    ``first``: whether it is a double no more, while a request still has it down as one.
    """

    identity: Int32
    place: Int32
    after: Int32
    first: Int32


class State(NamedTuple):
    """All that the engine keeps from one step to the next; the last five only if prefixes are cached.

    ``outcomes`` has the lines of the first draft, then those of the second.

    A block is its content: no number of its own is needed, and what is found, taken and released together lies
    together in memory. ``queue`` has the free blocks and ``held`` those of each slot, ``width`` places per slot: an
    identity, NAMELESS or a double. ``named`` says of each identity, those of prompts before those of the slots' own
    blocks, where its first block is: 0 nowhere, ``2 (place + 1)`` free in the queue, ``-2 users`` in use; one more if
    it has doubles. ``doubled`` then has the first of these.
    """

    engine: list[Engine]
    slots: list[Slot]
    drafts: list[Draft]
    entries: list[Entry]
    outcomes: list[Outcome]
    borders: list[Border]
    given: list[Given]
    doubles: list[Double]
    queue: Small
    held: Small
    named: Small
    doubled: Small
