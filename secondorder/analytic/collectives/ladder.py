"""The ladders of closed forms for a collective and for a pipeline, rung by rung.

- Order 0: alone, ideal: latency and bandwidth with nothing slow; a pipeline without a bubble.
- Order 1: means: slow links and ranks, the bubble, sends; no jitter.
- Order 2: jitter, where there is a theory: exact, or an approximation with the error that was measured. Without a
  theory no claim is made; the note of order 1 then gives bounds, if they are known.

Each rung claims to be exact, an approximation or a bound.
"""

from collections.abc import Iterator
from typing import TypedDict

import numpy as np

from secondorder.analytic.collectives import alpha_beta, bubble, critical_path, last_passage, ring, stragglers, tree
from secondorder.answers.answer import Answer, ranked
from secondorder.answers.declared import COLLECTIVE, PIPELINE
from secondorder.answers.estimate import Claim, Rung, Standing, approximation, bound, exact, rungs
from secondorder.laws import Deterministic, Exponential, Gamma, LogNormal, Normal, Service
from secondorder.laws import Erlang as ErlangLaw
from secondorder.quantities import pretty, si
from secondorder.scenarios.collective import Collective
from secondorder.scenarios.pipeline import Pipeline

LEAD = 0.01
"""Share of the whole that the last rank's lead may take for a steady cost to be called exact."""

LIGHT = (ErlangLaw, Gamma, LogNormal, Normal)
"""Laws for which the approximations by two moments were compared with simulations."""


# Collectives


def solve_collective(collective: Collective) -> Answer:
    """The closed forms of a collective, every order.

    ``time_mean``, ``time_p99`` (s): of one operation; ``algorithm_bandwidth``, ``bus_bandwidth`` (byte/s);
    ``stage_cost``: the time over that of its hops without jitter and slow parts. Errors: ``InputError``.

    >>> from secondorder.fleets.clusters import Link
    >>> ring = Collective(ranks=8, size="1 GB", link=Link(bandwidth="50 GB/s"), jitter="exponential", repeats=100)
    >>> [str(rung) for rung in solve_collective(ring)["stage_cost"]]
    ['1', '1', '1.88']
    """
    ideal = ideal_seconds(collective)
    estimates = [*_ideal(collective, ideal), *_slow(collective, ideal), *_jitter(collective, ideal)]
    how = f"closed forms of {collective.operation} by {collective.algorithm} among {collective.ranks} ranks"
    return Answer(scenario=collective.name, estimates=ranked(estimates), how=how)


class _Sent(TypedDict):
    """What the functions of a collective take: ranks, byte, byte/s and s."""

    ranks: int
    size: float
    bandwidth: float
    latency: float


def ideal_seconds(collective: Collective) -> float:
    """Time in s by the alpha-beta formula of the algorithm, or as measured; nothing slow, no jitter."""
    if collective.measured is not None:
        sizes, times = np.array(collective.measured, dtype=np.float64).T
        return float(np.interp(si(collective.size), sizes, times))
    size, link = si(collective.size), collective.link
    given = _Sent(ranks=collective.ranks, size=size, bandwidth=si(link.bandwidth), latency=si(link.latency))
    match collective.operation, collective.algorithm:
        case "all_reduce", "hierarchical":
            assert collective.node_link is not None
            assert collective.ranks_per_node is not None
            found = alpha_beta.hierarchical_all_reduce(
                **given,
                ranks_per_node=collective.ranks_per_node,
                node_bandwidth=si(collective.node_link.bandwidth),
                node_latency=si(collective.node_link.latency),
            )
            return float(found)
        case "all_reduce", algorithm:
            return float(getattr(alpha_beta, f"{algorithm}_all_reduce")(**given))
        case _, "halving_doubling":
            return float(alpha_beta.halving(**given))
        case operation, _:
            return float(getattr(alpha_beta, operation)(**given))


def _amounts(collective: Collective, time: float, ideal: float) -> dict[str, float]:
    size = si(collective.size)
    bus = alpha_beta.bus_bandwidth(operation=collective.operation, ranks=collective.ranks, size=size, time=time)
    return {
        "time_mean": time,
        "algorithm_bandwidth": size / time,
        "bus_bandwidth": float(bus),
        "stage_cost": time / ideal,
    }


def _ideal(collective: Collective, ideal: float) -> Iterator[Rung]:
    measured = collective.measured is not None
    source = "measured table" if measured else f"alpha-beta model ({collective.algorithm})"
    standing = approximation("measured, linear between the sizes") if measured else bound("no jitter, nothing slow")
    yield from rungs(COLLECTIVE, 0, source, standing, _amounts(collective, ideal, ideal) | {"time_p99": ideal})


