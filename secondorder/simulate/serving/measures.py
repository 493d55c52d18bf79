"""What is measured of a run: latencies, throughputs, and averages over time."""

import numpy as np
import pandas as pd

from secondorder.answers.metric import QUANTILES, REQUEST_LATENCIES
from secondorder.scenarios.serving import Serving
from secondorder.simulate.serving.asks import PICO
from secondorder.simulate.serving.single_run import ServingRun
from secondorder.workloads.traces import Trace


def measure(scenario: Serving, run: ServingRun, start: int, end: int) -> dict[str, float]:
    """The metrics of the requests from ``start`` to ``end``, and of the engine meanwhile."""
    kept = run.requests.iloc[start:end]
    found: dict[str, float] = {}
    for name in REQUEST_LATENCIES:
        values = kept[name].dropna().to_numpy()
        if len(values):
            found[f"{name}_mean"] = float(values.mean())
            levels = np.quantile(values, list(QUANTILES.values()))
            found |= {f"{name}_{label}": float(value) for label, value in zip(QUANTILES, levels, strict=True)}
    return found | {metric: above / below for metric, (above, below) in totals(scenario, run, start, end).items()}


def totals(scenario: Serving, run: ServingRun, start: int, end: int) -> dict[str, tuple[float, float]]:
    """Numerator and denominator of each metric that is no mean or quantile of latencies: rates and averages."""
    kept = run.requests.iloc[start:end]
    since, until = kept["arrival"].iloc[0], kept["arrival"].iloc[-1]
    if isinstance(scenario.arrivals, Trace):
        until = run.requests["finish"].max()
    done = run.requests[run.requests["finish"].between(since, until)]
    span = max(float(until - since), PICO)
    found = {
        "request_throughput": (float(len(done)), span),
        "output_throughput": (_tokens(run.requests, since, until), span),
    }
    if scenario.goodput:
        found["request_goodput"] = (float(_met(scenario, done)), span)
    found |= {metric: (total, span) for metric, total in _over_time(run.series, since, until).items()}
    found["preemptions_per_request"] = (float(kept["preemptions"].sum()), float(len(kept)))
    if scenario.enable_prefix_caching:
        found["prefix_hit_rate"] = (float(kept["cached_tokens"].sum()), float(kept["input_tokens"].sum()))
    return found


def _tokens(requests: pd.DataFrame, since: float, until: float) -> float:
    """Output tokens of a span of time: of each request the share that its decoding has in it."""
    first, finish = requests["first_token"].to_numpy(), requests["finish"].to_numpy()
    inside = (finish.clip(since, until) - first.clip(since, until)) / np.maximum(finish - first, PICO)
    begun = (first >= since) & (first <= until)
    return float(((requests["output_tokens"].to_numpy() - 1) * inside).sum() + begun.sum())


def _met(scenario: Serving, done: pd.DataFrame) -> int:
    """How many requests met every objective; a single output token has no time per output token."""
    met = np.ones(len(done), bool)
    for name, most in scenario.objectives.items():
        met &= ~(done[name].to_numpy() > most)
    return int(met.sum())


def _over_time(series: pd.DataFrame, since: float, until: float) -> dict[str, float]:
    """Integrals of the engine's state between two times; a row of the series holds since the one before."""
    ends = series["time"].to_numpy().clip(since, until)
    spans = np.diff(ends, prepend=since)
    return {f"{name}_mean": float((series[name].to_numpy() * spans).sum()) for name in ("running", "kv_usage")}
