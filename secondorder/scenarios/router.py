"""Routers: which replica a request is sent to.

>>> str(PowerOfChoices(choices=3)), str(RoundRobin())
('power-of-d 3', 'round-robin')
"""

from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from secondorder.quantities import Count, NonNegative
from secondorder.spelling import Spelled


@dataclass(frozen=True, kw_only=True)
class RandomReplica(Spelled):
    """Each replica with the same probability."""

    word: ClassVar[str] = "random"


@dataclass(frozen=True, kw_only=True)
class RoundRobin(Spelled):
    """One replica after the other."""

    word: ClassVar[str] = "round-robin"


@dataclass(frozen=True, kw_only=True)
class LeastOutstanding(Spelled):
    """The replica with the fewest outstanding requests; ties are broken at random.

    *Source*: join the shortest queue, Winston 1977.
    """

    word: ClassVar[str] = "least-outstanding"


@dataclass(frozen=True, kw_only=True)
class PowerOfChoices(Spelled):
    """Of ``choices`` replicas picked at random the one with the fewest outstanding requests.

    - ``choices``: replicas that are asked.

    *Source*: Mitzenmacher, The power of two choices in randomized load balancing (2001).
    """

    word: ClassVar[str] = "power-of-d"
    choices: Count = 2


@dataclass(frozen=True, kw_only=True)
class LeastTokens(Spelled):
    """The replica whose outstanding requests have the fewest prompt tokens; ties are broken at random."""

    word: ClassVar[str] = "least-tokens"


@dataclass(frozen=True, kw_only=True)
class PrefixAware(Spelled):
    """The highest score: tokens of the prompt that the replica was sent before, less ``weight`` times its load.

    The load is its outstanding requests. The router keeps for each replica the prefixes that it sent there, as many
    blocks as the replica's cache has, and forgets the least recently used.

    - ``weight``: tokens of a matched prefix that one outstanding request outweighs.

    *Source*: the cache-aware routers of SGLang and llm-d and the KV router of NVIDIA Dynamo, 2025; each scores by a
    match and a load, with weights of its own.
    """

    word: ClassVar[str] = "prefix-aware"
    weight: NonNegative = 50.0


@dataclass(frozen=True, kw_only=True)
class SessionAffinity(Spelled):
    """Always the same replica for one session: a hash of the first ``blocks`` blocks of the prompt.

    Where the clients are sessions, these are meant. Else a prompt without known prefixes is a session of its own.
    While the replica is down, its sessions are spread over the others.

    - ``blocks``: leading blocks of the engine's cache that tell a session from others.

    *Source*: rendezvous hashing, Thaler and Ravishankar, IEEE/ACM Transactions on Networking 6(1), 1998.
    """

    word: ClassVar[str] = "session"
    blocks: Count = 32


Router: TypeAlias = (
    RandomReplica | RoundRobin | LeastOutstanding | PowerOfChoices | LeastTokens | PrefixAware | SessionAffinity
)