def _slow(collective: Collective, ideal: float) -> Iterator[Rung]:
    law = _chance(collective)
    standing = exact("without jitter") if law is None else bound(f"no jitter{_bounds(collective, law, ideal)}")
    time, source = ideal, "slow parts (none)"
    if not collective.even:
        round_a_ring = collective.algorithm == "ring"
        slowest = ideal * ring.slow_link(factors=_factors(collective)) if round_a_ring else 0.0
        time = slowest or critical_path.seconds(collective)
        source = "slowest link of the ring" if round_a_ring else "longest path"
    yield from rungs(COLLECTIVE, 1, source, standing, _amounts(collective, time, ideal) | {"time_p99": time})


def _factors(collective: Collective) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Factor on the hop to each rank of a ring."""
    n = collective.ranks
    return np.array([collective.factor((rank - 1) % n, rank) for rank in range(n)])


def _chance(collective: Collective) -> Service | None:
    if collective.jitter is None or isinstance(collective.jitter, Deterministic):
        return None
    return collective.law("jitter")


def _bounds(collective: Collective, law: Service, ideal: float) -> str:
    if not collective.even:
        return ""
    barrier = ideal * float(stragglers.factor(law, count=collective.ranks))
    return f"; with a barrier after each stage at most {pretty(barrier, 's')}"


def _jitter(collective: Collective, ideal: float) -> Iterator[Rung]:
    law = _chance(collective)
    if law is None:
        return
    pair = collective.ranks == 2 and collective.algorithm != "tree" and collective.even
    trees = collective.algorithm == "tree" and collective.even and collective.repeats == 1
    if pair:
        yield from _pair(collective, law, ideal)
    elif collective.algorithm == "ring":
        yield from _ring(collective, law, ideal)
    elif trees and law.scv <= tree.SPREAD:
        yield from _tree(collective, law, ideal)


def _pair(collective: Collective, law: Service, ideal: float) -> Iterator[Rung]:
    time = ideal * ring.two_ranks_stage_cost(law=law)
    yield from rungs(COLLECTIVE, 2, "two ranks: the later of two", exact(), _amounts(collective, time, ideal))


def _ring(collective: Collective, law: Service, ideal: float) -> Iterator[Rung]:
    stages = len(collective.stages) * collective.repeats
    if isinstance(law, Exponential):
        factors = _factors(collective)
        even = collective.even
        cost = (
            float(ring.exponential_stage_cost(ranks=collective.ranks))
            if even
            else ring.uneven_exponential_stage_cost(means=factors)
        )
        source = "ring of exponential hops: 2 - 1/n" if even else "closed cycle of exponential servers"
        standing = exact("past the first operations")
        share = float(ring.lead(ranks=collective.ranks)) * float(factors.max()) / (stages * cost)
        if share > LEAD:
            lead = f"the last rank's lead adds up to {100 * share:.2g} % to so few operations"
            standing = exact("past the first operations", outside=lead)
    elif collective.even and isinstance(law, LIGHT):
        cost = float(ring.approximate_stage_cost(scv=law.scv, ranks=collective.ranks))
        source = "ring by two moments"
        wide = f"a cv above {ring.APPROXIMATE_TO}" if law.scv > ring.APPROXIMATE_TO**2 else ""
        standing = approximation("linear in the cv, within 2.5 %", outside=wide)
    else:
        return
    yield from rungs(COLLECTIVE, 2, source, standing, _amounts(collective, ideal * cost, ideal))


def _tree(collective: Collective, law: Service, ideal: float) -> Iterator[Rung]:
    both = collective.operation == "all_reduce"
    found = (tree.all_reduce if both else tree.reduction)(law=law, ranks=collective.ranks)
    hop = collective.stages[0].seconds
    amounts = _amounts(collective, found.mean * hop, ideal) | {"time_p99": found.quantile(0.99) * hop}
    yield from rungs(COLLECTIVE, 2, "tree: recursion of laws", exact("to 0.1 %"), amounts)


# Pipelines


def solve_pipeline(pipeline: Pipeline) -> Answer:
    """The closed forms of a pipeline, every order.

    ``time_mean``, ``time_p99`` (s): of a step; ``bubble_fraction``: the share of it that a stage idles, over all
    stages; ``in_flight``: the largest number of microbatches whose activations the first stage holds at once. Errors:
    ``InputError``.

    >>> wave = Pipeline(stages=2, microbatches=2, schedule="forward", forward="exponential 1 s")
    >>> [str(rung) for rung in solve_pipeline(wave)["time_mean"]]
    ['2 s', '3 s', '3.5 s']
    """
    estimates = [*_full(pipeline), *_bubble(pipeline), *_passes(pipeline)]
    how = f"closed forms of {pipeline.microbatches} microbatches in {pipeline.stages} stages, {pipeline.schedule}"
    return Answer(scenario=pipeline.name, estimates=ranked(estimates), how=how)


def _full(pipeline: Pipeline) -> Iterator[Rung]:
    time = pipeline.microbatches * sum(pipeline.seconds)
    amounts = {"time_mean": time, "time_p99": time, "bubble_fraction": 0.0}
    yield from rungs(PIPELINE, 0, "stages always busy", bound("no bubble, nothing slow, no jitter"), amounts)


def _bubble(pipeline: Pipeline) -> Iterator[Rung]:
    time, standing = _still(pipeline)
    factors = np.array(pipeline.factors)
    busy = pipeline.microbatches * sum(pipeline.seconds) * float(factors.mean())
    if _random(pipeline) and not standing.outside:
        standing = bound("no jitter; exact without it")
    amounts = {"time_mean": time, "time_p99": time, "bubble_fraction": 1 - busy / time}
    yield from rungs(PIPELINE, 1, "bubble of the schedule", standing, amounts)
    held = float(bubble.in_flight(**_shape(pipeline)))
    yield from rungs(PIPELINE, 1, "order of work of the schedule", exact(), {"in_flight": held})


class _Shape(TypedDict):
    """What the functions of a pipeline's shape take."""

    stages: int
    microbatches: int
    schedule: str
    interleaving: int


