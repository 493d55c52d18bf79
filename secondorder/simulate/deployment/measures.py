"""What is measured of a deployment: latencies of the served, fates, waste, and what a fault cost."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from secondorder.answers.metric import QUANTILES, REQUEST_LATENCIES, value_name
from secondorder.arrays import Floats
from secondorder.scenarios.cache_tiers import OWN
from secondorder.scenarios.deployment import Deployment
from secondorder.simulate.deployment.fate import Fate
from secondorder.simulate.deployment.run import DeploymentRun
from secondorder.simulate.serving.asks import PICO

AROUND = 1_800.0
"""Requests that come within this many seconds before or after a fault count as around it."""


def measure(scenario: Deployment, run: DeploymentRun, start: int, end: int) -> dict[str, float]:
    """The metrics of the requests from ``start`` to ``end``; ``wasted_share`` and ``availability`` of the whole run."""
    found: dict[str, float] = {}
    for name, each in values(scenario, run).items():
        known = each[start:end][~np.isnan(each[start:end])]
        if len(known):
            levels = np.quantile(known, list(QUANTILES.values()))
            found[value_name(name, "mean")] = float(known.mean())
            found |= {value_name(name, label): float(level) for label, level in zip(QUANTILES, levels, strict=True)}
    of_all = Totals(scenario, run)(start, end)
    return found | {metric: above / below for metric, (above, below) in of_all.items() if below}


def values(scenario: Deployment, run: DeploymentRun) -> dict[str, Floats]:
    """What is measured of each request, NaN where it has none: its latencies, by priority too, and its fetch."""
    rows = run.requests
    found = {name: rows[name].to_numpy() for name in REQUEST_LATENCIES}
    for level in scenario.serving.priority_levels:
        mine = rows["priority"].to_numpy() == level
        found |= {f"{name}_class_{level}": np.where(mine, found[name], np.nan) for name in REQUEST_LATENCIES}
    if scenario.shares_prefixes and scenario.serving.cache_tiers is not None:
        away = rows["fetch"].to_numpy()
        found["fetch"] = np.where(away > 0, away, np.nan)
    return found


class Totals:
    """Numerator and denominator of each metric that is no mean or quantile, for the requests from one to another."""

    def __init__(self, scenario: Deployment, run: DeploymentRun) -> None:
        self.scenario, self.run = scenario, run
        self.arrival, self.finish = (run.requests[name].to_numpy() for name in ("arrival", "finish"))
        self.fate = run.requests["fate"].to_numpy()
        self.replica = run.requests["replica"].to_numpy()
        series = run.series.groupby("replica", sort=False)
        self.running = [(rows["time"].to_numpy(), rows["running"].to_numpy(float)) for _, rows in series]

    def __call__(self, start: int, end: int) -> dict[str, tuple[float, float]]:
        since, until = float(self.arrival[start]), float(self.arrival[end - 1])
        span = max(until - since, PICO)
        done = (self.finish >= since) & (self.finish <= until)
        found = {"request_throughput": (float(np.count_nonzero(done)), span)}
        if self.scenario.goodput:
            met = good(self.scenario, self.run.requests[done])
            found["request_goodput"] = (float(np.count_nonzero(met)), span)
        found["running_mean"] = (running(self.running, since, until), span)
        return found | self._of_requests(slice(start, end)) | self._of_replicas()

    def _of_requests(self, part: slice) -> dict[str, tuple[float, float]]:
        """Sums over the requests of a part, and their number."""
        rows, fate = self.run.requests.iloc[part], self.fate[part]
        number = float(len(rows))
        found: dict[str, tuple[float, float]] = {}
        if self.scenario.shares_prefixes:
            found |= of_prefixes(self.scenario, rows[fate == Fate.SERVED])
        routed = self.replica[part][self.replica[part] >= 0]
        count = len(self.scenario.engines)
        most = float(np.bincount(routed, minlength=count).max())
        found["preemptions_per_request"] = (float(rows["preemptions"].sum()), number)
        found["imbalance"] = (most * count, float(len(routed)))
        found["attempts_mean"] = (float(rows["attempts"].sum()), number)
        return found | {f"{each.name.lower()}_share": (float(np.count_nonzero(fate == each)), number) for each in Fate}

    def _of_replicas(self) -> dict[str, tuple[float, float]]:
        """What the replicas did over the whole run: tokens for nothing, time away, time that is paid for."""
        run = self.run
        found = {
            "wasted_share": (float(run.computed - run.delivered), float(run.computed)),
            "availability": (run.paid - run.downtime, run.paid),
        }
        if self.scenario.autoscaler is not None:
            found["replicas_mean"] = (run.paid, float(run.requests["ended"].max()))
            found["replica_hours"] = (run.paid / 3600, 1.0)
        return found


def of_prefixes(scenario: Deployment, served: pd.DataFrame) -> dict[str, tuple[float, float]]:
    """Share of the prompt tokens that the caches had, each tier of them too."""
    asked, cached = float(served["input_tokens"].sum()), float(served["cached_tokens"].sum())
    found = {"prefix_hit_rate": (cached, asked)}
    if scenario.serving.cache_tiers is None:
        return found
    below = {name: float(served[f"{name}_tokens"].sum()) for name in scenario.serving.cache_tiers.names}
    tokens = {OWN: cached - sum(below.values()), **below}
    return found | {f"prefix_hit_rate_tier_{name}": (amount, asked) for name, amount in tokens.items()}


def good(scenario: Deployment, requests: pd.DataFrame) -> npt.NDArray[np.bool_]:
    """Which requests were served within every latency limit; one output token has no time per output token."""
    met: npt.NDArray[np.bool_] = (requests["fate"] == Fate.SERVED).to_numpy()
    for name, most in scenario.goodput.items():
        met = met & ~(requests[name].to_numpy() > most)
    return met


def running(series: Sequence[tuple[Floats, Floats]], since: float, until: float) -> float:
    """Sequences that run, integrated over a time; ``series`` has the ends of spans and their numbers, by replica."""
    total = 0.0
    for ends, numbers in series:
        part = slice(int(np.searchsorted(ends, since)), int(np.searchsorted(ends, until)) + 1)
        total += float(numbers[part] @ np.diff(ends[part].clip(since, until), prepend=since))
    return total


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
