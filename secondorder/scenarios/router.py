"""Routers: which replica a request is sent to.

>>> from secondorder.scenarios.router import PowerOfChoices
>>> PowerOfChoices(choices=2)
PowerOfChoices(choices=2)
"""

from dataclasses import dataclass
from typing import TypeAlias

from secondorder.quantities import Checked, Count, NonNegative


@dataclass(frozen=True, kw_only=True)
class RandomReplica(Checked):
    """Each replica with the same probability."""


@dataclass(frozen=True, kw_only=True)
class RoundRobin(Checked):
    """One replica after the other."""


@dataclass(frozen=True, kw_only=True)
class LeastOutstanding(Checked):
    """The replica with the fewest outstanding requests; ties are broken at random.

    *Source*: join the shortest queue, Winston 1977.
    """


@dataclass(frozen=True, kw_only=True)
class PowerOfChoices(Checked):
    """Of ``choices`` replicas picked at random the one with the fewest outstanding requests.

    - ``choices``: replicas that are asked.

    *Source*: Mitzenmacher, The power of two choices in randomized load balancing (2001).
    """

    choices: Count = 2


@dataclass(frozen=True, kw_only=True)
class LeastTokens(Checked):
    """The replica whose outstanding requests have the fewest prompt tokens; ties are broken at random."""


@dataclass(frozen=True, kw_only=True)
class PrefixAware(Checked):
    """The replica with the highest score: tokens of the prompt that it was sent before, minus ``weight`` times its load.

    The load is the prompt tokens of its outstanding requests. The router keeps for each replica the prefixes that it
    sent there, as many blocks as the replica's cache has, and forgets the least recently used.

    - ``weight``: tokens of a matched prefix that a token of load outweighs.

    *Source*: the cache-aware routers of SGLang and llm-d and the KV router of NVIDIA Dynamo, 2025; each scores by a
    match and a load, with weights of its own.
    """

    weight: NonNegative = 1.0


@dataclass(frozen=True, kw_only=True)
class SessionAffinity(Checked):
    """Always the same replica for one session: a hash of the first ``blocks`` blocks of the prompt.

    A prompt without known prefixes is a session of its own. While the replica is down, its sessions are spread over the
    others.

    - ``blocks``: leading blocks of the engine's cache that tell a session from others.

    *Source*: rendezvous hashing, Thaler and Ravishankar, IEEE/ACM Transactions on Networking 6(1), 1998.
    """

    blocks: Count = 32


Router: TypeAlias = (
    RandomReplica | RoundRobin | LeastOutstanding | PowerOfChoices | LeastTokens | PrefixAware | SessionAffinity
)
