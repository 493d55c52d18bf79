"""Tiers below the cache in closed form: the hits of each, the time to fetch them, and when a link is too slow.

Each tier takes what the one above forgets, so the first ``k`` together hold what one cache of their joint size would:
the share of tier ``k`` is the difference of two caches. The link to a tier is a queue of its own.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from secondorder.analytic.queues.single_server import mean_wait
from secondorder.analytic.serving.clairvoyant import clairvoyant_hit_tokens
from secondorder.analytic.serving.least_recently_used import found_within, shared_tokens
from secondorder.analytic.serving.stack_distances import hit_tokens, stack_depths
from secondorder.answers.declared import SERVING
from secondorder.answers.estimate import Claim, Rung, rung
from secondorder.answers.metric import unit_of
from secondorder.arrays import Floats
from secondorder.errors import Unstable
from secondorder.quantities import si
from secondorder.scenarios.cache_tiers import OWN
from secondorder.scenarios.serving import Serving
from secondorder.workloads.requests import Requests

CHE, STACK, BELADY = "Che's approximation (2002)", "stack distances (Mattson 1970)", "clairvoyant (Belady 1966)"
QUEUE, ALONE = "Che with M/G/1 links", "Che with idle links"
BUSY = 0.5
"""Utilisation of a link up to which the waits for it were compared with simulations."""
COPIES = "a shared tier keeps copies of what it hands out: less than the joint size is held"


@dataclass(frozen=True, kw_only=True)
class TierLoad:
    """The load on a tier.

    ``probability`` that a request fetches from it; ``transfer``: mean time in s of such a fetch on an idle link;
    ``wait``: mean time in s for the link before; ``busy``, ``writing``: shares of the time that the link fetches and
    that it is written to (the same of a link that is not duplex).
    """

    name: str
    probability: float
    transfer: float
    wait: float
    busy: float
    writing: float


def tier_probabilities(serving: Serving, *, held: float = 0.0) -> Floats:
    """Probability that the prefix of a request lies in the cache, in each tier below it, and nowhere.

    ``sum_k p_k (e^(-r_k T_(j-1)) - e^(-r_k T_j))`` for tier ``j``, ``T_j`` the characteristic time of the joint size of
    the first ``j``. *Approximation* as ``least_recently_used.hit_ratio``; a prefix is taken to lie in one tier whole.
    Requests that run hold ``held`` tokens of the cache.
    """
    assert serving.prefixes is not None
    chosen = serving.prefixes.share * serving.prefixes.popularity
    below = [blocks * serving.block_size for blocks in serving.tier_blocks]
    joint = accumulate([serving.kv_tokens - held, *below])
    within = [float(chosen @ found_within(serving, capacity)) for capacity in joint]
    return np.diff([0.0, *within, 1.0])


def tier_loads(serving: Serving, *, held: float = 0.0) -> tuple[TierLoad, ...]:
    """The load of each tier's link; Pollaczek-Khinchine for the wait.

    *Approximation*: fetches come Poisson at rate ``r p_j``, each for the shared tokens ``n`` of a prompt. Every fetch
    and every token computed pushes as many down: on a link that is not duplex these cross it too, those of a fetch
    right behind it. *Valid when* all tiers are full. Errors: ``Unstable`` where a link is asked for more than
    it can carry.
    """
    assert serving.cache_tiers is not None
    _, *shares, _ = tier_probabilities(serving, held=held).tolist()
    rate, n, squares = serving.rate, shared_tokens(serving), shared_tokens(serving, 2)
    found = float(tier_probabilities(serving, held=held)[:-1].sum())
    computed = _computed(serving, found)
    loads = []
    for place, (tier, share) in enumerate(zip(serving.cache_tiers.tiers, shares, strict=True)):
        token = tier.block_seconds(serving.block_bytes) / serving.block_size
        passing = sum(shares[place:])
        writing = rate * token * (passing * n + computed[0])
        jobs = [(share, n, squares)]
        if not tier.duplex:
            below = sum(shares[place + 1 :])
            jobs = [(share, 2 * n, 4 * squares), (below, n, squares), (1.0, *computed)]
        busy = rate * token * sum(weight * mean for weight, mean, _ in jobs)
        _check(serving, tier.name, max(busy, writing))
        loads.append(
            TierLoad(
                name=tier.name,
                probability=share,
                transfer=n * token + si(tier.latency),
                wait=_wait(rate, [(weight, mean * token, square * token**2) for weight, mean, square in jobs]),
                busy=busy,
                writing=writing if tier.duplex else busy,
            )
        )
    return tuple(loads)


def _computed(serving: Serving, found: float) -> tuple[float, float]:
    """First and second moment of the tokens in whole blocks that a request computes and later pushes down."""
    assert serving.prefixes is not None
    block, tokens, law = serving.block_size, serving.prefixes.tokens, serving.offered

    def moment(power: int, hit: bool) -> float:
        return law.expect(
            lambda i, o: ((i + o - 1) // block * block - hit * (np.minimum(tokens, i - 1) // block * block)) ** power
        )

    first, second = (found * moment(power, True) + (1 - found) * moment(power, False) for power in (1, 2))
    return first, second


def _wait(rate: float, jobs: list[tuple[float, float, float]]) -> float:
    """For a link with jobs of these probabilities, mean times and mean squares."""
    weight, mean, square = (sum(each) for each in zip(*((w, w * m, w * s) for w, m, s in jobs), strict=True))
    if not mean:
        return 0.0
    scv = max(0.0, square / weight / (mean / weight) ** 2 - 1)
    return float(mean_wait(arrival_rate=rate * weight, mean_service=mean / weight, service_scv=scv))


def _check(serving: Serving, name: str, load: float) -> None:
    if load >= 1:
        raise Unstable(
            f"{serving.name}: the link to {name} is asked for {load:.3g} times what it carries, fetches and blocks "
            "written; use a faster link or a larger tier above it, or lower the rate"
        )


def fetch_mean(loads: tuple[TierLoad, ...], *, waits: bool) -> float:
    """Mean fetch time in s of the requests that fetch, with waits for links or on idle links; 0 if none fetches."""
    total = sum(load.probability for load in loads)
    away = sum(load.probability * (load.transfer + load.wait * waits) for load in loads)
    return away / total if total else 0.0


def tier_rungs(serving: Serving, *, held: float = 0.0) -> Iterator[Rung]:
    """Hits and fetch times of each tier of a service whose prefixes are drawn from a law.

    Errors: as ``tier_loads``.
    """
    assert serving.cache_tiers is not None
    mean, n = serving.offered.mean_input, shared_tokens(serving)
    probabilities, loads = tier_probabilities(serving, held=held), tier_loads(serving, held=held)
    copies = COPIES if any(tier.shared for tier in serving.cache_tiers.tiers) else ""
    yield _rung("prefix_hit_rate", float(probabilities[:-1].sum()) * n / mean, CHE, 1, copies)
    for name, share in zip((OWN, *serving.cache_tiers.names), probabilities, strict=False):
        yield _rung(f"prefix_hit_rate_tier_{name}", float(share) * n / mean, CHE, 1, copies)
    crowded = [f"{load.name} is busy {load.busy:.0%} of the time" for load in loads if load.busy > BUSY]
    if sum(load.probability for load in loads):
        yield _rung("fetch_mean", fetch_mean(loads, waits=False), ALONE, 1, "waits for the links are not counted")
        reasons = "; ".join(filter(None, [*crowded, copies]))
        yield _rung("fetch_mean", fetch_mean(loads, waits=True), QUEUE, 2, reasons)
    for load in loads:
        yield _rung(f"link_utilisation_tier_{load.name}", load.busy, QUEUE, 1, copies)
        yield _rung(f"write_utilisation_tier_{load.name}", load.writing, QUEUE, 1, copies)


def recorded_rungs(serving: Serving, requests: Requests) -> Iterator[Rung]:
    """The same for a trace: hits of each tier, requests served one by one, and the most of any eviction rule."""
    names = (OWN, *(serving.cache_tiers.names if serving.cache_tiers else ()))
    blocks = [serving.kv_blocks - 1, *serving.tier_blocks]
    joint = [total * serving.block_size // requests.hash_block for total in accumulate(blocks)]
    depths, asked = stack_depths(requests), float(np.sum(requests.input_tokens))
    within = [float(hit_tokens(requests, capacity, depths).sum()) / asked for capacity in joint]
    together = "of requests served one after the other"
    yield _rung("prefix_hit_rate", within[-1], STACK, 1, note=together)
    for name, share in zip(names, np.diff([0.0, *within]), strict=True):
        yield _rung(f"prefix_hit_rate_tier_{name}", float(share), STACK, 1, note=together)
    most = float(clairvoyant_hit_tokens(requests, joint[-1]).sum()) / asked
    yield rung("clairvoyant_hit_rate", most, "", BELADY, 1, "no rule of eviction finds more", claim=Claim.BOUND)


def _rung(metric: str, amount: float, source: str, order: int, outside: str = "", note: str = "") -> Rung:
    return rung(metric, amount, unit_of(SERVING, metric), source, order, note, outside, Claim.APPROXIMATION)
