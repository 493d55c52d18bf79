"""The ladder of closed forms for a service: orders 0, 1 and 2 of every metric."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

import numpy as np

from secondorder.analytic.serving.idle import Idle, idle, weighted_quantile
from secondorder.analytic.serving.mean_value import MeanValue, mean_value
from secondorder.analytic.serving.overload import overload_wait
from secondorder.analytic.serving.replica import Replica
from secondorder.analytic.serving.saturation import Saturation, saturation
from secondorder.errors import Unstable
from secondorder.scenarios.answers import Answer, Estimate
from secondorder.scenarios.serving import Serving
from secondorder.workloads.traces import Trace

QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}

NEAR = 0.1
MEANS_ALONE = f"neither waits nor spread are counted: the second order is more than {NEAR:.0%} away"

ALONE = "idle engine"
MEANS = "mean value (Little 1961)"
QUEUE = "bulk prefill queue beside processor sharing (after Inoue 2021, Cohen 1979)"
LENGTHS = "time to first token plus mean steps"
BALANCE = "balance of slots and tokens"
FLUID = "fluid overload"


def ladder(scenario: Serving) -> Answer:
    """Closed forms of every order. ``Unstable`` past saturation, unless a finite trace is replayed."""
    scenario.check_law()
    limit, rate = saturation(scenario), scenario.rate
    estimates = [*_order_0(idle(scenario))]
    if rate < limit.rate:
        second = list(_order_2(scenario, Replica.of(scenario, rate, limit)))
        with suppress(Unstable):  # means alone may have no fixed point where the queue has one
            estimates += _apart(_order_1(scenario, mean_value(scenario, rate), rate), second)
        estimates += second
    elif scenario.enable_prefix_caching and isinstance(scenario.arrivals, Trace):
        pass  # its prefix hits may carry it: what they save is not known here
    elif isinstance(scenario.arrivals, Trace):
        estimates += _overload(scenario, limit)
    else:
        Replica.of(scenario, rate, limit)
    estimates += _saturation(scenario, limit, rate)
    order = {e.metric: None for e in estimates}
    ranked = [e for metric in order for e in estimates if e.metric == metric]
    how = f"closed forms at {rate:.4g} request/s, {rate / limit.rate:.0%} of saturation"
    return Answer(scenario=scenario.name, estimates=tuple(ranked), how=how)


def _order_0(alone: Idle) -> Iterator[Estimate]:
    for name, values in (("ttft", alone.ttft), ("tpot", alone.tpot), ("e2el", alone.e2el)):
        kept = np.isfinite(values)
        if not kept.any():
            continue
        values, weight = values[kept], alone.weight[kept] / alone.weight[kept].sum()
        yield Estimate(metric=f"{name}_mean", amount=float(values @ weight), unit="s", source=ALONE, order=0)
        for label, level in QUANTILES.items():
            amount = weighted_quantile(values, weight, level)
            yield Estimate(metric=f"{name}_{label}", amount=amount, unit="s", source=ALONE, order=0)


def _order_1(scenario: Serving, means: MeanValue, rate: float) -> Iterator[Estimate]:
    amounts = {"ttft_mean": means.ttft, "e2el_mean": means.e2el}
    if scenario.offered.mean_output > 1:
        amounts["tpot_mean"] = means.tpot
    for metric, amount in amounts.items():
        yield Estimate(metric=metric, amount=amount, unit="s", source=MEANS, order=1)
    running = means.decodes + rate * means.ttft
    yield Estimate(metric="running_mean", amount=running, unit="", source=MEANS, order=1)
    throughput = {
        "request_throughput": (rate, "request/s"),
        "output_throughput": (rate * scenario.offered.mean_output, "token/s"),
    }
    for metric, (amount, unit) in throughput.items():
        yield Estimate(metric=metric, amount=amount, unit=unit, source=MEANS, order=1)


def _apart(first: Iterator[Estimate], second: list[Estimate]) -> Iterator[Estimate]:
    """Means, outside their domain where what they leave out, the queue of the second order, moves them."""
    queued = {e.metric: e.amount for e in second}
    for e in first:
        near = abs(e.amount - queued.get(e.metric, e.amount)) <= NEAR * queued.get(e.metric, e.amount)
        yield e if near else replace(e, in_domain=False, note=MEANS_ALONE)


def _order_2(scenario: Serving, replica: Replica) -> Iterator[Estimate]:
    note = "; ".join(replica.outside)

    def rung(metric: str, amount: float, source: str = QUEUE, unit: str = "s") -> Estimate:
        return Estimate(metric=metric, amount=amount, unit=unit, source=source, order=2, in_domain=not note, note=note)

    yield rung("ttft_mean", replica.ttft_mean)
    for label, level in QUANTILES.items():
        yield rung(f"ttft_{label}", replica.ttft_quantile(level))
    if scenario.offered.mean_output > 1:
        yield rung("tpot_mean", replica.tpot_mean)
        for label, level in QUANTILES.items():
            yield rung(f"tpot_{label}", replica.tpot_quantile(level))
        yield rung("running_mean", replica.running, unit="")
    yield rung("e2el_mean", replica.e2el_mean)
    for label, level in QUANTILES.items():
        yield rung(f"e2el_{label}", replica.e2el_quantile(level), LENGTHS)


def _saturation(scenario: Serving, limit: Saturation, rate: float) -> Iterator[Estimate]:
    known, note = limit.in_domain and not scenario.enable_prefix_caching, limit.note
    if scenario.enable_prefix_caching:
        note += "; prefix hits are not counted, with them it is higher"
    if limit.waves is not None:
        note += f"; down to {limit.waves:.4g} request/s if requests of one length run in phase"
    for metric, amount, unit in (
        ("saturation_rate", limit.rate, "request/s"),
        ("utilisation", rate / limit.rate, ""),
    ):
        yield Estimate(metric=metric, amount=amount, unit=unit, source=BALANCE, order=2, in_domain=known, note=note)


def _overload(scenario: Serving, limit: Saturation) -> Iterator[Estimate]:
    """A finite trace faster than the engine: what waits is what the fluid says."""
    assert isinstance(scenario.arrivals, Trace)
    window = float(scenario.arrivals.requests.arrival[-1])
    mean, p99 = overload_wait(scenario.rate, limit.rate, window)
    backlog = (scenario.rate - limit.rate) * window
    note = f"offered {scenario.rate / limit.rate:.2f} of saturation over {window:.3g} s"
    deep = backlog > limit.sequences
    if not deep:
        note += f"; {backlog:.0f} requests too many do not fill {limit.sequences:.0f} slots"
    for metric, amount in (("ttft_mean", mean), ("ttft_p99", p99)):
        yield Estimate(metric=metric, amount=amount, unit="s", source=FLUID, order=1, in_domain=deep, note=note)