def _shape(pipeline: Pipeline) -> _Shape:
    return _Shape(
        stages=pipeline.stages,
        microbatches=pipeline.microbatches,
        schedule=pipeline.schedule,
        interleaving=pipeline.interleaving,
    )


def _still(pipeline: Pipeline) -> tuple[float, Standing]:
    """The time in s without jitter, and how far it may be trusted."""
    forward, backward = pipeline.seconds
    factors, send, schedule = np.array(pipeline.factors), pipeline.send_seconds, pipeline.schedule
    delays = send * float(bubble.send_delays(**_shape(pipeline)))
    even = bool((factors == factors[0]).all())
    work = bubble.uneven_time(
        forward=factors * forward,
        backward=factors * backward,
        microbatches=pipeline.microbatches,
        interleaving=pipeline.interleaving,
    )
    outside = ""
    if schedule == "1f1b" and not even:
        outside = "stages are not alike: without jitter an upper bound, since 1f1b fills and drains behind a slow stage"
    elif schedule == "interleaved" and not even:
        outside = "stages are not alike, and interleaved"
    elif schedule == "interleaved" and send * pipeline.interleaving > min(forward, backward) * factors[0]:
        outside = "sends are longer than the pass of a chunk: it is a lower bound"
    return work + delays, approximation(outside=outside) if outside else exact("without jitter")


def _random(pipeline: Pipeline) -> bool:
    return any(pipeline.chances(name) for name in _names(pipeline))


def _names(pipeline: Pipeline) -> list[str]:
    return ["forward"] if pipeline.backward is None else ["forward", "backward"]


def _passes(pipeline: Pipeline) -> Iterator[Rung]:
    """Order 2: with one stage or one microbatch the mean needs no theory; waves are last-passage percolation."""
    if not _random(pipeline):
        return
    delays = pipeline.send_seconds * float(bubble.send_delays(**_shape(pipeline)))
    if pipeline.stages == 1 or pipeline.microbatches == 1:
        amounts = {"time_mean": _still(pipeline)[0]}
        yield from rungs(PIPELINE, 2, "passes one after another", exact(), amounts)
        return
    if pipeline.schedule not in ("forward", "gpipe") or any(factor != 1 for factor in pipeline.factors):
        return
    waves = [_wave(pipeline, name, mean) for name, mean in zip(_names(pipeline), pipeline.seconds, strict=False)]
    if any(wave is None for wave in waves):
        return
    found = [wave for wave in waves if wave is not None]
    standing = min((each for _, each in found), key=_certainty)
    time = sum(seconds for seconds, _ in found) + delays
    yield from rungs(PIPELINE, 2, "last-passage percolation", standing, {"time_mean": time})
    if pipeline.schedule == "forward" and standing == exact():
        p99 = last_passage.exponential_quantile(0.99, stages=pipeline.stages, microbatches=pipeline.microbatches)
        amounts = {"time_p99": pipeline.seconds[0] * float(p99) + delays}
        yield from rungs(PIPELINE, 2, "last-passage percolation", standing, amounts)


def _certainty(standing: Standing) -> tuple[bool, bool]:
    return not standing.outside, standing.claim is Claim.EXACT


def _wave(pipeline: Pipeline, name: str, mean: float) -> tuple[float, Standing] | None:
    """The mean in s of one wave, and how far it may be trusted; None where there is no theory."""
    shape = {"stages": pipeline.stages, "microbatches": pipeline.microbatches}
    match pipeline.chances(name):
        case ():
            return (pipeline.stages + pipeline.microbatches - 1) * mean, exact()
        case (Exponential(),):
            return mean * float(last_passage.exponential_mean(**shape)), exact()
        case (law,) if isinstance(law, LIGHT):
            wide = f"a cv above {last_passage.APPROXIMATE_TO}" if law.scv > last_passage.APPROXIMATE_TO**2 else ""
            standing = approximation("linear in the cv, within 1 %", outside=wide)
            return mean * float(last_passage.approximate_mean(scv=law.scv, **shape)), standing
    return None
