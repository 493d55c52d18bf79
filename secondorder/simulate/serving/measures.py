"""What is measured of a run: latencies, throughputs, and averages over time."""

import numpy as np
import pandas as pd

from secondorder.scenarios.serving import Serving
from secondorder.simulate.serving.asks import PICO
from secondorder.simulate.serving.single_run import ServingRun
from secondorder.workloads.traces import Trace

QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}

UNITS = {
    "request_throughput": "request/s",
    "request_goodput": "request/s",
    "output_throughput": "token/s",
    "running_mean": "",
    "kv_usage_mean": "",
    "preemptions_per_request": "",
    "prefix_hit_rate": "",
}


def measure(scenario: Serving, run: ServingRun, start: int, end: int) -> dict[str, float]:
    """The metrics of the requests from ``start`` to ``end``, and of the engine meanwhile."""
    kept = run.requests.iloc[start:end]
    found: dict[str, float] = {}
    for name in ("ttft", "tpot", "e2el"):
        values = kept[name].dropna().to_numpy()
        if len(values):
            found[f"{name}_mean"] = float(values.mean())
            levels = np.quantile(values, list(QUANTILES.values()))
            found |= {f"{name}_{label}": float(value) for label, value in zip(QUANTILES, levels, strict=True)}
    since, until = kept["arrival"].iloc[0], kept["arrival"].iloc[-1]
    if isinstance(scenario.arrivals, Trace):
        until = run.requests["finish"].max()
    done = run.requests[run.requests["finish"].between(since, until)]
    span = max(until - since, PICO)
    found["request_throughput"] = len(done) / span
    found["output_throughput"] = _tokens(run.requests, since, until) / span
    if scenario.goodput:
        found["request_goodput"] = _met(scenario, done) / span
    found |= _time_averages(run.series, since, until)
    found["preemptions_per_request"] = float(kept["preemptions"].mean())
    if scenario.enable_prefix_caching:
        found["prefix_hit_rate"] = float(kept["cached_tokens"].sum() / kept["input_tokens"].sum())
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


def _time_averages(series: pd.DataFrame, since: float, until: float) -> dict[str, float]:
    """Of the engine's state between two times; a row of the series holds since the one before."""
    ends = series["time"].to_numpy().clip(since, until)
    spans = np.diff(ends, prepend=since)
    total = max(spans.sum(), PICO)
    return {f"{name}_mean": float(series[name].to_numpy() @ spans / total) for name in ("running", "kv_usage")}
