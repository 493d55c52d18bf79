"""A prefix cache that a backlog empties: what waits holds the room of what might be found again.

>>> CacheFeedback(rate=9.0).miss_capacity
8.0
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class CacheFeedback:
    """One engine that computes prompts one after the other, less of one that finds its context in the cache.

    - ``rate``: requests that come in a second, Poisson.
    - ``miss``, ``hit``: seconds that a prompt takes without its context and with it.
    - ``gap``: mean seconds, exponential, between the end of a turn and the request that uses its context again.
    - ``decode``: seconds that an answer takes.
    - ``contexts``: contexts that the cache holds, those of requests in the engine included.
    - ``name``: what results call the scenario.
    """

    rate: float
    miss: float = 1 / 8
    hit: float = 1 / 16
    gap: float = 60.0
    decode: float = 5.0
    contexts: float = 527.6
    name: str = "cache feedback"

    @property
    def miss_capacity(self) -> float:
        """Requests in a second while none finds its context."""
        return 1 / self.miss
