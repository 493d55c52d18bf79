"""An engine whose prompts are short where their context is still in its cache."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class PrefixCache:
    """An engine that computes a prompt in ``hit`` seconds where its context is cached, else in ``miss``.

    - ``contexts``: how many the cache holds, those in use among them; the one released first goes first.
    - ``decode``: seconds after the prompt in which a context stays in use.
    - ``gap``: mean of the exponential time, in s, since the context was released.
    """

    contexts: float = 527.6
    miss: float = 1 / 8
    hit: float = 1 / 16
    decode: float = 5.0
    gap: float = 60.0
    name: str = "prefix cache"
