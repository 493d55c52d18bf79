"""Load of experts that tokens pick: the fullest one, those never picked, and what is dropped.

``T`` tokens pick ``k`` different ones of ``E`` experts each, independently of one another. Expert ``e`` is
among a token's picks with probability ``p_e`` (``k/E`` where all are equal), so that its load is binomial
``(T, p_e)``: *exactly*. The loads of different experts are not independent, as their sum is ``T k``.

The law of the fullest is that of independent loads given their sum. For ``k = 1`` these are Poisson, and the
law is exact; for ``k > 1`` they are binomial with more trials than ``T``, so that means, variances and
covariances are those of the routing, and the law is an approximation. For few tokens all routings are counted.
"""

import math
from collections.abc import Sequence
from functools import lru_cache, partial
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from secondorder.analytic.arguments import Floats, Real, Whole, fraction, one_whole, plain, positive, whole
from secondorder.answers.answer import Answer
from secondorder.answers.declared import EXPERT_ROUTING
from secondorder.answers.estimate import Claim, Rung, rung
from secondorder.answers.metric import unit_of
from secondorder.arrays import Complexes
from secondorder.errors import InputError
from secondorder.scenarios.expert_routing import ExpertRouting

Law: TypeAlias = tuple[npt.NDArray[np.int64], Floats]
"""Values in ascending order, and the probability of each or less."""

LEAST = 1e-18
"""Probabilities below it are left out."""
MOST_STATES = 200
"""Up to this many states routings are enumerated: within a second."""
AT_ONCE = 2_000_000
"""Numbers of an array: bounds the memory."""

# One expert


def inclusion(*, weights: npt.ArrayLike, top_k: int) -> Floats:
    """Probability ``p_e`` that each expert is among a token's ``top_k`` picks.

    ``w_e`` for one pick, ``k/E`` for equal weights, else
    ``p_e = int_0^inf w_e exp(-w_e t) P(fewer than k of the others by t) dt``: picks without replacement are the
    first ``k`` of exponential clocks with rates ``w_e``. *Exact*; the integral to 1e-12. ``weights``: shape
    (experts,), in any scale. Errors: ``InputError``. *Source*: Plackett 1975; Efraimidis and Spirakis 2006.

    >>> inclusion(weights=[0.5, 0.25, 0.25], top_k=2).round(6)     # 5/6: 1/2 + 1/4 2/3 + 1/4 2/3
    array([0.833333, 0.583333, 0.583333])
    """
    w = np.atleast_1d(positive("weights", np.asarray(weights, dtype=np.float64)))
    k = one_whole("top_k", top_k)
    if k > len(w):
        raise InputError("top_k", given=k, expected=f"at most the {len(w)} experts")
    w = np.asarray(w / w.sum())
    if k == 1:
        return w
    if k == len(w) or np.ptp(w) == 0:
        return np.full(len(w), k / len(w))
    log_t = np.arange(math.log(1e-16 / w.max()), math.log(45 / w.min()), 0.2)
    t = np.exp(log_t)
    fewer = np.zeros((len(w), k, len(t)))  # of the experts other than the first index: 0, 1, ..., k - 1 picked by t
    fewer[:, 0] = 1.0
    for other, rate in enumerate(w):
        picked = -np.expm1(-rate * t)
        before = fewer[other].copy()
        fewer[:, 1:] = fewer[:, 1:] * (1 - picked) + fewer[:, :-1] * picked
        fewer[:, 0] *= 1 - picked
        fewer[other] = before
    density = w[:, None] * t * np.exp(-w[:, None] * t) * fewer.sum(axis=1)
    found: Floats = density.sum(axis=1)
    return np.asarray(found * (k / found.sum()))


def active_experts(*, tokens: Whole, experts: Whole, top_k: Whole) -> Real:
    """Mean number of different experts that equally popular picks hit: ``E (1 - (1 - k/E)^T)``.

    *Exact*. All broadcast. Errors: ``InputError``. *Source*: occupancy; Feller I (1968), section IV.2.

    >>> round(active_experts(tokens=16, experts=8, top_k=2), 4)
    7.9198
    """
    t, e, k = whole("tokens", tokens), whole("experts", experts), whole("top_k", top_k)
    if (k > e).any():
        raise InputError("top_k", given=int(np.max(k)), expected="at most the number of experts")
    return plain(e * (1 - (1 - k / e) ** t))


