"""What is measured of a run: latencies, throughputs, and averages over time."""

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from secondorder.answers.metric import QUANTILES, value_name
from secondorder.scenarios.cache_tiers import OWN
from secondorder.scenarios.serving import Serving
from secondorder.simulate.serving.asks import PICO
from secondorder.simulate.serving.by_priority import latencies_by_priority, ratios_by_priority
from secondorder.simulate.serving.columns import Columns, columns
from secondorder.simulate.serving.single_run import ServingRun
from secondorder.workloads.traces import Trace

Bools: TypeAlias = npt.NDArray[np.bool_]


def measure(scenario: Serving, run: ServingRun, start: int, end: int) -> dict[str, float]:
    """The metrics of the requests from ``start`` to ``end``, and of the engine meanwhile."""
    served = columns(run)
    found: dict[str, float] = {}
    for name, each in {**served.latencies, **latencies_by_priority(served, scenario.priority_levels)}.items():
        values = each[start:end][~np.isnan(each[start:end])]
        if len(values):
            found[value_name(name, "mean")] = float(values.mean())
            levels = np.quantile(values, list(QUANTILES.values()))
            found |= {value_name(name, label): float(value) for label, value in zip(QUANTILES, levels, strict=True)}
    of_all = totals(scenario, served, start, end)
    return found | {metric: above / below for metric, (above, below) in of_all.items() if below}


def totals(scenario: Serving, run: Columns, start: int, end: int) -> dict[str, tuple[float, float]]:
    """Numerator and denominator of each metric that is no mean or quantile of latencies: rates and averages."""
    since, until = float(run.arrival[start]), float(run.arrival[end - 1])
    if isinstance(scenario.arrivals, Trace):
        until = float(run.finish.max())
    done = (run.finish >= since) & (run.finish <= until)
    span = max(until - since, PICO)
    found = {
        "request_throughput": (float(np.count_nonzero(done)), span),
        "output_throughput": (_tokens(run, done, since, until), span),
    }
    good = _good(scenario, run, done) if scenario.goodput else None
    if good is not None:
        found["request_goodput"] = (float(np.count_nonzero(good)), span)
    found |= {metric: (total, span) for metric, total in _over_time(run, since, until).items()}
    found["preemptions_per_request"] = (float(run.preemptions[start:end].sum()), float(end - start))
    if scenario.shares_prefixes:
        cached, asked = run.cached_tokens[start:end].sum(), run.input_tokens[start:end].sum()
        found["prefix_hit_rate"] = (float(cached), float(asked))
        found |= of_tiers(run, slice(start, end), since, until)
    return found | ratios_by_priority(run, scenario.priority_levels, slice(start, end), good, span)


def of_tiers(run: Columns, part: slice, since: float, until: float) -> dict[str, tuple[float, float]]:
    """Share of the prompt tokens that each tier of the cache had, and how busy the links to the lower ones were."""
    if not run.below:
        return {}
    asked, cached = float(run.input_tokens[part].sum()), float(run.cached_tokens[part].sum())
    tokens = {name: float(each[part].sum()) for name, each in run.below.items()}
    tokens = {OWN: cached - sum(tokens.values()), **tokens}
    found = {f"prefix_hit_rate_tier_{name}": (amount, asked) for name, amount in tokens.items()}
    for metric, links in (("link_utilisation", run.links), ("write_utilisation", run.writes)):
        for name, (starts, ends) in links.items():
            busy = float((ends.clip(since, until) - starts.clip(since, until)).sum())
            found[f"{metric}_tier_{name}"] = (busy, max(until - since, PICO))
    return found


def _tokens(run: Columns, done: Bools, since: float, until: float) -> float:
    """Output tokens of a span of time: of each request the share that its decoding has in it."""
    begun = (run.first_token >= since) & (run.first_token <= until)
    whole = begun & done
    partly = np.flatnonzero((run.finish > since) & (run.first_token < until) & ~whole)
    first, finish, later = run.first_token[partly], run.finish[partly], run.output_tokens[partly] - 1
    inside = (finish.clip(since, until) - first.clip(since, until)) / np.maximum(finish - first, PICO)
    together = int(run.output_tokens[whole].sum()) - np.count_nonzero(whole) + np.count_nonzero(begun)
    return float(together + (later * inside).sum())


def _good(scenario: Serving, run: Columns, done: Bools) -> Bools:
    """Which of those done met every objective; a single output token has no time per output token."""
    met = done.copy()
    for name, most in scenario.objectives.items():
        met &= ~(run.latencies[name] > most)
    return met


def _over_time(run: Columns, since: float, until: float) -> dict[str, float]:
    """Integrals of the engine's state between two times; a span of the run holds since the one before."""
    first, last = np.searchsorted(run.end, (since, until))
    part = slice(int(first), int(last) + 1)
    spans = np.diff(run.end[part].clip(since, until), prepend=since)
    return {
        "running_mean": float((run.running[part] * spans).sum()),
        "kv_usage_mean": float((run.kv_usage[part] * spans).sum()),
    }
