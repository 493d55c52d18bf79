"""A prefix cache beside an engine that computes one prompt at a time, request by request.

Each request continues a context that was released some time ago, and finds it if since then fewer contexts were
released than the cache holds beside those in use. A context is in use from the start of its prompt to the end of its
answer; it is released as a new one, for it has grown.
"""

from bisect import bisect_left, bisect_right

import numpy as np

from secondorder.arrays import Floats
from secondorder.scenarios.prefix_cache import PrefixCache
from secondorder.simulate.streams import stream


def starts(
    cache: PrefixCache, rate: float, seconds: float, *, waiting: int = 0, seed: int = 0, replication: int = 0
) -> tuple[Floats, Floats]:
    """Arrivals and starts of the prompts, from a full cache, with ``waiting`` requests that are there at time 0.

    ``rate`` requests a second come, and came before.
    """
    arrivals, gaps = (stream(seed, replication, cause) for cause in ("arrivals", "gaps"))
    count = arrivals.poisson(rate * seconds)
    arriving = np.concatenate([np.zeros(waiting), np.sort(arrivals.uniform(0, seconds, count))])
    used = (arriving - gaps.exponential(cache.gap, len(arriving))).tolist()
    released = (np.arange(-int(20 * rate * cache.gap), 0) / rate).tolist()
    before, free, started = len(released), 0.0, []
    for place, (arrival, last) in enumerate(zip(arriving.tolist(), used, strict=True)):
        start = max(arrival, free)
        gone = bisect_right(released, start)
        in_use = before + place - gone
        found = gone - bisect_left(released, last) < cache.contexts - in_use
        free = start + (cache.hit if found else cache.miss)
        released.append(free + cache.decode)
        started.append(start)
    return arriving, np.array(started)