def excess(*, tokens: Whole, probability: Real, capacity: Whole) -> Real:
    """Mean of what exceeds a capacity, ``E[max(X - C, 0)]`` for a load ``X`` binomial ``(T, p)``.

    ``T p P(Bin(T-1, p) >= C) - C P(Bin(T, p) > C)``. *Exact*. All broadcast. Errors: ``InputError``.
    *Source*: ``j b(j; T, p) = T p b(j-1; T-1, p)``.

    >>> round(excess(tokens=2, probability=0.5, capacity=1), 9)
    0.25
    """
    from scipy.stats import binom

    t, c = whole("tokens", tokens), whole("capacity", capacity, least=0)
    p = np.asarray(probability, dtype=np.float64)
    beyond = t * p * binom.sf(c - 1, t - 1, p) - c * binom.sf(c, t, p)
    return plain(np.maximum(beyond, 0.0))


# The fullest


def greatest_load(*, tokens: int, top_k: int, weights: npt.ArrayLike, group: int = 1) -> Law:
    """Law of the load of the fullest expert, or of the fullest of devices that hold ``group`` experts each.

    ``P(max <= m) = P(all Y <= m | sum Y = T k)`` for independent loads ``Y``, by Fourier inversion. For
    ``k = 1`` they are Poisson, which is ``T!/E^T [x^T] (sum_{j<=m} x^j/j!)^E`` for equal weights; for ``k > 1``
    binomial with ``n`` trials and the mean ``T p``. Equal weights: ``n = ((E-1) T k - (E-k)) / (E (k-1))``, so that
    the variance given the sum is ``T p (1-p)``, and that of a device's load is its own too.

    *Exact* for ``k = 1`` and ``k = E``. Else an approximation: the mean of the fullest is within 0.8 % of
    ``counted_greatest_load`` from 5 tokens on (16 tokens, 2 of 8: 6.768 for 6.757), 1.8 % below; for unequal weights
    it was up to 1.6 % above simulations, 0.7 % from 16 tokens on.
    Returns the values and ``P(max <= value)``. Errors: ``InputError``. *Source*: Poissonisation: Levin, A
    representation for multinomial cumulative distribution functions (1981); the matched binomials are derived here.

    >>> values, law = greatest_load(tokens=2, top_k=1, weights=[1, 1])
    >>> values, law.round(9)
    (array([1, 2]), array([0.5, 1. ]))
    """
    t, k, g = one_whole("tokens", tokens), one_whole("top_k", top_k), one_whole("group", group)
    p = inclusion(weights=weights, top_k=k)
    if len(p) % g:
        raise InputError("group", given=g, expected=f"a divisor of the {len(p)} experts")
    if k == len(p) or g == len(p):
        return np.array([t * k if g == len(p) else t * g]), np.ones(1)
    places, counts = _places(t, p, k, g)
    return _conditioned(places, counts, t * k, len(p) // g)


def counted_greatest_load(*, tokens: int, experts: int, top_k: int) -> Law:
    """Law of the load of the fullest of equally popular experts, by counting all routings.

    Expert after expert takes its tokens; a state says how many tokens still pick 0, 1, ... of the experts left.
    *Exact*. There are ``C(T+k, k)`` states; more than ``MOST_STATES`` are refused with ``InputError``.

    >>> values, law = counted_greatest_load(tokens=2, experts=3, top_k=2)
    >>> values, law                                      # any two pairs of three share an expert
    (array([2]), array([1.]))
    >>> round(mean_of(counted_greatest_load(tokens=16, experts=8, top_k=2)) / 4, 4)
    1.6891
    """
    t, e, k = one_whole("tokens", tokens), one_whole("experts", experts), one_whole("top_k", top_k)
    if math.comb(t + k, k) > MOST_STATES:
        given, expected = f"{t} tokens with {k} picks", f"at most {MOST_STATES} states, C(tokens + top_k, top_k)"
        raise InputError("tokens", given=given, expected=expected)
    values = np.arange(math.ceil(t * k / e), t + 1)
    all_ways = math.comb(e, k) ** t
    below = [_ways((*[0] * k, t), e, int(m)) / all_ways for m in values]
    last = below.index(1.0)
    return values[: last + 1], np.array(below[: last + 1])


@lru_cache(maxsize=200_000)
def _ways(state: tuple[int, ...], experts: int, most: int) -> int:
    """Ways to route tokens with at most ``most`` to an expert, where ``state[j]`` tokens have ``j`` picks left."""
    if experts == 0:
        return int(not any(state[1:]))

    def taken(j: int, left: tuple[int, ...], room: int) -> int:
        """Over how many of those with ``j`` picks left (and of those with fewer) come to this expert."""
        if j == 0:
            return _ways(left, experts - 1, most)
        total = 0
        for a in range(min(state[j], room) + 1):
            moved = (*left[: j - 1], left[j - 1] + a, left[j] - a, *left[j + 1 :])
            total += math.comb(state[j], a) * taken(j - 1, moved, room - a)
        return total

    return taken(len(state) - 1, state, most)


def mean_of(law: Law) -> float:
    """Mean of a law of whole numbers.

    >>> round(mean_of(greatest_load(tokens=16, top_k=1, weights=[1] * 8)), 4)
    4.2014
    """
    values, below = law
    return float(values[0] + np.sum(1 - below[:-1]))


def quantile_of(law: Law, p: float) -> int:
    """The least value that is not exceeded with probability ``p``.

    >>> quantile_of(greatest_load(tokens=16, top_k=1, weights=[1] * 8), 0.99)
    7
    """
    values, below = law
    share = float(fraction("p", p))
    return int(values[min(int(np.searchsorted(below, share)), len(values) - 1)])


def _places(t: int, p: Floats, k: int, group: int) -> tuple[list[Floats], list[int]]:
    """Probabilities of each place's load (expert or device) before its sum is known, and how many places have them."""
    trials = _trials(t, p, k)
    alike = np.ptp(p) == 0
    experts = [_load(t, t * p[e], trials[e]) for e in range(1 if alike else len(p))]
    if alike:
        return [_sum_of(experts * group)], [len(p) // group]
    return [_sum_of(experts[first : first + group]) for first in range(0, len(p), group)], [1] * (len(p) // group)


def _trials(t: int, p: Floats, k: int) -> Floats:
    """Of binomials whose variances given their sum are ``T p (1-p)``; infinite for Poisson."""
    if k == 1:
        return np.full(len(p), np.inf)
    experts = len(p)
    if np.ptp(p) == 0:
        return np.full(experts, ((experts - 1) * t * k - (experts - k)) / (experts * (k - 1)))
    free = _free_variances(t, p)
    return t * p * np.maximum(t * p / np.maximum(t * p - free, 1e-12 * t), 1.0)


def _free_variances(t: int, p: Floats) -> Floats:
    """``v`` such that ``v - v^2 / sum v``, the variance that a fixed sum leaves, is ``T p (1-p)``."""
    own = t * p * (1 - p)
    free = own.copy()
    for _ in range(200):
        free = np.minimum(own + free**2 / free.sum(), t * p)
    return np.asarray(free)


def _load(t: int, mean: float, trials: float) -> Floats:
    from scipy.special import gammaln, xlog1py

    j = np.arange(t + 1)
    if math.isinf(trials):
        logs = j * math.log(mean) - mean - gammaln(j + 1)
    else:
        p = min(mean / trials, 1.0)
        many = gammaln(trials + 1) - gammaln(j + 1) - gammaln(np.maximum(trials - j, 0.0) + 1)
        logs = many + j * math.log(p) + xlog1py(np.maximum(trials - j, 0.0), -p)
    return _trimmed(np.exp(logs))


def _sum_of(loads: Sequence[Floats]) -> Floats:
    found = loads[0]
    for load in loads[1:]:
        found = _trimmed(np.convolve(found, load))
    return found


def _trimmed(probabilities: Floats) -> Floats:
    return probabilities[: int(np.flatnonzero(probabilities > LEAST)[-1]) + 1]


def _conditioned(places: list[Floats], counts: list[int], total: int, number: int) -> Law:
    """``P(all <= m | sum = total)``: the coefficient at ``total`` of the product, as a mean over the unit circle."""
    ranges = [np.arange(len(load), dtype=np.float64) for load in places]
    moments = [(float(load @ j), float(load @ j**2)) for load, j in zip(places, ranges, strict=True)]
    variance = sum(count * (second - first**2) for count, (first, second) in zip(counts, moments, strict=True))
    degree = sum(n * (len(load) - 1) for n, load in zip(counts, places, strict=True))
    points = min(degree + 1, 64 + int(16 * variance**0.5))  # the sum is never so far off that it wraps round
    surely = max(first - 10 * math.sqrt(max(second - first**2, 0.0)) for first, second in moments)
    values = np.arange(max(math.ceil(total / number), int(surely)), max(len(load) for load in places))
    angles = 2 * np.pi * np.arange(points // 2 + 1) / points
    twice = np.where((angles == 0) | (np.arange(len(angles)) * 2 == points), 1.0, 2.0)
    sums = np.zeros(len(values))
    block = max(1, AT_ONCE // max(len(load) for load in places))
    for first in range(0, len(angles), block):
        part = angles[first : first + block]
        product = np.exp(-1j * total * part) * np.ones((len(values), 1))
        for load, count in zip(places, counts, strict=True):
            product = product * _up_to(load, values, part) ** count
        sums += (product.real * twice[first : first + block]).sum(axis=1)
    below = np.clip(np.maximum.accumulate(sums / sums[-1]), 0.0, 1.0)
    last = int(np.searchsorted(below, 1 - 1e-13))
    return values[: last + 1], np.append(below[:last], 1.0)


def _up_to(load: Floats, values: npt.NDArray[np.int64], angles: Floats) -> Complexes:
    """``sum_{j <= m} load_j exp(i j angle)`` for each value ``m`` and angle."""
    terms = load[:, None] * np.exp(1j * np.arange(len(load))[:, None] * angles)
    if values[0] >= len(load) - 1:
        return np.asarray(terms.sum(axis=0)[None, :])
    return np.cumsum(terms, axis=0)[np.minimum(values, len(load) - 1)]


# First order: normal loads


def normal_greatest(means: Floats, variances: Floats) -> tuple[float, float]:
    """Mean and 99 % quantile of the greatest of independent normal variables, by quadrature of ``1 - prod Phi``.

    >>> round(normal_greatest(np.zeros(2), np.ones(2))[0], 6)      # 1/sqrt(pi)
    0.56419
    """
    from scipy.optimize import brentq
    from scipy.special import log_ndtr

    spread = np.sqrt(np.maximum(variances, 1e-300))
    low, high = float((means - 12 * spread).max()), float((means + 12 * spread).max())

    def below(x: Floats) -> Floats:
        scores = (np.atleast_1d(x)[:, None] - means) / spread
        return np.asarray(np.exp(log_ndtr(scores).sum(axis=1)))

    x = np.linspace(low, high, 8001)
    mean = low + float(np.trapezoid(1 - below(x), x)) if high > low else high
    p99 = float(brentq(lambda y: float(below(y)[0]) - 0.99, low, high)) if high > low else high
    return mean, p99


# The ladder


def solve_expert_routing(scenario: ExpertRouting) -> Answer:
    """Closed forms of a routing: ``imbalance``, ``max_load_mean``, ``max_load_p99``, ``dropped_share``,
    ``active_experts_mean``, ``slowdown``.

    ``imbalance`` is the mean load of the fullest expert over the mean load; loads are as routed, before anything is
    dropped. ``slowdown`` is the mean of what the fullest device works on, after drops, over an equal share of all
    that is routed. Order 0: all experts are equally loaded. Order 1: normal loads. Order 2: the law of the fullest, see
    ``greatest_load``; ``dropped_share`` and ``active_experts_mean`` are exact there.
    """
    s, p = scenario, inclusion(weights=scenario.shares, top_k=scenario.top_k)
    free = _free_variances(s.tokens, p) if s.top_k < s.experts else np.zeros(s.experts)
    if s.top_k == 1:
        free = s.tokens * p
    rows = [*_alike(s), *_normal(s, p, free), *_lawful(s, p)]
    rows.sort(key=lambda one: (_METRICS.index(one.metric), one.order))
    how = f"{s.tokens:,} tokens, {s.top_k} of {s.experts} experts on {s.expert_parallel} devices"
    return Answer(scenario=s.name, estimates=tuple(rows), how=how)


_METRICS = ("imbalance", "max_load_mean", "max_load_p99", "dropped_share", "active_experts_mean", "slowdown")


def _rung(metric: str, amount: float, order: int, source: str, claim: Claim, note: str = "", outside: str = "") -> Rung:
    return rung(metric, amount, unit_of(EXPERT_ROUTING, metric), source, order, note, outside, claim)


def _alike(s: ExpertRouting) -> list[Rung]:
    kept = s.mean_load if s.capacity is None else min(s.mean_load, s.capacity)
    found = {
        "imbalance": 1.0,
        "max_load_mean": s.mean_load,
        "max_load_p99": s.mean_load,
        "dropped_share": 1 - kept / s.mean_load,
        "active_experts_mean": float(min(s.experts, s.routed)),
        "slowdown": kept / s.mean_load,
    }
    return [_rung(metric, amount, 0, "equal loads", Claim.BOUND) for metric, amount in found.items()]


def _normal(s: ExpertRouting, p: Floats, free: Floats) -> list[Rung]:
    mean, p99 = normal_greatest(s.tokens * p, free)
    device = s.tokens * p.reshape(s.expert_parallel, -1).sum(axis=1)
    variance = free.reshape(s.expert_parallel, -1).sum(axis=1)
    full = normal_greatest(device, variance)[0] if s.expert_parallel > 1 else float(s.routed)
    good = bool((s.tokens * p * (1 - p)).min() >= 9) or s.top_k == s.experts
    note = "" if good else "some expert's load has a variance below 9: too few tokens for a normal law"
    rows = {"imbalance": mean / s.mean_load, "max_load_mean": mean, "max_load_p99": p99}
    if s.capacity is None:
        rows["slowdown"] = full * s.expert_parallel / s.routed
    return [
        _rung(metric, amount, 1, "normal loads", Claim.APPROXIMATION, outside=note) for metric, amount in rows.items()
    ]


def _lawful(s: ExpertRouting, p: Floats) -> list[Rung]:
    greatest = partial(greatest_load, tokens=s.tokens, top_k=s.top_k, weights=s.shares)
    exact = s.top_k in (1, s.experts)
    about = "" if exact else "means and variances of the loads are matched, the law of the fullest is approximate"
    source = "Poisson loads given their sum" if exact else "binomial loads given their sum"
    counted = not exact and s.uniform and math.comb(s.tokens + s.top_k, s.top_k) <= MOST_STATES
    fullest = counted_greatest_load(tokens=s.tokens, experts=s.experts, top_k=s.top_k) if counted else greatest()
    mean = mean_of(fullest)
    guess = (source, Claim.EXACT if exact else Claim.APPROXIMATION, about)
    origin = ("routings counted", Claim.EXACT, "") if counted else guess
    rows = [
        _rung("imbalance", mean / s.mean_load, 2, *origin),
        _rung("max_load_mean", mean, 2, *origin),
        _rung("max_load_p99", quantile_of(fullest, 0.99), 2, *origin),
        _rung("active_experts_mean", float(np.sum(1 - (1 - p) ** s.tokens)), 2, "occupancy", Claim.EXACT),
    ]
    dropped = 0.0
    if s.capacity is not None:
        dropped = float(np.sum(excess(tokens=s.tokens, probability=p, capacity=s.capacity))) / s.routed
    rows.append(_rung("dropped_share", dropped, 2, "binomial excess", Claim.EXACT))
    share = s.routed / s.expert_parallel
    if s.capacity is None:
        alone = s.experts_per_device == 1
        on_device = mean if alone else mean_of(greatest(group=s.experts_per_device))
        rows.append(_rung("slowdown", on_device / share, 2, *(origin if alone else guess)))
    elif s.experts_per_device == 1:
        values, below = fullest
        capped = mean_of((values, np.where(values >= s.capacity, 1.0, below)))
        rows.append(_rung("slowdown", min(capped, s.capacity) / share, 2, *origin))
    elif s.expert_parallel == 1:
        rows.append(_rung("slowdown", 1 - dropped, 2, "binomial excess", Claim.EXACT))
    return rows
