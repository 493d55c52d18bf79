"""The hit ratio of a cache that evicts the least recently used: Che's approximation.

Whatever is used stays for about the same time ``T``, unless it is used again. ``T`` is the time in which as much is
used as the cache holds.
"""

import math

import numpy as np

from secondorder.analytic.arguments import Floats, non_negative, one, positive
from secondorder.scenarios.serving import Serving


def characteristic_time(*, rates: Floats, sizes: Floats, capacity: float, own_rate: float = 0.0) -> float:
    """``T`` in s: ``sum_k s_k (1 - e^(-r_k T)) + o T = C``; infinite where everything fits.

    *Approximation* that is good when no item is a large part of the cache. *Valid when* uses of item k are Poisson at
    ``rates[k]`` (1/s) and independent; it has ``sizes[k]`` tokens; what is used once only comes at ``own_rate``
    (token/s); the cache holds ``capacity`` tokens. Arrays of one length. Errors: ``InputError``.

    *Source*: Che, Tung, Wang, Hierarchical web caching systems (2002), equation 4; Fricker, Robert, Roberts, A
    versatile and accurate approximation for LRU cache performance (2012), section 5 for the sizes.

    >>> round(characteristic_time(rates=np.full(10, 0.1), sizes=np.ones(10), capacity=5.0), 3)     # 10 ln 2
    6.931
    """
    rate, size = positive("rates", rates), positive("sizes", sizes)
    room, own = one("capacity", capacity), float(non_negative("own_rate", own_rate))

    def used(t: float) -> float:
        return float(size @ -np.expm1(-rate * t)) + own * t

    if own == 0 and size.sum() <= room:
        return math.inf
    low, high = 0.0, 1.0
    while used(high) < room:
        low, high = high, 2 * high
    while high - low > 1e-12 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if used(middle) < room else (low, middle)
    return (low + high) / 2


def hit_ratio(serving: Serving, *, held: float = 0.0) -> float:
    """Share of the prompt tokens of a service with shared prefixes that is found in its cache and the tiers below it.

    ``sum_k p_k (1 - e^(-r_k T)) E[tokens of the prefix in a prompt] / E[I]``, whole blocks only, with the rest of each
    prompt and its answer used once. *Approximation*, see ``characteristic_time``; requests that run hold ``held``
    tokens on average, which are not there for others. Errors: ``InputError`` for a service without prefixes.
    """
    assert serving.prefixes is not None
    chosen = serving.prefixes.share * serving.prefixes.popularity
    below = sum(serving.tier_blocks) * serving.block_size
    found = found_within(serving, serving.kv_tokens + below - held)
    return float(chosen @ found) * shared_tokens(serving) / serving.offered.mean_input


def shared_tokens(serving: Serving, power: int = 1) -> float:
    """``E[s^power]`` of the tokens ``s`` that a prompt with a prefix shares, in whole blocks and without the last."""
    prefixes, block = serving.prefixes, serving.block_size
    assert prefixes is not None
    tokens = prefixes.tokens
    return serving.offered.expect(lambda i, _: (np.minimum(tokens, i - 1) // block * block) ** power)


def found_within(serving: Serving, capacity: float) -> Floats:
    """Probability, for each prefix, that a cache of `capacity` tokens holds it: ``1 - e^(-r_k T)``."""
    prefixes, law, common = serving.prefixes, serving.offered, shared_tokens(serving)
    assert prefixes is not None
    if not common:
        return np.zeros(prefixes.count)
    rates = serving.rate * prefixes.share * prefixes.popularity
    own = law.mean_input + law.mean_output - prefixes.share * common
    time = characteristic_time(
        rates=rates,
        sizes=np.full(prefixes.count, float(min(prefixes.tokens, common))),
        capacity=max(1.0, capacity),
        own_rate=serving.rate * own,
    )
    return np.asarray(-np.expm1(-rates * time))
