"""The two states of a prefix cache: hits make an engine fast enough to keep the hits, or all miss and stay so."""

import math

from secondorder.analytic.arguments import one
from secondorder.scenarios.prefix_cache import PrefixCache


def hit_ratio(cache: PrefixCache, rate: float) -> float:
    """Share of the requests that find their context, where ``rate`` a second come and nobody waits long.

    ``1 - exp(-(C - rate d)+/(rate gap))``: what is not in use holds the contexts of the last ``(C - rate d)/rate``
    seconds, the window of residence. *Approximation* (Che): the window is taken as constant. *Source*: Che, Tung and
    Wang (2002), for the window.

    >>> round(hit_ratio(PrefixCache(), 9.0), 3)
    0.591
    """
    offered = one("rate", rate)
    return -math.expm1(-max(cache.contexts - offered * cache.decode, 0.0) / (offered * cache.gap))


def load(cache: PrefixCache, rate: float) -> float:
    """Share of its time that the engine computes prompts in the good state; 1 or more where there is none.

    >>> round(load(PrefixCache(), 9.0), 3)
    0.793
    """
    hits = hit_ratio(cache, rate)
    return rate * (hits * cache.hit + (1 - hits) * cache.miss)


def recovery_rate(cache: PrefixCache) -> float:
    """Requests per second below which the bad state ends by itself: ``1/miss``, the capacity when all miss.

    In the bad state requests wait longer than the window of residence, so that all of them miss.

    >>> recovery_rate(PrefixCache())
    8.0
    """
    return 1 / one("miss", cache.miss)


def collapse_rate(cache: PrefixCache) -> float:
    """Requests per second at which the good state ends: the least rate of ``load`` 1.

    Chance ends it somewhat earlier. Between ``recovery_rate`` and this there are two states.

    >>> round(collapse_rate(PrefixCache()), 1)
    10.8
    """
    from scipy.optimize import brentq

    low, high = recovery_rate(cache), 1 / one("hit", cache.hit)
    return float(brentq(lambda rate: load(cache, rate) - 1, low, high)) if load(cache, low) < 1 else low
