"""The states of a prefix cache that a backlog empties: a good state, a bad state, and at some rates both.

Requests in the engine hold room, the rest of the cache keeps each context for about the same time (Che's
approximation), and a shorter time means fewer hits, longer prompts and more requests in the engine.
"""

import math
from collections.abc import Callable

from secondorder.analytic.queues import single_server
from secondorder.errors import Unstable
from secondorder.scenarios.cache_feedback import CacheFeedback


def hit_ratio(scenario: CacheFeedback, inside: float) -> float:
    """``h = 1 - exp(-(C - N)+ / (rate gap))``: the context is used again before the cache has turned over once.

    *Approximation* (Che). *Valid when* every turn writes a context of one size, and gaps are exponential. ``inside``:
    requests in the engine.

    >>> round(hit_ratio(CacheFeedback(rate=9.0), 45.0), 4)
    0.5909
    """
    return -math.expm1(-max(scenario.contexts - inside, 0.0) / (scenario.rate * scenario.gap))


def good_state(scenario: CacheFeedback) -> tuple[float, float]:
    """Hit ratio, and requests in the engine, of the good state: ``N = rate (decode + W + S)``, W of M/G/1.

    *Approximation*, see ``hit_ratio``; found from an empty engine on. Errors: ``Unstable`` past ``collapse_rate``.

    >>> hit, inside = good_state(CacheFeedback(rate=9.0))
    >>> round(hit, 3), round(inside, 1)
    (0.589, 47.5)
    """
    inside = 0.0
    while True:
        hit = hit_ratio(scenario, inside)
        mean = hit * scenario.hit + (1 - hit) * scenario.miss
        if scenario.rate * mean >= 1:
            raise Unstable(
                f"{scenario.name}: {scenario.rate:.4g} request/s, of which {hit:.0%} find their context, are more than "
                "the engine can compute; lower the rate or use a larger cache"
            )
        scv = (hit * scenario.hit**2 + (1 - hit) * scenario.miss**2) / mean**2 - 1
        wait = float(single_server.mean_wait(arrival_rate=scenario.rate, mean_service=mean, service_scv=scv))
        found = scenario.rate * (scenario.decode + wait + mean)
        if abs(found - inside) <= 1e-12 * found:
            return hit, found
        inside = found


def recovery_rate(scenario: CacheFeedback) -> float:
    """The highest rate, in request/s, at which a backlog of any length is worked off: ``1 / miss``.

    *Exact*: while more requests wait than the cache has contexts, none is found again.

    >>> recovery_rate(CacheFeedback(rate=1.0))
    8.0
    """
    return scenario.miss_capacity


def collapse_rate(scenario: CacheFeedback) -> float:
    """Past this rate, in request/s, there is no good state: ``rate (h hit + (1 - h) miss) = 1`` without a queue.

    *Approximation* from above: before it, queues by chance already end the good state.

    >>> round(collapse_rate(CacheFeedback(rate=1.0)), 2)
    10.8
    """

    def busy(rate: float) -> float:
        at = CacheFeedback(**{**vars(scenario), "rate": rate})
        hit = hit_ratio(at, rate * scenario.decode)
        return rate * (hit * scenario.hit + (1 - hit) * scenario.miss) - 1

    return _root(busy, 0.5 / scenario.miss, 1 / scenario.hit)


def _root(function: Callable[[float], float], low: float, high: float) -> float:
    """Where a rising function crosses 0."""
    while high - low > 1e-12 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if function(middle) < 0 else (low, middle)
    return (low + high) / 2
