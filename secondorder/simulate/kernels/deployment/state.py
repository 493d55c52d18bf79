"""The state of a compiled deployment, apart from that of its engines."""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from secondorder.arrays import Floats, Integers
from secondorder.simulate.kernels.deployment.tournament import Tournament
from secondorder.simulate.kernels.records import Int32
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
    """What one replica does, and what has been sent to it."""

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
    sent_prompts: int
    """Prompt tokens of all requests sent."""
    last: int
    """The last request of its queue."""
    # Its load
    outstanding: int
    prompts: int


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
    slots: int
    block_size: int
    blocks: int
    queue: int
    held: int
    named: int
    rows: int
    most: int
    """Blocks of prompts that the router remembers of a replica, at most."""
    asked: int
    """Replicas at the front of ``order`` among which the router picks next; 0 while they are not known."""


class Sent:
    """A block of a prompt that was sent to a replica, and its neighbours in order of use."""

    identity: Int32
    older: Int32
    newer: Int32


class Memory:
    """Blocks that the router remembers of a replica: the most and the least recently sent one, and how many."""

    newest: int
    oldest: int
    count: int


class Router(NamedTuple):
    """The rule by which a replica is picked, and what it remembers.

    ``chance`` are random numbers between 0 and 1, used one after the other. Where the replica of each request is
    ``fixed`` beforehand, the requests come in ``sequence``, those of one replica after those of another. ``loads`` are
    the replicas' loads as the router knows them. ``places`` has for each replica and each identity the line of
    ``sent`` that holds it; ``holders`` has a bit per replica for each identity, 64 to a word. ``prefix``, ``order``
    and ``matched`` belong to the decision under way.
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
    sent: list[Sent]
    memory: list[Memory]
    prefix: Small
    order: Small
    matched: Small


class Fleet(NamedTuple):
    """The replicas, their clock, when each one finishes what it does, and the replica of each request."""

    clock: list[Clock]
    replicas: list[Replica]
    ends: Tournament
    picked: Integers
