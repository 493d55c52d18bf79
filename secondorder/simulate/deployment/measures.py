"""What is measured of a deployment: latencies of the served, fates, waste, and what a fault cost."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd

from secondorder.answers.metric import value_name
from secondorder.scenarios.cache_tiers import OWN
from secondorder.scenarios.deployment import Deployment
from secondorder.simulate.deployment.fate import Fate
from secondorder.simulate.deployment.run import DeploymentRun

QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
AROUND = 1_800.0
"""Requests that come within this many seconds before or after a fault count as around it."""


def measure(scenario: Deployment, run: DeploymentRun, start: int, end: int) -> dict[str, float]:
    """The metrics of the requests from ``start`` to ``end``; ``wasted_share`` and ``availability`` of the whole run."""
    kept = run.requests.iloc[start:end]
    found: dict[str, float] = {}
    for name in ("ttft", "tpot", "e2el"):
        found |= latency(name, kept[name].dropna().to_numpy())
    for level in scenario.serving.priority_levels:
        mine = kept[kept["priority"] == level]
        for name in ("ttft", "tpot", "e2el"):
            found |= latency(f"{name}_class_{level}", mine[name].dropna().to_numpy())
    since, until = float(kept["arrival"].iloc[0]), float(kept["arrival"].iloc[-1])
    span = max(until - since, 1e-12)
    done = run.requests[run.requests["finish"].between(since, until)]
    found["request_throughput"] = len(done) / span
    if scenario.goodput:
        found["request_goodput"] = int(good(scenario, done).sum()) / span
    found["running_mean"] = running(run.series, since, until)
    if scenario.shares_prefixes:
        served = kept[kept["fate"] == Fate.SERVED]
        found["prefix_hit_rate"] = float(served["cached_tokens"].sum() / max(1, served["input_tokens"].sum()))
        found |= of_tiers(scenario, served)
    found["preemptions_per_request"] = float(kept["preemptions"].mean())
    found["imbalance"] = imbalance(kept["replica"].to_numpy(), len(scenario.engines))
    found["attempts_mean"] = float(kept["attempts"].mean())
    for fate in Fate:
        found[f"{fate.name.lower()}_share"] = float((kept["fate"] == fate).mean())
    found["wasted_share"] = (run.computed - run.delivered) / max(1, run.computed)
    lasted = float(run.requests["ended"].max())
    found["availability"] = 1 - run.downtime / max(run.paid, 1e-12)
    if scenario.autoscaler is not None:
        found |= {"replicas_mean": run.paid / lasted, "replica_hours": run.paid / 3600}
    return found


def of_tiers(scenario: Deployment, served: pd.DataFrame) -> dict[str, float]:
    """Share of the prompt tokens that each tier of the caches had, and the time of requests for lower ones."""
    if scenario.serving.cache_tiers is None:
        return {}
    asked, names = max(1, served["input_tokens"].sum()), scenario.serving.cache_tiers.names
    below = {name: served[f"{name}_tokens"].sum() for name in names}
    tokens = {OWN: served["cached_tokens"].sum() - sum(below.values()), **below}
    away = served["fetch"].to_numpy()
    rates = {f"prefix_hit_rate_tier_{name}": float(amount / asked) for name, amount in tokens.items()}
    return rates | latency("fetch", away[away > 0])


def latency(name: str, values: npt.NDArray[np.float64]) -> dict[str, float]:
    """The mean and the quantiles of a latency."""
    if not len(values):
        return {}
    levels = np.quantile(values, list(QUANTILES.values()))
    found = {value_name(name, label): float(level) for label, level in zip(QUANTILES, levels, strict=True)}
    return {value_name(name, "mean"): float(values.mean())} | found


def good(scenario: Deployment, requests: pd.DataFrame) -> npt.NDArray[np.bool_]:
    """Which requests were served within every latency limit; one output token has no time per output token."""
    met: npt.NDArray[np.bool_] = (requests["fate"] == Fate.SERVED).to_numpy()
    for name, most in scenario.goodput.items():
        met = met & ~(requests[name].to_numpy() > most)
    return met


def running(series: pd.DataFrame, since: float, until: float) -> float:
    """Sequences that run in all replicas together, on average over a span of time."""
    total = 0.0
    for _, rows in series.groupby("replica"):
        ends = rows["time"].to_numpy().clip(since, until)
        total += float(rows["running"].to_numpy() @ np.diff(ends, prepend=since))
    return total / max(until - since, 1e-12)


def imbalance(replica: npt.NDArray[np.int64], count: int) -> float:
    """Requests of the replica that had the most, over the mean."""
    shares = np.bincount(replica[replica >= 0], minlength=count)
    return float(shares.max() / max(shares.mean(), 1e-12))


def cost_of_faults(scenario: Deployment, run: DeploymentRun, undisturbed: DeploymentRun) -> Mapping[str, float]:
    """What the faults cost against the same requests without them.

    ``goodput_lost``: requests that were good without the faults and are not with them, less the reverse;
    ``ttft_p99_around``: of the requests that come in the hour around the first stated fault; ``recovery_time``: from
    that fault until, after its peak, the number of requests inside is first back at what it stays below 95 % of the
    time without faults.
    """
    assert scenario.faults is not None
    first = scenario.faults.moments[0]
    lost = int(good(scenario, undisturbed.requests).sum() - good(scenario, run.requests).sum())
    found = {"goodput_lost": float(lost)}
    near = run.requests[run.requests["arrival"].between(first - AROUND, first + AROUND)]["ttft"].dropna()
    if len(near):
        found["ttft_p99_around"] = float(near.quantile(0.99))
    recovered = recovery(run.requests, undisturbed.requests, first)
    return found if recovered is None else found | {"recovery_time": recovered}


def recovery(requests: pd.DataFrame, undisturbed: pd.DataFrame, since: float) -> float | None:
    """Seconds from a fault until as few requests are inside as usual; None where arrivals end before."""
    last = float(requests["arrival"].iloc[-1])
    usual = np.quantile(inside(undisturbed, undisturbed["arrival"].to_numpy()), 0.95)
    times = np.unique(np.concatenate([requests["arrival"], requests["ended"]]))
    times = times[(times >= since) & (times <= last)]
    numbers = inside(requests, times)
    worst = int(numbers.argmax())
    back = np.flatnonzero(numbers[worst:] <= usual)
    return float(times[worst + back[0]] - since) if len(back) else None


def inside(requests: pd.DataFrame, times: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Requests that have come and not ended at these times."""
    arrivals, ends = requests["arrival"].to_numpy(), np.sort(requests["ended"].to_numpy())
    return np.searchsorted(arrivals, times, side="right") - np.searchsorted(ends, times, side="right")
