"""The ladder of closed forms for a service: orders 0, 1 and 2 of every metric."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

import numpy as np

from secondorder.analytic.remember import itself, remembered
from secondorder.analytic.serving.cache_tiers import recorded_rungs, tier_rungs
from secondorder.analytic.serving.domain import short_answers
from secondorder.analytic.serving.idle import Idle, idle, weighted_quantile
from secondorder.analytic.serving.length_groups import engine_and_lengths
from secondorder.analytic.serving.mean_value import MeanValue, mean_value
from secondorder.analytic.serving.overload import overload_wait
from secondorder.analytic.serving.pipeline_stages import of_stages
from secondorder.analytic.serving.ranks import rank_of
from secondorder.analytic.serving.replica import Replica
from secondorder.analytic.serving.saturation import Saturation, demand, saturation
from secondorder.answers.answer import Answer, ranked
from secondorder.answers.declared import SERVING
from secondorder.answers.estimate import Claim, Rung, bound, rung, rungs
from secondorder.answers.metric import QUANTILES, unit_of
from secondorder.errors import Unstable
from secondorder.scenarios.serving import Serving
from secondorder.workloads.traces import Trace

NEAR = 0.1
DIGITS = 8
"""Significant digits of a figure that is not exact; rounding errors reach the eleventh."""
MEANS_ALONE = f"neither waits nor spread are counted: the second order is more than {NEAR:.0%} away"

OF_ALL_RANKS = ("running_mean", "request_throughput", "output_throughput")
"""Metrics that add up over data-parallel ranks."""
IN_LOCKSTEP = "mean field of the ranks"
BY_PRIORITY = "the most urgent go first: that their waits differ is not counted"

ALONE = "idle engine"
MEANS = "mean value (Little 1961)"
QUEUE = "bulk prefill queue beside processor sharing (after Inoue 2021, Cohen 1979)"
LENGTHS = "time to first token plus mean steps"
BALANCE = "balance of slots and tokens"
FLUID = "fluid overload"


@remembered(itself)
def ladder(scenario: Serving) -> Answer:
    """Closed forms of every order. ``Unstable`` past saturation, unless a finite trace is replayed."""
    scenario.check_law()
    if scenario.data_parallel_size > 1:
        return _of_ranks(scenario)
    if scenario.pipeline_parallel_size > 1:
        return of_stages(scenario, _order_0(scenario))
    return _of_one(scenario, saturation(scenario))


def _of_one(scenario: Serving, limit: Saturation) -> Answer:
    """Of one scheduler, which saturates where ``limit`` says."""
    rate = scenario.rate
    estimates = [*_order_0(scenario)]
    if rate < limit.rate:
        second = list(_order_2(scenario, Replica.of(scenario, rate, limit)))
        with suppress(Unstable):  # means alone may have no fixed point where the queue has one
            estimates += _apart(_order_1(scenario, mean_value(scenario, rate), rate), second)
        estimates += second
    elif scenario.shares_prefixes and isinstance(scenario.arrivals, Trace):
        pass  # its prefix hits may carry it: what they save is not known here
    elif isinstance(scenario.arrivals, Trace):
        estimates += _overload(scenario, limit)
    else:
        Replica.of(scenario, rate, limit)
    estimates += _saturation(scenario, limit, rate)
    if scenario.cache_tiers is not None and scenario.shares_prefixes:
        estimates += _tiers(scenario, estimates)
    how = f"closed forms at {rate:.4g} request/s, {rate / limit.rate:.0%} of saturation"
    return Answer(scenario=scenario.name, estimates=ranked(estimates), how=how)


def _of_ranks(scenario: Serving) -> Answer:
    """One rank in lockstep with the others, and what all of them do together."""
    ranks, limit = scenario.data_parallel_size, saturation(scenario)
    rank = rank_of(scenario, scenario.rate / ranks)
    one = _of_one(rank, limit.of_rank(rank, ranks))
    alone = _order_0(rank_of(scenario, 0.0))
    estimates = [*alone, *(e for e in one.estimates if e.order and e.metric not in ("saturation_rate", "utilisation"))]
    summed = [replace(e, amount=e.amount * ranks) if e.metric in OF_ALL_RANKS else e for e in estimates]
    told = [e if e.claim is Claim.EXACT or not e.order else replace(e, note=IN_LOCKSTEP) for e in summed]
    rate = scenario.rate
    how = f"closed forms at {rate:.4g} request/s, {rate / limit.rate:.0%} of saturation, of {ranks} ranks in lockstep"
    return Answer(scenario=scenario.name, estimates=ranked([*told, *_saturation(scenario, limit, rate)]), how=how)


@remembered(engine_and_lengths)
def _order_0(scenario: Serving) -> tuple[Rung, ...]:
    return tuple(_alone(idle(scenario)))


def _alone(alone: Idle) -> Iterator[Rung]:
    for name, values in (("ttft", alone.ttft), ("tpot", alone.tpot), ("e2el", alone.e2el)):
        kept = np.isfinite(values)
        if not kept.any():
            continue
        values, weight = values[kept], alone.weight[kept] / alone.weight[kept].sum()
        amounts = {f"{name}_mean": float((values * weight).sum())}
        amounts |= {f"{name}_{label}": weighted_quantile(values, weight, level) for label, level in QUANTILES.items()}
        amounts = {metric: _significant(amount) for metric, amount in amounts.items()}
        yield from rungs(SERVING, 0, ALONE, bound("from below, a request alone"), amounts)


def _order_1(scenario: Serving, means: MeanValue, rate: float) -> Iterator[Rung]:
    amounts = {"ttft_mean": means.ttft, "e2el_mean": means.e2el}
    if scenario.offered.mean_output > 1:
        amounts["tpot_mean"] = means.tpot
    amounts["running_mean"] = means.decodes + rate * means.ttft
    for metric, amount in amounts.items():
        yield _rung(metric, amount, MEANS, 1)
    for metric, amount in (
        ("request_throughput", rate),
        ("output_throughput", _significant(rate * scenario.offered.mean_output)),
    ):
        yield _rung(metric, amount, MEANS, 1, Claim.EXACT)


def _apart(first: Iterator[Rung], second: list[Rung]) -> Iterator[Rung]:
    """Means, outside their domain where the queue of the second order moves them, or is itself outside its own."""
    queued = {e.metric: e for e in second}
    for e in first:
        behind = queued.get(e.metric, e)
        near = abs(e.amount - behind.amount) <= NEAR * behind.amount
        yield replace(e, outside=behind.outside if near else MEANS_ALONE)


def _order_2(scenario: Serving, replica: Replica) -> Iterator[Rung]:
    outside = "; ".join(replica.outside)
    for_tokens = "; ".join(filter(None, (outside, short_answers(replica.batch))))
    for_tails = "; ".join(filter(None, (outside, BY_PRIORITY if _by_priority(scenario) else "")))

    def rung(metric: str, amount: float, source: str = QUEUE) -> Rung:
        tail = outside if metric.endswith("_mean") else for_tails
        return _rung(metric, amount, source, 2, outside=for_tokens if metric.startswith("tpot") else tail)

    yield rung("ttft_mean", replica.ttft_mean)
    for label, level in QUANTILES.items():
        yield rung(f"ttft_{label}", replica.ttft_quantile(level))
    if scenario.offered.mean_output > 1:
        yield rung("tpot_mean", replica.tpot_mean)
        for label, level in QUANTILES.items():
            yield rung(f"tpot_{label}", replica.tpot_quantile(level))
        yield rung("running_mean", replica.running)
    yield rung("e2el_mean", replica.e2el_mean)
    for label, level in QUANTILES.items():
        yield rung(f"e2el_{label}", replica.e2el_quantile(level), LENGTHS)


def _by_priority(scenario: Serving) -> bool:
    """Whether some requests go before others; the mean over all of them is what it is without (Kleinrock 1965)."""
    return scenario.scheduling_policy == "priority" and len(scenario.priority_levels) > 1


def _saturation(scenario: Serving, limit: Saturation, rate: float) -> Iterator[Rung]:
    hits = "prefix hits are not counted, with them it is higher" if scenario.shares_prefixes else ""
    outside, note = "; ".join(filter(None, (limit.outside, hits))), limit.note
    if limit.waves is not None and not limit.outside:
        note += f"; down to {limit.waves:.4g} request/s if requests of one length run in phase"
    for metric, amount in (("saturation_rate", limit.rate), ("utilisation", rate / limit.rate)):
        yield _rung(metric, amount, BALANCE, 2, outside=outside, note=note)


def _tiers(scenario: Serving, found: list[Rung]) -> Iterator[Rung]:
    """What the tiers of the cache find; requests that run take room of the first."""
    if isinstance(scenario.arrivals, Trace):
        yield from recorded_rungs(scenario, scenario.arrivals.requests)
        return
    running = max((e.amount for e in found if e.metric == "running_mean"), default=0.0)
    yield from tier_rungs(scenario, held=running * demand(scenario).held)


def _overload(scenario: Serving, limit: Saturation) -> Iterator[Rung]:
    """A finite trace faster than the engine: what waits is what the fluid says."""
    assert isinstance(scenario.arrivals, Trace)
    window = float(scenario.arrivals.requests.arrival[-1])
    mean, p99 = overload_wait(scenario.rate, limit.rate, window)
    backlog = (scenario.rate - limit.rate) * window
    note = f"offered {scenario.rate / limit.rate:.2f} of saturation over {window:.3g} s"
    few = f"{backlog:.0f} requests too many do not fill {limit.sequences:.0f} slots"
    outside = "" if backlog > limit.sequences else few
    for metric, amount in (("ttft_mean", mean), ("ttft_p99", p99)):
        yield _rung(metric, amount, FLUID, 1, outside=outside, note=note)


def _significant(amount: float) -> float:
    """A figure without the digits that are left to rounding, which differs with the vector extensions of a processor.

    >>> _significant(0.123456789123)
    0.12345679
    """
    return float(f"{amount:.{DIGITS}g}")


def _rung(
    metric: str,
    amount: float,
    source: str,
    order: int,
    claim: Claim = Claim.APPROXIMATION,
    *,
    outside: str = "",
    note: str = "",
) -> Rung:
    amount = amount if claim is Claim.EXACT else _significant(amount)
    return rung(metric, amount, unit_of(SERVING, metric), source, order, note, outside, claim)
