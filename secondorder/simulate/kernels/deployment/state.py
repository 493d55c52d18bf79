"""The state of a compiled deployment, apart from that of its engines."""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from secondorder.arrays import Floats, Integers
from secondorder.simulate.kernels.deployment.tournament import Tournament
from secondorder.simulate.kernels.serving.state import Small

FIXED, LEAST, CHOICES, PREFIX = range(4)
"""How a replica is picked: fixed beforehand; lowest load; lowest of some picked at random; load less prefix match."""
IDLE, WOKEN, STEP, LEAP = range(4)
"""What a replica does: nothing, waking up, one step, several steps at once."""
BITS = 64
"""Bits of a word of ``holders``."""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """How a replica is picked: its ``kind``, and what that kind needs.

    ``fixed``: the replica of each request. ``chance``: as many random numbers as it can use up.
    """

    kind: int
    choices: int = 0
    by_prompts: bool = False
    weight: float = 0.0
    fixed: Integers = field(default_factory=lambda: np.zeros(0, np.int64), repr=False)
    chance: Floats = field(default_factory=lambda: np.zeros(0), repr=False)


class Replica:
    """What has been sent to one replica, and what it does: up to the last time at which its engine was advanced."""

    # What the router knows
    outstanding: int
    prompts: int
    sent: int
    """Requests sent to it."""
    sent_prompts: int
    """Prompt tokens of all requests sent."""
    inbox: int
    """The first request that was sent since its engine was advanced, or NONE."""
    last: int
    """The last request that was sent."""
    if_sent: int
    """As ``quiet`` of the fleet, if another request is sent."""
    # What it does
    doing: int
    ends: int
    """When that ends; NEVER while it is idle."""
    steps: int
    """Steps of a leap, if it does one."""
    interruptible: int
    """Whether an arrival that can be admitted cuts the leap short."""
    used: int
    """Blocks in use when it began."""
    which: int
    """The draft of a step."""
    tokens: int
    """Tokens computed so far."""
    received: int
    """The last request that its engine received."""


class Clock:
    """The next arrival and report, and the sizes of one engine's share of the arrays.

    If both come at one instant, the one that was scheduled first goes first: each has a ``serial``.
    """

    next_arrival: int
    next_report: int
    arrival_serial: int
    report_serial: int
    serial: int
    arrived: int
    drawn: int
    """Random numbers that are used up."""
    replicas: int
    interval: int
    shortest: int
    """The shortest step that there can be."""
    slots: int
    block_size: int
    blocks: int
    queue: int
    held: int
    named: int
    rows: int
    most: int
    """Blocks of prompts that the router remembers of a replica, at most."""
    sent: int
    identities: int
    asked: int
    """Replicas at the front of ``order`` among which the router picks next; 0 while they are not known."""


class Memory:
    """The blocks that the router remembers of a replica, in order of use: a ring, from ``head`` to before ``tail``.

    A block that is sent again leaves a gap; ``count`` are the others.
    """

    head: int
    tail: int
    count: int


class Router(NamedTuple):
    """The rule by which a replica is picked, and what it remembers.

    ``chance`` are random numbers between 0 and 1, used one after the other. Where the replica of each request is
    ``fixed`` beforehand, the requests come in ``sequence``, those of one replica after those of another. ``loads`` are
    the replicas' loads as the router knows them. ``sent`` has a ring of identities for each replica, ``places`` for
    each replica and each identity its place there; ``holders`` has a bit per replica for each identity, 64 to a word.
    ``prefix``, ``order`` and ``matched`` belong to the decision under way.
    """

    kind: int
    choices: int
    by_prompts: int
    weight: float
    chance: Floats
    fixed: Small
    sequence: Integers
    loads: Tournament
    places: Small
    holders: Integers
    sent: Small
    memory: list[Memory]
    prefix: Small
    order: Small
    matched: Small


class Fleet(NamedTuple):
    """The replicas and their clock, and of each request its replica and the one sent to that replica after it.

    ``quiet``: no request of a replica completes before this time, whatever is sent to it; NEVER if it has none.
    """

    clock: list[Clock]
    replicas: list[Replica]
    quiet: Tournament
    picked: Integers
    follows: Small
