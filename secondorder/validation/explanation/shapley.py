"""Shares of a whole that do not depend on the order in which its parts are added (Shapley 1953)."""

import math
from collections.abc import Callable, Sequence
from itertools import combinations

import numpy as np

from secondorder.arrays import Floats

FEW = 6
"""Players up to which all their coalitions are asked."""
PERMUTATIONS = 24
"""Orders that are sampled for more of them; half are the others backwards."""

Value = Callable[[frozenset[int]], Floats]
"""What a coalition is worth, in each replication."""


def shares(players: int, value: Value, seed: int = 0) -> list[Floats]:
    """The share of each of this many players, in each replication.

    ``phi_i = sum_S |S|! (n - |S| - 1)!/n! (v(S + i) - v(S))`` over the coalitions ``S`` without ``i``, for at most six
    players; for more the mean of ``v(S + i) - v(S)`` over sampled orders, ``S`` those before ``i``.
    The shares sum to ``v(all) - v(none)``: exactly where all orders count, and for each sampled order.
    *Source*: Shapley, A value for n-person games (1953); sampling: Castro, Gómez, Tejada (2009).

    >>> glove = lambda who: np.array([float(0 in who and (1 in who or 2 in who))])  # one left glove, two right ones
    >>> [round(float(share[0]), 4) for share in shares(3, glove)]
    [0.6667, 0.1667, 0.1667]
    """
    return _exact(players, value) if players <= FEW else _sampled(players, value, seed)


def _exact(players: int, value: Value) -> list[Floats]:
    found = []
    for player in range(players):
        others = [other for other in range(players) if other != player]
        share = np.zeros_like(value(frozenset()))
        for size in range(players):
            weight = 1 / (players * math.comb(players - 1, size))
            for coalition in map(frozenset, combinations(others, size)):
                share = share + weight * (value(coalition | {player}) - value(coalition))
        found.append(share)
    return found


def _sampled(players: int, value: Value, seed: int) -> list[Floats]:
    found = [np.zeros_like(value(frozenset())) for _ in range(players)]
    orders = _orders(players, seed)
    for order in orders:
        before: frozenset[int] = frozenset()
        for player in order:
            after = before | {player}
            found[player] = found[player] + (value(after) - value(before)) / len(orders)
            before = after
    return found


def _orders(players: int, seed: int) -> list[Sequence[int]]:
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(players,)))
    ahead = [rng.permutation(players).tolist() for _ in range(PERMUTATIONS // 2)]
    return [*ahead, *(order[::-1] for order in ahead)]


def closed(parts: Sequence[float], total: float) -> list[float]:
    """The same parts, moved in their last digits so that they sum to the total (``math.fsum``) to the last digit.

    >>> math.fsum(closed([0.1, 0.2, 0.3], 0.6)) == 0.6
    True
    """
    found = list(parts)
    for place in sorted(range(len(found)), key=lambda i: -abs(found[i])):
        if (rest := math.fsum([total, *(-part for part in found)])) == 0:
            break
        found[place] += rest
    return found
