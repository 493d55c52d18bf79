"""Which replica a request is sent to: one class a rule, each over what the router knows of the replicas."""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from functools import singledispatch
from hashlib import blake2b
from typing import Protocol

import numpy as np
import simpy

from secondorder.scenarios.router import (
    LeastOutstanding,
    LeastTokens,
    PowerOfChoices,
    PrefixAware,
    RandomReplica,
    RoundRobin,
    Router,
    SessionAffinity,
)
from secondorder.simulate.deployment.replica import Replica
from secondorder.simulate.serving.engine import Process
from secondorder.simulate.serving.request import Ask

Load = Callable[[Replica], int]
"""What the router knows of a replica's load: up to date, or as last reported."""


class Rule(Protocol):
    """How a replica is picked among those that are up, at least one."""

    def __call__(self, ask: Ask, up: Sequence[Replica]) -> Replica:
        """The replica that a request is sent to."""
        ...


class Reports:
    """The replicas' loads as they last reported them, all at the same times."""

    def __init__(self, env: simpy.Environment, replicas: Sequence[Replica], interval: int) -> None:
        self.env, self.replicas, self.interval = env, replicas, interval
        self.outstanding, self.tokens = ([0] * len(replicas) for _ in range(2))
        self.over = False
        env.process(self.run())

    def run(self) -> Process:
        """A report of all, once an interval."""
        while not self.over:
            self.outstanding = [replica.outstanding for replica in self.replicas]
            self.tokens = [replica.tokens for replica in self.replicas]
            yield self.env.timeout(self.interval)


def outstanding_now(replica: Replica) -> int:
    """Requests that a replica has."""
    return replica.outstanding


def tokens_now(replica: Replica) -> int:
    """Prompt tokens of the requests that a replica has."""
    return replica.tokens


def below(chance: np.random.Generator, count: int) -> int:
    """A random whole number from 0 to ``count - 1``, all equally likely; each call takes one number of the stream."""
    return int(count * chance.random())


class Uniform:
    """One picked at random."""

    def __init__(self, chance: np.random.Generator) -> None:
        self.chance = chance

    def __call__(self, ask: Ask, up: Sequence[Replica]) -> Replica:
        return up[below(self.chance, len(up))]


class InTurn:
    """The next one in the order of their numbers."""

    def __init__(self) -> None:
        self.last = -1

    def __call__(self, ask: Ask, up: Sequence[Replica]) -> Replica:
        found = next((replica for replica in up if replica.number > self.last), up[0])
        self.last = found.number
        return found


class Least:
    """The least load among ``choices`` picked at random, or among all; ties are broken at random."""

    def __init__(self, load: Load, chance: np.random.Generator, choices: int | None = None) -> None:
        self.load, self.chance, self.choices = load, chance, choices

    def __call__(self, ask: Ask, up: Sequence[Replica]) -> Replica:
        if self.choices is not None and self.choices < len(up):
            up = some(up, self.choices, self.chance)
        return least(up, [self.load(replica) for replica in up], self.chance)


def some(up: Sequence[Replica], count: int, chance: np.random.Generator) -> list[Replica]:
    """``count`` different ones, picked at random (Knuth 1998, algorithm P of section 3.4.2)."""
    order = list(up)
    for place in range(count):
        other = place + below(chance, len(up) - place)
        order[place], order[other] = order[other], order[place]
    return order[:count]


def least(up: Sequence[Replica], loads: Sequence[float], chance: np.random.Generator) -> Replica:
    """One of those with the least load."""
    lowest = min(loads)
    tied = [replica for replica, load in zip(up, loads, strict=True) if load == lowest]
    return tied[0] if len(tied) == 1 else tied[below(chance, len(tied))]


class SentBefore:
    """The prefixes that were sent to a replica: the most recently used blocks, as many as its cache has."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.blocks: OrderedDict[Hashable, None] = OrderedDict()

    def match(self, prefix: Sequence[Hashable]) -> int:
        """Leading blocks of a prompt that are known."""
        for place, block in enumerate(prefix):
            if block not in self.blocks:
                return place
        return len(prefix)

    def add(self, prefix: Sequence[Hashable]) -> None:
        """A prompt is sent."""
        for block in reversed(prefix):  # the end of a prefix is forgotten before its beginning
            self.blocks[block] = None
            self.blocks.move_to_end(block)
        while len(self.blocks) > self.most:
            self.blocks.popitem(last=False)


class BestMatch:
    """The most tokens of the prompt matched, less ``weight`` times the load."""

    def __init__(self, weight: float, load: Load, chance: np.random.Generator) -> None:
        self.weight, self.load, self.chance = weight, load, chance
        self.sent: dict[tuple[int, int], SentBefore] = {}

    def __call__(self, ask: Ask, up: Sequence[Replica]) -> Replica:
        penalties = [self.weight * self.load(replica) - self.matched(replica, ask) for replica in up]
        found = least(up, penalties, self.chance)
        self._known(found).add(ask.prefix)
        return found

    def matched(self, replica: Replica, ask: Ask) -> int:
        """Tokens of the prompt that the replica was sent before."""
        return self._known(replica).match(ask.prefix) * replica.scenario.block_size

    def _known(self, replica: Replica) -> SentBefore:
        """What was sent to a replica since it started."""
        return self.sent.setdefault((replica.number, replica.starts), SentBefore(replica.scenario.kv_blocks - 1))


class ByHash:
    """The replica with the highest hash of its number and the session."""

    def __init__(self, blocks: int) -> None:
        self.blocks = blocks

    def __call__(self, ask: Ask, up: Sequence[Replica]) -> Replica:
        session: Hashable = ("session", ask.session)
        if ask.session is None:
            session = ask.prefix[min(self.blocks, len(ask.prefix)) - 1] if ask.prefix else ("alone", ask.index)
        return max(up, key=lambda replica: rank(replica.number, session))


def rank(number: int, session: Hashable) -> bytes:
    """How well a replica suits a session: the one with the highest hash takes it."""
    return blake2b(f"{number} {session}".encode(), digest_size=8).digest()


# The rule of each kind of router


@singledispatch
def rule_of(kind: Router, chance: np.random.Generator, outstanding: Load, tokens: Load) -> Rule:
    """The rule of a kind of router."""
    raise NotImplementedError(type(kind).__name__)


@rule_of.register
def _(kind: RandomReplica, chance: np.random.Generator, outstanding: Load, tokens: Load) -> Rule:
    return Uniform(chance)


@rule_of.register
def _(kind: RoundRobin, chance: np.random.Generator, outstanding: Load, tokens: Load) -> Rule:
    return InTurn()


@rule_of.register
def _(kind: LeastOutstanding, chance: np.random.Generator, outstanding: Load, tokens: Load) -> Rule:
    return Least(outstanding, chance)


@rule_of.register
def _(kind: PowerOfChoices, chance: np.random.Generator, outstanding: Load, tokens: Load) -> Rule:
    return Least(outstanding, chance, kind.choices)


@rule_of.register
def _(kind: LeastTokens, chance: np.random.Generator, outstanding: Load, tokens: Load) -> Rule:
    return Least(tokens, chance)


@rule_of.register
def _(kind: PrefixAware, chance: np.random.Generator, outstanding: Load, tokens: Load) -> Rule:
    return BestMatch(kind.weight, outstanding, chance)


@rule_of.register
def _(kind: SessionAffinity, chance: np.random.Generator, outstanding: Load, tokens: Load) -> Rule:
    return ByHash(kind.blocks)
